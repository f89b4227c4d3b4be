package keeper

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/checkin"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// RegisterCheckIn has a device tell the home when it wakes up, so that it may
// sleep long; asked for again, it gets another key. If it cannot be told now,
// it is told when it is met.
func (k *Keeper) RegisterCheckIn(ctx context.Context, n cert.NodeID) error {
	if _, err := k.device(ctx, n); err != nil {
		return err
	}
	said, _ := k.Nodes.Get(n)
	var features uint32
	if attribute(&said, interaction.AttributeID(datamodel.FeatureMap), &features); features&datamodel.ICDCheckIn == 0 {
		return commissioner.Fail(commissioner.CodeNoCheckIn, nil)
	}
	d, err := k.setCheckIn(ctx, fabric.SetCheckIn{Node: n, Phase: fabric.CheckInDue})
	if err != nil {
		return err
	}
	err = k.register(ctx, d)
	if _, refused := interaction.StatusOf(err); refused && d.CheckIn.Before == 0 {
		// It has no key, and is not asked for ever.
		if _, undo := k.setCheckIn(ctx, fabric.SetCheckIn{Node: n}); undo != nil {
			return errors.Join(err, undo)
		}
	}
	return err
}

// UnregisterCheckIn has a device no longer do so. One that cannot be told now is
// told when it is met: until then its check-ins are heard, since by them it is.
// force says that this is no error, and does not wait for one that sleeps.
func (k *Keeper) UnregisterCheckIn(ctx context.Context, n cert.NodeID, force bool) error {
	d, err := k.device(ctx, n)
	if err != nil || d.CheckIn == nil {
		return err
	}
	asleep := k.napping(n)
	if _, err = k.setCheckIn(ctx, fabric.SetCheckIn{Node: n, Phase: fabric.CheckInEnding}); err != nil || force && asleep {
		return err
	}
	if told, err := k.endCheckIn(ctx, n); told || !force {
		return err
	}
	return nil
}

// endCheckIn ends a registration. told says that the device knows of it.
func (k *Keeper) endCheckIn(ctx context.Context, n cert.NodeID) (told bool, err error) {
	if err := k.unregister(ctx, n); err != nil {
		return false, err
	}
	_, err = k.setCheckIn(ctx, fabric.SetCheckIn{Node: n})
	return true, err
}

func (k *Keeper) setCheckIn(ctx context.Context, c fabric.SetCheckIn) (*fabric.Device, error) {
	s, err := k.c.Ledger.Propose(ctx, fabric.Command{SetCheckIn: &c})
	if err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeCommit)
	}
	if d := s.Devices[c.Node]; d != nil {
		return d, nil
	}
	return nil, commissioner.Fail(commissioner.CodeUnknownDevice, nil)
}

// register gives a device the key that is due to it. What is committed before
// is what it may get: it can be done again, by anybody.
func (k *Keeper) register(ctx context.Context, d *fabric.Device) error {
	due := *d.CheckIn
	keys, err := k.c.Authority.CheckInKeys(ctx, []fabric.CheckInKey{{Node: d.Node, Epoch: due.Epoch}})
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeIssue)
	}
	defer keys[0].Erase()
	raw := keys[0].Reveal()
	defer clear(raw)
	req := datamodel.RegisterClient{CheckInNode: uint64(fabric.CheckInNode), Subject: uint64(k.monitored()), Key: raw}
	r, err := k.Invoke(ctx, d.Node, 0, interaction.Invocation{Path: icd(datamodel.RegisterClientID), Fields: &req})
	var resp datamodel.RegisterClientResponse
	if err == nil {
		if err = r.Err; err == nil {
			err = tlv.Unmarshal(r.Fields, &resp)
		}
	}
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeDeviceStatus)
	}
	kept := fabric.SetCheckIn{Node: d.Node, Phase: fabric.CheckInKept, Epoch: due.Epoch, Counter: resp.Counter, Idle: uint32(k.cadence(d.Node).idle.Seconds())}
	if _, err := k.setCheckIn(ctx, kept); err != nil {
		if now := k.checkIn(d.Node); now == nil || now.Phase != fabric.CheckInKept || now.Epoch != due.Epoch {
			return err
		} // else another gateway gave it the same
	}
	k.c.Log.Info("a device checks in when it wakes up", "device", d.Node)
	return k.fillTable(ctx)
}

