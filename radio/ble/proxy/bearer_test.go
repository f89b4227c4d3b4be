package proxy_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/ble/proxy"
	"gatehouse/radio/btp"
	"gatehouse/radio/radiotest"
	"gatehouse/radio/radiotest/bleproxy"
)

var (
	quiet  = slog.New(slog.DiscardHandler)
	device = radio.Addr{Transport: radio.BLE, Peer: "C2:CA:FE:00:00:01"}
	nobody = radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:09"}
	self   = radio.Addr{Transport: radio.BLE, Peer: "gateway"}
	lamp   = radio.Advertisement{Kind: radio.Commissionable, Discriminator: 0xabc, HasDiscriminator: true, Vendor: 0xfff1, Product: 0x8001, AdditionalData: true, RSSI: -61}
)

// air has one device, of which nothing is heard while silent.
type air struct {
	mtu   int
	conns chan *radiotest.Connection // each connection that was made

	mu     sync.Mutex
	silent bool
	scans  int
	broken error // why nobody can scan
}

func newAir() *air { return &air{mtu: 247, conns: make(chan *radiotest.Connection, 64)} }

func (a *air) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *air) Scan(ctx context.Context, seen func(radio.Advertisement)) error {
	a.set(func() { a.scans++ })
	defer a.set(func() { a.scans-- })
	for ctx.Err() == nil {
		a.mu.Lock()
		silent, broken := a.silent, a.broken
		a.mu.Unlock()
		if broken != nil {
			return broken
		}
		if !silent {
			ad := lamp
			ad.Addrs = []radio.Addr{device}
			seen(ad)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (a *air) Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error) {
	if addr != device {
		<-ctx.Done()
		return nil, errors.New("nobody answers")
	}
	c := radiotest.NewConnection(a.mtu)
	a.conns <- c
	return c.Client, nil
}

// lab is a server with one proxy.
type lab struct {
	t      *testing.T
	air    *air
	server *proxy.Server
	radio  *proxy.Radio
	leave  func()        // the proxy goes away
	left   chan struct{} // closed when the server has noticed
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, air: newAir(), left: make(chan struct{})}
	joined := make(chan *proxy.Radio, 1)
	l.server = proxy.New(proxy.Config{Now: time.Now, Log: quiet, Joined: func(r *proxy.Radio) func() {
		joined <- r
		return func() { close(l.left) }
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ws, served, err := bleproxy.Dial(ctx, l.server)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- bleproxy.Serve(ctx, ws, l.air) }()
	l.radio, l.leave = <-joined, func() { ws.CloseNow() }
	t.Cleanup(func() {
		l.server.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error("what no gateway may do:", err)
		}
		served()
	})
	return l
}

func (l *lab) connect() (btp.Bearer, *radiotest.Connection) {
	l.t.Helper()
	c, err := l.radio.Connect(l.t.Context(), device)
	if err != nil {
		l.t.Fatal(err)
	}
	return c, <-l.air.conns
}

// bubble runs f with a lab in a synctest bubble.
func bubble(t *testing.T, f func(*testing.T, *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newLab(t)) })
}

// A Link over a proxy keeps the contract of every Link.
func TestConformance(t *testing.T) {
	l := newLab(t)
	radiotest.TestLink(t, func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
		c, far := l.connect()
		accepted := make(chan *btp.Link, 1)
		go func() {
			link, err := btp.Accept(t.Context(), far.Server, btp.Config{Peer: self, Now: time.Now})
			if err != nil {
				t.Error(err)
			}
			accepted <- link
		}()
		client, err := btp.Dial(t.Context(), c, btp.Config{Peer: device, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		return client, <-accepted, self, device
	})
}

func TestScan(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 2 { // who scan at the same time
			wg.Go(func() {
				seen := 0
				err := l.radio.Scan(ctx, func(ad radio.Advertisement) {
					seen++
					if ad.Discriminator != lamp.Discriminator || !ad.HasDiscriminator || ad.Vendor != lamp.Vendor || ad.Product != lamp.Product || !ad.AdditionalData ||
						ad.RSSI != lamp.RSSI || len(ad.Addrs) != 1 || ad.Addrs[0] != device {
						t.Errorf("got %+v", ad)
					}
				})
				if err != context.DeadlineExceeded || seen < 95 {
					t.Errorf("%v after %d advertisements", err, seen)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		l.air.set(func() {
			if l.air.scans != 0 {
				t.Error("it scans for nobody")
			}
			l.air.broken = errors.New("out of order")
		})
		if err := l.radio.Scan(t.Context(), func(radio.Advertisement) {}); err == nil {
			t.Error("a proxy that cannot scan does")
		}
		l.air.set(func() { l.air.broken = nil })
		ctx, cancel = context.WithCancel(t.Context())
		if err := l.radio.Scan(ctx, func(radio.Advertisement) { cancel() }); err != context.Canceled {
			t.Errorf("again: %v", err)
		}
	})
}

func TestConnect(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		c, far := l.connect()
		if c.MTU() != 247 {
			t.Errorf("MTU %d", c.MTU())
		}
		if err := c.Write(make([]byte, 245)); err == nil {
			t.Error("a write that is too long was accepted")
		}
		for _, text := range []string{"one", "two"} {
			if err := c.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if p, err := far.Server.Read(); string(p) != text || err != nil {
				t.Errorf("the device has %q, %v", p, err)
			}
			if err := far.Server.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
			if p, err := c.Read(); string(p) != text || err != nil {
				t.Errorf("we have %q, %v", p, err)
			}
		}
		c.Close()
		if _, err := far.Server.Read(); err != io.EOF {
			t.Errorf("the device is told %v", err)
		}
		if _, err := c.Read(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close: %v", err)
		}
		if err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close: %v", err)
		}
	})
}

