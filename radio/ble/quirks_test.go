package ble_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/radiotest/air"
	"gatehouse/radio/radiotest/hci"
)

// Nobody is there: the attempt ends with its context, and the adapter is free
// for the next one.
func TestDialEndsWithItsContext(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		start := time.Now()
		if _, err := l.radio.Connect(ctx, nobody); !errors.Is(err, ble.ErrUnreachable) {
			t.Errorf("Connect: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %v", took)
		}
		cancel()
	}
	l.exchange(l.connect(ad.Addrs[0]), "somebody is")
	if s := l.radio.Stats(); s.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A connection that is there at once is not missed.
func TestConnectionBeforeDialListens(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	l.air.SetConditions(air.Conditions{})
	for i := range 20 {
		start := time.Now()
		c := l.connect(ad.Addrs[0])
		l.exchange(c, "quick")
		c.Close()
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("connection %d took %v", i, took)
		}
	}
}

// The type of the address before does not stick.
func TestAddressTypes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	public := l.find().Addrs[0]
	l.device("random")
	random := radio.Addr{Transport: radio.BLE, Peer: "random/c2:01:02:03:04:05"}
	l.heard(random)
	for _, to := range []radio.Addr{random, public, random, public} {
		c := l.connect(to)
		l.exchange(c, to.Peer)
		c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.radio.Connect(ctx, radio.Addr{Transport: radio.BLE, Peer: "c2:01:02:03:04:05"}); !errors.Is(err, ble.ErrUnreachable) {
		t.Errorf("Connect to a random address as a public one: %v", err)
	}
}

// heard scans until an address is heard.
func (l *lab) heard(a radio.Addr) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found := false
	l.radio.Scan(ctx, func(ad radio.Advertisement) {
		if ad.Addrs[0] == a {
			found = true
			cancel()
		}
	})
	if !found {
		l.t.Fatalf("%v is not heard", a)
	}
}

func TestServiceDataBehindAnother(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device("other-first")
	if ad := l.find(); ad.Discriminator != lamp.Discriminator {
		t.Errorf("found %+v", ad)
	}
}

