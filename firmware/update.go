package firmware

import (
	"slices"

	"gatehouse/firmware/dcl"
	"gatehouse/firmware/manifest"
)

// next is the image that brings a device nearest to the newest version that may
// run: at once, or over others that it can go to. A statement that has expired
// gives none: there may be a newer one. The ledger's comes last.
func next(c Claim, k Known) *Target {
	for _, s := range append(slices.Clone(k.Statements), listed(k.Ledger)) {
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

// listed is the ledger's record of a product as a statement: of what was
// certified, the images that can be checked.
func listed(p *dcl.Product) (s Statement) {
	s.From = Ledger
	if p == nil {
		return s
	}
	for _, v := range p.Versions {
		if o := v.OTA; v.Status == dcl.Certified && o != nil && o.DigestType == dcl.SHA256 && len(o.Digest) == len(manifest.Digest{}) && o.Size > 0 && o.Size <= manifest.MaxImage {
			r := manifest.Release{Version: v.Version, Name: v.VersionString, SHA256: manifest.Digest(o.Digest), Size: int64(o.Size)}
			if o.MaxApplicable > 0 {
				r.Applies = &manifest.Range{Min: o.MinApplicable, Max: o.MaxApplicable}
			}
			s.Product.Releases = append(s.Product.Releases, r)
		}
	}
	return s
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
