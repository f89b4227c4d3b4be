package exchange

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/message"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

const echo = message.ProtocolID(9)

var (
	addrA = radio.UDPAddr(netip.MustParseAddrPort("[fd00::a]:5540"))
	addrB = radio.UDPAddr(netip.MustParseAddrPort("[fd00::b]:5540"))
)

type end struct {
	*Manager
	link    radio.Link
	session *Session
}

func newEnd(t testing.TB, l radio.Link) *end {
	m, err := New(Config{Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.Serve(l)
	return &end{Manager: m, link: l}
}

// pairOf is two managers with a secure session between them, in a bubble.
func pairOf(t *testing.T, net *radiotest.Network) (a, b *end) {
	return pairOn(t, net.Link(addrA), net.Link(addrB))
}

func pairOn(t testing.TB, la, lb radio.Link) (a, b *end) {
	a, b = newEnd(t, la), newEnd(t, lb)
	t.Cleanup(func() { a.Close(); b.Close() })
	idA, _ := a.ReserveID()
	idB, _ := b.ReserveID()
	add := func(e *end, local, peer uint16, localNode, peerNode uint64, send, receive message.Key, to radio.Addr) {
		s, err := e.AddSession(SessionConfig{Kind: CASE, LocalID: local, PeerID: peer, LocalNode: localNode, PeerNode: peerNode,
			Send: send, Receive: receive, Link: e.link, Addr: to})
		if err != nil {
			t.Fatal(err)
		}
		e.session = s
	}
	add(a, idA, idB, 1, 2, message.Key{1}, message.Key{2}, addrB)
	add(b, idB, idA, 2, 1, message.Key{2}, message.Key{1}, addrA)
	return a, b
}

// serveEcho answers every message with its body, until the peer is done.
func (e *end) serveEcho(work time.Duration) {
	e.Handle(echo, func(ctx context.Context, x *Exchange, msg Message) {
		for {
			time.Sleep(work)
			if x.Send(ctx, echo, msg.Opcode+1, msg.Body) != nil || string(msg.Body) == "last" {
				return
			}
			var err error
			if msg, err = x.Receive(ctx); err != nil {
				return
			}
		}
	})
}

func (e *end) ask(t *testing.T, x *Exchange, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := x.Send(ctx, echo, 1, []byte(body)); err != nil {
		t.Fatal(err)
	}
	msg, err := x.Receive(ctx)
	if err != nil || string(msg.Body) != body || msg.Opcode != 2 {
		t.Fatalf("got %q, %v; want %q", msg.Body, err, body)
	}
}

func TestConversation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		packets := 0
		net := radiotest.NewNetwork(1)
		net.SetDrop(func(_, _ radio.Addr, _ []byte) bool { packets++; return false })
		a, b := pairOf(t, net)
		b.serveEcho(0)
		x, err := a.Open(a.session)
		if err != nil {
			t.Fatal(err)
		}
		a.ask(t, x, "one")
		a.ask(t, x, "two")
		a.ask(t, x, "last")
		x.Close()
		synctest.Wait()
		// Three questions, three answers, one acknowledgement of the last:
		// the others ride on the message that follows.
		if packets != 7 {
			t.Errorf("%d packets, want 7", packets)
		}
		if len(a.session.exchanges)+len(b.session.exchanges) != 0 {
			t.Error("exchanges are left over")
		}
	})
}

// TestEveryLoss cuts each packet of a conversation in turn.
func TestEveryLoss(t *testing.T) {
	for nth := 1; nth <= 7; nth++ {
		synctest.Test(t, func(t *testing.T) {
			net := radiotest.NewNetwork(1)
			net.SetDrop(radiotest.DropNth(nth))
			a, b := pairOf(t, net)
			b.serveEcho(0)
			x, _ := a.Open(a.session)
			a.ask(t, x, "one")
			a.ask(t, x, "two")
			a.ask(t, x, "last")
			x.Close()
			time.Sleep(time.Minute)
			if n := a.Stats().Retransmissions + b.Stats().Retransmissions; n < 1 || n > 2 {
				t.Errorf("packet %d lost: %d retransmissions", nth, n)
			}
			if len(a.session.exchanges)+len(b.session.exchanges) != 0 {
				t.Error("exchanges are left over")
			}
		})
	}
}

func TestBadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := radiotest.NewNetwork(7)
		net.SetConditions(radiotest.Conditions{Loss: 0.2, Duplicate: 0.2, Latency: 20 * time.Millisecond, Jitter: 60 * time.Millisecond})
		a, b := pairOf(t, net)
		b.serveEcho(0)
		for range 50 {
			x, _ := a.Open(a.session)
			for i := range 3 {
				a.ask(t, x, fmt.Sprint("question ", i))
			}
			a.ask(t, x, "last")
			x.Close()
		}
	})
}

func TestStandaloneAck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pairOf(t, radiotest.NewNetwork(1))
		b.serveEcho(5 * time.Second)
		x, _ := a.Open(a.session)
		start := time.Now()
		if err := x.Send(t.Context(), echo, 1, []byte("last")); err != nil {
			t.Fatal(err)
		}
		if err := x.Flush(t.Context()); err != nil || time.Since(start) != ackTimeout {
			t.Errorf("acknowledged after %v, %v; want %v", time.Since(start), err, ackTimeout)
		}
		if _, err := x.Receive(t.Context()); err != nil {
			t.Error(err)
		}
		x.Close()
	})
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := radiotest.NewNetwork(1)
		var times []time.Time
		net.SetDrop(func(_, _ radio.Addr, _ []byte) bool { times = append(times, time.Now()); return true })
		a, _ := pairOf(t, net)
		time.Sleep(time.Minute) // idle
		x, _ := a.Open(a.session)
		x.Send(t.Context(), echo, 1, nil)
		if _, err := x.Receive(t.Context()); !errors.Is(err, ErrNoAck) {
			t.Fatal(err)
		}
		if len(times) != MaxTransmissions {
			t.Fatalf("%d transmissions", len(times))
		}
		for n := range times[1:] {
			gap, low := times[n+1].Sub(times[n]), backoff(DefaultParams.Idle, n, 0)
			if gap < low || gap > low*5/4 {
				t.Errorf("wait %d: %v, want %v to %v", n, gap, low, low*5/4)
			}
		}
		if err := x.Send(t.Context(), echo, 1, nil); !errors.Is(err, ErrNoAck) {
			t.Error(err)
		}
	})
}

func TestBackoff(t *testing.T) {
	for n, want := range []float64{1.1, 1.1, 1.76, 2.816, 4.5056} {
		if got := backoff(time.Second, n, 0).Seconds(); got < want-.001 || got > want+.001 {
			t.Errorf("%d: %v s, want %v", n, got, want)
		}
	}
}

func TestReliableLinkHasNoAcks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := radiotest.NewNetwork(1)
		packets := 0
		net.SetDrop(func(_, _ radio.Addr, _ []byte) bool { packets++; return false })
		a, b := pairOn(t, net.Reliable(addrA, 500), net.Reliable(addrB, 500))
		b.serveEcho(time.Second)
		x, _ := a.Open(a.session)
		a.ask(t, x, "last")
		x.Close()
		time.Sleep(time.Minute)
		if packets != 2 {
			t.Errorf("%d packets", packets)
		}
	})
}

