package cert

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ExtensionKind is a kind of extension, numbered as in TLV.
type ExtensionKind uint8

const (
	ExtBasicConstraints ExtensionKind = 1
	ExtKeyUsage         ExtensionKind = 2
	ExtKeyPurposes      ExtensionKind = 3 // extended key usage
	ExtSubjectKeyID     ExtensionKind = 4
	ExtAuthorityKeyID   ExtensionKind = 5
	ExtFuture           ExtensionKind = 6 // any other, carried as DER
)

// extensionOIDs are the kinds' object identifiers in DER, by number.
var extensionOIDs = [...]string{
	ExtBasicConstraints: "\x06\x03\x55\x1D\x13",
	ExtKeyUsage:         "\x06\x03\x55\x1D\x0F",
	ExtKeyPurposes:      "\x06\x03\x55\x1D\x25",
	ExtSubjectKeyID:     "\x06\x03\x55\x1D\x0E",
	ExtAuthorityKeyID:   "\x06\x03\x55\x1D\x23",
}

// critical says of which kinds X.509 is told to refuse what it does not know.
func (k ExtensionKind) critical() bool { return k <= ExtKeyPurposes }

// KeyUsage is the set of uses of a key: bit n is X.509's bit n.
type KeyUsage uint16

const (
	DigitalSignature KeyUsage = 1 << 0
	KeyCertSign      KeyUsage = 1 << 5
	CRLSign          KeyUsage = 1 << 6

	allUsages KeyUsage = 1<<9 - 1
)

// KeyPurpose is a purpose of extended key usage, numbered as in TLV.
type KeyPurpose uint8

const (
	ServerAuth KeyPurpose = 1
	ClientAuth KeyPurpose = 2
)

// purposeOIDs are 1.3.6.1.5.5.7.3.n in DER, by number.
var purposeOIDs = [...]string{
	ServerAuth: purposeOID + "\x01",
	ClientAuth: purposeOID + "\x02",
	3:          purposeOID + "\x03", // code signing
	4:          purposeOID + "\x04", // e-mail protection
	5:          purposeOID + "\x08", // time stamping
	6:          purposeOID + "\x09", // OCSP signing
}

const purposeOID = "\x06\x08\x2B\x06\x01\x05\x05\x07\x03"

const maxPathLen = 0xFF

// Extensions are a certificate's extensions. A field counts only if Order
// names its kind.
type Extensions struct {
	Order          []ExtensionKind // as signed; ExtFuture may come several times
	IsCA           bool
	HasPathLen     bool
	PathLen        int // how many intermediates may follow, if HasPathLen
	KeyUsage       KeyUsage
	KeyPurposes    []KeyPurpose
	SubjectKeyID   KeyID
	AuthorityKeyID KeyID
	Future         [][]byte // each a whole Extension in DER
}

// Has reports whether there is an extension of kind k.
func (x *Extensions) Has(k ExtensionKind) bool { return slices.Contains(x.Order, k) }

func (x *Extensions) validate() error {
	var seen [ExtFuture]bool
	future := 0
	for _, k := range x.Order {
		switch {
		case k == 0 || k > ExtFuture:
			return fmt.Errorf("unknown extension %d", k)
		case k == ExtFuture:
			future++
			continue
		case seen[k]:
			return fmt.Errorf("extension %d twice", k)
		}
		seen[k] = true
	}
	if future != len(x.Future) {
		return errors.New("extensions and their order do not agree")
	}
	for _, der := range x.Future {
		if _, err := parseFuture(der); err != nil {
			return err
		}
	}
	switch {
	case x.HasPathLen && !x.IsCA:
		return errors.New("path length on a certificate that is no CA")
	case x.PathLen < 0 || x.PathLen > maxPathLen:
		return fmt.Errorf("path length %d", x.PathLen)
	case x.KeyUsage&^allUsages != 0:
		return fmt.Errorf("key usage %#x", x.KeyUsage)
	}
	for i, p := range x.KeyPurposes {
		if p == 0 || int(p) >= len(purposeOIDs) || slices.Contains(x.KeyPurposes[:i], p) {
			return fmt.Errorf("key purpose %d", p)
		}
	}
	return nil
}

// parseFuture checks that der is one Extension of a kind not known here.
func parseFuture(der []byte) (critical bool, err error) {
	s := cryptobyte.String(der)
	var ext, oid cryptobyte.String
	if !s.ReadASN1(&ext, asn1.SEQUENCE) || !s.Empty() || !ext.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) ||
		!optionalBool(&ext, &critical) ||
		!ext.SkipASN1(asn1.OCTET_STRING) || !ext.Empty() {
		return false, errors.New("malformed extension")
	}
	if slices.Contains(extensionOIDs[1:], string(oid)) {
		return false, errors.New("a known extension among those that are not")
	}
	return critical, nil
}

// CriticalFuture reports whether an extension not known here is critical, so
// that the certificate must not be used.
func (x *Extensions) CriticalFuture() bool {
	return slices.ContainsFunc(x.Future, func(der []byte) bool {
		critical, err := parseFuture(der)
		return critical || err != nil
	})
}

func (x *Extensions) addDER(b *cryptobyte.Builder) {
	future := x.Future
	for _, k := range x.Order {
		if k == ExtFuture {
			b.AddBytes(future[0])
			future = future[1:]
			continue
		}
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte(extensionOIDs[k]))
			if k.critical() {
				b.AddASN1Boolean(true)
			}
			b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) { x.addValue(b, k) })
		})
	}
}

func (x *Extensions) addValue(b *cryptobyte.Builder, k ExtensionKind) {
	switch k {
	case ExtBasicConstraints:
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if x.IsCA {
				b.AddASN1Boolean(true)
			}
			if x.HasPathLen {
				b.AddASN1Int64(int64(x.PathLen))
			}
		})
	case ExtKeyUsage:
		b.AddASN1(asn1.BIT_STRING, func(b *cryptobyte.Builder) { b.AddBytes(usageBits(x.KeyUsage)) })
	case ExtKeyPurposes:
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, p := range x.KeyPurposes {
				b.AddBytes([]byte(purposeOIDs[p]))
			}
		})
	case ExtSubjectKeyID:
		b.AddASN1OctetString(x.SubjectKeyID[:])
	case ExtAuthorityKeyID:
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.Tag(0).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(x.AuthorityKeyID[:]) })
		})
	}
}

// usageBits is u as the contents of a DER bit string of named bits: trailing
// zeros left out, their number in the last octet first.
func usageBits(u KeyUsage) []byte {
	last := -1
	var bits [2]byte
	for i := range 16 {
		if u&(1<<i) != 0 {
			bits[i/8] |= 0x80 >> (i % 8)
			last = i
		}
	}
	if last < 0 {
		return []byte{0}
	}
	return append([]byte{byte(7 - last%8)}, bits[:last/8+1]...)
}
