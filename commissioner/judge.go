package commissioner

import (
	"context"
	"errors"

	"gatehouse/fabric"
	"gatehouse/firmware"
)

// judge decides whether what the device runs may be in the home, before the
// device is given anything.
func (p *pairing) judge(ctx context.Context) error {
	state, err := p.Ledger.Current(ctx)
	if err != nil {
		return Explain(err, CodeCommit)
	}
	claim, d := p.Decide(state, p.req.Zone, p.about.facts)
	if d.Verdict == firmware.Refuse {
		return refusedFor(d)
	}
	standing := d.Standing(claim, nil, p.Now(), nil)
	switch {
	case state.Version >= fabric.FirmwareVersion:
		p.standing = &standing
	case d.Verdict == firmware.Quarantine:
		return Fail(CodeFirmware, errors.New("it would be quarantined, and a gateway of an older release does not know how"))
	}
	return nil
}

// Decide holds what a device says of itself against what is known and the
// policy of a zone, which need not exist; empty is the home's default.
func (c *Commissioner) Decide(s *fabric.State, zone string, f fabric.Facts) (firmware.Claim, firmware.Decision) {
	claim := firmware.Claim{VendorID: f.VendorID, ProductID: f.ProductID, Hardware: f.HardwareVersion, Version: f.SoftwareVersion, VersionString: f.SoftwareString}
	var known firmware.Known
	if c.Firmware != nil {
		known = c.Firmware.Known(f.VendorID, f.ProductID)
	}
	return claim, firmware.Decide(claim, known, s.FirmwarePolicy(zone))
}

// refusedFor is the Failure of a decision.
func refusedFor(d firmware.Decision) *Failure {
	f := Fail(CodeFirmware, nil)
	for _, r := range d.Reasons {
		if r.Verdict == d.Verdict {
			f.Reasons = append(f.Reasons, Reason{string(r.Code), r.Text, remedyFor(d)})
		}
	}
	return f
}

// remedyFor is what a person can do about a device that is not let in.
func remedyFor(d firmware.Decision) string {
	if d.Update != nil {
		return "update it to version " + d.Update.Release.Name + " with its maker's app, or let such devices into quarantine, where the gateway updates them"
	}
	return "no newer software is known: ask its maker"
}
