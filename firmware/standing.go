package firmware

import (
	"bytes"
	"slices"
	"time"

	"gatehouse/fabric"
)

// Standing is a decision as the trust state records it. had is what was decided
// of the device before, nil for one that is only coming; time is the ledger's.
// A device that is in the home is not refused any more: it is quarantined. An
// outdated one that is in good standing has the policy's grace, once. Who knows
// less than whoever had it quarantined lets it out only with another version:
// settled says of a source that the home still believes it.
func (d *Decision) Standing(had *fabric.Standing, now time.Time, settled func(source string) bool) fabric.Standing {
	s := fabric.Standing{Verdict: min(d.Verdict, Quarantine), Version: d.Version, Evidence: d.Evidence[:min(len(d.Evidence), fabric.MaxSources+1)], Attested: d.Attested}
	for _, r := range d.Reasons[:min(len(d.Reasons), fabric.MaxReasons)] {
		s.Reasons = append(s.Reasons, fabric.FirmwareReason{Code: string(r.Code), From: fabric.Cut(r.From), Text: fabric.Cut(r.Text)})
	}
	if u := d.Update; u != nil {
		s.Update = &fabric.FirmwareImage{From: u.From, Version: u.Release.Version, Name: u.Release.Name, SHA256: u.Release.SHA256[:], Size: u.Release.Size}
	}
	if s.Verdict == Quarantine && d.Grace > 0 && had != nil && had.Verdict == Admit {
		if s.Deadline = had.Deadline; s.Deadline == 0 {
			s.Deadline = now.Add(d.Grace).UnixMilli()
		}
		if now.UnixMilli() < s.Deadline {
			s.Verdict = Admit
		}
	}
	if s.Verdict == Admit && had != nil && had.Verdict == Quarantine && had.Version == d.Version && d.deaf(had, settled) {
		return *had
	}
	return s
}

// deaf reports whether somebody who spoke against a device was not heard now.
func (d *Decision) deaf(had *fabric.Standing, settled func(string) bool) bool {
	return slices.ContainsFunc(had.Reasons, func(r fabric.FirmwareReason) bool {
		return r.From != "" && (r.From == Ledger || settled(r.From)) && !d.heard(r.From)
	})
}

// heard reports whether somebody spoke of the device's product.
func (d *Decision) heard(who string) bool {
	return slices.ContainsFunc(d.Evidence, func(e fabric.Evidence) bool { return e.From == who })
}

// Same reports whether two standings differ in nothing that a person or a
// device would notice: what is said again, newly signed, is the same.
func Same(a, b *fabric.Standing) bool {
	if a == nil || b == nil {
		return a == b
	}
	image := func(u *fabric.FirmwareImage) fabric.FirmwareImage {
		if u == nil {
			return fabric.FirmwareImage{}
		}
		return *u
	}
	x, y := image(a.Update), image(b.Update)
	return a.Verdict == b.Verdict && a.Version == b.Version && a.Attested == b.Attested && a.Deadline == b.Deadline &&
		slices.Equal(a.Reasons, b.Reasons) && x.From == y.From && bytes.Equal(x.SHA256, y.SHA256)
}
