package commissioner

import (
	"context"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric/cert"
	"gatehouse/radio/dnssd"
)

// leaveLimit bounds the sending away of one device.
const leaveLimit = 30 * time.Second

// Leave makes a device forget this home, over a session with it.
func (c *Commissioner) Leave(ctx context.Context, s *exchange.Session) error {
	var index uint8
	err := c.Engine.ReadAttribute(ctx, s, interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, datamodel.CredentialsCurrentFabric), &index)
	if err != nil {
		return err
	}
	var r datamodel.NOCResponse
	err = c.invoke(ctx, s, datamodel.OperationalCredentials, datamodel.RemoveFabricID, &datamodel.RemoveFabric{FabricIndex: index}, &r)
	if err == nil && r.Status != datamodel.NOCOK {
		err = fmt.Errorf("the device keeps the fabric: %v %s", r.Status, r.Text)
	}
	return err
}

// SendAway meets devices that announce themselves on the home's fabric though
// they no longer belong, and makes them forget it, until ctx ends: one that
// was removed while it was out of reach, or that kept a certificate which was
// given up because its last answer was lost.
func (c *Commissioner) SendAway(ctx context.Context) {
	compressed := c.CompressedFabric()
	for e := range c.Discovery.Browse(ctx, dnssd.Fabric(compressed)) {
		node := cert.NodeID(e.Node)
		if e.Change == dnssd.Removed || e.CompressedFabric != compressed || c.Ledger.State().Tombstones[node] == nil {
			continue
		}
		if err := c.sendAway(ctx, node); err != nil {
			c.Log.Info("a device that no longer belongs was not sent away", "device", node, "err", err)
		} else {
			c.Log.Info("a device that no longer belongs was sent away", "device", node)
		}
	}
}

func (c *Commissioner) sendAway(ctx context.Context, node cert.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	s, err := c.dial(ctx, node, nil)
	if err != nil {
		return err
	}
	defer securechannel.Close(c.Manager, s)
	return c.Leave(ctx, s)
}
