package keeper

import (
	"context"
	"fmt"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Remove sends a device away: it forgets this home, then the trust state
// forgets it. A device that cannot be reached stays, unless force is set:
// then it is no longer trusted, though it may believe that it belongs until
// it is reset.
func (k *Keeper) Remove(ctx context.Context, n cert.NodeID, force bool) error {
	reason := "removed"
	if err := k.removeFabric(ctx, n); err != nil {
		if f := commissioner.Explain(err, commissioner.CodeProtocol); !force || f.Code == commissioner.CodeUnknownDevice {
			return f
		}
		reason = "removed without the device's knowledge"
	}
	cmd := fabric.Command{Version: fabric.Version, Time: k.c.Now().UnixMilli(), Remove: &fabric.Remove{Node: n, Reason: reason}}
	if _, err := k.c.Ledger.Propose(ctx, cmd); err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	k.forget(n)
	return nil
}

func (k *Keeper) removeFabric(ctx context.Context, n cert.NodeID) error {
	root, credentials := datamodel.RootEndpoint, datamodel.OperationalCredentials
	return k.do(ctx, n, true, func(s *exchange.Session) error {
		var index uint8
		if err := k.c.Engine.ReadAttribute(ctx, s, interaction.Attribute(root, credentials, datamodel.CredentialsCurrentFabric), &index); err != nil {
			return err
		}
		var r datamodel.NOCResponse
		err := k.c.Engine.InvokeCommand(ctx, s, 0, interaction.Command(root, credentials, datamodel.RemoveFabricID), &datamodel.RemoveFabric{FabricIndex: index}, &r)
		if err == nil && r.Status != datamodel.NOCOK {
			err = fmt.Errorf("the device keeps the fabric: %v %s", r.Status, r.Text)
		}
		return err
	})
}
