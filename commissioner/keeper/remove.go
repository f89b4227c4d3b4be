package keeper

import (
	"context"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Remove sends a device away: it forgets this home, then the trust state
// forgets it. A device that cannot be reached stays, unless force is set:
// then it is no longer trusted, and is sent away when it shows up again.
func (k *Keeper) Remove(ctx context.Context, n cert.NodeID, force bool) error {
	reason := "removed"
	if err := k.do(ctx, n, true, func(s *exchange.Session) error { return k.c.Leave(ctx, s) }); err != nil {
		if f := commissioner.Explain(err, commissioner.CodeProtocol); !force || f.Code == commissioner.CodeUnknownDevice {
			return f
		}
		reason = "removed without the device's knowledge"
	}
	cmd := fabric.Command{Remove: &fabric.Remove{Node: n, Reason: reason}}
	if _, err := k.c.Ledger.Propose(ctx, cmd); err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	k.forget(n)
	return nil
}
