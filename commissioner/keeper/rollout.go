package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/ota"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	// stallLimit is how long a device may not get further. It may ask for an image
	// as late as ten minutes after it was told to, and take as long to install it.
	stallLimit = 30 * time.Minute
	// tellAgain is how long it may get no further before it is told again: it may
	// have begun with a gateway that is gone.
	tellAgain = 5 * time.Minute
	// Between tries of a device: doubled each time.
	firstTry, lastTry = 5 * time.Minute, 2 * time.Hour
	// meetAgain is after a device says that it runs its image: our answer is with
	// it by then.
	meetAgain = time.Second
)

// way is how far a device is on its way to an image, as this gateway has seen.
type way struct {
	image    ota.Digest
	told     time.Time    // when this gateway told it to ask; zero: it has not
	progress ota.Progress // that was heard of last
	furthest ota.Progress // of this try
	moved    time.Time    // when it last got further
	next     time.Time    // not before which it tries again
	wait     time.Duration
}

// installs reports whether the device has its whole image, and restarts.
func (w *way) installs() bool {
	return w.progress.State == ota.Applying || w.progress.State == ota.Applied
}

// advance does what is next on a device's way to its update: it begins, once the
// trust state lets it, goes on where another gateway was, or has failed.
func (u *Updates) advance(ctx context.Context, n cert.NodeID) error {
	s := u.k.c.Ledger.State()
	d := s.Devices[n]
	if d == nil || d.Standing == nil || d.Standing.Update == nil || s.OnFormer(d) || d.Next != nil {
		return nil
	}
	i := d.Standing.Update
	switch {
	case d.Updating(i.SHA256):
		return u.push(ctx, d)
	case s.MayUpdate(d) != nil || !u.rested(n, ota.Digest(i.SHA256)):
		return nil
	case !u.images.Has(i):
		u.fetch(d.Facts.VendorID, i)
		return nil
	}
	image, err := u.open(ctx, d.Facts, i)
	if err != nil {
		u.set(n, func(w *way) { w.next = u.k.c.Now().Add(fetchRetry) })
		return err
	}
	image.Close()
	err = u.begin(ctx, d, false)
	if refused := (*fabric.Refusal)(nil); errors.As(err, &refused) {
		return nil // another was faster
	}
	return err
}

// begin begins a try. One that is asked for while it is under way is told again.
func (u *Updates) begin(ctx context.Context, d *fabric.Device, asked bool) error {
	image := d.Standing.Update.SHA256
	s, err := u.k.c.Ledger.Propose(ctx, fabric.Command{BeginUpdate: &fabric.BeginUpdate{Node: d.Node, Gateway: u.k.c.Identity().Node, SHA256: image, Asked: asked}})
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	before := u.way(d.Node, ota.Digest(image))
	u.set(d.Node, func(w *way) { *w = way{image: before.image, moved: u.k.c.Now(), wait: before.wait} })
	return u.push(ctx, s.Devices[d.Node])
}

// push tells a device that is on its way to ask for its image: if this gateway
// has not yet, and again where that leads nowhere. One that does not get further
// has failed.
func (u *Updates) push(ctx context.Context, d *fabric.Device) error {
	i := d.Standing.Update
	w, now := u.way(d.Node, ota.Digest(i.SHA256)), u.k.c.Now()
	if !u.images.Has(i) { // it was here, or at another gateway
		u.fetch(d.Facts.VendorID, i)
		return u.stalled(ctx, d, false)
	}
	if w.told.IsZero() || !w.installs() && min(now.Sub(w.told), now.Sub(w.moved)) > tellAgain {
		if w.told.IsZero() { // before the device can have gone further
			u.Report(d.Node, ota.Progress{Offer: ota.Offer{Version: i.Version, VersionString: i.Name, Image: w.image}, State: ota.Announced})
		}
		if err := u.k.Announce(ctx, d.Node); err != nil {
			if f := commissioner.Explain(err, commissioner.CodeProtocol); f.Code == commissioner.CodeNotUpdatable {
				return u.fail(ctx, d, fmt.Sprintf("does not take updates from a gateway: %v", f.Unwrap()), false)
			}
			return err
		}
		u.set(d.Node, func(w *way) { w.told = now })
	}
	return u.stalled(ctx, d, false)
}

