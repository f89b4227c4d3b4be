package enroll

import (
	"context"
	"errors"
	"slices"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/radio/dnssd"
)

const (
	// addressPatience is how long an address may stay silent before the next
	// one of the same box is tried.
	addressPatience = 3 * time.Second
	// otherPatience is how long another box is looked for that the code fits,
	// after one turned out not to be it.
	otherPatience = 2 * time.Second
	// devicePatience is how long a gateway may take to show itself where a
	// device did that the code fits.
	devicePatience = 5 * time.Second
	// againAfter is the wait before a box that was lost is called again.
	againAfter = 2 * time.Second
)

// find waits for the code's box to show itself. Of what a short discriminator
// fits, only what says that it is a gateway is looked at.
func (a *admission) find(ctx context.Context) error {
	code := &a.code
	if code.VendorID != 0 && (code.VendorID != VendorID || code.ProductID != ProductID) {
		return fail(CodeNotGateway, nil)
	}
	query := dnssd.ShortDiscriminator(code.Discriminator.Upper())
	if full, ok := code.Discriminator.Full(); ok {
		query = dnssd.LongDiscriminator(full)
	}
	search, stop := context.WithCancel(ctx)
	defer stop()
	device := false // one shows itself that the code fits
	for e := range a.Discovery.Browse(search, query) {
		ad := &e.Advertisement
		switch {
		case e.Change == dnssd.Removed || len(ad.Addrs) == 0 || !ad.HasDiscriminator || !code.Discriminator.Matches(ad.Discriminator) || slices.Contains(a.others, ad.Instance):
		case ad.Vendor != VendorID || ad.Product != ProductID:
			if !device {
				device = true
				defer time.AfterFunc(devicePatience, stop).Stop()
			}
		default:
			a.found = *ad
			return nil
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Cause(ctx)
	case device:
		return fail(CodeNotGateway, nil)
	}
	return fail(CodeNotFound, nil)
}

// meet opens a session with the code's box, which of several that the code
// fits is the one with its passcode.
func (a *admission) meet(ctx context.Context) error {
	for {
		err := a.prove(ctx)
		if err == nil || !a.otherBox(err) {
			return err
		}
		a.others = append(a.others, a.found.Instance)
		another, cancel := context.WithTimeout(ctx, otherPatience)
		none := a.find(another)
		cancel()
		if none != nil {
			return err
		}
	}
}

// otherBox reports whether an attempt failed in a way that another box with
// the same discriminator explains.
func (a *admission) otherBox(err error) bool {
	return lost(err) || securechannel.IsStatus(err, securechannel.CodeInvalidParameter) ||
		a.code.Discriminator.IsShort() && errors.Is(err, securechannel.ErrPasscode)
}

// prove runs PASE at the first of the box's addresses that answers.
func (a *admission) prove(ctx context.Context) (err error) {
	a.part()
	s := a.found.Session
	params := exchange.Params{Idle: s.IdleInterval, Active: s.ActiveInterval, Threshold: s.ActiveThreshold}
	addrs := a.found.Addrs
	for i, addr := range addrs {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if i < len(addrs)-1 {
			attempt, cancel = context.WithTimeout(ctx, addressPatience)
		}
		a.pase, err = securechannel.PASE(attempt, a.Manager, securechannel.Peer{Link: a.Link, Addr: addr, Params: params}, a.code.Passcode.Reveal())
		cancel()
		if err == nil || ctx.Err() != nil || !lost(err) {
			break
		}
	}
	return err
}

// insist does something over the session and, if that is lost on the way,
// over another, as long as the step's time lasts. The box stays with a session
// that it takes for alive: then it says that it is busy.
func (a *admission) insist(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	for first := err; err != nil && again(first, err); {
		if !sleep(ctx, againAfter, nil) {
			return first
		}
		if err = a.prove(ctx); err == nil {
			err = do(ctx)
		}
	}
	return err
}

// again reports whether a box that was lost with the error first is called
// once more after the error last.
func again(first, last error) bool {
	status, _ := interaction.StatusOf(last)
	return lost(first) && (lost(last) || status == interaction.Busy)
}
