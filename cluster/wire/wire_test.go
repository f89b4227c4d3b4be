package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// echo answers every Raft connection with what it says.
func (g *gateway) echo() {
	l := g.Raft(g.node)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
}

// serve answers every request with who asks.
func (g *gateway) serve() {
	s := &http.Server{ConnContext: ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s from %v", r.URL.Path, Peer(r.Context()))
	})}
	go s.Serve(g.HTTP())
}

func (g *gateway) get(to cert.NodeID) (string, error) {
	r, err := g.Client().Get(URL(to, "/path"))
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return string(b), err
}

// talk sends a word over an echoing connection.
func talk(c net.Conn) error {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "word"); err != nil {
		return err
	}
	var b [4]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return err
	}
	if string(b[:]) != "word" {
		return fmt.Errorf("it echoes %q", b)
	}
	return nil
}

func TestBothProtocols(t *testing.T) {
	h := newHome(t, 1)
	a, b := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB))
	b.echo()
	b.serve()

	c, err := a.Raft(a.node).Dial(raft.ServerAddress(b.node.String()), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := talk(c); err != nil {
		t.Fatal(err)
	}
	if PeerOf(c) != b.node || PeerOf(&net.TCPConn{}) != 0 {
		t.Errorf("the other end is %v", PeerOf(c))
	}
	state := c.(*conn).ConnectionState()
	if state.CurveID != tls.X25519MLKEM768 || state.Version != tls.VersionTLS13 {
		t.Errorf("keys are exchanged by %v, version %x", state.CurveID, state.Version)
	}
	for range 3 {
		if s, err := a.get(b.node); err != nil || s != "/path from 000000000000000A" {
			t.Fatalf("%q, %v", s, err)
		}
	}
	if n := len(b.open()); n != 2 {
		t.Errorf("%d connections are open, want one of each protocol", n)
	}
	if a.Raft(a.node).Addr().String() != "000000000000000A" || b.HTTP().Addr().String() != b.addr.String() {
		t.Error("addresses are wrong")
	}
	if c, err := a.Raft(a.node).Dial("B", time.Second); err == nil {
		c.Close()
		t.Error("a short node id is an address")
	}
	if Peer(context.Background()) != 0 {
		t.Error("a request from nowhere has a peer")
	}
}

// tickets counts the sessions that could be resumed.
type tickets struct{ n int }

