package commissioner

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/radio"
	"gatehouse/radio/btp"
	"gatehouse/radio/dnssd"
)

// Bluetooth reaches devices that have no network yet.
type Bluetooth interface {
	// Scan yields what advertises itself for pairing, again and again, until
	// ctx ends, which is no failure. The error says why it cannot, or could not.
	Scan(ctx context.Context, seen func(radio.Advertisement)) error
	// Connect opens a connection, whole or not at all.
	Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error)
	// Restart begins anew with the adapter: the last thing that helps.
	Restart(why string)
}

// ErrNoBluetooth says that the gateway has no adapter it could use.
var ErrNoBluetooth = errors.New("this gateway has no Bluetooth adapter")

// NoBluetooth is that of a gateway without an adapter.
type NoBluetooth struct{}

// Scan sees nothing.
func (NoBluetooth) Scan(context.Context, func(radio.Advertisement)) error { return ErrNoBluetooth }

// Connect fails.
func (NoBluetooth) Connect(context.Context, radio.Addr) (btp.Bearer, error) {
	return nil, ErrNoBluetooth
}

// Restart does nothing.
func (NoBluetooth) Restart(string) {}

// ipHeadStart is how long the network may take to show a device that was seen
// over Bluetooth: where both are there, the network is faster and needs no
// credentials.
const ipHeadStart = 250 * time.Millisecond

// connectLimit bounds one attempt to connect over Bluetooth, the transport's
// handshake included.
const connectLimit = 20 * time.Second

// Nearby yields what is in pairing mode, on the network (as far as q finds it)
// and over Bluetooth, side by side, until ctx ends or yield says false. The
// error is Bluetooth's: the network cannot fail for good.
func (c *Commissioner) Nearby(ctx context.Context, q dnssd.Query, yield func(radio.Advertisement) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	seen := make(chan radio.Advertisement)
	offer := func(ad radio.Advertisement) {
		select {
		case seen <- ad:
		case <-ctx.Done():
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for e := range c.Discovery.Browse(ctx, q) {
			if e.Change != dnssd.Removed {
				offer(e.Advertisement)
			}
		}
	})
	failed := make(chan error, 1)
	wg.Go(func() { failed <- c.Bluetooth.Scan(ctx, offer) })
	var err error
	for {
		select {
		case ad := <-seen:
			if !yield(ad) {
				return nil
			}
		case err = <-failed:
			failed = nil
		case <-ctx.Done():
			if failed != nil { // some know only now that it was in vain
				err = <-failed
			}
			return err
		}
	}
}

// overBluetooth reports whether an advertisement came over the air.
func overBluetooth(ad *radio.Advertisement) bool {
	return len(ad.Addrs) > 0 && ad.Addrs[0].Transport == radio.BLE
}

// whoever tells advertisements apart.
func whoever(ad *radio.Advertisement) string {
	if overBluetooth(ad) {
		return ad.Addrs[0].String()
	}
	return ad.Instance
}

// errBluetooth marks a failure of Bluetooth, after which a pairing begins
// anew.
type errBluetooth struct{ err error }

func (e errBluetooth) Error() string { return fmt.Sprintf("Bluetooth: %v", e.err) }
func (e errBluetooth) Unwrap() error { return e.err }

// hearLimit bounds the connection alone: a device that advertised just now
// answers at once, or never did; but a proxy also looks at its services before
// it says so, and the time may have to do for two radios.
const hearLimit = 10 * time.Second

// errUnheard marks a device that was seen over Bluetooth and does not answer
// there, as whoever invents addresses makes us see.
type errUnheard struct{ errBluetooth }

func (e errUnheard) Unwrap() error { return e.errBluetooth }

// connect opens a link to the device that was found over Bluetooth.
func (p *pairing) connect(ctx context.Context) error {
	addr := p.found.Addrs[0]
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	hear, stop := context.WithTimeout(ctx, hearLimit)
	defer stop()
	bearer, err := p.Bluetooth.Connect(hear, addr)
	if err != nil && hear.Err() != nil {
		return errUnheard{errBluetooth{err}}
	}
	if err != nil {
		return errBluetooth{err}
	}
	link, err := btp.Dial(ctx, bearer, btp.Config{Peer: addr, Now: p.Now})
	if err != nil {
		return errBluetooth{err}
	}
	p.link = link
	p.Manager.Serve(link)
	p.peer = securechannel.Peer{Link: link, Addr: addr}
	return nil
}