// TestLinkEnds loses the link under a conversation: who waits is told at once,
// and sessions over other links go on.
func TestLinkEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := radiotest.NewNetwork(1)
		a, b := pairOn(t, net.Reliable(addrA, 500), net.Reliable(addrB, 500))
		b.Handle(echo, func(ctx context.Context, _ *Exchange, _ Message) { <-ctx.Done() })
		other, err := a.Unsecured(net.Link(radio.Addr{Transport: radio.UDP}), addrB, Params{})
		if err != nil {
			t.Fatal(err)
		}
		x, _ := a.Open(a.session)
		if err := x.Send(t.Context(), echo, 1, nil); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { a.link.Close() })
		began := time.Now()
		if _, err := x.Receive(t.Context()); !errors.Is(err, ErrLinkLost) {
			t.Errorf("the one who waits is told %v", err)
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("told after %v", waited)
		}
		if _, err := a.Open(a.session); !errors.Is(err, ErrLinkLost) {
			t.Errorf("a new exchange: %v", err)
		}
		if _, err := a.Open(other); err != nil {
			t.Errorf("the session over another link: %v", err)
		}
	})
}

func TestReplayIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := radiotest.NewNetwork(1)
		var first []byte
		net.SetDrop(func(from, _ radio.Addr, p []byte) bool {
			if first == nil {
				first = append(first, p...)
			}
			return false
		})
		a, b := pairOf(t, net)
		handled := 0
		b.Handle(echo, func(context.Context, *Exchange, Message) { handled++ })
		x, _ := a.Open(a.session)
		x.Send(t.Context(), echo, 1, nil)
		x.Flush(t.Context())
		x.Close()
		for range 3 {
			a.link.Send(addrB, first)
		}
		synctest.Wait()
		if handled != 1 || b.Stats().Duplicates != 3 {
			t.Errorf("handled %d times, %d duplicates", handled, b.Stats().Duplicates)
		}
	})
}

func TestSessionClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := pairOf(t, radiotest.NewNetwork(1))
		x, _ := a.Open(a.session)
		go func() { time.Sleep(time.Second); a.session.Close() }()
		if _, err := x.Receive(t.Context()); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if _, err := a.Open(a.session); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		y, _ := a.Unsecured(a.link, addrB, Params{})
		z, _ := a.Open(y)
		if _, err := z.Receive(ctx); !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
	})
}

func TestUnsecured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := radiotest.NewNetwork(1)
		a, b := newEnd(t, net.Link(addrA)), newEnd(t, net.Link(addrB))
		defer a.Close()
		defer b.Close()
		b.serveEcho(0)
		for range 3 * maxUnsecured {
			s, err := a.Unsecured(a.link, addrB, Params{})
			if err != nil {
				t.Fatal(err)
			}
			x, _ := a.Open(s)
			a.ask(t, x, "last")
			x.Close()
			s.Close()
		}
		synctest.Wait()
		if len(b.unsecured) > maxUnsecured || len(b.strangers) > maxUnsecured || len(a.unsecured) != 0 {
			t.Errorf("%d and %d sessions are kept", len(b.unsecured), len(a.unsecured))
		}
	})
}

func TestResponderLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pairOf(t, radiotest.NewNetwork(1))
		b.Handle(echo, func(ctx context.Context, _ *Exchange, _ Message) { <-ctx.Done() })
		for range maxPerPeer + 10 {
			x, _ := a.Open(a.session)
			x.SendOnce(echo, 1, nil)
		}
		synctest.Wait()
		if len(b.session.exchanges) != maxPerPeer || b.Stats().Dropped != 10 {
			t.Errorf("%d exchanges, %d dropped", len(b.session.exchanges), b.Stats().Dropped)
		}
	})
}

// TestNoRoom has more to say than there is room for: what is dropped is taken
// when it is sent again, and nothing is acknowledged that was not taken.
func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pairOf(t, radiotest.NewNetwork(1))
		end := make(chan struct{})
		var handled atomic.Int32
		b.Handle(echo, func(context.Context, *Exchange, Message) { handled.Add(1); <-end })
		var all []*Exchange
		for range maxPerPeer + 10 {
			x, _ := a.Open(a.session)
			if err := x.Send(t.Context(), echo, 1, nil); err != nil {
				t.Fatal(err)
			}
			all = append(all, x)
		}
		synctest.Wait()
		if n := handled.Load(); n != maxPerPeer {
			t.Fatalf("%d are handled", n)
		}
		close(end)
		for i, x := range all {
			if err := x.Flush(t.Context()); err != nil {
				t.Errorf("exchange %d: %v", i, err)
			}
		}
		if n := handled.Load(); n != maxPerPeer+10 {
			t.Errorf("%d were handled, and %d acknowledged", n, len(all))
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.answering != 0 || len(b.responding) != 0 {
			t.Errorf("%d exchanges are still counted, of %d peers", b.answering, len(b.responding))
		}
	})
}

