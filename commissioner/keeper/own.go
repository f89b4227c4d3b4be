package keeper

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/checkin"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	ownEvery     = time.Second      // between looks at whom this gateway owns
	mendEvery    = 2 * time.Second  // between looks whether a device's access list is to be mended
	reportWithin = 60 * time.Second // a device that is silent for longer is away
	// atOnce bounds the devices that are met at the same time, as after a
	// take-over.
	atOnce = 16
	// Between attempts to meet a device that is away: doubled each time.
	firstRetry, lastRetry = 2 * time.Second, 2 * time.Minute
)

// Health is how a device that this gateway owns fares.
type Health struct {
	Reachable bool                  // or asleep, as it should be
	Asleep    bool                  // and not met since it woke up last
	Since     time.Time             // of what Reachable says
	Failure   *commissioner.Failure // why it is not reachable
}

// owning is the devices this gateway looks after, each by a goroutine with one
// session and one subscription.
type owning struct {
	mu     sync.Mutex
	ends   map[cert.NodeID]context.CancelFunc
	health map[cert.NodeID]Health
	moves  map[cert.NodeID]*Straggler // that did not succeed yet
	meet   chan struct{}              // holds one for each device that is being met
	came   chan struct{}              // holds one when a device has just been admitted here
	// software is what each says that it runs, since it reports.
	software map[cert.NodeID]software
	events   map[cert.NodeID]uint64 // number of the last one each told of
	// grown are those that have other endpoints than when they were met: they
	// are asked for all they have.
	grown map[cert.NodeID]bool
	kept  map[cert.NodeID]keptIPK
}

// Own looks after the devices whose owner this gateway is, until ctx ends: it
// subscribes to each, reads it in full by that, and mends what an eviction
// left undone. inTouch says whether this gateway may own any: one that has
// lost the others gives all up, since they give them to somebody else.
func (k *Keeper) Own(ctx context.Context, inTouch func() bool) {
	var wg sync.WaitGroup
	defer func() {
		wg.Wait()
		k.own.mu.Lock()
		defer k.own.mu.Unlock()
		clear(k.own.ends) // it may begin anew
	}()
	ticker := time.NewTicker(ownEvery)
	defer ticker.Stop()
	k.c.Manager.Overhear(message.SecureChannel, checkin.Opcode, k.overheard)
	wg.Go(func() { k.keepTable(ctx) })
	for ctx.Err() == nil {
		k.adjust(ctx, &wg, inTouch())
		select {
		case <-ticker.C:
		case <-k.own.came:
		case <-ctx.Done():
		}
	}
}

// adjust begins with devices that are new to this gateway, and ends with those
// that are no longer its own.
func (k *Keeper) adjust(ctx context.Context, wg *sync.WaitGroup, inTouch bool) {
	devices, self := k.c.Ledger.State().Devices, k.c.Identity().Node
	mine := func(d *fabric.Device) bool {
		return inTouch && d != nil && d.Phase == fabric.Admitted && d.Gateway == self
	}
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	for n, end := range k.own.ends {
		if !mine(devices[n]) {
			end()
			delete(k.own.ends, n)
			delete(k.own.health, n)
			delete(k.own.moves, n)
			delete(k.own.software, n)
			delete(k.own.events, n)
			delete(k.own.kept, n)
			k.wakeless(n)
		}
	}
	for n, d := range devices {
		if mine(d) && k.own.ends[n] == nil {
			ctx, end := context.WithCancel(ctx)
			k.own.ends[n] = end
			wg.Go(func() { k.lookAfter(ctx, n) })
		}
	}
}

// Health is how a device fares; false if this gateway does not own it.
func (k *Keeper) Health(n cert.NodeID) (Health, bool) {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	h, ok := k.own.health[n]
	return h, ok
}

func (k *Keeper) setHealth(ctx context.Context, n cert.NodeID, h Health) {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	if ctx.Err() != nil {
		return // somebody else's by now
	}
	if k.own.health[n].Reachable != h.Reachable || k.own.health[n].Since.IsZero() {
		h.Since = k.c.Now()
	} else {
		h.Since = k.own.health[n].Since
	}
	k.own.health[n] = h
}

