package commissioner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
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

// Leave makes a device forget this home, over a session with it: also the
// fabric that the home had under another root.
func (c *Commissioner) Leave(ctx context.Context, s *exchange.Session) error {
	var index uint8
	var fabrics []datamodel.FabricDescriptor
	current := interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, datamodel.CredentialsCurrentFabric)
	all := interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, datamodel.CredentialsFabrics)
	report, err := c.Engine.Read(ctx, s, interaction.ReadRequest{Attributes: []interaction.AttributePath{current, all}})
	if err == nil {
		err = errors.Join(report.Decode(current, &index), report.Decode(all, &fabrics))
	}
	if err != nil {
		return err
	}
	for _, f := range fabrics {
		if f.FabricIndex != index && f.FabricID == uint64(c.Identity().Fabric) && f.NodeID == s.PeerNode() {
			if err := c.removeFabric(ctx, s, f.FabricIndex); err != nil {
				return err
			}
		}
	}
	return c.removeFabric(ctx, s, index)
}

func (c *Commissioner) removeFabric(ctx context.Context, s *exchange.Session, index uint8) error {
	var r datamodel.NOCResponse
	err := c.invoke(ctx, s, datamodel.OperationalCredentials, datamodel.RemoveFabricID, &datamodel.RemoveFabric{FabricIndex: index}, &r)
	if err == nil && r.Status != datamodel.NOCOK {
		err = fmt.Errorf("the device keeps the fabric: %v %s", r.Status, r.Text)
	}
	return err
}

// fabricsEvery is between looks at which fabrics the home has.
const fabricsEvery = 5 * time.Second

// SendAway meets devices that announce themselves on a fabric of the home's
// though they no longer belong, and makes them forget it, until ctx ends: one
// that was removed while it was out of reach, or that kept a certificate which
// was given up because its last answer was lost.
func (c *Commissioner) SendAway(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(fabricsEvery)
	defer ticker.Stop()
	watched := make(map[uint64]context.CancelFunc)
	for {
		present := make(map[uint64]bool)
		for _, id := range c.identities() {
			of := compressed(id)
			if present[of] = true; watched[of] == nil {
				ctx, end := context.WithCancel(ctx)
				watched[of] = end
				wg.Go(func() { c.sendAwayFrom(ctx, of) })
			}
		}
		for of, end := range watched {
			if !present[of] {
				end()
				delete(watched, of)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Commissioner) sendAwayFrom(ctx context.Context, of uint64) {
	for e := range c.Discovery.Browse(ctx, dnssd.Fabric(of)) {
		node := cert.NodeID(e.Node)
		if e.Change == dnssd.Removed || e.CompressedFabric != of || c.Ledger.State().Tombstones[node] == nil {
			continue
		}
		if err := c.sendAway(ctx, of, node); err != nil {
			c.Log.Info("a device that no longer belongs was not sent away", "device", node, "err", err)
		} else {
			c.Log.Info("a device that no longer belongs was sent away", "device", node)
		}
	}
}

func (c *Commissioner) sendAway(ctx context.Context, of uint64, node cert.NodeID) error {
	ctx, cancel := context.WithTimeout(ctx, leaveLimit)
	defer cancel()
	ids := c.identities()
	i := slices.IndexFunc(ids, func(id *securechannel.Identity) bool { return compressed(id) == of })
	if i < 0 {
		return Fail(CodeOtherFabric, nil)
	}
	s, err := c.dial(ctx, ids[i], node, nil)
	if err != nil {
		return err
	}
	defer securechannel.Close(c.Manager, s)
	return c.Leave(ctx, s)
}
