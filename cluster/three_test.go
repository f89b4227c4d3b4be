package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"gatehouse/fabric/cert"
)

// slowDisk keeps a new leader's first entry under way for a while, in which it
// does not know yet what the one before it committed.
const slowDisk = 100 * time.Millisecond

// gateways are three that reach each other in memory.
type gateways struct {
	t          *testing.T
	clusters   []*Cluster
	transports []*raft.InmemTransport
}

func three(t *testing.T) *gateways {
	g := &gateways{t: t}
	for i := range 3 {
		cfg := config(t, t.TempDir())
		cfg.Node += cert.NodeID(i)
		_, transport := raft.NewInmemTransport(raft.ServerAddress(cfg.id()))
		cfg.Transport = transport
		cfg.Step = func(_ string, do func() error) error {
			time.Sleep(slowDisk)
			return do()
		}
		if i == 0 {
			if err := Bootstrap(cfg); err != nil {
				t.Fatal(err)
			}
		} else if err := Join(cfg); err != nil { // joins
			t.Fatal(err)
		}
		c, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		g.clusters, g.transports = append(g.clusters, c), append(g.transports, transport)
	}
	for i, a := range g.transports {
		for _, b := range append(g.transports[:i:i], g.transports[i+1:]...) {
			a.Connect(b.LocalAddr(), b)
		}
	}
	for _, c := range g.clusters[1:] {
		if err := g.clusters[0].raft.AddVoter(c.cfg.id(), raft.ServerAddress(c.cfg.id()), 0, 0).Error(); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// cut takes one gateway off the network, or puts it back.
func (g *gateways) cut(i int, off bool) {
	for j, b := range g.transports {
		a := g.transports[i]
		switch {
		case i == j:
		case off:
			a.Disconnect(b.LocalAddr())
			b.Disconnect(a.LocalAddr())
		default:
			a.Connect(b.LocalAddr(), b)
			b.Connect(a.LocalAddr(), a)
		}
	}
}

// TestThreeGateways takes the leader off the network right after it has
// acknowledged. The next one, as soon as it answers, knows; the one cut off
// answers and acknowledges nothing; and in the end all have the same State.
func TestThreeGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := three(t)
		must(t, g.clusters[0], found())
		leader := 0
		for round := range cert.NodeID(20) {
			// Followers learn with a later message that it is committed.
			s := must(t, g.clusters[leader], reserve(round+1))
			if s.Devices[round+1] == nil {
				t.Fatal("acknowledged, and not there")
			}
			g.cut(leader, true)
			time.Sleep(2 * slowDisk) // for answers that were on their way
			ctx, cancel := context.WithTimeout(t.Context(), leaderLease/4)
			if _, err := g.clusters[leader].Current(ctx); err == nil || !g.clusters[leader].Leads() {
				t.Errorf("the one cut off, which still thinks it leads, read: %v", err)
			}
			cancel()
			next := g.next(leader, round+1)
			ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
			if _, err := g.clusters[leader].Propose(ctx, reserve(1000+round)); !errors.Is(err, ErrNotLeader) {
				t.Errorf("the one cut off: %v", err)
			}
			cancel()
			g.cut(leader, false)
			leader = next
		}
		time.Sleep(10 * time.Second)
		want := g.clusters[leader].State()
		for i, c := range g.clusters {
			if d := cmp.Diff(want, c.State()); d != "" {
				t.Errorf("gateway %d: %s", i, d)
			}
			if c.Leader() != g.clusters[leader].cfg.Node {
				t.Errorf("gateway %d follows %v", i, c.Leader())
			}
		}
		for _, c := range g.clusters {
			closed(t, c)
		}
	})
}

// next is the first of the others to answer. It must know of the device.
func (g *gateways) next(cut int, device cert.NodeID) int {
	for {
		for i, c := range g.clusters {
			if i == cut {
				continue
			}
			s, err := c.Current(g.t.Context())
			if err == nil && s.Devices[device] == nil {
				g.t.Errorf("gateway %d leads and does not know of device %v", i, device)
			}
			if err == nil {
				return i
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// TestSnapshotReachesWhoWasAway has a gateway come back when the log that it
// missed is gone.
func TestSnapshotReachesWhoWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := three(t)
		must(t, g.clusters[0], found())
		g.cut(2, true)
		for n := range cert.NodeID(200) {
			must(t, g.clusters[0], reserve(n+1))
		}
		short := g.clusters[0].raft.ReloadableConfig()
		short.TrailingLogs = 10
		if err := g.clusters[0].raft.ReloadConfig(short); err != nil {
			t.Fatal(err)
		}
		if err := g.clusters[0].Snapshot(); err != nil {
			t.Fatal(err)
		}
		if first, err := g.clusters[0].store.FirstIndex(); err != nil || first < 100 {
			t.Fatalf("the log begins at %d, %v", first, err)
		}
		g.cut(2, false)
		time.Sleep(30 * time.Second)
		if d := cmp.Diff(g.clusters[0].State(), g.clusters[2].State()); d != "" {
			t.Error(d)
		}
		cfg := g.clusters[2].cfg
		for _, c := range g.clusters {
			closed(t, c)
		}
		_, cfg.Transport = raft.NewInmemTransport(raft.ServerAddress(cfg.id()))
		again, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		closed(t, again)
	})
}