// Indications that come while a write waits for its confirmation all arrive.
func TestIndicationsDuringAWrite(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device("storm")
	c := l.connect(l.find().Addrs[0])
	for range 2 {
		if err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 16 {
		if got := l.read(c); got != string(rune(i)) {
			t.Fatalf("indication %d is %q", i, got)
		}
	}
}

// Who has read an indication may write at once.
func TestPingPong(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	c := l.connect(l.find().Addrs[0])
	for i := range 50 {
		l.exchange(c, fmt.Sprint(i))
	}
}

// The other side's MTU, when it is the smaller one, is the connection's.
func TestSmallerMTU(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	l.air.SetTap(func(to air.Direction, frame []byte) [][]byte {
		if to == air.ToCentral && len(frame) == 7 && frame[4] == 0x03 {
			frame[5], frame[6] = 100, 0
		}
		return [][]byte{frame}
	})
	c := l.connect(ad.Addrs[0])
	if c.MTU() != 100 {
		t.Errorf("MTU %d", c.MTU())
	}
	l.exchange(c, strings.Repeat("x", 97))
}

// Scans go on around connections, and no two of the adapter's commands meet:
// the lab fails when a host scans while it connects.
func TestScanAndConnectTakeTurns(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	ctx, cancel := context.WithCancel(l.context())
	var scans sync.WaitGroup
	scans.Go(func() {
		for ctx.Err() == nil { // on and off
			once, end := context.WithTimeout(ctx, 7*time.Millisecond)
			l.radio.Scan(once, func(radio.Advertisement) {})
			end()
		}
	})
	for i := range 10 {
		c := l.connect(ad.Addrs[0])
		l.exchange(c, fmt.Sprint(i))
		c.Close()
	}
	cancel()
	scans.Wait()
	l.find()
	if s := l.radio.Stats(); s.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestLostLink(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	for name, cut := range map[string]func(){
		"at once":                               l.air.Cut,
		"at the device's confirmation":          func() { l.air.CutAt(air.ToCentral, 1) },
		"at the indication":                     func() { l.air.CutAt(air.ToCentral, 2) },
		"at the write":                          func() { l.air.CutAt(air.ToPeripheral, 1) },
		"at the confirmation of the indication": func() { l.air.CutAt(air.ToPeripheral, 2) },
	} {
		c := l.connect(ad.Addrs[0])
		l.exchange(c, "before")
		cut()
		c.Write([]byte("after"))
		var err error
		for err == nil {
			_, err = c.Read()
		}
		if err != io.EOF {
			t.Errorf("%s: Read: %v", name, err)
		}
		if err := c.Write([]byte("more")); err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Write: %v", name, err)
		}
	}
	l.again()
	if s := l.radio.Stats(); s.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A link is cut while it is set up, at every packet in turn.
func TestLostWhileConnecting(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	for _, to := range []air.Direction{air.ToCentral, air.ToPeripheral} {
		for nth := 1; ; nth++ {
			l.air.CutAt(to, nth)
			c, err := l.radio.Connect(l.context(), ad.Addrs[0])
			if err == nil {
				l.air.CutAt(to, 0)
				c.Close()
				if nth < 4 {
					t.Errorf("set up with %d packets", nth)
				}
				break
			}
			if !errors.Is(err, ble.ErrUnreachable) {
				t.Errorf("cut at packet %d: %v", nth, err)
			}
		}
	}
	if s := l.radio.Stats(); s.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
}

// A device that is silent for longer than go-ble's own supervision timeout,
// as while it writes its flash, is not lost.
func TestSilenceIsBorne(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	c := l.connect(l.find().Addrs[0])
	l.exchange(c, "before")
	l.air.SetConditions(air.Conditions{Loss: 1})
	time.AfterFunc(1500*time.Millisecond, func() { l.air.SetConditions(air.Ordinary) })
	l.exchange(c, "after")
}

func TestLossIsDelay(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.device()
	ad := l.find()
	bad := air.Ordinary
	bad.Loss = 0.3
	l.air.SetConditions(bad)
	c := l.connect(ad.Addrs[0])
	for i := range 20 {
		l.exchange(c, fmt.Sprint(i))
	}
}

// What keeps the adapter from being opened has a name, and once it is gone
// the radio works without anybody's doing.
func TestAdapterIsMissing(t *testing.T) {
	tests := []struct {
		name string
		open func(c *air.Controller) hci.Device // nil: there is no such adapter
		want error
	}{
		{"no adapter", nil, ble.ErrNoAdapter},
		{"not permitted", func(*air.Controller) hci.Device { return func() (hci.Controller, error) { return nil, unix.EPERM } }, ble.ErrNotPermitted},
		{"busy", func(c *air.Controller) hci.Device {
			c.Open()
			return func() (hci.Controller, error) { return c.Open() }
		}, ble.ErrBusy},
		{"radio switched off", func(*air.Controller) hci.Device { return func() (hci.Controller, error) { return nil, unix.ERFKILL } }, ble.ErrNotPermitted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newAir(t)
			devices := map[int]hci.Device{}
			if tt.open != nil {
				devices[0] = tt.open(l.air.Controller())
			}
			good := l.air.Controller()
			var mu sync.Mutex
			l.start(func() (*exec.Cmd, error) {
				mu.Lock()
				defer mu.Unlock()
				cmd := l.emulateWith(devices, radioArg)
				return cmd, nil
			})
			l.device()
			if _, err := l.radio.Connect(l.context(), nobody); !errors.Is(err, tt.want) {
				t.Errorf("Connect: %v, want %v", err, tt.want)
			}
			mu.Lock()
			devices = map[int]hci.Device{0: func() (hci.Controller, error) { return good.Open() }}
			mu.Unlock()
			l.until("the radio is up", func() bool { return l.radio.Stats().Up })
			l.find()
		})
	}
}

// Without emulation a kernel without Bluetooth says so.
func TestNoBluetooth(t *testing.T) {
	if fd, err := unix.Socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, unix.BTPROTO_HCI); err == nil {
		unix.Close(fd)
		t.Skip("this machine has Bluetooth")
	} else if err != syscall.EAFNOSUPPORT {
		t.Skipf("this machine may have Bluetooth: %v", err)
	}
	t.Parallel()
	l := newAir(t)
	l.start(func() (*exec.Cmd, error) { return l.program(radioArg), nil })
	if err := l.radio.Scan(l.context(), func(radio.Advertisement) {}); !errors.Is(err, ble.ErrNoAdapter) {
		t.Errorf("Scan: %v", err)
	}
}

// An adapter that is pulled out and put in again.
func TestAdapterIsPulledOut(t *testing.T) {
	t.Parallel()
	l := newAir(t)
	l.central = l.air.Controller()
	ports := make(chan *air.Port, 8)
	l.start(func() (*exec.Cmd, error) {
		return l.emulate(func() (*air.Port, error) {
			p, err := l.central.Open()
			ports <- p
			return p, err
		}, radioArg), nil
	})
	l.device()
	c := l.connect(l.find().Addrs[0])
	l.exchange(c, "before")
	(<-ports).Close()
	if _, err := c.Read(); !errors.Is(err, ble.ErrRestarted) {
		t.Errorf("Read: %v", err)
	}
	l.again()
}