func (*tickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (c *tickets) Put(string, *tls.ClientSessionState)      { c.n++ }

func TestNoSessionCanBeResumed(t *testing.T) {
	h := newHome(t, 1)
	b := h.gateway(h.identity(0xB))
	b.echo()
	config, err := h.identity(0xA).tls([]string{raftProtocol}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cache := new(tickets)
	config.SessionTicketsDisabled, config.ClientSessionCache, config.ServerName = false, cache, "gateway"
	c, err := tls.Dial("tcp", b.addr.String(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := talk(c); err != nil {
		t.Fatal(err)
	}
	if cache.n != 0 {
		t.Error("a ticket was given out")
	}
}

// TestPeersRefused has a gateway meet nodes that it must not talk to, in both
// roles. Neither may get as much as an octet through.
func TestPeersRefused(t *testing.T) {
	h, other := newHome(t, 1), newHome(t, 2)
	strange := func(change func(id *Identity)) *Identity {
		id := h.identity(0xB)
		change(id)
		return id
	}
	fromOther := other.identity(0xB)
	fromOther.Root, fromOther.Fabric = h.root, h.fabric.FabricID // it would believe us
	h.evict(0xE)
	for name, tt := range map[string]struct {
		id   *Identity
		want string
	}{
		"another root":     {fromOther, "not by"},
		"a device":         {h.identity(0xB, device), "no gateway"},
		"evicted":          {h.identity(0xE), errEvicted.Error()},
		"its intermediate": {strange(func(id *Identity) { id.NOC, id.ICAC, id.Key = h.fabric.ICAC, nil, h.fabric.IssuerKey }), "node certificate: it is a"},
		"no intermediate":  {strange(func(id *Identity) { id.ICAC = nil }), "issued by"},
	} {
		t.Run(name, func(t *testing.T) {
			h.meet(t, tt.id, tt.want)
		})
	}
}

// meet has a gateway meet a bad one that trusts everybody.
func (h *home) meet(t *testing.T, id *Identity, want string) {
	t.Helper()
	trusting := func(c *Config) { c.Admit = func(cert.Node) error { return nil } }
	good, bad := h.gateway(h.identity(0xA)), h.gateway(id, trusting)
	good.echo()
	bad.echo()
	wants(t, dialRaft(good, bad.node), want, "reach gateway "+bad.node.String(), bad.addr.String())
	wants(t, dialRaft(bad, good.node), "does not let this gateway in")
	good.log.eventually(t, want)
	if len(good.open())+len(bad.open()) != 0 {
		t.Error("a connection is open")
	}
}

// TestAnotherFabric has a node of another fabric under the same root, which
// does not say what fabric it is for.
func TestAnotherFabric(t *testing.T) {
	h := newHome(t, 1)
	rcac, err := cert.Parse(h.fabric.RCAC)
	if err != nil {
		t.Fatal(err)
	}
	rcac.Subject = rcac.Subject[:1]
	rcac.Issuer = rcac.Subject
	if err := rcac.Sign(nil, h.fabric.RootKey); err != nil {
		t.Fatal(err)
	}
	h.fabric.RCAC = rcac.TLV()
	h.fabric.ICAC, h.fabric.IssuerKey, err = issuer.NewIntermediate(seeded(9), h.fabric.RCAC, h.fabric.RootKey, 1, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	h.root = rootOf(t, h.fabric.RCAC)
	id := h.identity(0xB, func(r *issuer.Reservation) { r.Fabric++ })
	id.Fabric = h.fabric.FabricID // it would believe us
	h.meet(t, id, "belongs to fabric")
}

func TestAnotherNodeAnswers(t *testing.T) {
	h := newHome(t, 1)
	a, b, c := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB)), h.gateway(h.identity(0xC))
	b.echo()
	h.move(0xC, b.addr)
	wants(t, dialRaft(a, 0xC), "it is 000000000000000B")
	h.move(0xC, a.addr)
	wants(t, dialRaft(a, 0xC), "it is 000000000000000A")
	h.move(0xC, b.addr, c.addr) // found all the same
	c.echo()
	if err := dialRaft(a, 0xC); err != nil {
		t.Error(err)
	}
	// Somebody with a copy of our key.
	clone := h.gateway(h.identity(0xA))
	h.move(0xA, a.addr)
	wants(t, dialRaft(clone, 0xA), "claims to be this gateway")
}

// TestCertificatesOfAllKinds has peers with certificates that Go's own chain
// check would not take, or might not.
func TestCertificatesOfAllKinds(t *testing.T) {
	h := newHome(t, 1)
	a := h.gateway(h.identity(0xA))
	for name, change := range map[string]func(*issuer.Reservation){
		"expired":       func(r *issuer.Reservation) { r.NotAfter = birth.Add(time.Second) },
		"not yet valid": func(r *issuer.Reservation) { r.NotBefore = birth.AddDate(100, 0, 0) },
		"long serial":   func(r *issuer.Reservation) { r.Serial = bytes.Repeat([]byte{0x7F}, 20) },
		"high serial":   func(r *issuer.Reservation) { r.Serial = bytes.Repeat([]byte{0xFF}, 8) },
		"three CATs": func(r *issuer.Reservation) {
			r.CATs = append(r.CATs, cert.NewCAT(0xABCD, 0xFFFF), cert.NewCAT(3, 3))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := h.gateway(h.identity(0xB, change))
			b.echo()
			if err := dialRaft(a, b.node); err != nil {
				t.Error(err)
			}
			a.echo()
			if err := dialRaft(b, a.node); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("issued by the root", func(t *testing.T) {
		id := h.identity(0xB)
		noc, err := cert.Parse(id.NOC)
		if err != nil {
			t.Fatal(err)
		}
		noc.Issuer, noc.AuthorityKeyID = h.root.Certificate().Subject, h.root.Certificate().SubjectKeyID
		if err := noc.Sign(nil, h.fabric.RootKey); err != nil {
			t.Fatal(err)
		}
		id.NOC, id.ICAC = noc.TLV(), nil
		b := h.gateway(id)
		b.echo()
		if err := dialRaft(a, b.node); err != nil {
			t.Error(err)
		}
	})
}

func TestOwnCertificate(t *testing.T) {
	h := newHome(t, 1)
	b := h.gateway(h.identity(0xB))
	wrong := h.identity(0xA)
	wrong.Key = h.identity(0xC).Key
	wants(t, dialRaft(h.gateway(wrong), b.node), "belongs to another key")
	none := h.gateway(h.identity(0xA), func(c *Config) { c.Identity = func() *Identity { return nil } })
	wants(t, dialRaft(none, b.node), "no certificate yet")
	wants(t, dialRaft(b, 0xA), "")
	none.log.eventually(t, "no certificate yet")
	if none.Raft(0xA).Addr().String() != "000000000000000A" {
		t.Error("who has no certificate yet would vote for nobody")
	}
}

// TestRenewal has a certificate renewed: new handshakes show it and are held
// against it.
func TestRenewal(t *testing.T) {
	h := newHome(t, 1)
	var current atomic.Pointer[Identity]
	current.Store(h.identity(0xA, device))
	a := h.gateway(current.Load(), func(c *Config) { c.Identity = current.Load })
	b := h.gateway(h.identity(0xB))
	a.echo()
	b.echo()
	if dialRaft(a, b.node) == nil || dialRaft(b, a.node) == nil {
		t.Fatal("a device was let in")
	}
	current.Store(h.identity(0xA))
	if err := errors.Join(dialRaft(a, b.node), dialRaft(b, a.node)); err != nil {
		t.Fatal(err)
	}
	// And then the whole fabric changes: who stays on the old one is a stranger.
	c, err := a.dial(t.Context(), b.node, raftProtocol, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	current.Store(newHome(t, 2).identity(0xA))
	wants(t, dialRaft(a, b.node), "not by")
	if talk(c) != nil {
		t.Error("a connection ended before anybody rechecked it")
	}
	a.Recheck()
	if talk(c) == nil {
		t.Error("a peer under the old root is still connected")
	}
}

// TestRecheck evicts a gateway that is connected both ways with both protocols.
func TestRecheck(t *testing.T) {
	h := newHome(t, 1)
	a, b, e := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB)), h.gateway(h.identity(0xE))
	for _, g := range []*gateway{a, b, e} {
		g.echo()
		g.serve()
	}
	dial := func(from, to *gateway) net.Conn {
		t.Helper()
		c, err := from.dial(t.Context(), to.node, raftProtocol, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := talk(c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	out, in, stays := dial(a, e), dial(e, a), dial(a, b)
	for _, get := range [][2]*gateway{{a, e}, {e, a}} {
		if _, err := get[0].get(get[1].node); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.open()); n != 5 {
		t.Fatalf("%d connections are open", n)
	}
	h.evict(e.node)
	a.Recheck()
	if n := len(a.open()); n != 1 {
		t.Errorf("%d connections are open", n)
	}
	if talk(out) == nil || talk(in) == nil {
		t.Error("an evicted gateway is still connected")
	}
	if err := talk(stays); err != nil {
		t.Errorf("the one that stays: %v", err)
	}
	if _, err := e.get(a.node); err == nil {
		t.Error("an evicted gateway was answered")
	}
	if _, err := a.get(e.node); err == nil {
		t.Error("an evicted gateway was asked")
	}
	a.log.eventually(t, "not let in any more")
}

// TestEvictedMeanwhile evicts a gateway after it was admitted in the handshake
// and before it is among those that Recheck sees.
func TestEvictedMeanwhile(t *testing.T) {
	h := newHome(t, 1)
	var a *gateway
	asked := 0
	a = h.gateway(h.identity(0xA), func(c *Config) {
		c.Admit = func(n cert.Node) error {
			if asked++; asked == 1 {
				h.evict(n.NodeID)
				a.Recheck()
				return nil
			}
			return h.admit(n)
		}
	})
	a.echo()
	b := h.gateway(h.identity(0xB))
	wants(t, dialRaft(b, a.node), "does not let this gateway in")
	if len(a.open()) != 0 {
		t.Error("a connection is open")
	}
}

// TestNobodyAnswers wants every address and its reason in the error.
func TestNobodyAnswers(t *testing.T) {
	h := newHome(t, 1)
	a := h.gateway(h.identity(0xA))
	wants(t, dialRaft(a, 0xB), "000000000000000B", "no address of it is known")

	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	defer silent.Close()
	h.move(0xB, addrOf(gone), addrOf(silent))
	start := time.Now()
	_, err = a.Raft(a.node).Dial(raft.ServerAddress(cert.NodeID(0xB).String()), 300*time.Millisecond)
	wants(t, err, "000000000000000B", gone.Addr().String(), "refused", silent.Addr().String(), "does not answer in time")
	if took := time.Since(start); took < 250*time.Millisecond || took > time.Second {
		t.Errorf("it took %v to give up after 300 ms", took)
	}
	start = time.Now()
	_, err = a.get(0xB)
	wants(t, err, "does not answer in time")
	if took := time.Since(start); took > 2*dialTimeout {
		t.Errorf("a dead gateway was noticed after %v", took)
	}

	// One of many is right, and is not waited for longer than the head starts.
	b := h.gateway(h.identity(0xB))
	b.echo()
	h.move(0xB, addrOf(silent), addrOf(gone), b.addr)
	start = time.Now()
	if err := dialRaft(a, 0xB); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestDoubt wants to be told when a gateway is not where it was found, and only
// then.
func TestDoubt(t *testing.T) {
	h := newHome(t, 1)
	var doubts atomic.Int32
	a := h.gateway(h.identity(0xA), func(c *Config) {
		c.Doubt = func(n cert.NodeID) {
			if n == 0xB {
				doubts.Add(1)
			}
		}
	})
	b := h.gateway(h.identity(0xB))
	b.echo()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, test := range []struct {
		where  []netip.AddrPort
		doubts int32
	}{
		{[]netip.AddrPort{b.addr}, 0},
		{[]netip.AddrPort{addrOf(gone), b.addr}, 0},
		{[]netip.AddrPort{addrOf(gone)}, 1},
		{nil, 1}, // there is nothing to doubt
	} {
		h.move(0xB, test.where...)
		if err := dialRaft(a, 0xB); doubts.Load() != test.doubts {
			t.Errorf("at %v: %d doubts, not %d; %v", test.where, doubts.Load(), test.doubts, err)
		}
	}
	h.move(0xB, addrOf(gone))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.dial(ctx, 0xB, raftProtocol, time.Second); err == nil || doubts.Load() != 1 {
		t.Errorf("a dial that nobody waits for leaves %d doubts, %v", doubts.Load(), err)
	}
}

func addrOf(l net.Listener) netip.AddrPort { return l.Addr().(*net.TCPAddr).AddrPort() }

// TestDoorIsShut has a gateway that serves no HTTP any more say so at once.
func TestDoorIsShut(t *testing.T) {
	h := newHome(t, 1)
	a, b := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB))
	b.echo()
	b.HTTP().Close()
	_, err := a.get(b.node)
	wants(t, err, "does not let this gateway in")
	c, err := a.dial(t.Context(), b.node, raftProtocol, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := talk(c); err != nil {
		t.Fatal(err)
	}
	b.Raft(b.node).Close()
	if talk(c) == nil {
		t.Error("Raft goes on after it was closed")
	}
}

// TestClose leaves no goroutine and no connection.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	h := newHome(t, 1)
	a, b := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB))
	a.echo()
	b.echo()
	b.serve()
	c, err := a.dial(t.Context(), b.node, raftProtocol, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.get(b.node); err != nil {
		t.Fatal(err)
	}
	stranger, err := net.Dial("tcp", b.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	dialling := make(chan error)
	h.move(0xC, addrOf(silentListener(t)))
	go func() { dialling <- dialRaft(a, 0xC) }()
	time.Sleep(50 * time.Millisecond)
	start := time.Now()
	if err := errors.Join(a.Close(), b.Close(), a.Close()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("closing took %v", took)
	}
	if err := <-dialling; err == nil {
		t.Error("reached nobody")
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
		t.Error("a connection is open")
	}
	if err := dialRaft(a, b.node); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after Close: %v", err)
	}
	if _, err := a.Raft(a.node).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v", err)
	}
	until(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	if strings.Contains(a.log.String()+b.log.String(), "refused") {
		t.Error("closing is taken for a refusal:", a.log, b.log)
	}
}

func silentListener(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func FuzzParseNode(f *testing.F) {
	for _, s := range []string{"000000000000000A", "FFFFFFEFFFFFFFFF", "A", "", "000000000000000a", "0x00000000000000A"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := parseNode(s); err == nil && (n.String() != s || !n.Operational()) {
			t.Errorf("%q is %v", s, n)
		}
	})
}