// lookAfter keeps a subscription to a device until ctx ends, and then leaves
// the device to its next owner.
func (k *Keeper) lookAfter(ctx context.Context, n cert.NodeID) {
	defer k.leave(n)
	for wait := firstRetry; ctx.Err() == nil; wait = min(2*wait, lastRetry) {
		began := k.c.Now()
		err := k.follow(ctx, n)
		if errors.Is(err, errMoved) {
			wait = firstRetry / 2
			continue
		}
		if errors.Is(err, errWoke) {
			k.leave(n) // it has nothing of that any more
			wait = firstRetry / 2
			continue
		}
		pause := wait/2 + rand.N(wait/2) // not all at the same moment
		if at, sleeps := k.overdue(n); err != nil && ctx.Err() == nil && sleeps {
			k.setHealth(ctx, n, Health{Reachable: true, Asleep: true})
			k.Nodes.Sleeps(n)
			pause, wait = at.Sub(k.c.Now()), firstRetry
		} else if err != nil && ctx.Err() == nil {
			if k.updates != nil {
				k.updates.absent(ctx, n)
			}
			k.setHealth(ctx, n, Health{Failure: commissioner.Explain(err, commissioner.CodeUnreachable)})
			k.Nodes.Away(n)
		}
		if k.c.Now().Sub(began) > reportWithin {
			wait = firstRetry // it was there for a while
		}
		select {
		case <-time.After(pause):
		case <-k.wokeUp(n):
			k.leave(n) // it has nothing of that any more
			wait = firstRetry / 2
		case <-ctx.Done():
		}
	}
}

// follow meets a device and stays subscribed until that ends. What it reports
// first is all it has.
func (k *Keeper) follow(ctx context.Context, n cert.NodeID) error {
	if k.settleMove(ctx, n) {
		return errMoved
	}
	sub, err := k.meetDevice(ctx, n)
	if err != nil {
		return err
	}
	defer sub.Close()
	k.setHealth(ctx, n, Health{Reachable: true})
	k.met(n)
	met, heard, long := k.c.Now(), sub.Heard(), k.sleepsLong(n)
	ticker := time.NewTicker(mendEvery)
	defer ticker.Stop()
	for {
		if now := sub.Heard(); now.After(heard) {
			heard = now
			k.noteAwake(n)
		}
		if k.sleepsLong(n) != long || !k.napping(n) && k.tend(ctx, n) { // by now it agrees to other intervals, and lists others
			return errMoved
		}
		select {
		case <-k.wokeUp(n):
			if k.c.Now().Sub(met) > meetOnce {
				return errWoke
			}
		case <-sub.Done():
			return sub.Err()
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// tend does what is to be done with a device that answers. It reports whether
// it is to be met anew.
func (k *Keeper) tend(ctx context.Context, n cert.NodeID) (anew bool) {
	if k.adopt(ctx, n) || k.renew(ctx, n) || k.move(ctx, n) { // of a renewal in doubt, nothing comes before its end
		return true
	}
	if k.administered(n) {
		k.settle(ctx, n)
		if err := k.settleCheckIn(ctx, n); errors.Is(err, errMoved) {
			return true
		} else if err != nil {
			k.c.Log.Info("a device is not told yet whether to check in", "device", n, "err", err)
		}
	}
	return k.hasGrown(n)
}

// settle brings what a device may do, and what it runs, in line with what the
// home has decided.
func (k *Keeper) settle(ctx context.Context, n cert.NodeID) {
	if err := k.mendAccess(ctx, n); err != nil {
		k.c.Log.Info("a device still trusts gateways that were evicted", "device", n, "err", err)
	}
	if err := k.judge(ctx, n); err != nil {
		k.c.Log.Info("a device's software is not judged yet", "device", n, "err", err)
	}
	if k.updates != nil {
		if err := k.updates.advance(ctx, n); err != nil {
			k.c.Log.Info("a device's update does not go on yet", "device", n, "err", err)
		}
	}
}

func (k *Keeper) meetDevice(ctx context.Context, n cert.NodeID) (sub *interaction.Subscription, err error) {
	select {
	case k.own.meet <- struct{}{}:
		defer func() { <-k.own.meet }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	k.own.mu.Lock()
	delete(k.own.software, n) // it may have restarted
	delete(k.own.grown, n)
	last, met := k.own.events[n]
	k.own.mu.Unlock()
	req := interaction.SubscribeRequest{Keep: true, MaxInterval: uint16(reportWithin / time.Second),
		Attributes: []interaction.AttributePath{{}}, Events: []interaction.EventPath{{}}, FabricFiltered: true}
	if met {
		req.EventFilters = []interaction.EventFilter{{Min: last + 1}}
	}
	err = k.do(ctx, n, false, func(s *exchange.Session) (err error) {
		first := true
		sub, err = k.c.Engine.Subscribe(ctx, s, req, func(r *interaction.Report) {
			k.heard(n, r, first, met || !first)
			first = false
		})
		return err
	})
	return sub, err
}
