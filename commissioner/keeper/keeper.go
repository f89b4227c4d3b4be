// Package keeper looks after devices that belong: it keeps their sessions,
// reads, writes, invokes and subscribes for people and programs, opens and
// closes their commissioning windows and sends them away.
//
// It promises that a session lost is opened anew without anybody noticing,
// and that a command is not repeated once the device may have got it. It
// admits nobody.
package keeper

import (
	"context"
	"errors"
	"sync"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/checkin"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/nodes"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	connectLimit = 30 * time.Second // for which a device is searched
	idleLimit    = 30 * time.Second // of a session with another gateway's device
)

// Keeper holds one session to each device in use.
type Keeper struct {
	c *commissioner.Commissioner
	// Nodes is what devices last said, also those of other gateways as far as
	// somebody has them followed.
	Nodes *nodes.Store

	own     owning
	sleep   sleeping
	updates *Updates // nil: it updates nothing

	mu    sync.Mutex
	slots map[cert.NodeID]*slot
}

// slot is one device's session; its lock makes callers share one handshake.
type slot struct {
	mu       sync.Mutex
	session  *exchange.Session
	identity *securechannel.Identity // it was opened with
	idle     *time.Timer             // ends it; nil: it is kept
}

// New is a Keeper of the devices that c admits.
func New(c *commissioner.Commissioner) *Keeper {
	return &Keeper{c: c, Nodes: nodes.New(c.Now), slots: make(map[cert.NodeID]*slot), own: owning{ends: make(map[cert.NodeID]context.CancelFunc),
		health: make(map[cert.NodeID]Health), moves: make(map[cert.NodeID]*Straggler), software: make(map[cert.NodeID]software),
		events: make(map[cert.NodeID]uint64), grown: make(map[cert.NodeID]bool), kept: make(map[cert.NodeID]keptIPK), meet: make(chan struct{}, atOnce), came: make(chan struct{}, 1)},
		sleep: sleeping{ciphers: make(map[checkin.Name]*checkin.Cipher), passing: make(map[cert.NodeID]bool), woke: make(map[cert.NodeID]chan struct{}), naps: make(map[cert.NodeID]*nap)}}
}

// Adopt keeps the session with which a device was admitted.
func (k *Keeper) Adopt(s *exchange.Session) {
	sl := k.slot(cert.NodeID(s.PeerNode()))
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.session, sl.identity = s, k.c.Identity()
	select {
	case k.own.came <- struct{}{}: // so that it is looked after at once
	default:
	}
}

// exchanged puts a session in the place of one on the former fabric, or with
// the device's former certificate.
func (k *Keeper) exchanged(s *exchange.Session) {
	n := cert.NodeID(s.PeerNode())
	k.leave(n)
	k.Adopt(s)
	if k.c.Former != nil {
		if former := k.c.Former(); former != nil {
			k.c.Resumptions().Forget(former.Index, n)
		}
	}
}

func (k *Keeper) slot(n cert.NodeID) *slot {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.slots[n]
	if s == nil {
		s = new(slot)
		k.slots[n] = s
	}
	return s
}

// device is an admitted device, or a Failure. One that another gateway has just
// admitted may not be known here yet.
func (k *Keeper) device(ctx context.Context, n cert.NodeID) (*fabric.Device, error) {
	d := k.c.Ledger.State().Devices[n]
	if d == nil || d.Phase != fabric.Admitted {
		s, err := k.c.Ledger.Current(ctx)
		if err != nil {
			return nil, commissioner.Explain(err, commissioner.CodeCommit)
		}
		if d = s.Devices[n]; d == nil || d.Phase != fabric.Admitted {
			return nil, commissioner.Fail(commissioner.CodeUnknownDevice, nil)
		}
	}
	return d, nil
}

// session is an open session with a device, a new one if need be.
func (k *Keeper) session(ctx context.Context, n cert.NodeID) (*exchange.Session, error) {
	sl := k.slot(n)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.idle != nil {
		sl.idle.Stop()
		sl.idle = nil
	}
	identity, err := k.c.IdentityFor(ctx, k.c.Ledger.State().Devices[n])
	if err != nil {
		return nil, err
	}
	if s := sl.session; s != nil {
		if sl.identity != identity { // its certificate was renewed, or the device was moved
			securechannel.Close(k.c.Manager, s)
		}
		select {
		case <-s.Done():
		default:
			return s, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	s, err := k.c.Connect(ctx, n)
	if err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeUnreachable)
	}
	sl.session, sl.identity = s, identity
	return s, nil
}