// stalled gives a try up that does not get further. A device that fell silent
// while it installed its image may never come back: no other is to follow it.
func (u *Updates) stalled(ctx context.Context, d *fabric.Device, away bool) error {
	w := u.way(d.Node, ota.Digest(d.Attempt.SHA256))
	if u.k.c.Now().Sub(w.moved) < stallLimit {
		return nil
	}
	what := "did not ask for its image, or that cannot be had"
	switch w.progress.State {
	case ota.Offered, ota.Downloading, ota.Broken:
		what = fmt.Sprintf("got no further than octet %d of %d", w.progress.Done, w.progress.Size)
	case ota.Downloaded:
		what = "did not install what it got"
	case ota.Applying:
		what = "did not say that it installed what it got"
	case ota.Applied:
		what = fmt.Sprintf("says that it installed version %d, and runs %d", w.progress.Version, d.Facts.SoftwareVersion)
	}
	if away {
		what += ", and is away"
	}
	return u.fail(ctx, d, what, away && w.installs())
}

// fail ends a try.
func (u *Updates) fail(ctx context.Context, d *fabric.Device, what string, stop bool) error {
	u.set(d.Node, func(w *way) {
		w.wait = min(max(2*w.wait, firstTry), lastTry)
		w.next = u.k.c.Now().Add(w.wait)
	})
	u.k.c.Log.Warn("a device's update failed", "device", d.Node, "version", d.Attempt.Version, "try", d.Attempt.Tries, "why", what)
	_, err := u.k.c.Ledger.Propose(ctx, fabric.Command{FailUpdate: &fabric.FailUpdate{Node: d.Node, Gateway: u.k.c.Identity().Node, SHA256: d.Attempt.SHA256, Failure: fabric.Cut(what), Stop: stop}})
	if refused := (*fabric.Refusal)(nil); err == nil || errors.As(err, &refused) { // refused: it is known already, or the device has another image now
		return nil
	}
	return commissioner.Explain(err, commissioner.CodeCommit)
}

// absent is advance for a device that cannot be reached.
func (u *Updates) absent(ctx context.Context, n cert.NodeID) {
	d := u.k.c.Ledger.State().Devices[n]
	if d == nil || d.Attempt == nil || !d.Updating(d.Attempt.SHA256) {
		return
	}
	if err := u.stalled(ctx, d, true); err != nil {
		u.k.c.Log.Info("that an update failed is not recorded yet", "device", n, "err", err)
	}
}

// way is what is known of a device's way to an image. Of one that another
// gateway began, it begins now.
func (u *Updates) way(n cert.NodeID, image ota.Digest) (known way) {
	u.set(n, func(w *way) {
		if w.image != image {
			*w = way{image: image, moved: u.k.c.Now()}
		}
		known = *w
	})
	return known
}

func (u *Updates) set(n cert.NodeID, change func(*way)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	w := u.ways[n]
	if w == nil {
		w = new(way)
		u.ways[n] = w
	}
	change(w)
}

// rested reports whether a device may try again, after one that failed here.
func (u *Updates) rested(n cert.NodeID, image ota.Digest) bool {
	return !u.k.c.Now().Before(u.way(n, image).next)
}

// Report implements ota.Updates.
func (u *Updates) Report(n cert.NodeID, p ota.Progress) {
	u.set(n, func(w *way) {
		if had := w.progress; had.State != p.State || had.Image != p.Image {
			u.k.c.Log.Info("a device's update", "device", n, "version", p.Version, "state", p.State, "octets", p.Done, "err", p.Err)
		}
		if far := slices.Index(stages, w.furthest.State); slices.Index(stages, p.State) > far || p.Done > w.furthest.Done {
			w.furthest, w.moved = p, u.k.c.Now()
		}
		w.image, w.progress = p.Image, p
	})
	if p.State == ota.Applied {
		// It was started anew, and knows nothing of our session: we would only
		// notice when its reports are overdue.
		time.AfterFunc(meetAgain, func() { u.k.leave(n) })
	}
}

// stages are what a device goes through; a transfer that breaks off is none.
var stages = []ota.State{ota.Announced, ota.Offered, ota.Downloading, ota.Downloaded, ota.Applying, ota.Applied}

// Progress is how far a device's update was last; false: this gateway has not
// seen it.
func (u *Updates) Progress(n cert.NodeID) (p ota.Progress, ok bool) {
	u.set(n, func(w *way) { p, ok = w.progress, w.progress.State != "" })
	return p, ok
}
