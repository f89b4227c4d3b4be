package attest

import (
	"errors"
	"fmt"

	"gatehouse/fabric/cert"
)

// Specification constants: 6.2.2.3 to 6.2.2.5.
const (
	authorityUsage = cert.KeyCertSign | cert.CRLSign
	paiPathLen     = 0
	paaPathLen     = 1
)

// CheckDAC holds c against the rules for a device attestation certificate.
func (c *Certificate) CheckDAC() error {
	switch {
	case c.IsCA || c.HasPathLen:
		return errors.New("it is a CA, or has a path length")
	case c.KeyUsage != cert.DigitalSignature:
		return fmt.Errorf("key usage %#x", c.KeyUsage)
	case !c.HasAuthorityKeyID:
		return errors.New("no authority key id")
	case !c.VendorID.Present || !c.ProductID.Present:
		return errors.New("no vendor or product id")
	}
	return c.checkCommon()
}

// CheckPAI holds c against the rules for a product attestation intermediate.
func (c *Certificate) CheckPAI() error {
	switch {
	case !c.IsCA || !c.HasPathLen || c.PathLen != paiPathLen:
		return errors.New("it is no CA of path length 0")
	case !c.HasAuthorityKeyID:
		return errors.New("no authority key id")
	case !c.VendorID.Present:
		return errors.New("no vendor id")
	}
	return c.checkAuthority()
}

// CheckPAA holds c against the rules for a product attestation authority.
func (c *Certificate) CheckPAA() error {
	switch {
	case !c.IsCA || c.HasPathLen && c.PathLen != paaPathLen:
		return errors.New("it is no CA of path length 1")
	case c.ProductID.Present:
		return errors.New("it is for one product")
	}
	return c.checkAuthority()
}

func (c *Certificate) checkAuthority() error {
	if c.KeyUsage&^cert.DigitalSignature != authorityUsage {
		return fmt.Errorf("key usage %#x", c.KeyUsage)
	}
	return c.checkCommon()
}

func (c *Certificate) checkCommon() error {
	switch {
	case !c.HasBasicConstraints:
		return errors.New("no basic constraints")
	case !c.HasKeyUsage:
		return errors.New("no key usage")
	case !c.HasSubjectKeyID:
		return errors.New("no subject key id")
	case c.UnknownCritical:
		return errors.New("a critical extension is unknown")
	}
	return nil
}
