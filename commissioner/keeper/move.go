package keeper

import (
	"context"
	"errors"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of ours, between attempts to give a device another certificate: doubled
// each time.
const firstMove, lastMove = 15 * time.Second, 10 * time.Minute

// moveLimit bounds one attempt.
const moveLimit = 3 * time.Minute

// Straggler is why a device is not below the home's new root alone yet, or has
// not the certificate that is due to it, though it was tried.
type Straggler struct {
	Since    time.Time // of the first attempt
	Attempts int
	Failure  *commissioner.Failure // of the last one

	next time.Time
	wait time.Duration
}

// errMoved says that a device is on another fabric than before.
var errMoved = errors.New("the device was moved")

// Straggles is why a device of this gateway's is not moved yet; false if there
// is no reason but that its turn has not come, or it is not this gateway's.
func (k *Keeper) Straggles(n cert.NodeID) (Straggler, bool) {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	if s := k.own.moves[n]; s != nil {
		return *s, true
	}
	return Straggler{}, false
}

// due reports whether something is to be tried with a device now.
func (k *Keeper) due(n cert.NodeID) bool {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	s := k.own.moves[n]
	return s == nil || !k.c.Now().Before(s.next)
}

// tried records how an attempt ended.
func (k *Keeper) tried(ctx context.Context, n cert.NodeID, err error) {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	if err == nil {
		delete(k.own.moves, n)
		return
	}
	if ctx.Err() != nil {
		return // somebody else's by now
	}
	s := k.own.moves[n]
	if s == nil {
		s = &Straggler{Since: k.c.Now(), wait: firstMove / 2}
		k.own.moves[n] = s
	}
	s.Attempts++
	s.wait = min(2*s.wait, lastMove)
	s.next = k.c.Now().Add(s.wait)
	s.Failure = commissioner.Explain(err, commissioner.CodeProtocol)
	k.c.Log.Info("a device did not get another certificate", "device", n, "code", s.Failure.Code, "err", err)
}

// doubtful is a device whose last attempt to move nobody knows the end of.
func (k *Keeper) doubtful(n cert.NodeID) *fabric.Device {
	s := k.c.Ledger.State()
	if d := s.Devices[n]; d != nil && s.OnFormer(d) && d.Next != nil && !d.Next.Renewal && d.Next.Phase == fabric.Issued {
		return d
	}
	return nil
}

// settleMove finds out about an attempt that nobody knows the end of, before
// the device is looked for on either fabric. It reports whether it has moved.
func (k *Keeper) settleMove(ctx context.Context, n cert.NodeID) bool {
	d := k.doubtful(n)
	if d == nil || !k.due(n) {
		return false
	}
	s, err := k.c.SettleMove(ctx, d, func(ctx context.Context) (*exchange.Session, error) { return k.session(ctx, n) })
	k.tried(ctx, n, err)
	if s != nil {
		k.exchanged(s)
	}
	return s != nil
}

// move does what is left to do until a device is below the home's present root
// alone. It reports whether it is on another fabric now.
func (k *Keeper) move(ctx context.Context, n cert.NodeID) (moved bool) {
	s := k.c.Ledger.State()
	d := s.Devices[n]
	if d == nil || d.Before == nil && !s.OnFormer(d) || !k.due(n) {
		return false
	}
	if k.doubtful(n) != nil {
		return k.settleMove(ctx, n)
	}
	return k.attempt(ctx, n, func(ctx context.Context, s *exchange.Session) (*exchange.Session, error) {
		if d.Before != nil {
			return nil, k.c.LeaveFormer(ctx, s, d)
		}
		return k.c.Move(ctx, d, s, nil)
	})
}

// renew gives a device the certificate that its standing asks for: with the
// zone's tag, or without. It reports whether the device has another one now.
func (k *Keeper) renew(ctx context.Context, n cert.NodeID) (renewed bool) {
	s := k.c.Ledger.State()
	d := s.Devices[n]
	if d == nil || !k.due(n) {
		return false
	}
	doubt := d.Next != nil && d.Next.Renewal && d.Next.Phase == fabric.Issued
	if !doubt && !s.RenewalDue(d) {
		return false
	}
	return k.attempt(ctx, n, func(ctx context.Context, s *exchange.Session) (*exchange.Session, error) {
		if doubt {
			return nil, k.c.SettleRenewal(ctx, d, s)
		}
		return k.c.Renew(ctx, d, s)
	})
}

// attempt does something with a device that may end in another session with it:
// then it reports true.
func (k *Keeper) attempt(ctx context.Context, n cert.NodeID, do func(context.Context, *exchange.Session) (*exchange.Session, error)) bool {
	select {
	case k.own.meet <- struct{}{}:
		defer func() { <-k.own.meet }()
	case <-ctx.Done():
		return false
	}
	limited, cancel := context.WithTimeout(ctx, moveLimit)
	defer cancel()
	session, err := k.session(limited, n)
	var after *exchange.Session
	if err == nil {
		after, err = do(limited, session)
	}
	if after != nil {
		k.exchanged(after)
	}
	k.tried(ctx, n, err)
	return after != nil
}
