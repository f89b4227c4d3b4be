// Package attest decides whether a device is what it says it is: it checks
// the device's attestation certificate (DAC) and its chain to a trusted root
// (PAA), the certification declaration (CD), the device's signed answer to our
// nonce, and the list of revoked certificates.
//
//	v := attest.Evaluate(evidence, attest.Rules{Trust: store, Revoked: set, Now: now})
//	if !v.OK() { show(v.Reasons) }
//
// It promises that the Verdict names every reason found, each with a stable
// code, a sentence and a remedy; that it refuses unless everything verifies;
// and that bytes from a device, however malformed, become reasons and never a
// panic. What only test roots and test declarations would be refused for, a
// named Exception can let pass, and the verdict then says which one did. It
// never reads a clock or a file, and never asks the network: roots, revocation
// set and time are handed in.
//
// Matter Core Specification, 6.2 (device attestation), 6.3 (certification
// declaration), 11.18.4 (attestation and NOCSR elements).
package attest

import "time"

// Evidence is what a device has shown and what it was asked.
type Evidence struct {
	DAC, PAI  []byte // certificates in DER, from CertificateChainRequest
	Elements  []byte // attestation elements in TLV, from AttestationRequest
	Signature []byte // of elements and challenge, r||s
	Challenge []byte // the session's attestation challenge
	Nonce     []byte // the nonce that was sent
	VendorID  uint16 // from the Basic Information cluster
	ProductID uint16 // from the Basic Information cluster
}

// Rules are what evidence is held against.
type Rules struct {
	Trust      *TrustStore
	Revoked    *RevocationSet // nil: not known; the verdict notes that
	Now        time.Time      // zero: not known; a DAC is then neither expired nor early
	Exceptions []Exception
}

// Verdict is what Evaluate found.
type Verdict struct {
	Reasons []Reason // everything that speaks against the device
	Notes   []Reason // what a person may want to know all the same

	// What was established; a part that did not verify is nil.
	DAC         *Certificate
	PAA         *Root
	Declaration *Declaration
	Elements    *Elements
}

// OK reports whether the device passed: no reason was found that no exception
// excuses.
func (v *Verdict) OK() bool {
	for _, r := range v.Reasons {
		if r.Exception == "" {
			return false
		}
	}
	return true
}

// Exception is the name of the exception without which the device would have
// been refused, or "".
func (v *Verdict) Exception() string {
	for _, r := range v.Reasons {
		if r.Exception != "" {
			return r.Exception
		}
	}
	return ""
}

// Has reports whether code is among the reasons or notes.
func (v *Verdict) Has(code Code) bool {
	for _, r := range append(v.Reasons[:len(v.Reasons):len(v.Reasons)], v.Notes...) {
		if r.Code == code {
			return true
		}
	}
	return false
}

func (v *Verdict) refuse(code Code, format string, args ...any) {
	v.Reasons = append(v.Reasons, newReason(code, format, args...))
}

func (v *Verdict) note(code Code, format string, args ...any) {
	v.Notes = append(v.Notes, newReason(code, format, args...))
}

// Evaluate holds the evidence against the rules.
func Evaluate(e Evidence, r Rules) Verdict {
	c := checker{Evidence: e, Rules: r}
	c.certificates()
	c.chain()
	c.revocation()
	c.elements()
	c.declaration()
	c.excuse()
	return c.Verdict
}

// checker is one evaluation under way.
type checker struct {
	Evidence
	Rules
	Verdict
	dac, pai *Certificate // nil: missing or malformed
	paa      *Root        // nil: unknown
	cd       []byte       // the declaration's CMS message; nil: none
}

// excuse applies the exceptions.
func (c *checker) excuse() {
	for i := range c.Reasons {
		for _, x := range c.Exceptions {
			if x.excuses(c.Reasons[i].Code, c.VendorID, c.ProductID, c.Now) {
				c.Reasons[i].Exception = x.Name
				break
			}
		}
	}
}
