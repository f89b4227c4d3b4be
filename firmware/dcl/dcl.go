// Package dcl reads what the Distributed Compliance Ledger knows of software
// versions: which there are, which were certified, provisional or revoked, and
// where their images are (Matter Core 11.23).
//
// It promises that whatever a ledger's node answers is bounded and checked
// against the question, and that it asks nobody by itself: a Client asks when it
// is told to, and a Snapshot, which carries its age, asks never. It trusts a
// node as far as the connection to it: answers have no signature.
package dcl

import (
	"fmt"
	"strings"
)

// Limits of ours.
const (
	maxAnswer   = 1 << 20 // octets of one answer
	maxVersions = 512     // of one product
	maxProducts = 4000    // in a snapshot
	maxSnapshot = 32 << 20
	maxText     = 256 // octets
	maxFirmware = 512 // octets; the ledger's own limit
)

// Status is how far the certification of a software version is.
type Status uint8

// The ledger's numbers (SoftwareVersionCertificationStatus).
const (
	DevTest Status = iota
	Provisional
	Certified
	Revoked
	Unlisted // ours: the ledger has no record of its compliance
)

var statusNames = [...]string{"dev-test", "provisional", "certified", "revoked", "unlisted"}

func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// Version is one software version of a product.
type Version struct {
	Version       uint32 `json:"version"`
	VersionString string `json:"version_string"`
	Status        Status `json:"status"`
	Reason        string `json:"reason,omitempty"`  // of the status, as published
	Invalid       bool   `json:"invalid,omitempty"` // its vendor took it back
	OTA           *OTA   `json:"ota,omitempty"`
	ReleaseNotes  string `json:"release_notes,omitempty"`
	Firmware      string `json:"firmware,omitempty"` // firmware information of a device's attestation that runs it, as published
}

// SHA256 is the one DigestType that we can check.
const SHA256 = 1

// OTA is where a version's image is.
type OTA struct {
	URL           string `json:"url"`
	Size          uint64 `json:"size"`        // octets; 0: not said
	Digest        []byte `json:"digest"`      // of the whole file
	DigestType    uint8  `json:"digest_type"` // IANA's Named Information registry; 1: SHA-256
	MinApplicable uint32 `json:"min_applicable"`
	MaxApplicable uint32 `json:"max_applicable"`
}

// Product is what the ledger knows of one product.
type Product struct {
	VendorID  uint16    `json:"vendor_id"`
	ProductID uint16    `json:"product_id"`
	Name      string    `json:"name"`
	Fetched   int64     `json:"fetched"`        // when the ledger was asked, Unix ms
	From      uint32    `json:"from,omitempty"` // the lowest version that it was asked for
	Versions  []Version `json:"versions"`       // ascending
}

// Find is the record of one version; nil if there is none.
func (p *Product) Find(version uint32) *Version {
	for i := range p.Versions {
		if p.Versions[i].Version == version {
			return &p.Versions[i]
		}
	}
	return nil
}

// check holds a product, from wherever it came, to what it may be.
func (p *Product) check() error {
	if p.VendorID == 0 || p.ProductID == 0 || len(p.Name) > maxText || len(p.Versions) > maxVersions {
		return fmt.Errorf("the record of product %04X/%04X is out of bounds", p.VendorID, p.ProductID)
	}
	for i, v := range p.Versions {
		switch o := v.OTA; {
		case i > 0 && v.Version <= p.Versions[i-1].Version:
			return fmt.Errorf("versions %d and %d of product %04X/%04X are out of order", p.Versions[i-1].Version, v.Version, p.VendorID, p.ProductID)
		case len(v.VersionString) > maxText || len(v.Reason) > maxText || len(v.ReleaseNotes) > maxText || len(v.Firmware) > maxFirmware:
			return fmt.Errorf("a text of version %d of product %04X/%04X is longer than %d octets", v.Version, p.VendorID, p.ProductID, maxText)
		case v.Status > Unlisted:
			return fmt.Errorf("version %d of product %04X/%04X has %v, which is unknown", v.Version, p.VendorID, p.ProductID, v.Status)
		case o != nil && (len(o.URL) > maxText || !strings.HasPrefix(o.URL, "https://") || len(o.Digest) > 64 || o.MinApplicable > o.MaxApplicable):
			return fmt.Errorf("the image of version %d of product %04X/%04X is not described right", v.Version, p.VendorID, p.ProductID)
		}
	}
	return nil
}
