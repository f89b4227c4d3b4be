package wire

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"gatehouse/cluster/wire/wiretest"
	"gatehouse/fabric/cert"
)

// voter is a member of a Raft cluster over a Wire.
type voter struct {
	*gateway
	raft      *raft.Raft
	transport *raft.NetworkTransport
	words     words
}

// words is the state that the voters replicate.
type words struct {
	mu   sync.Mutex
	said []string
}

func (w *words) Apply(l *raft.Log) any {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, string(l.Data))
	return nil
}

func (w *words) Snapshot() (raft.FSMSnapshot, error) { return nil, raft.ErrNothingNewToSnapshot }
func (w *words) Restore(io.ReadCloser) error         { return nil }

func (w *words) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

// vote makes a Raft cluster of gateways.
func vote(t *testing.T, gateways []*gateway) []*voter {
	t.Helper()
	var all raft.Configuration
	for _, g := range gateways {
		all.Servers = append(all.Servers, raft.Server{ID: raft.ServerID(g.node.String()), Address: raft.ServerAddress(g.node.String())})
	}
	var voters []*voter
	for _, g := range gateways {
		v := &voter{gateway: g}
		v.transport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: g.Raft(g.node), MaxPool: 3, Timeout: time.Second, Logger: hclog.NewNullLogger()})
		cfg := raft.DefaultConfig()
		cfg.LocalID, cfg.Logger, cfg.NoLegacyTelemetry = raft.ServerID(g.node.String()), hclog.NewNullLogger(), true
		store, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
		if err := raft.BootstrapCluster(cfg, store, store, snapshots, v.transport, all); err != nil {
			t.Fatal(err)
		}
		var err error
		if v.raft, err = raft.NewRaft(cfg, &v.words, store, store, snapshots, v.transport); err != nil {
			t.Fatal(err)
		}
		voters = append(voters, v)
	}
	return voters
}

// say has a word replicated by whoever of the voters leads.
func say(t *testing.T, voters []*voter, word string) *voter {
	t.Helper()
	for start := time.Now(); time.Since(start) < 30*time.Second; time.Sleep(20 * time.Millisecond) {
		for _, v := range voters {
			if v.raft.State() == raft.Leader && v.raft.Apply([]byte(word), time.Second).Error() == nil {
				return v
			}
		}
	}
	t.Fatalf("nobody replicates %q", word)
	return nil
}

func (v *voter) knows(word string) bool { return slices.Contains(v.words.all(), word) }

func end(t *testing.T, voters []*voter) {
	t.Helper()
	for _, v := range voters {
		if err := v.raft.Shutdown().Error(); err != nil {
			t.Error(err)
		}
		v.transport.Close()
		v.Close()
	}
}

func TestRaft(t *testing.T) {
	t.Parallel() // it mostly waits
	h := newHome(t, 1)
	voters := vote(t, []*gateway{h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB)), h.gateway(h.identity(0xC))})
	leader := say(t, voters, "one")
	for _, v := range voters {
		until(t, "the word", func() bool { return v.knows("one") })
	}
	leader.Close() // its box is gone
	rest := slices.DeleteFunc(slices.Clone(voters), func(v *voter) bool { return v == leader })
	if say(t, rest, "two") == leader || leader.knows("two") {
		t.Error("who is gone leads")
	}
	for _, v := range rest {
		until(t, "the word", func() bool { return v.knows("two") })
	}
	end(t, voters)
}

// simulated is three gateways on a network in memory.
type simulated struct {
	*home
	net      *wiretest.Net
	gateways []*gateway
}

const simulatedLatency = 2 * time.Millisecond

func simulate(t *testing.T) *simulated {
	t.Helper()
	s := &simulated{home: newHome(t, 1), net: wiretest.New()}
	for i := range byte(3) {
		host := s.net.Host(netip.AddrFrom4([4]byte{10, 0, 0, 1 + i}))
		g := &gateway{node: 0xA + cert.NodeID(i), addr: netip.AddrPortFrom(host.Addr(), 5541), log: new(lines)}
		l, err := host.Listen(g.addr.Port())
		if err != nil {
			t.Fatal(err)
		}
		cfg := s.config(s.identity(g.node))
		cfg.Dial = host.Dial
		cfg.Log = slog.New(slog.NewTextHandler(g.log, nil))
		g.Wire = New(cfg, l)
		s.move(g.node, g.addr)
		s.gateways = append(s.gateways, g)
	}
	for _, a := range s.gateways {
		for _, b := range s.gateways {
			s.net.Latency(a.addr.Addr(), b.addr.Addr(), simulatedLatency)
		}
	}
	return s
}

// each does something with the directions from or to a gateway.
func (s *simulated) each(g *gateway, do func(from, to netip.Addr), from, to bool) {
	for _, o := range s.gateways {
		if o != g && from {
			do(g.addr.Addr(), o.addr.Addr())
		}
		if o != g && to {
			do(o.addr.Addr(), g.addr.Addr())
		}
	}
}

