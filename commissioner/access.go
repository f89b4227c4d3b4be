package commissioner

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/policy"
	"gatehouse/fabric/tlv"
)

var aclPath = interaction.Attribute(datamodel.RootEndpoint, datamodel.AccessControl, datamodel.AccessControlACL)

func (p *pairing) writeAccess(ctx context.Context) error {
	state := p.Ledger.State()
	return p.putACL(ctx, p.oper, state, p.device(state))
}

func (p *pairing) verifyAccess(ctx context.Context) error {
	state := p.Ledger.State()
	d := p.device(state)
	p.access = p.tag(state, d).Version()
	return p.checkACL(ctx, p.oper, state, d)
}

// device is the device as it will be.
func (p *pairing) device(state *fabric.State) *fabric.Device {
	d := state.Devices[p.node]
	if p.former != nil && d != nil {
		return arrived(state, d)
	}
	return d
}

// arrived is a device as if it were on the present fabric.
func arrived(state *fabric.State, d *fabric.Device) *fabric.Device {
	there := *d
	there.Generation = state.Generation().Number
	return &there
}

// tag is the gateways' tag that a device's list is to name: the present one,
// or an older one while this gateway's certificate has none newer: it would
// lock itself out. Such a list is mended later. On the former fabric no gateway
// ever gets a newer one.
func (c *Commissioner) tag(s *fabric.State, d *fabric.Device) cert.CAT {
	if s.OnFormer(d) {
		return s.Former.GatewayCAT
	}
	if noc, err := cert.Parse(c.Identity().NOC); err == nil {
		for _, own := range noc.Subject.CATs() {
			if own.Group() == s.Home.GatewayCAT.Group() && own.Version() < s.Home.GatewayCAT.Version() {
				return own
			}
		}
	}
	return s.Home.GatewayCAT
}

// complete ends the fail-safe: from here on the device keeps what it has.
func (p *pairing) complete(ctx context.Context) error {
	p.ended = true
	return p.general(ctx, p.oper, datamodel.CommissioningCompleteID, nil, CodeComplete)
}

// WriteAccess brings the access control list of a device that belongs in line
// with the trust state, and reads it back.
func (c *Commissioner) WriteAccess(ctx context.Context, s *exchange.Session, d *fabric.Device) error {
	state := c.Ledger.State()
	if err := c.putACL(ctx, s, state, d); err != nil {
		return err
	}
	return c.checkACL(ctx, s, state, d)
}

func (c *Commissioner) wantedACL(s *fabric.State, d *fabric.Device) []policy.Entry {
	if d.Quarantined() {
		return policy.Quarantine(c.tag(s, d))
	}
	return policy.ACL(c.tag(s, d), s.Zones[d.Zone].CAT)
}

// putACL writes the access control list of a device. The administrators'
// entry is the first, so a device that stores only part of the list still
// lets us mend it.
func (c *Commissioner) putACL(ctx context.Context, s *exchange.Session, state *fabric.State, d *fabric.Device) error {
	var entries []datamodel.ACLEntry
	for _, e := range c.wantedACL(state, d) {
		entries = append(entries, datamodel.ACLEntry{Privilege: datamodel.Privilege(e.Privilege), AuthMode: datamodel.AuthCASE,
			Subjects: tlv.Some([]uint64{uint64(e.Subject.Subject())})})
	}
	errs, err := c.Engine.Write(ctx, s, 0, interaction.Write{Path: aclPath, Value: entries})
	if err == nil {
		err = errors.Join(errs...)
	}
	if err != nil {
		return Explain(err, CodeACL)
	}
	return nil
}

// checkACL reads the list back and holds it against what it should be.
func (c *Commissioner) checkACL(ctx context.Context, s *exchange.Session, state *fabric.State, d *fabric.Device) error {
	var entries []datamodel.ACLEntry
	if err := c.Engine.ReadAttribute(ctx, s, aclPath, &entries); err != nil {
		return Explain(err, CodeACL)
	}
	var have []policy.Entry
	for _, e := range entries {
		entry, ok := entryOf(e)
		if !ok {
			return Fail(CodeACL, fmt.Errorf("it has an entry that nobody wrote: %+v", e))
		}
		have = append(have, entry)
	}
	if missing, extra := policy.Diff(c.wantedACL(state, d), have); len(missing)+len(extra) > 0 {
		return Fail(CodeACL, fmt.Errorf("it lacks %v and has %v", missing, extra))
	}
	return nil
}

// entryOf is the inverse of what putACL makes of an entry.
func entryOf(e datamodel.ACLEntry) (policy.Entry, bool) {
	if e.AuthMode != datamodel.AuthCASE || !e.Subjects.Valid || len(e.Subjects.Value) != 1 || e.Targets.Valid && len(e.Targets.Value) > 0 {
		return policy.Entry{}, false
	}
	cat, ok := cert.NodeID(e.Subjects.Value[0]).CAT()
	return policy.Entry{Privilege: policy.Privilege(e.Privilege), Subject: cat}, ok
}
