package attest

import (
	"errors"
	"fmt"
	"time"

	"gatehouse/fabric/cert"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxCertificate is the longest certificate read, in octets. The specification
// allows 600 (6.1.3); some with revocation list addresses are a little longer.
const maxCertificate = 1024

// Object identifiers and algorithm identifiers in DER.
const (
	oidBasicConstraints = "\x06\x03\x55\x1D\x13"
	oidKeyUsage         = "\x06\x03\x55\x1D\x0F"
	oidExtKeyUsage      = "\x06\x03\x55\x1D\x25"
	oidSubjectKeyID     = "\x06\x03\x55\x1D\x0E"
	oidAuthorityKeyID   = "\x06\x03\x55\x1D\x23"
	oidSubjectAltName   = "\x06\x03\x55\x1D\x11"
	oidCRLPoints        = "\x06\x03\x55\x1D\x1F"

	oidECDSAWithSHA256 = "\x06\x08\x2A\x86\x48\xCE\x3D\x04\x03\x02"
	oidSHA256          = "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"
	algorithmP256      = "\x30\x13\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x08\x2A\x86\x48\xCE\x3D\x03\x01\x07"

	version3 = "\xA0\x03\x02\x01\x02"
)

// Certificate is an attestation certificate: a PAA, PAI or DAC, or one that
// signs declarations or revocation lists. It is well formed; no signature has
// been verified.
type Certificate struct {
	Serial              []byte // contents of the DER integer
	Issuer, Subject     Name
	NotBefore, NotAfter time.Time
	PublicKey           cert.PublicKey
	VendorID, ProductID ID // from the subject

	HasBasicConstraints, IsCA, HasPathLen bool
	PathLen                               int
	HasKeyUsage                           bool
	KeyUsage                              cert.KeyUsage
	HasSubjectKeyID, HasAuthorityKeyID    bool
	SubjectKeyID, AuthorityKeyID          cert.KeyID
	UnknownCritical                       bool // a critical extension is not understood

	tbs       []byte
	signature cert.Signature
}

// ID is a vendor or product id that may be absent.
type ID struct {
	Value   uint16
	Present bool
}

func (id ID) String() string {
	if !id.Present {
		return "none"
	}
	return fmt.Sprintf("%04X", id.Value)
}

// is reports whether id is present and v.
func (id ID) is(v uint16) bool { return id.Present && id.Value == v }

// ParseCertificate reads a certificate in DER. It keeps parts of der. It is
// more lenient than crypto/x509 where makers' certificates are, and stricter
// where Matter is: version 3, P-256, ECDSA with SHA-256 only.
func ParseCertificate(der []byte) (*Certificate, error) {
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("certificate of %d octets, at most %d", len(der), maxCertificate)
	}
	s := cryptobyte.String(der)
	var outer, whole, tbs, inner, algorithm, bits cryptobyte.String
	if !s.ReadASN1(&outer, asn1.SEQUENCE) || !s.Empty() || !outer.ReadASN1Element(&whole, asn1.SEQUENCE) ||
		!outer.ReadASN1Element(&algorithm, asn1.SEQUENCE) || !outer.ReadASN1(&bits, asn1.BIT_STRING) || !outer.Empty() {
		return nil, errors.New("not a certificate in DER")
	}
	c := &Certificate{tbs: whole}
	if !whole.ReadASN1(&tbs, asn1.SEQUENCE) || !skip(&tbs, version3) {
		return nil, errors.New("not a certificate of version 3")
	}
	var serial cryptobyte.String
	if !tbs.ReadASN1(&serial, asn1.INTEGER) || len(serial) == 0 {
		return nil, errors.New("malformed serial number")
	}
	c.Serial = serial
	if !tbs.ReadASN1Element(&inner, asn1.SEQUENCE) || string(inner) != string(algorithm) ||
		!isAlgorithm(inner, oidECDSAWithSHA256) {
		return nil, errors.New("not signed with ECDSA and SHA-256")
	}
	if err := c.readBody(tbs); err != nil {
		return nil, err
	}
	if !skip(&bits, "\x00") {
		return nil, errors.New("malformed signature")
	}
	var err error
	c.signature, err = cert.ParseSignature(bits)
	return c, err
}

