package commissioner

import (
	"context"
	"errors"
	"time"

	"gatehouse/fabric"
	"gatehouse/firmware"
)

// Limits of ours.
const (
	learnLimit = 10 * time.Second // for whoever may be asked about a product
	judgeLimit = 30 * time.Second // for a judgement, without a person's word
)

// judge decides whether what the device runs may be in the home, before the
// device is given anything.
func (p *pairing) judge(ctx context.Context) error {
	quick, cancel := context.WithTimeout(ctx, judgeLimit)
	defer cancel()
	p.learn(quick)
	state, err := p.Ledger.Current(quick)
	if err != nil {
		return Explain(err, CodeCommit)
	}
	if state.Version >= fabric.RolloutVersion {
		p.about.facts.Firmware = p.verdict.Elements.Firmware
	}
	d, standing := p.Judge(state, p.req.Zone, p.about.facts, nil)
	if state.Version >= fabric.FirmwareVersion {
		p.standing = &standing
	} else if d.Verdict == firmware.Quarantine {
		return Fail(CodeFirmware, errors.New("it would be quarantined, and a gateway of an older release does not know how"))
	}
	switch d.Verdict {
	case firmware.Refuse:
		err = failFor(CodeFirmware, d)
	case firmware.Quarantine:
		err = p.askSoftware(ctx, d)
	}
	if f := (*Failure)(nil); errors.As(err, &f) && (f.Code == CodeFirmware || f.Code == CodeDeclined) {
		p.turnAway(ctx, state, standing.Reasons, standing.Evidence)
	}
	return err
}

// learn has what is known of the product made up to date, where that can be.
func (p *pairing) learn(ctx context.Context) {
	if p.Firmware == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, learnLimit)
	defer cancel()
	if err := p.Firmware.Learn(ctx, p.about.facts.VendorID, p.about.facts.ProductID, p.about.facts.SoftwareVersion); err != nil {
		p.Log.Info("who may be asked about the product does not answer", "err", err)
	}
}

// turnAway records why the device is not let in. That it could not be recorded
// lets nobody in.
func (p *pairing) turnAway(ctx context.Context, s *fabric.State, reasons []fabric.FirmwareReason, evidence []fabric.Evidence) {
	if s.Version < fabric.TrailVersion || p.renewal || p.former != nil {
		return // nobody keeps a record, or it is in
	}
	ctx, cancel := context.WithTimeout(ctx, judgeLimit)
	defer cancel()
	_, err := p.propose(ctx, fabric.Command{TurnAway: &fabric.TurnAway{Gateway: p.Identity().Node, Zone: p.req.Zone, Facts: p.about.facts,
		Reasons: reasons[:min(len(reasons), fabric.MaxReasons)], Evidence: evidence}})
	if err != nil {
		p.Log.Warn("that a device was turned away is not recorded", "err", err)
	}
}

// Judge holds what a device says of itself against what is known and the policy
// of a zone, which need not exist; empty is the home's default. had is what was
// decided of it before, nil for one that is only coming.
func (c *Commissioner) Judge(s *fabric.State, zone string, f fabric.Facts, had *fabric.Standing) (firmware.Decision, fabric.Standing) {
	claim := firmware.Claim{VendorID: f.VendorID, ProductID: f.ProductID, Hardware: f.HardwareVersion, Version: f.SoftwareVersion, VersionString: f.SoftwareString, Firmware: f.Firmware}
	var known firmware.Known
	if c.Firmware != nil {
		known = c.Firmware.Known(f.VendorID, f.ProductID)
	}
	d := firmware.Decide(claim, known, s.FirmwarePolicy(zone))
	standing := d.Standing(had, c.Now(), func(source string) bool { return s.Firmware != nil && s.Firmware.Sources[source] != nil })
	if s.Version < fabric.RolloutVersion { // a gateway of an older release could not keep it
		standing.Evidence = nil
	}
	return d, standing
}

// failFor is the Failure of a decision.
func failFor(code Code, d firmware.Decision) *Failure {
	f := Fail(code, nil)
	f.Reasons = reasonsFor(d, remedyFor(d))
	return f
}

// reasonsFor are those for which a decision is no better.
func reasonsFor(d firmware.Decision, remedy string) (reasons []Reason) {
	for _, r := range d.Reasons {
		if r.Verdict == d.Verdict {
			reasons = append(reasons, Reason{string(r.Code), r.Text, remedy})
		}
	}
	return reasons
}

// remedyFor is what a person can do about a device that is not let in.
func remedyFor(d firmware.Decision) string {
	if d.Update != nil {
		return "update it to version " + d.Update.Release.Name + " with its maker's app, or let such devices into quarantine, where the gateway updates them"
	}
	return "no newer software is known: ask its maker"
}
