package cluster

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

const (
	gateway = cert.NodeID(0xA1)
	start   = int64(1_800_000_000_000)
)

func config(t testing.TB, dir string) Config {
	return Config{Dir: dir, Node: gateway, Fatal: func(err error) { t.Errorf("fatal: %v", err) }}
}

func bootstrap(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := Bootstrap(config(t, dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB, dir string) *Cluster {
	t.Helper()
	c, err := Open(config(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func closed(t testing.TB, c *Cluster) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func found() fabric.Command {
	return fabric.Command{Version: fabric.Version, Time: start, Found: &fabric.Found{
		Home:       fabric.Home{Name: "home", FabricID: 1, Root: []byte("root"), Birth: start, GatewayCAT: cert.NewCAT(1, 1)},
		Generation: fabric.Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed"), DataKeys: map[cert.NodeID][]byte{gateway: []byte("wrapped")}},
		Gateway:    fabric.Gateway{Node: gateway, Name: "hall", NOC: []byte("noc")},
	}}
}

func reserve(n cert.NodeID) fabric.Command {
	return fabric.Command{Version: fabric.Version, Time: start, Reserve: &fabric.Reserve{Node: n, Gateway: gateway, Deadline: start + 60_000}}
}

func must(t testing.TB, c *Cluster, cmd fabric.Command) *fabric.State {
	t.Helper()
	s, err := c.Propose(context.Background(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// copied is what a power cut would leave now: the directory, copied.
func copied(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestReopen(t *testing.T) {
	dir := bootstrap(t)
	c := open(t, dir)
	must(t, c, found())
	for n := range cert.NodeID(20) {
		must(t, c, reserve(n+1))
	}
	want := c.State()
	for what, at := range map[string]func() string{
		"power cut": func() string { return copied(t, dir) },
		"power cut after a snapshot": func() string {
			if err := c.Snapshot(); err != nil {
				t.Fatal(err)
			}
			return copied(t, dir)
		},
		"closed": func() string { closed(t, c); return dir },
	} {
		if what == "closed" {
			defer func() { reopened(t, what, at(), want) }()
			continue
		}
		reopened(t, what, at(), want)
	}
}

func reopened(t *testing.T, what, dir string, want *fabric.State) {
	t.Helper()
	before := time.Now()
	c := open(t, dir)
	t.Logf("%s: open after %v", what, time.Since(before))
	defer closed(t, c)
	if d := cmp.Diff(want, c.State()); d != "" {
		t.Errorf("%s: %s", what, d)
	}
	if s := must(t, c, reserve(1000)); s.Devices[1000] == nil {
		t.Errorf("%s: nothing more is applied", what)
	}
}
