// Package firmware decides what software may run in the home: Decide holds what
// a device says it runs against signed statements (manifest), the compliance
// ledger (dcl) and the home's policy.
//
// It promises that a decision is a pure function of these, with every reason it
// has and where each comes from. A device's word for its version is taken for
// no more than that: old and recalled software is kept out, a lying device is
// not.
package firmware

import (
	"cmp"
	"fmt"
	"time"

	"gatehouse/fabric"
	"gatehouse/firmware/dcl"
	"gatehouse/firmware/manifest"
)

// Verdict is what becomes of a device.
type Verdict = fabric.Verdict

// The verdicts, the stricter the greater.
const (
	Admit      = fabric.AdmitDevice
	Quarantine = fabric.QuarantineDevice
	Refuse     = fabric.RefuseDevice
)

// Policy is what the home, or a zone of it, makes of what is known. By default
// it admits what nobody speaks of and what is not certified, and quarantines
// what is recalled or outdated.
type Policy = fabric.FirmwarePolicy

// Claim is what is known of a device's software.
type Claim struct {
	VendorID, ProductID uint16
	Hardware            uint16
	Version             uint32 // by its own word
	VersionString       string
	Firmware            []byte // firmware information of its attestation; empty: there is none
}

// Statement is what one repository says of the product.
type Statement struct {
	From    string // which repository
	Product manifest.Product
	Expired bool // it is older than it says that it may be
	Signed  time.Time
	SHA256  manifest.Digest // of what was signed
}

// Known is all that is known of the product. Statements come in the order in
// which they are believed: of two images, the first one's is taken. All are
// heard on what must not run.
type Known struct {
	Statements []Statement
	Ledger     *dcl.Product // nil: it was not asked, or has no record
}

// Code names a reason. It stays the same.
type Code string

const (
	Recalled    Code = "firmware-recalled"
	Outdated    Code = "firmware-outdated"
	Unknown     Code = "firmware-unknown-product"
	Revoked     Code = "firmware-certification-revoked"
	Invalid     Code = "firmware-withdrawn"
	Uncertified Code = "firmware-not-certified"
	Other       Code = "firmware-not-what-it-says"
	Unheard     Code = "firmware-attestation-unknown"
	Stale       Code = "firmware-statement-expired" // weighs nothing by itself
)

// Reason is one thing that speaks against a device's software.
type Reason struct {
	Code    Code
	Verdict Verdict // that it asks for by the policy
	From    string  // which repository, or the ledger
	Text    string
}

// Target is the image that a device is to have.
type Target struct {
	From    string // which repository
	Release manifest.Release
}

// Decision is what Decide comes to.
type Decision struct {
	Verdict  Verdict
	Reasons  []Reason
	Update   *Target       // the next image on the way to what is best; nil: none is known
	Grace    time.Duration // for which a device that was admitted may stay as it is
	Version  uint32        // that it rests on
	Attested bool          // by the device's attestation; else the device says so
	Evidence []fabric.Evidence
}

// Ledger is where reasons and images are from that are no repository's.
const Ledger = "compliance ledger"

// Effective is a policy with its defaults filled in.
func Effective(p Policy) Policy {
	p.Unknown, p.Recalled, p.Outdated, p.Uncertified = cmp.Or(p.Unknown, Admit), cmp.Or(p.Recalled, Quarantine), cmp.Or(p.Outdated, Quarantine), cmp.Or(p.Uncertified, Admit)
	p.Updates = cmp.Or(p.Updates, fabric.UpdateRequired)
	return p
}

// Decide weighs what is known. The strictest reason has it.
func Decide(c Claim, k Known, p Policy) Decision {
	p = Effective(p)
	d := Decision{Verdict: Admit}
	d.attested(&c, k, p)
	d.Version = c.Version
	if len(k.Statements) == 0 && k.Ledger == nil {
		d.add(p.Unknown, Unknown, "", fmt.Sprintf("nobody speaks of product %04X/%04X", c.VendorID, c.ProductID))
	}
	outdated := false
	for _, s := range k.Statements {
		d.Evidence = append(d.Evidence, fabric.Evidence{From: s.From, At: s.Signed.UnixMilli(), SHA256: s.SHA256[:]})
		if s.Expired {
			d.add(Admit, Stale, s.From, "the statement has expired: what it says may not be the latest")
		}
		if b := recalled(s, c.Version); b != nil {
			d.add(p.Recalled, Recalled, s.From, fmt.Sprintf("version %d must not run: %s", c.Version, b.Reason))
		}
		if c.Version < s.Product.Minimum {
			outdated = true
			d.add(p.Outdated, Outdated, s.From, fmt.Sprintf("version %d is below %d, the least that may run", c.Version, s.Product.Minimum))
		}
	}
	d.ask(c, k.Ledger, p)
	if outdated && !d.worse(Outdated) {
		d.Grace = time.Duration(p.Grace) * time.Millisecond
	}
	d.Update = next(c, k)
	return d
}

func (d *Decision) add(v Verdict, code Code, from, text string) {
	d.Reasons = append(d.Reasons, Reason{code, v, from, text})
	d.Verdict = max(d.Verdict, v)
}

// worse reports whether anything but a reason of this code speaks against the
// device: then there is no grace.
func (d *Decision) worse(than Code) bool {
	for _, r := range d.Reasons {
		if r.Code != than && r.Verdict > Admit {
			return true
		}
	}
	return false
}

// ask weighs what the ledger has.
func (d *Decision) ask(c Claim, l *dcl.Product, p Policy) {
	if l == nil {
		return
	}
	d.Evidence = append(d.Evidence, fabric.Evidence{From: Ledger, At: l.Fetched})
	v := l.Find(c.Version)
	switch {
	case v == nil && c.Version < l.From:
		return // it was not asked for that
	case v == nil:
		d.add(p.Uncertified, Uncertified, Ledger, fmt.Sprintf("it has no version %d of the product", c.Version))
		return
	case v.Status == dcl.Revoked:
		d.add(p.Recalled, Revoked, Ledger, "the certification was revoked: "+v.Reason)
	case v.Status != dcl.Certified:
		d.add(p.Uncertified, Uncertified, Ledger, fmt.Sprintf("the version is %v there", v.Status))
	}
	if v.Invalid {
		d.add(p.Recalled, Invalid, Ledger, "its vendor took the version back")
	}
}

func recalled(s Statement, version uint32) *manifest.Bad {
	for i, b := range s.Product.Bad {
		if b.From <= version && version <= b.To {
			return &s.Product.Bad[i]
		}
	}
	return nil
}