// TestStrangersLeaveRoom has strangers begin all they can: a peer with a
// session is heard.
func TestStrangersLeaveRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pairOf(t, radiotest.NewNetwork(1))
		b.Handle(echo, func(ctx context.Context, x *Exchange, m Message) {
			if x.Session().Kind() == Unsecured {
				<-ctx.Done()
			}
			x.Send(ctx, echo, 2, m.Body)
		})
		for range 3 * maxUnsecured {
			s, err := a.Unsecured(a.link, addrB, Params{})
			if err != nil {
				t.Fatal(err)
			}
			for range 8 {
				x, _ := a.Open(s)
				x.SendOnce(echo, 1, nil)
			}
		}
		synctest.Wait()
		x, _ := a.Open(a.session)
		a.ask(t, x, "last")
	})
}

func TestPeerMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := radiotest.NewNetwork(1)
		a, b := pairOf(t, net)
		moved := radio.UDPAddr(netip.MustParseAddrPort("[fd00::c]:5540"))
		a.session.link = net.Link(moved)
		a.Serve(a.session.link)
		b.serveEcho(0)
		x, _ := a.Open(a.session)
		a.ask(t, x, "last")
		if got := b.session.Addr(); got != moved {
			t.Errorf("peer is at %v, want %v", got, moved)
		}
	})
}

func FuzzPacket(f *testing.F) {
	h := message.Header{Counter: 1, HasSource: true, Source: 5}
	p := message.Payload{Protocol: echo, Initiator: true, Reliable: true, Body: []byte("x")}
	f.Add(p.Append(h.Append(nil)))
	net := radiotest.NewNetwork(1)
	m, err := New(Config{Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	m.Handle(echo, func(context.Context, *Exchange, Message) {})
	l := net.Link(addrA)
	f.Fuzz(func(t *testing.T, b []byte) {
		m.packet(l, addrB, b)
		if len(m.unsecured) > maxUnsecured {
			t.Fatal("too many unsecured sessions")
		}
	})
}

func BenchmarkRoundTrip(b *testing.B) {
	net := radiotest.NewNetwork(1)
	x, y := pairOn(b, net.Link(addrA), net.Link(addrB))
	y.serveEcho(0)
	body := []byte("last") // ends the echo
	b.ReportAllocs()
	for b.Loop() {
		ex, err := x.Open(x.session)
		if err != nil {
			b.Fatal(err)
		}
		ex.Send(context.Background(), echo, 1, body)
		if _, err := ex.Receive(context.Background()); err != nil {
			b.Fatal(err)
		}
		ex.Close()
	}
}

// TestOverhear has messages on no session heard that take no room: handshakes
// have it all.
func TestOverhear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pairOf(t, radiotest.NewNetwork(1))
		var heard []string
		b.Overhear(message.SecureChannel, 0x50, func(from radio.Addr, body []byte) { heard = append(heard, from.String()+" "+string(body)) })
		for range maxUnsecured + 1 {
			if err := a.SendUnsecured(a.link, addrB, message.SecureChannel, 0x50, []byte("awake")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(heard) != maxUnsecured+1 || heard[0] != addrA.String()+" awake" {
			t.Errorf("%q", heard)
		}
		if len(b.strangers) != 0 || len(a.unsecured) != 0 {
			t.Errorf("%d sessions there, %d here", len(b.strangers), len(a.unsecured))
		}
		if err := a.SendUnsecured(a.link, addrB, message.SecureChannel, 0x51, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(heard) != maxUnsecured+1 {
			t.Error("another message is heard")
		}
	})
}