// readBody reads the fields behind the signature algorithm.
func (c *Certificate) readBody(tbs cryptobyte.String) error {
	var issuer, subject, validity, key, wrapper, extensions cryptobyte.String
	if !tbs.ReadASN1Element(&issuer, asn1.SEQUENCE) || !tbs.ReadASN1(&validity, asn1.SEQUENCE) ||
		!readTime(&validity, &c.NotBefore) || !readTime(&validity, &c.NotAfter) || !validity.Empty() ||
		!tbs.ReadASN1Element(&subject, asn1.SEQUENCE) {
		return errors.New("malformed names or validity")
	}
	c.Issuer, c.Subject = Name(issuer), Name(subject)
	if _, err := c.Issuer.attributes(); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	var err error
	if c.VendorID, c.ProductID, err = c.Subject.ids(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	if !tbs.ReadASN1(&key, asn1.SEQUENCE) || !readKey(key, &c.PublicKey) {
		return errors.New("not a P-256 public key")
	}
	if _, err := c.PublicKey.Key(); err != nil {
		return err
	}
	if tbs.Empty() {
		return nil
	}
	if !tbs.ReadASN1(&wrapper, asn1.Tag(3).ContextSpecific().Constructed()) || !tbs.Empty() ||
		!wrapper.ReadASN1(&extensions, asn1.SEQUENCE) || !wrapper.Empty() {
		return errors.New("malformed extensions")
	}
	return c.readExtensions(extensions)
}

func (c *Certificate) readExtensions(s cryptobyte.String) error {
	seen := map[string]bool{}
	for !s.Empty() {
		var ext, oid, value cryptobyte.String
		critical := false
		if !s.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) ||
			ext.PeekASN1Tag(asn1.BOOLEAN) && !ext.ReadASN1Boolean(&critical) ||
			!ext.ReadASN1(&value, asn1.OCTET_STRING) || !ext.Empty() {
			return errors.New("malformed extension")
		}
		known, err := c.readExtension(string(oid), critical, value)
		if err != nil {
			return err
		}
		if known && seen[string(oid)] {
			return errors.New("an extension comes twice")
		}
		seen[string(oid)] = true
	}
	return nil
}

// readExtension reads an extension that has rules of its own.
func (c *Certificate) readExtension(oid string, critical bool, s cryptobyte.String) (known bool, err error) {
	var inner cryptobyte.String
	ok, wantCritical := true, false
	switch oid {
	case oidBasicConstraints:
		wantCritical = true
		c.HasBasicConstraints = true
		ok = s.ReadASN1(&inner, asn1.SEQUENCE) && s.Empty() &&
			(!inner.PeekASN1Tag(asn1.BOOLEAN) || inner.ReadASN1Boolean(&c.IsCA))
		if c.HasPathLen = ok && !inner.Empty(); c.HasPathLen {
			ok = inner.ReadASN1Integer(&c.PathLen) && c.PathLen >= 0 && inner.Empty()
		}
	case oidKeyUsage:
		wantCritical = true
		c.HasKeyUsage = true
		ok = s.ReadASN1(&inner, asn1.BIT_STRING) && s.Empty() && readUsage(inner, &c.KeyUsage)
	case oidSubjectKeyID:
		c.HasSubjectKeyID = true
		ok = s.ReadASN1(&inner, asn1.OCTET_STRING) && s.Empty() && inner.CopyBytes(c.SubjectKeyID[:]) && inner.Empty()
	case oidAuthorityKeyID:
		// Names and serial of the issuer may follow; they are passed over.
		var id cryptobyte.String
		c.HasAuthorityKeyID = true
		ok = s.ReadASN1(&inner, asn1.SEQUENCE) && s.Empty() &&
			inner.ReadASN1(&id, asn1.Tag(0).ContextSpecific()) && id.CopyBytes(c.AuthorityKeyID[:]) && id.Empty()
	case oidExtKeyUsage, oidSubjectAltName, oidCRLPoints:
		return false, nil
	default:
		c.UnknownCritical = c.UnknownCritical || critical
		return false, nil
	}
	if !ok {
		return true, errors.New("malformed extension")
	}
	if critical != wantCritical {
		return true, errors.New("an extension is critical that must not be, or the other way round")
	}
	return true, nil
}

// readUsage reads the contents of a bit string of key usages.
func readUsage(s cryptobyte.String, u *cert.KeyUsage) bool {
	if len(s) < 1 || len(s) > 3 || s[0] > 7 {
		return false
	}
	for i, b := range s[1:] {
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				*u |= 1 << (8*i + bit)
			}
		}
	}
	return true
}

// signedBy reports whether issuer's key signed c.
func (c *Certificate) signedBy(issuer *Certificate) bool {
	key, err := issuer.PublicKey.Key()
	return err == nil && c.signature.Verify(key, c.tbs)
}

// validAt reports whether t is within c's validity, both ends included.
func (c *Certificate) validAt(t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// skip passes over a constant part.
func skip(s *cryptobyte.String, part string) bool {
	var got []byte
	return s.ReadBytes(&got, len(part)) && string(got) == part
}

// isAlgorithm reports whether the AlgorithmIdentifier s is oid, its parameters
// absent or null.
func isAlgorithm(s cryptobyte.String, oid string) bool {
	var inner cryptobyte.String
	return s.ReadASN1(&inner, asn1.SEQUENCE) && s.Empty() && skip(&inner, oid) &&
		(inner.Empty() || string(inner) == "\x05\x00")
}

func readKey(s cryptobyte.String, k *cert.PublicKey) bool {
	var bits cryptobyte.String
	return skip(&s, algorithmP256) && s.ReadASN1(&bits, asn1.BIT_STRING) && s.Empty() &&
		skip(&bits, "\x00") && bits.CopyBytes(k[:]) && bits.Empty()
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(asn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}
