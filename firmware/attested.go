package firmware

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// attested takes the version from the device's attestation, where somebody says
// which one its firmware information stands for (Matter Core 6.2.3.1; what the
// information is, its maker decides).
func (d *Decision) attested(c *Claim, k Known, p Policy) {
	if len(c.Firmware) == 0 {
		return
	}
	versions, told := stands(c.Firmware, k)
	switch {
	case slices.Contains(versions, c.Version):
		d.Attested = true
	case len(versions) > 0:
		d.add(p.Recalled, Other, "", fmt.Sprintf("it says that it runs version %d, and its attestation is of version %d", c.Version, versions[0]))
		c.Version, d.Attested = versions[0], true
	case told:
		d.add(p.Uncertified, Unheard, "", "its attestation is of software that nobody knows")
	}
}

// stands lists the versions that firmware information stands for, ascending,
// and whether anybody tells any version's.
func stands(information []byte, k Known) (versions []uint32, told bool) {
	take := func(version uint32, text string) {
		if told = told || text != ""; text != "" && isInformation(information, text) {
			versions = append(versions, version)
		}
	}
	if k.Ledger != nil {
		for _, v := range k.Ledger.Versions {
			take(v.Version, v.Firmware)
		}
	}
	for _, s := range k.Statements {
		for _, r := range s.Product.Releases {
			take(r.Version, r.Firmware)
		}
	}
	slices.Sort(versions)
	return slices.Compact(versions), told
}

// isInformation reports whether a text is firmware information. The ledger does
// not say how its octets are written.
func isInformation(information []byte, text string) bool {
	if b, err := hex.DecodeString(text); err == nil && bytes.Equal(b, information) {
		return true
	}
	if b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil && bytes.Equal(b, information) {
		return true
	}
	return text == string(information)
}
