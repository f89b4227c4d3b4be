package securechannel

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel/spake2p"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

const passcode = 20202021

var (
	addrA = radio.UDPAddr(netip.MustParseAddrPort("[fd00::a]:5540"))
	addrB = radio.UDPAddr(netip.MustParseAddrPort("[fd00::b]:5540"))
)

// world is a commissioner a and a device b, in a bubble.
type world struct {
	net    *radiotest.Network
	a, b   *exchange.Manager
	peer   Peer
	r      *Responder
	window *Window
	paired []error
	served *exchange.Session // what the device had of the last pairing
}

func newWorld(t *testing.T) *world {
	w := &world{net: radiotest.NewNetwork(1)}
	manager := func(l radio.Link) *exchange.Manager {
		m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		m.Serve(l)
		t.Cleanup(m.Close)
		return m
	}
	la := w.net.Link(addrA)
	w.a, w.b = manager(la), manager(w.net.Link(addrB))
	w.peer = Peer{Link: la, Addr: addrB}
	secret, err := spake2p.Derive(passcode, []byte("SPAKE2P Key Salt"), 1000)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := secret.Verifier()
	if err != nil {
		t.Fatal(err)
	}
	w.window = &Window{verifier, 1000, []byte("SPAKE2P Key Salt")}
	w.r = &Responder{Manager: w.b, Log: slog.New(slog.DiscardHandler), Resumptions: new(Resumptions),
		Window:     func() *Window { return w.window },
		Identities: func() []*Identity { return nil },
		Paired:     func(s *exchange.Session, err error) { w.served = s; w.paired = append(w.paired, err) }}
	w.r.Register()
	return w
}

// talk proves that both sides have the same keys.
func talk(t *testing.T, m, other *exchange.Manager, s *exchange.Session) {
	t.Helper()
	heard := make(chan string, 1)
	other.Handle(message.BDX, func(_ context.Context, _ *exchange.Exchange, msg exchange.Message) { heard <- string(msg.Body) })
	x, err := m.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := x.Send(t.Context(), message.BDX, 1, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := x.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-heard; got != "hello" {
		t.Errorf("heard %q", got)
	}
}

func TestPASE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s, err := PASE(t.Context(), w.a, w.peer, passcode)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the device is told a little later
		talk(t, w.a, w.b, s)
		talk(t, w.b, w.a, w.served)
		if s.Challenge() != w.served.Challenge() || s.Challenge() == [16]byte{} {
			t.Error("the attestation challenges differ")
		}
		Close(w.a, s)
		synctest.Wait()
		select {
		case <-w.served.Done():
		default:
			t.Error("the device still has the session")
		}
	})
}

func TestPASEEveryLoss(t *testing.T) {
	for nth := 1; nth <= 8; nth++ {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.net.SetDrop(radiotest.DropNth(nth))
			s, err := PASE(t.Context(), w.a, w.peer, passcode)
			if err != nil {
				t.Fatalf("packet %d lost: %v", nth, err)
			}
			talk(t, w.a, w.b, s)
		})
	}
}

// TestPASEEveryCut cuts the network for good behind each packet: both sides
// end with an error, and nothing is left behind.
func TestPASEEveryCut(t *testing.T) {
	for n := range 6 {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.net.SetDrop(radiotest.DropAfter(n))
			if _, err := PASE(t.Context(), w.a, w.peer, passcode); !errors.Is(err, exchange.ErrNoAck) && !errors.Is(err, exchange.ErrTimeout) {
				t.Errorf("cut behind packet %d: %v", n, err)
			}
			time.Sleep(5 * time.Minute)
			if left := w.a.Sessions(func(*exchange.Session) bool { return true }); len(left) != 0 {
				t.Errorf("cut behind packet %d: %d sessions left", n, len(left))
			}
			if w.r.running.Load() != 0 {
				t.Errorf("cut behind packet %d: the device is still at it", n)
			}
		})
	}
}

func TestWrongPasscode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if _, err := PASE(t.Context(), w.a, w.peer, passcode+1); !errors.Is(err, ErrPasscode) {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(w.paired) != 1 || w.paired[0] == nil {
			t.Errorf("the device saw %v", w.paired)
		}
		if _, err := PASE(t.Context(), w.a, w.peer, passcode); err != nil {
			t.Errorf("the next attempt: %v", err)
		}
	})
}

func TestNoWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.window = nil
		if _, err := PASE(t.Context(), w.a, w.peer, passcode); !IsStatus(err, CodeInvalidParameter) {
			t.Fatal(err)
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.r.running.Store(maxHandshakes)
		_, err := PASE(t.Context(), w.a, w.peer, passcode)
		var s *Status
		if !errors.As(err, &s) {
			t.Fatal(err)
		}
		if wait, ok := s.Wait(); !ok || wait != busyWait {
			t.Errorf("wait %v, %v", wait, ok)
		}
	})
}

func TestWeakParametersAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.window.Iterations = 1
		if _, err := PASE(t.Context(), w.a, w.peer, passcode); err == nil {
			t.Fatal("accepted one iteration")
		}
	})
}
