package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/cluster/store"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

const (
	gateway = cert.NodeID(0xA1_0000_0000)
	start   = int64(1_800_000_000_000)
)

func config(t testing.TB, dir string) Config {
	return Config{Dir: dir, Node: gateway, Now: func() time.Time { return time.UnixMilli(start) }, Fatal: func(err error) { t.Errorf("fatal: %v", err) }}
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
	return fabric.Command{Version: 1, Time: start, Found: &fabric.Found{
		Home:       fabric.Home{Name: "home", FabricID: 1, Root: []byte("root"), Birth: start, GatewayCAT: cert.NewCAT(1, 1)},
		Generation: fabric.Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed"), DataKeys: map[cert.NodeID][]byte{gateway: []byte("wrapped")}},
		Gateway:    fabric.Gateway{Node: gateway, Name: "hall", NOC: []byte("noc")},
	}}
}

func reserve(n cert.NodeID) fabric.Command {
	return fabric.Command{Version: 1, Time: start, Reserve: &fabric.Reserve{Node: n, Gateway: gateway, Deadline: start + 60_000}}
}

func must(t testing.TB, c *Cluster, cmd fabric.Command) *fabric.State {
	t.Helper()
	s, err := c.Propose(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// copied is what a power cut would leave now: the directory, copied.
func copied(t testing.TB, dir string) string {
	t.Helper()
	for {
		to := filepath.Join(t.TempDir(), "copy")
		err := os.CopyFS(to, os.DirFS(dir))
		if err == nil {
			return to
		} else if !errors.Is(err, fs.ErrNotExist) { // a file that got its name meanwhile
			t.Fatal(err)
		}
	}
}

func TestReopen(t *testing.T) {
	dir := bootstrap(t)
	c := open(t, dir)
	must(t, c, found())
	for n := range cert.NodeID(20) {
		must(t, c, reserve(n+1))
	}
	want := c.State()
	reopened(t, "power cut", copied(t, dir), want)
	if err := c.Snapshot(); err != nil {
		t.Fatal(err)
	}
	reopened(t, "power cut after a snapshot", copied(t, dir), want)
	closed(t, c)
	reopened(t, "closed", dir, want)
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

func TestOpenMakesNoCluster(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(config(t, dir)); !errors.Is(err, store.ErrNone) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("Open made %v, %v", left, err)
	}
	dir = bootstrap(t)
	if err := Bootstrap(config(t, dir)); err == nil {
		t.Error("bootstrapped twice")
	}
	other := config(t, dir)
	other.Node++
	if c, err := Open(other); err == nil {
		c.Close()
		t.Error("another gateway's state was opened")
	}
}

// TestCompaction fills the log past what is kept of it.
func TestCompaction(t *testing.T) {
	dir := bootstrap(t)
	c := open(t, dir)
	must(t, c, found())
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for n := range cert.NodeID(keepLog / 4) {
				if _, err := c.Propose(t.Context(), reserve(cert.NodeID(0x1000+i*keepLog)+n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := c.Snapshot(); err != nil {
		t.Fatal(err)
	}
	must(t, c, reserve(0xFFFF))
	want := c.State()
	closed(t, c)
	reopened(t, "after many", dir, want)
	damageNewestSnapshot(t, dir)
	if c, err := Open(config(t, dir)); err == nil {
		c.Close()
		t.Error("a damaged snapshot was passed over")
	}
}

func damageNewestSnapshot(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "snapshots", "*"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[len(names)-1])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2]++
	if err := os.WriteFile(names[len(names)-1], b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedChangesNothing(t *testing.T) {
	c := open(t, bootstrap(t))
	defer closed(t, c)
	must(t, c, found())
	must(t, c, reserve(7))
	before := *c.State()
	strange, empty := reserve(8), fabric.Command{}
	strange.Reserve.Name = "\xff"
	for what, x := range map[string]struct {
		cmd  fabric.Command
		want fabric.Code
	}{
		"node id twice": {reserve(7), fabric.CodeUsed},
		"no UTF-8":      {strange, fabric.CodeInvalid}, "no kind": {empty, fabric.CodeUnknownKind},
		"too long": {fabric.Command{SetRevocations: &fabric.SetRevocations{JSON: make([]byte, maxCommand)}}, fabric.CodeInvalid},
	} {
		s, err := c.Propose(t.Context(), x.cmd)
		var r *fabric.Refusal
		if !errors.As(err, &r) || r.Code != x.want {
			t.Errorf("%s: %v", what, err)
		}
		after := *s
		after.Index, after.Time = before.Index, before.Time
		if d := cmp.Diff(before, after); d != "" {
			t.Errorf("%s: %s", what, d)
		}
	}
}

func TestConcurrentProposers(t *testing.T) {
	c := open(t, bootstrap(t))
	defer closed(t, c)
	must(t, c, found())
	var wg sync.WaitGroup
	var mu sync.Mutex
	serials := map[string]cert.NodeID{}
	for i := range cert.NodeID(8) {
		wg.Go(func() {
			for n := range cert.NodeID(25) {
				node := 1 + i*100 + n
				s, err := c.Propose(t.Context(), reserve(node))
				if err != nil || s.Devices[node] == nil {
					t.Errorf("%v: %v", node, err)
					return
				}
				if now, err := c.Current(t.Context()); err != nil || now.Devices[node] == nil {
					t.Errorf("%v was acknowledged, and then read: %v", node, err)
				}
				mu.Lock()
				serials[string(s.Devices[node].Serial)] = node
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(serials) != 200 || len(c.State().Devices) != 200 {
		t.Errorf("%d serial numbers, %d devices", len(serials), len(c.State().Devices))
	}
}

func TestWatch(t *testing.T) {
	c := open(t, bootstrap(t))
	defer closed(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	changed := c.Watch(ctx)
	must(t, c, found())
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Fatal("no notice of a new state")
	}
	if c.Leader() != gateway || !c.Leads() {
		t.Errorf("leader %v", c.Leader())
	}
	cancel()
	for c.watchers.count() > 0 {
		time.Sleep(time.Millisecond)
	}
}

func (w *watchers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.all)
}

func TestClosed(t *testing.T) {
	c := open(t, bootstrap(t))
	must(t, c, found())
	var wg sync.WaitGroup
	for i := range cert.NodeID(8) { // as it closes
		wg.Go(func() {
			for n := range cert.NodeID(1000) {
				if _, err := c.Propose(t.Context(), reserve(1+i*1000+n)); err != nil {
					return
				}
				if _, err := c.Current(t.Context()); err != nil {
					return
				}
			}
		})
	}
	closed(t, c)
	wg.Wait()
	if _, err := c.Propose(t.Context(), reserve(7)); !errors.Is(err, ErrClosed) {
		t.Errorf("Propose: %v", err)
	}
	if _, err := c.Current(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Current: %v", err)
	}
	if !c.State().Founded() {
		t.Error("State is gone")
	}
}

func TestCancelled(t *testing.T) {
	blocked, release := make(chan struct{}, 16), make(chan struct{})
	cfg := config(t, bootstrap(t))
	armed := false
	cfg.Step = func(_ string, do func() error) error {
		if armed {
			blocked <- struct{}{}
			<-release
		}
		return do()
	}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer closed(t, c)
	must(t, c, found())
	armed = true // the disk hangs
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-blocked; cancel() }()
	if _, err := c.Propose(ctx, reserve(7)); !errors.Is(err, context.Canceled) {
		t.Errorf("Propose: %v", err)
	}
	if _, err := c.Propose(ctx, reserve(8)); !errors.Is(err, context.Canceled) {
		t.Errorf("Propose, as another is under way: %v", err)
	}
	if _, err := c.Current(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Current: %v", err)
	}
	close(release)
	for c.State().Devices[7] == nil { // what was given up comes to be applied all the same
		time.Sleep(time.Millisecond)
	}
}

func TestErrorsNameTheWayOut(t *testing.T) {
	_, err := Open(config(t, t.TempDir()))
	if err == nil || !strings.Contains(err.Error(), "set the gateway up first") {
		t.Error(err)
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, devices := range []int{0, 100, 500} {
		b.Run(fmt.Sprint(devices), func(b *testing.B) {
			dir := bootstrap(b)
			c := open(b, dir)
			must(b, c, found())
			for n := range devices {
				must(b, c, reserve(cert.NodeID(n+1)))
			}
			closed(b, c)
			for b.Loop() {
				closed(b, open(b, dir))
			}
		})
	}
}

func BenchmarkPropose(b *testing.B) {
	c := open(b, bootstrap(b))
	defer closed(b, c)
	must(b, c, found())
	n := cert.NodeID(1)
	for b.Loop() {
		must(b, c, reserve(n))
		must(b, c, fabric.Command{Abandon: &fabric.Abandon{Node: n}})
		n++
	}
}

func BenchmarkCurrent(b *testing.B) {
	c := open(b, bootstrap(b))
	defer closed(b, c)
	must(b, c, found())
	for b.Loop() {
		if _, err := c.Current(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
