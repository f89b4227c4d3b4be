package keeper

import (
	"context"
	"errors"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// keptIPK is why a device keeps the published identity protection key, while it
// runs a version of its software.
type keptIPK struct {
	version uint32
	failure *commissioner.Failure
}

// adopt takes a device that was taken over from another controller one step
// further. It reports whether the device is on other terms now, so that another
// session is needed.
func (k *Keeper) adopt(ctx context.Context, n cert.NodeID) (further bool) {
	s := k.c.Ledger.State()
	d := s.Devices[n]
	if d == nil || d.Terms == fabric.HomeTerms || d.Next != nil || s.OnFormer(d) || !k.due(n) || k.keepsIPK(n) {
		return false
	}
	k.attempt(ctx, n, func(ctx context.Context, session *exchange.Session) (*exchange.Session, error) {
		err := k.c.Adopt(ctx, d, session)
		if f := new(commissioner.Failure); errors.As(err, &f) && f.Code == commissioner.CodeIPKKept {
			k.noteKept(n, f)
			return nil, nil // nothing that trying again would change
		}
		further = err == nil
		return nil, err
	})
	return further
}

// keepsIPK reports whether a device that runs what it ran then was seen to keep
// the published key.
func (k *Keeper) keepsIPK(n cert.NodeID) bool {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	kept, ok := k.own.kept[n]
	return ok && kept.version == k.own.software[n].version
}

func (k *Keeper) noteKept(n cert.NodeID, f *commissioner.Failure) {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	k.own.kept[n] = keptIPK{k.own.software[n].version, f}
	k.c.Log.Info("a device keeps the published identity protection key", "device", n, "err", f.Unwrap())
}

// administered reports whether the gateways' rights on a device are their own.
func (k *Keeper) administered(n cert.NodeID) bool {
	d := k.c.Ledger.State().Devices[n]
	return d != nil && d.Terms.Administered()
}

// Kept is why a device of this gateway's that was taken over is not on the
// home's own terms yet; nil: its turn has not come, or it is not this
// gateway's.
func (k *Keeper) Kept(n cert.NodeID) *commissioner.Failure {
	if s, ok := k.Straggles(n); ok {
		return s.Failure
	}
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	return k.own.kept[n].failure
}