// unregister ends a device's registration; there may be none.
func (k *Keeper) unregister(ctx context.Context, n cert.NodeID) error {
	r, err := k.Invoke(ctx, n, 0, interaction.Invocation{Path: icd(datamodel.UnregisterClientID), Fields: &datamodel.UnregisterClient{CheckInNode: uint64(fabric.CheckInNode)}})
	if err == nil {
		err = r.Err
	}
	if status, ok := interaction.StatusOf(err); ok && status == interaction.NotFound {
		return nil
	}
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeDeviceStatus)
	}
	return nil
}

func icd(c interaction.CommandID) interaction.CommandPath {
	return interaction.Command(datamodel.RootEndpoint, datamodel.ICDManagement, c)
}

// monitored is whose subscription keeps a device from checking in: any
// gateway's that was not evicted.
func (k *Keeper) monitored() cert.NodeID {
	return k.c.Ledger.State().Home.GatewayCAT.Subject()
}

// listed is the home's registration as the device tells it; nil: it has none.
// told is false if the device did not say.
func (k *Keeper) listed(n cert.NodeID) (r *datamodel.Registration, told bool) {
	said, _ := k.Nodes.Get(n)
	var all []datamodel.Registration
	if !attribute(&said, datamodel.ICDRegisteredClients, &all) {
		return nil, false
	}
	for i := range all {
		if all[i].CheckInNode == uint64(fabric.CheckInNode) {
			return &all[i], true
		}
	}
	return nil, true
}

// settleCheckIn brings a device's registration in line with what was decided:
// one that it lost, or that is not for the present gateways, or whose key was
// used for long, is made anew.
func (k *Keeper) settleCheckIn(ctx context.Context, n cert.NodeID) error {
	s := k.c.Ledger.State()
	d := s.Devices[n]
	if d == nil || s.OnFormer(d) || !d.Terms.Administered() {
		return nil
	}
	at, told := k.listed(n)
	c := d.CheckIn
	if c != nil && c.Phase == fabric.CheckInKept {
		counter, known := k.counter(n)
		switch {
		case told && at == nil:
			k.c.Log.Info("a device lost its registration", "device", n)
		case told && at.Subject != uint64(k.monitored()):
		case known && checkin.Spent(c.Counter, counter):
		default:
			k.paced(n, true)
			return nil
		}
	} else if c == nil && (!told || at == nil) {
		return nil
	}
	if !k.paced(n, false) {
		return nil
	}
	var err error
	switch {
	case c == nil:
		err = k.unregister(ctx, n)
	case c.Phase == fabric.CheckInEnding:
		_, err = k.endCheckIn(ctx, n)
	default:
		if d, err = k.setCheckIn(ctx, fabric.SetCheckIn{Node: n, Phase: fabric.CheckInDue}); err == nil {
			err = k.register(ctx, d)
		}
	}
	if err == nil {
		return errMoved // so that it is asked what it has now
	}
	if f := new(commissioner.Failure); errors.As(err, &f) && f.Code == commissioner.CodeAsleep {
		return nil
	}
	return fmt.Errorf("settle its registration: %w", err)
}

// paced reports whether a device's registration may be settled now, and not so
// soon again: a device that forgets it each time is left alone for longer each
// time. right says that there was nothing to settle.
func (k *Keeper) paced(n cert.NodeID, right bool) bool {
	k.sleep.mu.Lock()
	defer k.sleep.mu.Unlock()
	p, now := k.nap(n), k.c.Now()
	switch {
	case right:
		p.wait = firstMove / 2
		return false
	case now.Before(p.next):
		return false
	}
	p.wait = min(2*p.wait, lastMove)
	p.next = now.Add(p.wait)
	return true
}