// TestUnreachable gives up when ctx ends or the proxy does, and can be used
// again.
func TestUnreachable(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if _, err := l.radio.Connect(ctx, nobody); !errors.Is(err, ble.ErrUnreachable) || time.Since(began) > time.Second {
			t.Errorf("with a deadline: %v after %v", err, time.Since(began))
		}
		began = time.Now()
		if _, err := l.radio.Connect(t.Context(), nobody); !errors.Is(err, ble.ErrUnreachable) || time.Since(began) > 16*time.Second {
			t.Errorf("without: %v after %v", err, time.Since(began))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := l.radio.Connect(ctx, nobody); !errors.Is(err, context.Canceled) {
			t.Errorf("called off: %v", err)
		}
		c, _ := l.connect() // in its turn
		c.Close()
		for _, a := range []radio.Addr{{Transport: radio.UDP}, {Transport: radio.BLE, Peer: "\"}"}} {
			if _, err := l.radio.Connect(t.Context(), a); err == nil {
				t.Errorf("connected to %v", a)
			}
		}
	})
}

// TestCalledOff connects to a device that answers after the caller has gone:
// the device is let go.
func TestCalledOff(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		go l.radio.Connect(t.Context(), nobody) // keeps the proxy busy
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.radio.Connect(ctx, device); !errors.Is(err, ble.ErrUnreachable) {
			t.Fatal(err)
		}
		far := <-l.air.conns
		if _, err := far.Server.Read(); err != io.EOF {
			t.Errorf("the device is told %v", err)
		}
	})
}

// TestGone fails everything at once when the proxy goes away.
func TestGone(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		c, far := l.connect()
		far.SetFate(radiotest.Mute.At(2))
		if err := c.Write([]byte("one")); err != nil {
			t.Fatal(err)
		}
		errs := make(chan error, 4)
		go func() { errs <- c.Write([]byte("two")) }()
		go func() { _, err := c.Read(); errs <- err }()
		go func() { errs <- l.radio.Scan(t.Context(), func(radio.Advertisement) {}) }()
		go func() { _, err := l.radio.Connect(t.Context(), nobody); errs <- err }()
		synctest.Wait()
		began := time.Now()
		l.leave()
		for range 4 {
			if err := <-errs; !errors.Is(err, proxy.ErrGone) {
				t.Error(err)
			}
		}
		<-l.left
		if took := time.Since(began); took > 0 || len(l.server.Radios()) != 0 {
			t.Errorf("it took %v, and %d are left", took, len(l.server.Radios()))
		}
		if _, err := l.radio.Connect(t.Context(), device); !errors.Is(err, proxy.ErrGone) {
			t.Errorf("afterwards: %v", err)
		}
		far.Cut() // lets the proxy go, too
	})
}

// TestDeviceGone ends a connection for the device's reasons.
func TestDeviceGone(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		c, far := l.connect()
		if err := c.Write([]byte("one")); err != nil {
			t.Fatal(err)
		}
		if err := far.Server.Write([]byte("last")); err != nil {
			t.Fatal(err)
		}
		far.Cut()
		if p, err := c.Read(); string(p) != "last" || err != nil {
			t.Errorf("%q, %v", p, err)
		}
		if _, err := c.Read(); err != io.EOF {
			t.Errorf("Read: %v", err)
		}
		if err := c.Write([]byte("two")); err == nil {
			t.Error("it was written to")
		}
		c.Close()
	})
}

// TestManyConnections has places for eight, and gives each back.
func TestManyConnections(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		for range 3 {
			var conns []btp.Bearer
			for range 8 {
				c, _ := l.connect()
				conns = append(conns, c)
			}
			if _, err := l.radio.Connect(t.Context(), device); err == nil {
				t.Fatal("a ninth connection was made")
			}
			for _, c := range conns {
				c.Close()
			}
			synctest.Wait()
		}
	})
}

// TestSlowPeer leaves a write that nobody confirms in time.
func TestSlowPeer(t *testing.T) {
	bubble(t, func(t *testing.T, l *lab) {
		c, far := l.connect()
		far.SetFate(radiotest.Mute.At(1))
		began := time.Now()
		if err := c.Write([]byte("one")); err == nil || time.Since(began) != ble.WriteLimit {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		c.Close()
		<-l.left // the proxy obeys no command any more: a minute later it is left
		far.Cut()
	})
}
