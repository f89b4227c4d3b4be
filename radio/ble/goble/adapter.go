package goble

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-ble/ble"
	"github.com/go-ble/ble/linux/hci"
	"github.com/go-ble/ble/linux/hci/cmd"
	"github.com/go-ble/ble/linux/hci/evt"
	"golang.org/x/sys/unix"

	radioble "gatehouse/radio/ble"
	"gatehouse/radio/ble/wire"
)

// Scanning is passive: Matter's service data is in the advertising packet
// itself, so nobody has to be asked for more, and go-ble neither mixes up nor
// races over scan responses. Half of the time is left to connections.
var scanParams = cmd.LESetScanParameters{
	LEScanType:     0x00,   // passive
	LEScanInterval: 0x0060, // 60 ms, in units of 0.625 ms
	LEScanWindow:   0x0030, // 30 ms
}

// connParams leave out whom to connect to. go-ble's own supervision timeout
// is 720 ms, which a device that writes its flash exceeds.
var connParams = cmd.LECreateConnection{
	LEScanInterval:     0x0060, // 60 ms
	LEScanWindow:       0x0060, // all of it
	ConnIntervalMin:    0x0006, // 7.5 ms, in units of 1.25 ms
	ConnIntervalMax:    0x000c, // 15 ms
	SupervisionTimeout: 600,    // 6 s, in units of 10 ms
}

// localEnd is the reason of a disconnection that this host asked for.
const localEnd = 0x16

// listens is after how long go-ble's Dial has surely asked for its connection
// itself, and listens.
const listens = 20 * time.Millisecond

// errCancelled is why an attempt ends that the daemon called off.
var errCancelled = errors.New("called off")

// unreachable wraps what is the device's or the air's doing.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// code is how an error is told to the daemon.
func code(err error) wire.Code {
	var u unreachable
	switch {
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EPROTONOSUPPORT):
		return wire.NoAdapter
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.ERFKILL):
		return wire.NotPermitted
	case errors.Is(err, unix.EBUSY):
		return wire.Busy
	case errors.As(err, &u):
		return wire.Unreachable
	}
	return wire.Failed
}

// open opens the adapter.
func (h *host) open() error {
	dev, err := hci.NewHCI(ble.OptDeviceID(h.number), ble.OptScanParams(scanParams), ble.OptConnParams(connParams),
		ble.OptDisconnectHandler(func(e evt.DisconnectionComplete) {
			if e.Reason() == localEnd {
				select {
				case h.lost <- struct{}{}:
				default:
				}
			}
		}))
	if err == nil {
		err = dev.Init()
	}
	if err != nil {
		return fmt.Errorf("open hci%d: %w", h.number, err)
	}
	dev.SetAdvHandler(h.report)
	h.hci = dev
	go func() {
		<-dev.Done()
		h.stop(fmt.Errorf("hci%d is gone: %w", h.number, dev.Error()))
	}()
	return nil
}

// hello tells the adapter's address.
func (h *host) hello() wire.Message {
	own, _ := address(h.hci.Addr())
	return wire.Message{Kind: wire.Hello, Version: wire.Version, Peer: own}
}

// report passes on what a device that can be commissioned advertises. go-ble
// calls it from a goroutine for each advertisement.
func (h *host) report(a ble.Advertisement) {
	raw, ok := a.(*hci.Advertisement)
	if !ok || !raw.Connectable() {
		return
	}
	data := raw.Data()
	if _, ok := radioble.Commissionable(data); !ok {
		return
	}
	peer, err := address(raw.Addr())
	if err != nil {
		return
	}
	h.send(wire.Message{Kind: wire.Report, Peer: peer, RSSI: int8(raw.RSSI()), Data: data})
}

func address(a ble.Addr) (wire.Address, error) {
	peer, err := wire.ParseAddress(a.String())
	_, peer.Random = a.(hci.RandomAddress)
	return peer, err
}

// scan turns scanning on or off.
func (h *host) scan(on bool) error {
	if on == h.scans {
		return nil
	}
	var err error
	if on {
		err = h.hci.Scan(true)
	} else {
		err = h.hci.StopScanning()
	}
	if err != nil {
		return fmt.Errorf("turn scanning on or off: %w", err)
	}
	h.scans = on
	return nil
}

// dial connects to a device, scanning suspended. An attempt that cannot be
// called off ends the process: go-ble may wait for ever for a connection that
// was made before it listened.
func (h *host) dial(ctx context.Context, peer wire.Address) (ble.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, radioble.DialLimit)
	defer cancel()
	var to ble.Addr = ble.NewAddr(net.HardwareAddr(peer.Bytes[:]).String())
	params := connParams
	for i := range peer.Bytes {
		params.PeerAddress[i] = peer.Bytes[len(peer.Bytes)-1-i]
	}
	if peer.Random {
		to = hci.RandomAddress{Addr: to}
		params.PeerAddressType = 1
	}
	// go-ble sets the address type of a random address and never resets it.
	h.hci.Option(ble.OptConnParams(params))
	select {
	case <-h.lost: // of an earlier connection
	default:
	}
	type result struct {
		client ble.Client
		err    error
	}
	dialled := make(chan result, 1)
	go func() {
		c, err := h.hci.Dial(ctx, to)
		dialled <- result{c, err}
	}()
	hung := after(ctx, radioble.CloseLimit)
	for asked := false; ; {
		select {
		case r := <-dialled:
			if asked { // once too often, perhaps
				h.hci.Send(&cmd.LECreateConnectionCancel{}, nil)
			}
			if r.err != nil && ctx.Err() != nil {
				return nil, unreachable{errors.New("the device is not heard")}
			}
			return r.client, r.err
		case <-h.lost:
			// The connection was made before go-ble's Dial listened for it,
			// and go-ble has hung up. Now it listens: ask again. If it was
			// another connection that ended, the adapter refuses.
			time.Sleep(listens)
			h.hci.Send(&params, nil)
			asked = true
		case <-hung:
			return nil, h.hung("the attempt to connect")
		}
	}
}

// hung ends the process.
func (h *host) hung(what string) error {
	err := fmt.Errorf("%s cannot be called off", what)
	h.stop(err)
	return err
}

// after is closed when d has passed since ctx ended.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	c := make(chan struct{})
	context.AfterFunc(ctx, func() { time.AfterFunc(d, func() { close(c) }) })
	return c
}
