package cluster

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/cluster/store"
	"gatehouse/fabric"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// modern is found by a gateway that keeps a trail.
func modern() fabric.Command {
	c := found()
	c.Found.Gateway.Version = fabric.Version
	return c
}

// recorded checks that all records of the trail are there, and are those of the
// State.
func recorded(t testing.TB, c *Cluster) *audit.Leaves {
	t.Helper()
	s := c.State()
	l, err := c.Trail().Leaves()
	if err != nil || c.Trail().First() != 0 || !l.Tree().Same(s.TrailTree()) || s.TrailSize() == 0 {
		t.Fatalf("records %d to %d of %d: %v", c.Trail().First(), l.Tree().Size, s.TrailSize(), err)
	}
	if _, from, gap := c.Trail().Missing(); gap {
		t.Fatalf("records from %d on are missing", from)
	}
	return l
}

// TestTrail has the records outlive the log that they follow from, and says who
// proposed what.
func TestTrail(t *testing.T) {
	dir := bootstrap(t)
	c := open(t, dir)
	must(t, c, modern())
	for n := range 5 {
		must(t, c, reserve(1000+cert.NodeID(n)))
	}
	if err := c.Trail().Flush(); err != nil { // as when there are many
		t.Fatal(err)
	}
	closed(t, c)
	c = open(t, dir)
	recorded(t, c)
	if err := c.Snapshot(); err != nil {
		t.Fatal(err)
	}
	covered := c.State().Index
	must(t, c, reserve(8))
	closed(t, c)
	log, err := store.Open(config(t, dir).store())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.DeleteRange(1, covered), log.Close()); err != nil {
		t.Fatal(err)
	}
	s, read, err := ReadTrail(config(t, dir))
	if err != nil || read.First() != 0 || s.TrailSize() != 8 || !read.Tree().Same(s.TrailTree()) {
		t.Errorf("read: records %d to %d, %v", read.First(), read.Tree().Size, err)
	}
	for range 2 {
		c = open(t, dir)
		recorded(t, c)
		said := ""
		if _, err := c.Trail().Read(0, func(_ uint64, line []byte) bool {
			said += string(line) + "\n"
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(said, "\n"); n != 8 || !strings.Contains(said, `"what":"device-reserved","by":"`+gateway.String()+`","device":"0000000000000008"`) {
			t.Errorf("%d records: %s", n, said)
		}
		closed(t, c)
	}
}

// liar stands between a gateway and another.
type liar struct {
	handler http.Handler
	change  func(path string, answer *httptest.ResponseRecorder)
	asked   atomic.Int64
	honest  atomic.Bool
}

func (l *liar) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	l.handler.ServeHTTP(w, r)
	if strings.HasPrefix(r.URL.Path, "/cluster/trail/") {
		l.asked.Add(1)
		if l.change != nil && !l.honest.Load() {
			l.change(r.URL.Path, w)
		}
	}
	return w.Result(), nil
}

// TestTrailGap has a gateway that has the trust state by a snapshot alone fetch
// the records from another, which lies to it first.
func TestTrailGap(t *testing.T) {
	dir := bootstrap(t)
	c := open(t, dir)
	must(t, c, modern())
	for n := range 300 {
		must(t, c, reserve(1000+cert.NodeID(n)))
	}
	must(t, c, fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: gateway + 1, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}})
	must(t, c, fabric.Command{IssueGateway: &fabric.IssueGateway{Node: gateway + 1, NOC: []byte("noc"), CAT: 1}})
	if err := c.Snapshot(); err != nil {
		t.Fatal(err)
	}
	want := recorded(t, c).Tree().Root()
	closed(t, c)
	answers := open(t, copied(t, dir))
	defer closed(t, answers)
	for what, change := range map[string]func(string, *httptest.ResponseRecorder){
		"the truth": nil,
		"nothing":   func(_ string, w *httptest.ResponseRecorder) { w.Body = new(bytes.Buffer) },
		"another record": func(_ string, w *httptest.ResponseRecorder) {
			w.Body = bytes.NewBuffer(bytes.Replace(w.Body.Bytes(), []byte("device-reserved"), []byte("device-admitted"), 1))
		},
		"a failure":      func(_ string, w *httptest.ResponseRecorder) { w.Code = http.StatusInternalServerError },
		"that it is old": func(_ string, w *httptest.ResponseRecorder) { w.Code = http.StatusNotFound },
		"a huge array": func(_ string, w *httptest.ResponseRecorder) {
			w.Body = bytes.NewBuffer([]byte("\xa2\x00\xa2\x00\x00\x01\x40\x01\x9a\xff\xff\xff\xff"))
		},
		"too much": func(_ string, w *httptest.ResponseRecorder) { w.Body = bytes.NewBuffer(make([]byte, maxRun+1)) },
	} {
		t.Run(what, func(t *testing.T) {
			hurt := copied(t, dir)
			if err := os.RemoveAll(filepath.Join(hurt, "trail")); err != nil {
				t.Fatal(err)
			}
			peer := &liar{handler: answers.Handler(), change: change}
			cfg := config(t, hurt)
			cfg.Peers = peer
			c, err := Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer closed(t, c)
			for began := time.Now(); peer.asked.Load() == 0 && time.Since(began) < 10*time.Second; {
				time.Sleep(time.Millisecond)
			}
			if change != nil {
				time.Sleep(20 * time.Millisecond)
				if c.Trail().First() != 301+3 {
					t.Fatalf("records are taken from %d on", c.Trail().First())
				}
				peer.honest.Store(true)
				if err := c.fillTrail(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			for began := time.Now(); c.Trail().First() != 0 && time.Since(began) < 10*time.Second; {
				time.Sleep(time.Millisecond)
			}
			if got := recorded(t, c).Tree().Root(); got != want {
				t.Errorf("another trail")
			}
		})
	}
}
