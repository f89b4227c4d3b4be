package keeper

import (
	"context"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// mendAccess takes evicted gateways off a device's access control list: the
// present version of the gateways' CAT, which they never got, is written,
// first of all entries, and read back; then the trust state has it. Until then
// the device is listed as one that still trusts them.
func (k *Keeper) mendAccess(ctx context.Context, n cert.NodeID) error {
	s := k.c.Ledger.State()
	d, self := s.Devices[n], s.Gateways[k.c.Identity().Node]
	want := s.Home.GatewayCAT.Version()
	if d == nil || self == nil || s.OnFormer(d) || d.AccessVersion() >= want || self.CATVersion() < want || string(self.NOC) != string(k.c.Identity().NOC) {
		return nil // right, or this gateway would lock itself out
	}
	if err := k.do(ctx, n, true, func(session *exchange.Session) error { return k.c.WriteAccess(ctx, session, d) }); err != nil {
		return err
	}
	if _, err := k.c.Ledger.Propose(ctx, fabric.Command{SetAccess: &fabric.SetAccess{Nodes: []cert.NodeID{n}, Version: want}}); err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	k.c.Log.Info("a device no longer trusts gateways that were evicted", "device", n)
	return nil
}
