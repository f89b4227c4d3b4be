package cert

import (
	"errors"
	"fmt"
	"slices"
)

// Kind is what a certificate is for, as its subject says.
type Kind uint8

const (
	KindRoot Kind = iota + 1
	KindIntermediate
	KindNode
	KindFirmwareSigning
	KindVendorVerification
)

var kindNames = [...]string{"certificate", "root certificate", "intermediate certificate",
	"node certificate", "firmware signing certificate", "vendor verification certificate"}

func (k Kind) String() string { return kindNames[min(int(k), len(kindNames)-1)] }

// kindOf says which attribute makes which kind.
var kindOf = map[AttributeType]Kind{
	AttrRCAC:            KindRoot,
	AttrICAC:            KindIntermediate,
	AttrNodeID:          KindNode,
	AttrFirmwareSigning: KindFirmwareSigning,
	AttrVVS:             KindVendorVerification,
}

// Specification constants: 6.5.11.
const (
	authorityUsage = KeyCertSign | CRLSign
	maxRootPathLen = 1 // there is at most one intermediate
)

// Kind reads the kind off the subject, which must name exactly one.
func (c *Certificate) Kind() (Kind, error) {
	var kind Kind
	for _, a := range c.Subject {
		if k := kindOf[a.Type]; k != 0 {
			if kind != 0 {
				return 0, errors.New("the subject is of two kinds")
			}
			kind = k
		}
	}
	fabrics, cats := c.Subject.Count(AttrFabricID), c.Subject.Count(AttrCAT)
	switch {
	case kind == 0:
		return 0, errors.New("the subject is of no kind")
	case fabrics > 1:
		return 0, errors.New("the subject names two fabrics")
	case kind == KindNode && fabrics == 0:
		return 0, errors.New("the subject names no fabric")
	case kind == KindVendorVerification && fabrics != 0:
		return 0, errors.New("the subject names a fabric")
	case kind != KindNode && cats != 0:
		return 0, errors.New("the subject carries CATs")
	}
	return kind, nil
}

// Check holds c against the profile of one of the kinds in a chain: root,
// intermediate or node. It verifies no signature and looks at no time.
func (c *Certificate) Check(want Kind) error {
	if err := c.check(want); err != nil {
		return fmt.Errorf("%v: %w", want, err)
	}
	return nil
}

func (c *Certificate) check(want Kind) error {
	kind, err := c.Kind()
	switch {
	case err != nil:
		return err
	case kind != want:
		return fmt.Errorf("it is a %v", kind)
	case c.CriticalFuture():
		return errors.New("a critical extension is unknown")
	case !c.Has(ExtSubjectKeyID) || !c.Has(ExtAuthorityKeyID):
		return errors.New("a key id is missing")
	case !c.Has(ExtBasicConstraints) || !c.Has(ExtKeyUsage):
		return errors.New("basic constraints or key usage are missing")
	}
	switch want {
	case KindRoot:
		if !c.SelfIssued() {
			return errors.New("it is not its own issuer")
		}
		if c.HasPathLen && c.PathLen > maxRootPathLen {
			return fmt.Errorf("path length %d", c.PathLen)
		}
		return c.checkAuthority()
	case KindIntermediate:
		return c.checkAuthority()
	case KindNode:
		return c.checkNode()
	}
	return errors.New("has no place in a chain")
}

func (c *Certificate) checkAuthority() error {
	switch {
	case !c.IsCA:
		return errors.New("it is no CA")
	case c.KeyUsage&^DigitalSignature != authorityUsage:
		return fmt.Errorf("key usage %#x", c.KeyUsage)
	case c.Has(ExtKeyPurposes):
		return errors.New("it has key purposes")
	}
	return nil
}

func (c *Certificate) checkNode() error {
	switch {
	case c.IsCA:
		return errors.New("it is a CA")
	case c.KeyUsage != DigitalSignature:
		return fmt.Errorf("key usage %#x", c.KeyUsage)
	case len(c.KeyPurposes) != 2 || !slices.Contains(c.KeyPurposes, ServerAuth) ||
		!slices.Contains(c.KeyPurposes, ClientAuth):
		return fmt.Errorf("key purposes %v", c.KeyPurposes)
	}
	return CheckCATs(c.Subject.CATs())
}