// rest ends the session with another gateway's device when it is not used for
// a while: a device has room for few.
func (k *Keeper) rest(n cert.NodeID) {
	d := k.c.Ledger.State().Devices[n]
	sl := k.slot(n)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if d != nil && d.Gateway == k.c.Identity().Node {
		return
	}
	sl.idle = time.AfterFunc(idleLimit, func() {
		if d := k.c.Ledger.State().Devices[n]; d == nil || d.Gateway != k.c.Identity().Node {
			k.leave(n)
		}
	})
}

// leave ends the session with a device.
func (k *Keeper) leave(n cert.NodeID) {
	sl := k.slot(n)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.session != nil {
		securechannel.Close(k.c.Manager, sl.session)
		sl.session = nil
	}
}

// drop forgets a session over which nothing came back.
func (k *Keeper) drop(n cert.NodeID, s *exchange.Session) {
	s.Close()
	sl := k.slot(n)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.session == s {
		sl.session = nil
	}
}

// do runs one interaction with a device and, where the session turns out to be
// dead, once more on a new one. An interaction with effects is repeated only
// if the device acknowledged nothing of it.
func (k *Keeper) do(ctx context.Context, n cert.NodeID, effects bool, f func(*exchange.Session) error) error {
	if _, err := k.device(ctx, n); err != nil {
		return err
	}
	defer k.rest(n)
	for try := 0; ; try++ {
		s, err := k.session(ctx, n)
		if err != nil && k.napping(n) {
			return commissioner.Fail(commissioner.CodeAsleep, err)
		}
		if err != nil {
			return err
		}
		err = f(s)
		if err == nil {
			k.noteAwake(n)
			return nil
		}
		unheard := errors.Is(err, exchange.ErrNoAck) || errors.Is(err, exchange.ErrClosed)
		unanswered := errors.Is(err, exchange.ErrTimeout)
		if unheard || unanswered {
			if k.subscribed(n) && k.napping(n) {
				return commissioner.Fail(commissioner.CodeAsleep, err) // what there is with it is good when it wakes up
			}
			k.drop(n, s)
		}
		if try > 0 || ctx.Err() != nil || !unheard && (effects || !unanswered) {
			return commissioner.Explain(err, commissioner.CodeProtocol)
		}
	}
}

// Read reads attributes and events.
func (k *Keeper) Read(ctx context.Context, n cert.NodeID, req interaction.ReadRequest) (r *interaction.Report, err error) {
	err = k.do(ctx, n, false, func(s *exchange.Session) error {
		r, err = k.c.Engine.Read(ctx, s, req)
		return err
	})
	return r, err
}

// Write writes attributes and gives each one's error, in order.
func (k *Keeper) Write(ctx context.Context, n cert.NodeID, timed time.Duration, writes ...interaction.Write) (errs []error, err error) {
	err = k.do(ctx, n, true, func(s *exchange.Session) error {
		errs, err = k.c.Engine.Write(ctx, s, timed, writes...)
		return err
	})
	return errs, err
}

// Invoke invokes one command. A device that wants the interaction to be timed
// says so; then it is.
func (k *Keeper) Invoke(ctx context.Context, n cert.NodeID, timed time.Duration, c interaction.Invocation) (r interaction.CommandResult, err error) {
	invoke := func() error {
		return k.do(ctx, n, true, func(s *exchange.Session) error {
			results, err := k.c.Engine.Invoke(ctx, s, timed, c)
			if err == nil {
				r = results[0]
			}
			return err
		})
	}
	err = invoke()
	if needsTimed(err) || needsTimed(r.Err) {
		timed = timedDefault
		err = invoke()
	}
	return r, err
}

// timedDefault is the timeout of an interaction that was not asked to be timed.
const timedDefault = 10 * time.Second

func needsTimed(err error) bool {
	status, ok := interaction.StatusOf(err)
	return ok && status == interaction.NeedsTimedInteraction
}

// Subscribe subscribes and waits until the subscription or ctx ends.
func (k *Keeper) Subscribe(ctx context.Context, n cert.NodeID, req interaction.SubscribeRequest, deliver func(*interaction.Report)) error {
	var sub *interaction.Subscription
	err := k.do(ctx, n, false, func(s *exchange.Session) (err error) {
		sub, err = k.c.Engine.Subscribe(ctx, s, req, deliver)
		return err
	})
	if err != nil {
		return err
	}
	defer sub.Close()
	select {
	case <-sub.Done():
		return commissioner.Fail(commissioner.CodeUnreachable, sub.Err())
	case <-ctx.Done():
		return nil
	}
}

// forget drops all that is kept of a device.
func (k *Keeper) forget(n cert.NodeID) {
	k.leave(n)
	k.mu.Lock()
	delete(k.slots, n)
	k.mu.Unlock()
	k.c.Resumptions().Forget(k.c.Identity().Index, n)
	if k.c.Former != nil && k.c.Former() != nil {
		k.c.Resumptions().Forget(k.c.Former().Index, n)
	}
	k.c.Addresses.Forget(n)
}
