package keeper

import (
	"context"
	"errors"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/firmware"
)

// software is what a device says that it runs.
type software struct {
	version uint32
	text    string
	// firmware is the information in its attestation, since it was met.
	firmware []byte
	attested bool
}

// heard takes in what a device reports: first all it has, then what changes.
// Its events were told of before unless they are news.
func (k *Keeper) heard(n cert.NodeID, r *interaction.Report, first, news bool) {
	k.noteSoftware(n, r)
	k.noteEvents(n, r, first)
	if !news {
		r = &interaction.Report{Attributes: r.Attributes}
	}
	k.Nodes.Report(n, r, first)
}

// noteEvents notes what the next subscription need not tell again, and whether
// the device has got or lost endpoints.
func (k *Keeper) noteEvents(n cert.NodeID, r *interaction.Report, first bool) {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	if first {
		k.own.events[n] = max(k.own.events[n], 0) // it was met
	}
	for _, e := range r.Events {
		if e.Err == nil {
			k.own.events[n] = max(k.own.events[n], e.Number)
		}
	}
	for _, a := range r.Attributes {
		if !first && a.Path.Concrete() && *a.Path.Cluster == datamodel.Descriptor && *a.Path.Attribute == datamodel.DescriptorParts {
			k.own.grown[n] = true
		}
	}
}

// hasGrown reports whether a device has other endpoints than when it was met.
func (k *Keeper) hasGrown(n cert.NodeID) bool {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	return k.own.grown[n]
}

// noteSoftware takes a device's version from what it reports.
func (k *Keeper) noteSoftware(n cert.NodeID, r *interaction.Report) {
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	s := k.own.software[n]
	basic := func(id interaction.AttributeID) interaction.AttributePath {
		return interaction.Attribute(datamodel.RootEndpoint, datamodel.BasicInformation, id)
	}
	before := s.version
	if r.Decode(basic(datamodel.BasicSoftwareVersion), &s.version) == nil {
		s.attested = s.attested && s.version == before
		k.own.software[n] = s
	}
	if r.Decode(basic(datamodel.BasicSoftwareVersionString), &s.text) == nil {
		k.own.software[n] = s
	}
}

// judge decides anew on a device's software: what is known of it, the policy
// or its version may have changed. What is decided is committed, and then the
// device brought in line with it: until that is seen, it is listed as not
// enforced.
func (k *Keeper) judge(ctx context.Context, n cert.NodeID) error {
	s := k.c.Ledger.State()
	d := s.Devices[n]
	if d == nil || s.Version < fabric.FirmwareVersion || s.OnFormer(d) || d.Next != nil && !d.Next.Renewal {
		return nil // not yet, or it is about to be somebody else
	}
	k.own.mu.Lock()
	runs, known := k.own.software[n]
	k.own.mu.Unlock()
	if !known {
		return nil
	}
	facts := d.Facts
	facts.SoftwareVersion, facts.SoftwareString = runs.version, runs.text
	if len(facts.Firmware) > 0 {
		var err error
		if facts.Firmware, err = k.attest(ctx, n, facts); err != nil {
			return err
		}
	}
	if _, standing := k.c.Judge(s, d.Zone, facts, d.Standing); !firmware.Same(&standing, d.Standing) {
		next, err := k.c.Ledger.Propose(ctx, fabric.Command{Judge: &fabric.Judge{Node: n, Gateway: k.c.Identity().Node, Standing: standing, Facts: &facts}})
		if err != nil {
			return commissioner.Explain(err, commissioner.CodeCommit)
		}
		if d = next.Devices[n]; d == nil {
			return nil
		}
		k.c.Log.Info("decided on a device's software", "device", n, "version", runs.version, "verdict", d.Standing.Verdict, "reasons", standing.Reasons)
	}
	return k.enforce(ctx, d)
}

// attest has a device that gives firmware information give it again, once since
// it was met: it may have restarted with other software.
func (k *Keeper) attest(ctx context.Context, n cert.NodeID, f fabric.Facts) (information []byte, err error) {
	k.own.mu.Lock()
	runs := k.own.software[n]
	k.own.mu.Unlock()
	if runs.attested {
		return runs.firmware, nil
	}
	err = k.do(ctx, n, false, func(s *exchange.Session) error {
		information, err = k.c.Attest(ctx, s, f)
		return err
	})
	if refused := new(commissioner.Failure); errors.As(err, &refused) && len(refused.Reasons) > 0 { // its word alone does not count any more
		k.c.Log.Warn("a device does not prove anew what it is", "device", n, "err", err)
		information, err = f.Firmware, nil
	}
	if err != nil {
		return nil, err
	}
	k.own.mu.Lock()
	defer k.own.mu.Unlock()
	runs = k.own.software[n]
	runs.firmware, runs.attested = information, true
	k.own.software[n] = runs
	return information, nil
}

// enforce writes a device's access list as its standing has it, and reads it
// back.
func (k *Keeper) enforce(ctx context.Context, d *fabric.Device) error {
	if d.Standing == nil || d.Standing.Enforced {
		return nil
	}
	if err := k.do(ctx, d.Node, true, func(s *exchange.Session) error { return k.c.WriteAccess(ctx, s, d) }); err != nil {
		return err
	}
	_, err := k.c.Ledger.Propose(ctx, fabric.Command{Enforce: &fabric.Enforce{Node: d.Node, Gateway: k.c.Identity().Node, Verdict: d.Standing.Verdict}})
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	k.c.Log.Info("a device's rights are those of its software", "device", d.Node, "verdict", d.Standing.Verdict)
	return nil
}
