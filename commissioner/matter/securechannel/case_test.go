package securechannel

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

const (
	nodeA = cert.NodeID(0xA)
	nodeB = cert.NodeID(0xB)
)

// mint is a fabric and its two nodes, b with a CAT.
func mint(t testing.TB) (f *issuer.Fabric, a, b *Identity) {
	t.Helper()
	birth := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f, err := issuer.NewFabric(rand.Reader, issuer.Params{Birth: birth})
	if err != nil {
		t.Fatal(err)
	}
	node := func(id cert.NodeID, cats ...cert.CAT) *Identity {
		key, err := issuer.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		noc, err := issuer.Issue(f.ICAC, f.IssuerKey, issuer.Reservation{Node: id, Fabric: f.FabricID, Serial: fmt.Appendf(nil, "G%08d", id),
			CATs: cats, PublicKey: key.PublicKey(), NotBefore: birth})
		if err != nil {
			t.Fatal(err)
		}
		rcac, err := cert.Parse(f.RCAC)
		if err != nil {
			t.Fatal(err)
		}
		root, err := cert.NewRoot(rcac)
		if err != nil {
			t.Fatal(err)
		}
		return &Identity{Index: 1, Fabric: f.FabricID, Node: id, Root: root, NOC: noc, ICAC: f.ICAC, Key: key, IPK: f.IPK.Operational(f.Compressed), Valid: cert.AnyTime}
	}
	return f, node(nodeA), node(nodeB, cert.NewCAT(7, 1))
}

// caseWorld is a world whose device is on a's fabric.
func caseWorld(t *testing.T) (w *world, a, b *Identity) {
	w = newWorld(t)
	_, a, b = mint(t)
	w.r.Identities = func() []*Identity { return []*Identity{b} }
	return w, a, b
}

// only is the device's side of the only session.
func (w *world) only(t *testing.T) *exchange.Session {
	t.Helper()
	synctest.Wait()
	s := w.b.Sessions(func(*exchange.Session) bool { return true })
	if len(s) != 1 {
		t.Fatalf("the device has %d sessions", len(s))
	}
	return s[0]
}

func TestCASEAndResumption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, _ := caseWorld(t)
		var rs Resumptions
		for i, resumed := range []bool{false, true, true, false} {
			if i == 3 {
				rs.Forget(a.Index, nodeB)
			}
			packets := 0
			w.net.SetDrop(func(_, _ radio.Addr, _ []byte) bool { packets++; return false })
			s, err := CASE(t.Context(), w.a, w.peer, a, nodeB, &rs)
			if err != nil {
				t.Fatal(err)
			}
			b := w.only(t)
			talk(t, w.a, w.b, s)
			talk(t, w.b, w.a, b)
			if s.PeerNode() != uint64(nodeB) || b.PeerNode() != uint64(nodeA) || len(s.CATs()) != 1 || s.CATs()[0] != uint32(cert.NewCAT(7, 1)) {
				t.Errorf("%d: %v and %v, CATs %v", i, s, b, s.CATs())
			}
			Close(w.a, s)
			synctest.Wait()
			if was := packets < 10; was != resumed {
				t.Errorf("%d: %d packets", i, packets)
			}
		}
	})
}

func TestCASEEveryLoss(t *testing.T) {
	for nth := 1; nth <= 6; nth++ {
		synctest.Test(t, func(t *testing.T) {
			w, a, _ := caseWorld(t)
			var rs Resumptions
			for range 2 { // full, then resumed
				w.net.SetDrop(radiotest.DropNth(nth))
				s, err := CASE(t.Context(), w.a, w.peer, a, nodeB, &rs)
				if err != nil {
					t.Fatalf("packet %d lost: %v", nth, err)
				}
				w.net.SetDrop(nil)
				talk(t, w.a, w.b, s)
				Close(w.a, s)
			}
		})
	}
}

