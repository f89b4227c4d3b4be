package wiretest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

var (
	addrA = netip.MustParseAddr("10.0.0.1")
	addrB = netip.MustParseAddr("10.0.0.2")
	portB = netip.AddrPortFrom(addrB, 5541)
)

// pair is a network with a connection between two hosts.
func pair(t testing.TB, latency time.Duration) (n *Net, a, b net.Conn, l net.Listener) {
	t.Helper()
	n = New()
	n.Latency(addrA, addrB, latency)
	n.Latency(addrB, addrA, latency)
	l, err := n.Host(addrB).Listen(portB.Port())
	if err != nil {
		t.Fatal(err)
	}
	if a, err = n.Host(addrA).Dial(t.Context(), portB); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return n, a, b, l
}

func TestConn(t *testing.T) {
	for name, latency := range map[string]time.Duration{"no latency": 0, "latency": 10 * time.Microsecond} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
				_, a, b, l := pair(t, latency)
				return a, b, func() {
					a.Close()
					b.Close()
					l.Close()
				}, nil
			})
		})
	}
}

// word reads as many octets as s has.
func word(t *testing.T, c net.Conn, s string) {
	t.Helper()
	b := make([]byte, len(s))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("read %q, %v, want %q", b, err, s)
	}
}

func say(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatalf("write %q: %v", s, err)
	}
}

// took fails unless exactly d went by since start.
func took(t *testing.T, start time.Time, d time.Duration) {
	t.Helper()
	if e := time.Since(start); e != d {
		t.Errorf("it took %v, want %v", e, d)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		n, a, b, _ := pair(t, time.Millisecond)
		took(t, start, 2*time.Millisecond)
		say(t, a, "one")
		word(t, b, "one")
		took(t, start, 3*time.Millisecond)
		n.Latency(addrA, addrB, time.Second)
		say(t, a, "two ")
		n.Latency(addrA, addrB, 0) // and still nothing overtakes
		say(t, a, "three")
		word(t, b, "two three")
		say(t, b, "four")
		word(t, a, "four")
		a.Close()
		if _, err := b.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read after the other end closed: %v", err)
		}
		// The first octets that meet nobody are answered with a reset.
		say(t, b, "five")
		time.Sleep(2 * time.Millisecond)
		if _, err := b.Write([]byte("six")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write to nobody: %v", err)
		}
		b.Close()
	})
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, l := pair(t, time.Millisecond)
		say(t, a, "one ")
		n.Cut(addrA, addrB) // with that under way
		say(t, a, "two")
		say(t, b, "back") // the other direction works
		word(t, a, "back")
		b.SetReadDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("read over a cut: %v", err)
		}
		took(t, start, time.Second)
		if written, err := a.Write(make([]byte, 2*window)); err == nil || written != window-len("one two") {
			// The window is full, and Silence ends it.
			t.Errorf("wrote %d, %v", written, err)
		}
		took(t, start, Silence-time.Millisecond)
		for _, c := range []net.Conn{a, b} {
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
				t.Errorf("read after silence: %v", err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host(addrA).Dial(ctx, portB); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial over a cut: %v", err)
		}
		time.AfterFunc(time.Second, func() { n.Heal(addrA, addrB) })
		start = time.Now()
		a, err := n.Host(addrA).Dial(t.Context(), portB) // it waits
		if err != nil {
			t.Fatal(err)
		}
		took(t, start, time.Second+2*time.Millisecond)
		if b, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		say(t, a, "hello")
		word(t, b, "hello")
		a.Close()
		b.Close()
	})
}

// TestHeal has a cut that is shorter than Silence: everything arrives.
func TestHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, _ := pair(t, time.Millisecond)
		for range 3 { // the times do not add up
			start := time.Now()
			n.Cut(addrA, addrB)
			n.Cut(addrA, addrB)
			var want bytes.Buffer
			for i := range 100 {
				want.WriteByte(byte(i))
				say(t, a, string(rune(i)))
				time.Sleep(Silence / 101)
			}
			n.Heal(addrA, addrB)
			n.Heal(addrA, addrB)
			word(t, b, want.String())
			took(t, start, 100*(Silence/101)+time.Millisecond)
		}
		n.Cut(addrB, addrA)
		b.Close()
		a.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the end came over a cut: %v", err)
		}
		n.Heal(addrB, addrA)
		a.SetReadDeadline(time.Time{})
		if _, err := a.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the end: %v", err)
		}
		a.Close()
	})
}

func TestReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, _ := pair(t, 0)
		go func() {
			time.Sleep(time.Second)
			n.Reset(addrA, addrB)
		}()
		if _, err := b.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("read: %v", err)
		}
		say(t, a, "it does not know yet")
		if _, err := a.Write([]byte("it does")); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("write: %v", err)
		}
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
		if len(n.conns) != 0 {
			t.Error("connections are left")
		}
	})
}

func TestListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, a, b, l := pair(t, 0)
		if _, err := n.Host(addrB).Listen(portB.Port()); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		waits, err := n.Host(addrA).Dial(t.Context(), portB)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Second)
			l.Close()
		}()
		if c, err := l.Accept(); err != nil || c.RemoteAddr().String() != waits.LocalAddr().String() {
			t.Fatal(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
		if _, err := n.Host(addrA).Dial(t.Context(), portB); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial a closed port: %v", err)
		}
		say(t, a, "goes on")
		word(t, b, "goes on")
		if a.LocalAddr().String() != "10.0.0.1:49152" || b.LocalAddr().String() != portB.String() {
			t.Errorf("from %v to %v", a.LocalAddr(), b.LocalAddr())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host(addrA).Dial(ctx, netip.MustParseAddrPort("10.0.0.9:1")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial nobody: %v", err)
		}
	})
}
