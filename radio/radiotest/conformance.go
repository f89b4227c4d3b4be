package radiotest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"gatehouse/radio"
)

// patience is how long the suite waits for a message that ought to come.
const patience = 10 * time.Second

// TestLink holds a radio.Link to its contract. dial makes two fresh links
// that reach each other and the address each is known to the other by; the
// suite closes them. The way between them must not lose a handful of messages.
func TestLink(t *testing.T, dial func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr)) {
	open := func(t *testing.T) pair {
		a, b, aAddr, bAddr := dial(t)
		t.Cleanup(func() { a.Close(); b.Close() })
		return pair{t, a, b, aAddr, bAddr}
	}

	t.Run("both directions, and a reply to the sender's address", func(t *testing.T) {
		p := open(t)
		p.send(p.a, p.bAddr, []byte("from a"))
		got, from := p.receive(p.b)
		if string(got) != "from a" || from != p.aAddr {
			t.Fatalf("b got %q from %v, want %q from %v", got, from, "from a", p.aAddr)
		}
		p.send(p.b, from, []byte("from b"))
		got, from = p.receive(p.a)
		if string(got) != "from b" || from != p.bAddr {
			t.Fatalf("a got %q from %v, want %q from %v", got, from, "from b", p.bAddr)
		}
	})

	t.Run("the longest message, and one too long", func(t *testing.T) {
		p := open(t)
		if p.a.MTU() <= 0 {
			t.Fatalf("MTU is %d", p.a.MTU())
		}
		long := bytes.Repeat([]byte{0xa5}, p.a.MTU())
		p.send(p.a, p.bAddr, long)
		if got, _ := p.receive(p.b); !bytes.Equal(got, long) {
			t.Fatalf("got %d bytes, want the %d sent", len(got), len(long))
		}
		if err := p.a.Send(p.bAddr, append(long, 0)); err == nil {
			t.Error("a message longer than the MTU was accepted")
		}
	})

	t.Run("an empty message is refused", func(t *testing.T) {
		p := open(t)
		if err := p.a.Send(p.bAddr, nil); err == nil {
			t.Error("it was accepted")
		}
	})

	t.Run("a sent buffer may be used again", func(t *testing.T) {
		p := open(t)
		b := []byte("first")
		p.send(p.a, p.bAddr, b)
		copy(b, "XXXXX")
		if got, _ := p.receive(p.b); string(got) != "first" {
			t.Fatalf("got %q: the link kept the buffer", got)
		}
	})

	t.Run("a message longer than the buffer is dropped", func(t *testing.T) {
		p := open(t)
		p.send(p.a, p.bAddr, []byte("too long for five"))
		p.send(p.a, p.bAddr, []byte("fits"))
		var b [5]byte
		n, _, err := p.b.Receive(b[:])
		if err != nil || string(b[:n]) != "fits" {
			t.Fatalf("got %q, %v; want the next message", b[:n], err)
		}
	})

	t.Run("an address of another transport is refused", func(t *testing.T) {
		p := open(t)
		other := radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:01"}
		if p.bAddr.Transport == radio.BLE {
			other = radio.Addr{Transport: radio.UDP}
		}
		if err := p.a.Send(other, []byte("x")); err == nil {
			t.Errorf("a message to %v was accepted", other)
		}
	})

	t.Run("closing ends Receive and Send", func(t *testing.T) {
		p := open(t)
		received := make(chan error, 1)
		go func() {
			_, _, err := p.a.Receive(make([]byte, p.a.MTU()))
			received <- err
		}()
		time.Sleep(10 * time.Millisecond) // let it block; either order must pass
		if err := p.a.Close(); err != nil {
			t.Fatalf("close: %v", err)
		}
		select {
		case err := <-received:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("blocked Receive returned %v, want net.ErrClosed", err)
			}
		case <-time.After(patience):
			t.Fatal("Receive still blocks")
		}
		if _, _, err := p.a.Receive(make([]byte, 16)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Receive after Close: %v, want net.ErrClosed", err)
		}
		if err := p.a.Send(p.bAddr, []byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Send after Close: %v, want net.ErrClosed", err)
		}
		if err := p.a.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})

	t.Run("several goroutines at once", func(t *testing.T) {
		p := open(t)
		const senders, each = 4, 16
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					if err := p.a.Send(p.bAddr, fmt.Appendf(nil, "%d/%d", s, i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		seen := make(map[string]bool)
		for range senders * each {
			got, _ := p.receive(p.b)
			if seen[string(got)] {
				t.Fatalf("%q came twice", got)
			}
			seen[string(got)] = true
		}
		wg.Wait()
	})

	t.Run("a reliable link keeps the order", func(t *testing.T) {
		p := open(t)
		if p.a.Reliable() != p.b.Reliable() {
			t.Fatal("one side is reliable and the other is not")
		}
		if !p.a.Reliable() {
			t.Skip("a datagram link promises no order")
		}
		for i := range 64 {
			p.send(p.a, p.bAddr, []byte{byte(i)})
		}
		for i := range 64 {
			if got, _ := p.receive(p.b); got[0] != byte(i) {
				t.Fatalf("message %d came in place %d", got[0], i)
			}
		}
	})
}

type pair struct {
	t            *testing.T
	a, b         radio.Link
	aAddr, bAddr radio.Addr
}

func (p pair) send(l radio.Link, to radio.Addr, b []byte) {
	p.t.Helper()
	if err := l.Send(to, b); err != nil {
		p.t.Fatal(err)
	}
}

// receive fails the test instead of blocking for ever.
func (p pair) receive(l radio.Link) ([]byte, radio.Addr) {
	p.t.Helper()
	alarm := time.AfterFunc(patience, func() { l.Close() })
	defer alarm.Stop()
	b := make([]byte, l.MTU())
	n, from, err := l.Receive(b)
	if err != nil {
		p.t.Fatalf("nothing came: %v", err)
	}
	return b[:n], from
}