// TestRaftOverCuts takes the leader's cable away, one way and both ways, and
// gives it back.
func TestRaftOverCuts(t *testing.T) {
	for name, way := range map[string]struct{ from, to bool }{
		"what it says": {from: true}, "what it hears": {to: true}, "both": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t)
				voters := vote(t, s.gateways)
				// The connections outlive a cut, or do not.
				for word, long := range map[string]time.Duration{"one": 0, "two": 10 * time.Second, "three": 0} {
					leader := say(t, voters, word+" before")
					s.each(leader.gateway, s.net.Cut, way.from, way.to)
					rest := slices.DeleteFunc(slices.Clone(voters), func(v *voter) bool { return v == leader })
					start := time.Now()
					say(t, rest, word)
					if took := time.Since(start); took > 6*time.Second {
						t.Errorf("the others took %v to elect", took)
					}
					if time.Sleep(long); long > silence && len(leader.open()) != 0 {
						t.Error("a connection outlives the silence")
					}
					s.each(leader.gateway, s.net.Heal, way.from, way.to)
					start = time.Now()
					for !leader.knows(word) && time.Since(start) < 30*time.Second {
						time.Sleep(10 * time.Millisecond)
					}
					if took := time.Since(start); took > 10*time.Second {
						t.Errorf("who came back knew after %v", took)
					}
				}
				time.Sleep(time.Second)
				for _, v := range voters {
					if !slices.Equal(v.words.all(), voters[0].words.all()) {
						t.Errorf("%q and %q", v.words.all(), voters[0].words.all())
					}
				}
				end(t, voters)
			})
		})
	}
}

// TestDeadBox has a gateway lose its power while it is asked something.
func TestDeadBox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t)
		a, b := s.gateways[0], s.gateways[1]
		b.serve()
		if _, err := a.get(b.node); err != nil {
			t.Fatal(err)
		}
		s.each(b, s.net.Cut, true, true)
		start := time.Now()
		if _, err := a.get(b.node); err == nil {
			t.Error("a dead box answers")
		}
		if took := time.Since(start); took > silence+dialTimeout {
			t.Errorf("a box that died is noticed after %v", took)
		}
		time.Sleep(time.Second)
		start = time.Now()
		_, err := a.get(b.node)
		wants(t, err, "does not answer in time")
		if took := time.Since(start); took != dialTimeout {
			t.Errorf("a dead box is noticed after %v", took)
		}
		s.each(b, s.net.Heal, true, true)
		if _, err := a.get(b.node); err != nil {
			t.Error(err)
		}
		for _, g := range s.gateways {
			g.Close()
		}
	})
}

// TestDeadHeat has two addresses let us in at the same moment, again and again.
func TestDeadHeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t)
		a, b := s.gateways[0], s.gateways[1]
		b.echo()
		direct, detour := a.cfg.Dial, netip.MustParseAddrPort("10.0.0.9:5541")
		a.cfg.Dial = func(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
			if to == detour {
				time.Sleep(headStart)
			}
			return direct(ctx, b.addr)
		}
		s.move(b.node, detour, b.addr)
		for range 100 {
			c, err := a.dial(t.Context(), b.node, raftProtocol, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if n := len(a.open()); n != 1 {
				t.Fatalf("%d connections are open", n)
			}
			c.Close()
		}
		for _, g := range s.gateways {
			g.Close()
		}
	})
}

// TestClosedIsSilent has lines left to say when a Wire is closed.
func TestClosedIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t)
		g := s.gateways[0]
		for range 2 * refusalLines {
			g.refusals.say("refused a peer", g.listener.Addr(), errSlow)
		}
		for _, g := range s.gateways {
			g.Close()
		}
		said := g.log.String()
		time.Sleep(2 * refusalWindow)
		if g.log.String() != said {
			t.Error("it goes on after it was closed")
		}
	})
}

// TestHeadStart has one address of two be dead, and the other one slow.
func TestHeadStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulate(t)
		a, b := s.gateways[0], s.gateways[1]
		b.echo()
		const roundTrips = 3 // TCP, TLS, and the welcome
		dial := func(want time.Duration, at ...netip.AddrPort) {
			t.Helper()
			s.move(b.node, at...)
			start := time.Now()
			c, err := a.dial(context.Background(), b.node, raftProtocol, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("it took %v, want %v", took, want)
			}
			c.Close()
			time.Sleep(time.Second)
			if n := len(a.open()) + len(b.open()); n != 0 {
				t.Errorf("%d connections are left", n)
			}
		}
		dead, shut := netip.MustParseAddrPort("10.0.0.9:5541"), netip.AddrPortFrom(b.addr.Addr(), 1)
		dial(roundTrips*2*simulatedLatency, b.addr)
		dial(roundTrips*2*simulatedLatency, b.addr, dead)
		dial(headStart+roundTrips*2*simulatedLatency, dead, b.addr)
		dial((1+roundTrips)*2*simulatedLatency, shut, b.addr)
		s.net.Latency(a.addr.Addr(), b.addr.Addr(), 200*time.Millisecond)
		dial(roundTrips*(200*time.Millisecond+simulatedLatency), b.addr, b.addr, b.addr) // those that lose are closed
		for _, g := range s.gateways {
			g.Close()
		}
	})
}
