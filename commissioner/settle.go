package commissioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of settling.
const (
	settleEvery = 2 * time.Second  // between looks at the trust state
	settleDial  = 20 * time.Second // for one attempt to meet a device
	// settleGrace is how long after its fail-safe must have expired a device
	// is still looked for: one that completed without our hearing it.
	settleGrace = 2 * time.Minute
)

// Settle ends the pairings that nobody is at any more, until ctx ends: after a
// crash, or where a device fell silent at the worst moment. Before its
// certificate was issued a device rolls back by itself; after, a device that
// can be met over CASE is admitted and any other has rolled back.
func (c *Commissioner) Settle(ctx context.Context) {
	ticker := time.NewTicker(settleEvery)
	defer ticker.Stop()
	since := make(map[cert.NodeID]time.Time)
	for {
		since = c.doubts(since)
		for _, d := range c.Ledger.State().Devices {
			if began, ok := since[d.Node]; ok {
				if err := c.settle(ctx, d, c.Now().Sub(began)); err != nil && ctx.Err() == nil {
					c.Log.Info("a pairing is still in doubt", "device", d.Node, "err", err)
				}
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Commissioner) inDoubt(d *fabric.Device) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return d.Phase != fabric.Admitted && d.Gateway == c.Identity().Node && !c.active[d.Node]
}

// doubts are the pairings in doubt, and since when this process knows of each:
// how long a fail-safe still lasts is measured, since clocks jump.
func (c *Commissioner) doubts(before map[cert.NodeID]time.Time) map[cert.NodeID]time.Time {
	since := make(map[cert.NodeID]time.Time)
	for _, d := range c.Ledger.State().Devices {
		if c.inDoubt(d) {
			began, ok := before[d.Node]
			if !ok {
				began = c.Now()
			}
			since[d.Node] = began
		}
	}
	return since
}

// failSafe is how long a device may hold what a pairing gave it.
func failSafe(d *fabric.Device) time.Duration {
	if d.FailSafe == 0 { // a reservation of version 1
		return fabric.MaxReservation
	}
	return time.Duration(d.FailSafe) * time.Millisecond
}

func (c *Commissioner) settle(ctx context.Context, d *fabric.Device, waited time.Duration) error {
	if d.Phase == fabric.Reserved {
		// No certificate was committed, so none was sent; and whoever made
		// the reservation, on this gateway, is gone.
		return c.settled(ctx, d, fabric.Command{Abandon: &fabric.Abandon{Node: d.Node, Reason: "the pairing was interrupted", Gateway: c.Identity().Node, Phase: fabric.Reserved}})
	}
	dialCtx, cancel := context.WithTimeout(ctx, settleDial)
	defer cancel()
	s, err := c.Connect(dialCtx, d.Node)
	switch {
	case err == nil:
		defer securechannel.Close(c.Manager, s)
		return c.finish(ctx, s, d)
	case waited > failSafe(d)+settleGrace:
		return c.settled(ctx, d, fabric.Command{Abandon: &fabric.Abandon{Node: d.Node, Reason: "the device rolled back", Gateway: c.Identity().Node}})
	}
	return err
}

// finish takes the steps that are left with a device that has its certificate.
func (c *Commissioner) finish(ctx context.Context, s *exchange.Session, d *fabric.Device) error {
	state := c.Ledger.State()
	if err := c.settleDown(ctx, s, state, d); err != nil {
		return err
	}
	return c.settled(ctx, d, fabric.Command{Admit: &fabric.Admit{Node: d.Node, Gateway: c.Identity().Node, Access: c.tag(state, d).Version()}})
}

// settleDown writes the device's access list, and ends its fail-safe.
func (c *Commissioner) settleDown(ctx context.Context, s *exchange.Session, state *fabric.State, d *fabric.Device) error {
	if err := c.putACL(ctx, s, state, d); err != nil {
		return err
	}
	if err := c.checkACL(ctx, s, state, d); err != nil {
		return err
	}
	return c.endFailSafe(ctx, s)
}

// endFailSafe has a device keep what it was given, if it does not already.
func (c *Commissioner) endFailSafe(ctx context.Context, s *exchange.Session) error {
	var r datamodel.CommissioningResponse
	err := c.invoke(ctx, s, datamodel.GeneralCommissioning, datamodel.CommissioningCompleteID, nil, &r)
	status, refused := interaction.StatusOf(err)
	switch {
	case err == nil && (r.Code == datamodel.CommissioningOK || r.Code == datamodel.CommissioningNoFailSafe):
	case refused && status == interaction.FailsafeRequired:
		// Without a fail-safe it is complete: it would have rolled back.
	case err == nil:
		return fmt.Errorf("completion: %v %s", r.Code, r.Text)
	default:
		return err
	}
	return nil
}

// settled commits the end of a pairing. Somebody else may have done so.
func (c *Commissioner) settled(ctx context.Context, d *fabric.Device, cmd fabric.Command) error {
	_, err := c.propose(ctx, cmd)
	var refused *fabric.Refusal
	if errors.As(err, &refused) && (refused.Code == fabric.CodeUnknown || refused.Code == fabric.CodePhase || refused.Code == fabric.CodeOwner) {
		return nil
	}
	if err == nil {
		outcome := "abandoned"
		if cmd.Admit != nil {
			outcome = "admitted"
		}
		c.Log.Info("a pairing in doubt is settled", "device", d.Node, "as", outcome)
	}
	return err
}
