package firmware

import (
	"gatehouse/firmware/dcl"
	"gatehouse/firmware/manifest"
)

// next is the image that brings a device nearest to the newest version that may
// run: at once, or over others that it can go to. A statement that has expired
// gives none: there may be a newer one.
func next(c Claim, k Known) *Target {
	for _, s := range k.Statements {
		if s.Expired {
			continue
		}
		var best *manifest.Release
		reach := c.Version
		for i := range s.Product.Releases {
			r := &s.Product.Releases[i]
			if !applies(r, c.Version, c.Hardware) || bad(k, r.Version) {
				continue
			}
			// Over a step that leads further the device gets where no single
			// image takes it.
			if end := furthest(s.Product.Releases, k, r.Version, c.Hardware); best == nil || end > reach || end == reach && r.Version > best.Version {
				best, reach = r, end
			}
		}
		if best != nil {
			return &Target{s.From, *best}
		}
	}
	return nil
}

// furthest is the newest version that can be reached from one. Versions only
// ever grow, so that this ends.
func furthest(releases []manifest.Release, k Known, from uint32, hardware uint16) uint32 {
	reached := map[uint32]bool{from: true}
	end := from
	for grown := true; grown; {
		grown = false
		for i := range releases {
			r := &releases[i]
			if reached[r.Version] || bad(k, r.Version) {
				continue
			}
			for v := range reached {
				if applies(r, v, hardware) {
					reached[r.Version], grown, end = true, true, max(end, r.Version)
					break
				}
			}
		}
	}
	return end
}

func applies(r *manifest.Release, version uint32, hardware uint16) bool {
	return version < r.Version && (r.Applies == nil || r.Applies.Min <= version && version <= r.Applies.Max) &&
		(r.Hardware == nil || r.Hardware.Min <= hardware && hardware <= r.Hardware.Max)
}

// bad reports whether anybody says of a version that it must not run.
func bad(k Known, version uint32) bool {
	for _, s := range k.Statements {
		if recalled(s, version) != nil {
			return true
		}
	}
	if k.Ledger != nil {
		if v := k.Ledger.Find(version); v != nil && (v.Invalid || v.Status == dcl.Revoked) {
			return true
		}
	}
	return false
}
