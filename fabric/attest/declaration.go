package attest

import (
	"errors"
	"fmt"
	"slices"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Specification constants: 6.3.1.
const (
	cdFormatVersion     = 1
	certificateIDLength = 19
	maxProductIDs       = 100
	maxAuthorizedPAAs   = 10
	lastMandatoryTag    = 8
)

// CertificationType says how far a product's certification has come.
type CertificationType uint8

const (
	CertificationTest        CertificationType = iota // for development
	CertificationProvisional                          // under way
	CertificationOfficial                             // certified
)

// Declaration is the contents of a certification declaration.
type Declaration struct {
	FormatVersion     uint16
	VendorID          uint16
	ProductIDs        []uint16
	DeviceType        uint32
	CertificateID     string // 19 characters
	SecurityLevel     uint8  // reserved; not looked at
	SecurityInfo      uint16 // reserved; not looked at
	VersionNumber     uint16 // for the ledger; not looked at
	CertificationType CertificationType

	// Another vendor's DAC may be in the device; then both are present.
	OriginVendorID, OriginProductID ID
	AuthorizedPAAs                  []cert.KeyID // meaningful if HasAuthorizedPAAs
	HasAuthorizedPAAs               bool
}

// ParseDeclaration reads the TLV inside a certification declaration.
func ParseDeclaration(b []byte) (*Declaration, error) {
	d := new(Declaration)
	next := uint8(0)
	err := fields(b, func(tag uint8, r *tlv.Reader) error {
		if tag <= lastMandatoryTag && tag != next {
			return fmt.Errorf("tag %d is missing", next)
		}
		next++
		if err := d.read(tag, r); err != nil {
			return fmt.Errorf("tag %d: %w", tag, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case next <= lastMandatoryTag:
		return nil, fmt.Errorf("tag %d is missing", next)
	case d.OriginVendorID.Present != d.OriginProductID.Present:
		return nil, errors.New("one half of the DAC's origin is missing")
	}
	return d, nil
}

func (d *Declaration) read(tag uint8, r *tlv.Reader) (err error) {
	switch tag {
	case 0:
		d.FormatVersion, err = number[uint16](r)
	case 1:
		d.VendorID, err = number[uint16](r)
	case 2:
		d.ProductIDs, err = array(r, maxProductIDs, number[uint16])
	case 3:
		d.DeviceType, err = number[uint32](r)
	case 4:
		d.CertificateID, err = r.Text()
		if err == nil && len(d.CertificateID) != certificateIDLength {
			err = fmt.Errorf("%d octets", len(d.CertificateID))
		}
	case 5:
		d.SecurityLevel, err = number[uint8](r)
	case 6:
		d.SecurityInfo, err = number[uint16](r)
	case 7:
		d.VersionNumber, err = number[uint16](r)
	case 8:
		d.CertificationType, err = number[CertificationType](r)
	case 9:
		d.OriginVendorID.Present = true
		d.OriginVendorID.Value, err = number[uint16](r)
	case 10:
		d.OriginProductID.Present = true
		d.OriginProductID.Value, err = number[uint16](r)
	case 11:
		d.HasAuthorizedPAAs = true
		d.AuthorizedPAAs, err = array(r, maxAuthorizedPAAs, func(r *tlv.Reader) (id cert.KeyID, err error) {
			b, err := exactly(r, len(id))
			copy(id[:], b)
			return id, err
		})
	}
	return err
}

// number reads an unsigned integer that fits T.
func number[T ~uint8 | ~uint16 | ~uint32](r *tlv.Reader) (T, error) {
	n, err := r.Uint()
	if err == nil && uint64(T(n)) != n {
		err = fmt.Errorf("%d is too large", n)
	}
	return T(n), err
}

// array reads an array of at most limit members.
func array[T any](r *tlv.Reader, limit int, member func(*tlv.Reader) (T, error)) ([]T, error) {
	if r.Type() != tlv.TypeArray {
		return nil, fmt.Errorf("a %v where an array belongs", r.Type())
	}
	if err := r.Enter(); err != nil {
		return nil, err
	}
	var all []T
	for r.Next() {
		v, err := member(r)
		if err != nil {
			return nil, err
		}
		if all = append(all, v); len(all) > limit {
			return nil, fmt.Errorf("more than %d members", limit)
		}
	}
	return all, r.Exit()
}

// declaration verifies the declaration and holds it against the device.
func (c *checker) declaration() {
	if c.cd == nil {
		return
	}
	m, err := parseCMS(c.cd)
	if err != nil {
		c.refuse(CDMalformed, "%v", err)
		return
	}
	signer := c.Trust.signer(m)
	if signer == nil {
		c.refuse(CDSignerUnknown, "key %v", m.signer)
		return
	}
	if !m.signedBy(signer.Certificate) {
		c.refuse(CDSignature, "")
		return
	}
	d, err := ParseDeclaration(m.content)
	if err != nil {
		c.refuse(CDMalformed, "%v", err)
		return
	}
	c.Verdict.Declaration = d
	c.checkCertification(d, signer.Test)
	c.checkProduct(d)
	if d.HasAuthorizedPAAs && (c.paa == nil || !slices.Contains(d.AuthorizedPAAs, c.paa.SubjectKeyID)) {
		c.refuse(CDPAA, "")
	}
}

// checkCertification looks at what kind of declaration it is.
func (c *checker) checkCertification(d *Declaration, testSigner bool) {
	if d.FormatVersion != cdFormatVersion || d.CertificationType > CertificationOfficial {
		c.refuse(CDFormat, "format %d, certification type %d", d.FormatVersion, d.CertificationType)
		return
	}
	switch d.CertificationType {
	case CertificationTest:
		c.refuse(CDTestType, "")
	case CertificationProvisional:
		c.note(NoteProvisional, "")
	case CertificationOfficial:
		if testSigner {
			c.refuse(CDSignerType, "")
			return
		}
	}
	if testSigner {
		c.refuse(CDTestSigner, "")
	}
}

// checkProduct holds the declaration's vendor and products against what the
// device says of itself and what its certificates say.
func (c *checker) checkProduct(d *Declaration) {
	if d.VendorID != c.VendorID {
		c.refuse(CDVendor, "declared for vendor %04X, the device says %04X", d.VendorID, c.VendorID)
	}
	if !slices.Contains(d.ProductIDs, c.ProductID) {
		c.refuse(CDProduct, "not declared for product %04X, which the device says it is", c.ProductID)
	}
	vendor := d.VendorID
	product := func(p uint16) bool { return slices.Contains(d.ProductIDs, p) }
	if d.OriginVendorID.Present { // the certificates are another vendor's
		vendor = d.OriginVendorID.Value
		product = func(p uint16) bool { return p == d.OriginProductID.Value }
	}
	for _, x := range []struct {
		what string
		c    *Certificate
	}{{"device's", c.dac}, {"intermediate", c.pai}} {
		if x.c == nil {
			continue
		}
		if !x.c.VendorID.is(vendor) {
			c.refuse(CDVendor, "declared for certificates of vendor %04X, the %s is of %v", vendor, x.what, x.c.VendorID)
		}
		if x.c.ProductID.Present && !product(x.c.ProductID.Value) {
			c.refuse(CDProduct, "the %s certificate is for product %v", x.what, x.c.ProductID)
		}
	}
}