func TestCASERefusals(t *testing.T) {
	_, strangerA, strangerB := mint(t)
	for name, change := range map[string]func(a, b *Identity) cert.NodeID{
		"no such node":          func(a, b *Identity) cert.NodeID { return nodeB + 1 },
		"another fabric":        func(a, b *Identity) cert.NodeID { *a = *strangerA; return nodeB },
		"another IPK":           func(a, b *Identity) cert.NodeID { b.IPK = strangerB.IPK; return nodeB },
		"stolen certificate":    func(a, b *Identity) cert.NodeID { b.Key = strangerB.Key; return nodeB },
		"our own key is not it": func(a, b *Identity) cert.NodeID { a.Key = strangerA.Key; return nodeB },
		"another root's NOC": func(a, b *Identity) cert.NodeID {
			b.NOC, b.ICAC, b.Key = strangerB.NOC, strangerB.ICAC, strangerB.Key
			return nodeB
		},
		"another node's NOC": func(a, b *Identity) cert.NodeID { b.NOC, b.Key = a.NOC, a.Key; return nodeB },
		"strict about time": func(a, b *Identity) cert.NodeID {
			a.Valid = cert.At(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC))
			return nodeB
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, a, b := caseWorld(t)
				node := change(a, b)
				if s, err := CASE(t.Context(), w.a, w.peer, a, node, new(Resumptions)); err == nil {
					t.Fatalf("established %v", s)
				}
				time.Sleep(time.Minute)
				if left := append(w.a.Sessions(all), w.b.Sessions(all)...); len(left) != 0 {
					t.Errorf("%d sessions are left", len(left))
				}
			})
		})
	}
}

func all(*exchange.Session) bool { return true }

// TestOtherCertificate resumes nothing: the peer would go by the rights of the
// one before.
func TestOtherCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, a, b := mint(t)
		w.r.Identities = func() []*Identity { return []*Identity{b} }
		var rs Resumptions
		tag := cert.NewCAT(1, 2)
		for _, want := range [][]uint32{nil, {uint32(tag)}} {
			s, err := CASE(t.Context(), w.a, w.peer, a, nodeB, &rs)
			if err != nil {
				t.Fatal(err)
			}
			if got := w.only(t).CATs(); !slices.Equal(got, want) {
				t.Errorf("the peer takes us for %v, not %v", got, want)
			}
			Close(w.a, s)
			synctest.Wait()
			renewed := *a
			if renewed.NOC, err = issuer.Issue(f.ICAC, f.IssuerKey, issuer.Reservation{Node: nodeA, Fabric: f.FabricID, Serial: []byte("G00000099"), CATs: []cert.CAT{tag},
				PublicKey: a.Key.(issuer.PrivateKey).PublicKey(), NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}); err != nil {
				t.Fatal(err)
			}
			a = &renewed
		}
	})
}

// TestResumptionIsForgotten on the device's side: the handshake is full.
func TestResumptionIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, b := caseWorld(t)
		var rs Resumptions
		for range 2 {
			s, err := CASE(t.Context(), w.a, w.peer, a, nodeB, &rs)
			if err != nil {
				t.Fatal(err)
			}
			Close(w.a, s)
			w.r.Resumptions.Forget(b.Index, 0)
		}
	})
}

func TestResumptionsAreBounded(t *testing.T) {
	var rs Resumptions
	for n := range maxResumptions + 10 {
		r := &resumption{peer: peerKey{fabric: 1, node: cert.NodeID(n)}}
		r.id[0], r.id[1] = byte(n), byte(n>>8)
		rs.save(r)
	}
	if len(rs.byPeer) != maxResumptions || len(rs.byID) != maxResumptions || rs.order.Len() != maxResumptions {
		t.Errorf("%d, %d, %d records", len(rs.byPeer), len(rs.byID), rs.order.Len())
	}
	if rs.find(peerKey{fabric: 1}) != nil || rs.find(peerKey{fabric: 1, node: maxResumptions}) == nil {
		t.Error("the wrong one made room")
	}
}

// BenchmarkCASE is both sides of a handshake; halve it for one.
func BenchmarkCASE(b *testing.B) {
	for _, resumed := range []bool{false, true} {
		b.Run(map[bool]string{false: "full", true: "resumed"}[resumed], func(b *testing.B) {
			_, ida, idb := mint(b)
			net := radiotest.NewNetwork(1)
			quiet := slog.New(slog.DiscardHandler)
			la, lb := net.Link(addrA), net.Link(addrB)
			ma, _ := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
			mb, _ := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
			defer ma.Close()
			defer mb.Close()
			(&Responder{Manager: mb, Log: quiet, Resumptions: new(Resumptions), Identities: func() []*Identity { return []*Identity{idb} }}).Register()
			ma.Serve(la)
			mb.Serve(lb)
			var rs Resumptions
			for b.Loop() {
				if !resumed {
					rs.Forget(1, 0)
				}
				s, err := CASE(context.Background(), ma, Peer{Link: la, Addr: addrB}, ida, nodeB, &rs)
				if err != nil {
					b.Fatal(err)
				}
				Close(ma, s)
			}
		})
	}
}
