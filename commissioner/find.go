package commissioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/setup"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// addressPatience is how long an address may stay silent before the next one
// of the same device is tried, too short for a sleepy device's last address.
const addressPatience = 3 * time.Second

// otherPatience is how long another device is looked for that the code fits,
// after one turned out not to be it.
const otherPatience = 2 * time.Second

// find waits for the device of the code to show itself, on the network or over
// Bluetooth.
func (p *pairing) find(ctx context.Context) error {
	d := p.req.Code.Discriminator
	query := dnssd.ShortDiscriminator(d.Upper())
	if full, ok := d.Full(); ok {
		query = dnssd.LongDiscriminator(full)
	}
	began := p.Now()
	search, stop := context.WithCancel(ctx)
	defer stop()
	var found *radio.Advertisement
	failed := p.Nearby(search, query, func(ad radio.Advertisement) bool {
		if !p.fits(&ad) {
			return true
		}
		if !overBluetooth(&ad) {
			found = &ad
			return false
		}
		if found == nil {
			found = &ad
			time.AfterFunc(p.headStart()-p.Now().Sub(began), stop)
		}
		return true
	})
	switch {
	case found != nil:
		p.found = *found
		return nil
	case errors.Is(context.Cause(ctx), context.Canceled):
		return context.Cause(ctx)
	}
	f := Fail(CodeNotFound, nil)
	if failed != nil {
		f.Reasons = append(f.Reasons, Reason{string(CodeBluetooth), "it was looked for on the network only: " + failed.Error(),
			"a device that is in no network yet can be paired by a gateway with Bluetooth"})
	}
	return f
}

// headStart is how long the network may take to show a device that Bluetooth
// shows; no time at all where the code says that it cannot.
func (p *pairing) headStart() time.Duration {
	if d := p.req.Code.Discovery; d != 0 && d&setup.DiscoverOnNetwork == 0 {
		return 0
	}
	return ipHeadStart
}

// fits reports whether an advertisement can be the code's device. Vendor and
// product are optional in both.
func (p *pairing) fits(ad *radio.Advertisement) bool {
	code := &p.req.Code
	return len(ad.Addrs) > 0 && !slices.Contains(p.others, whoever(ad)) && (ad.Mode != radio.NotCommissioning || overBluetooth(ad)) &&
		ad.HasDiscriminator && code.Discriminator.Matches(ad.Discriminator) &&
		(code.VendorID == 0 || ad.Vendor == 0 || code.VendorID == ad.Vendor) &&
		(code.ProductID == 0 || ad.Product == 0 || code.ProductID == ad.Product)
}

func params(s radio.Session) exchange.Params {
	return exchange.Params{Idle: s.IdleInterval, Active: s.ActiveInterval, Threshold: s.ActiveThreshold}
}

// establish proves the passcode to the device. One that is busy is asked again
// when it said, as long as the step's time lasts.
func (p *pairing) establish(ctx context.Context) error {
	for {
		err := p.prove(ctx)
		var busy *securechannel.Status
		if errors.As(err, &busy) {
			if wait, ok := busy.Wait(); ok && p.sleep(ctx, wait+busyMargin) {
				continue
			}
		}
		switch {
		case err == nil:
			return nil
		case errors.As(err, new(errUnheard)):
			if p.find(ctx) == nil { // anybody can advertise the code's discriminator
				continue
			}
			return errUnheard{errBluetooth{errors.New("no device that advertises the code's discriminator answers")}}
		case lostAir(err):
			return err
		case otherDevice(err, p.req.Code.Discriminator) && p.another(ctx):
			continue
		case securechannel.IsStatus(err, securechannel.CodeInvalidParameter):
			return Fail(CodeWindowClosed, err)
		case errors.Is(err, exchange.ErrTimeout):
			// It acknowledged and said nothing: so do devices that another
			// controller is pairing, or was pairing when it fell silent.
			return Fail(CodeBusy, err)
		}
		return Explain(err, CodeProtocol)
	}
}

// otherDevice reports whether an attempt failed in a way that another device
// with the same discriminator explains, or another way to the same: one whose
// window has closed since it announced itself, one that has gone or, where a
// manual code has but four bits of the discriminator, one with another passcode.
func otherDevice(err error, d setup.Discriminator) bool {
	return errors.Is(err, exchange.ErrNoAck) || securechannel.IsStatus(err, securechannel.CodeInvalidParameter) || d.IsShort() && errors.Is(err, securechannel.ErrPasscode)
}

// another finds another device that the code fits.
func (p *pairing) another(ctx context.Context) bool {
	p.hangUp()
	p.others = append(p.others, whoever(&p.found))
	ctx, cancel := context.WithTimeout(ctx, otherPatience)
	defer cancel()
	return p.find(ctx) == nil
}

// busyMargin keeps us from being early where clocks differ.
const busyMargin = 50 * time.Millisecond

// sleep waits, unless ctx would end before.
func (c *Commissioner) sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && end.Sub(c.Now()) < d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// prove runs PASE with the device that was found.
func (p *pairing) prove(ctx context.Context) (err error) {
	if !overBluetooth(&p.found) {
		return p.tryAddresses(ctx)
	}
	if p.link == nil {
		if err := p.connect(ctx); err != nil {
			return err
		}
	}
	p.pase, err = securechannel.PASE(ctx, p.Manager, p.peer, p.req.Code.Passcode.Reveal())
	return err
}

// tryAddresses runs PASE at the first of the device's addresses that answers.
func (p *pairing) tryAddresses(ctx context.Context) (err error) {
	for i, addr := range p.found.Addrs {
		p.peer = securechannel.Peer{Link: p.Link, Addr: addr, Params: params(p.found.Session)}
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if i < len(p.found.Addrs)-1 {
			attempt, cancel = context.WithTimeout(ctx, addressPatience)
		}
		p.pase, err = securechannel.PASE(attempt, p.Manager, p.peer, p.req.Code.Passcode.Reveal())
		cancel()
		if err == nil || ctx.Err() != nil || !silent(err) {
			break
		}
	}
	return err
}

// silent reports whether nobody answered at an address.
func silent(err error) bool {
	return errors.Is(err, exchange.ErrNoAck) || errors.Is(err, exchange.ErrTimeout)
}

// hangUp ends the Bluetooth link, if there is one. What was said last is still
// brought over.
func (p *pairing) hangUp() {
	if p.link != nil {
		go p.link.Close()
		p.link = nil
	}
}

func (p *pairing) part(context.Context) {
	defer p.hangUp()
	for _, s := range []*exchange.Session{p.pase, p.oper} {
		if s != nil {
			securechannel.Close(p.Manager, s)
		}
	}
}

// meetAgain opens a session with the device under its new identity: first
// where it was just now, if that was on the network, then where it announces
// itself.
func (p *pairing) meetAgain(ctx context.Context) (err error) {
	known := &p.peer
	if p.link != nil {
		known = nil
	}
	if p.oper, err = p.dial(ctx, p.id, p.node, known); err != nil {
		return Fail(CodeCASE, fmt.Errorf("device %v: %w", p.node, err))
	}
	return nil
}
