package cert

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Constant parts of the DER form.
const (
	derVersion3  = "\xA0\x03\x02\x01\x02"
	derSHA256    = "\x30\x0A\x06\x08\x2A\x86\x48\xCE\x3D\x04\x03\x02"                                     // ecdsa-with-SHA256
	derP256      = "\x30\x13\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x08\x2A\x86\x48\xCE\x3D\x03\x01\x07" // ecPublicKey, prime256v1
	lastUTCYear  = 2049                                                                                   // in two digits
	firstUTCYear = 1950
)

// DER is c as an X.509 certificate.
func (c *Certificate) DER() ([]byte, error) {
	tbs, err := c.TBS()
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes([]byte(derSHA256))
		b.AddASN1BitString(c.Signature.DER())
	})
	der, err := b.Bytes()
	if err == nil && len(der) > MaxDER {
		err = fmt.Errorf("certificate of %d octets in DER, at most %d", len(der), MaxDER)
	}
	return der, err
}

// TBS is the part of the DER form that is signed.
func (c *Certificate) TBS() ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, MaxDER))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes([]byte(derVersion3))
		b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) { b.AddBytes(c.Serial) })
		b.AddBytes([]byte(derSHA256))
		c.Issuer.addDER(b)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, c.NotBefore)
			addTime(b, c.NotAfter)
		})
		c.Subject.addDER(b)
		addPublicKey(b, c.PublicKey)
		b.AddASN1(asn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, c.Extensions.addDER)
		})
	})
	return b.Bytes()
}

func addPublicKey(b *cryptobyte.Builder, k PublicKey) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes([]byte(derP256))
		b.AddASN1BitString(k[:])
	})
}

func addTime(b *cryptobyte.Builder, t Time) {
	kind, layout := asn1.UTCTime, "060102150405Z"
	when := t.Time()
	if when.Year() > lastUTCYear {
		kind, layout = asn1.GeneralizedTime, "20060102150405Z"
	}
	b.AddASN1(kind, func(b *cryptobyte.Builder) { b.AddBytes([]byte(when.Format(layout))) })
}

// ParseDER reads an X.509 certificate. It refuses one that DER would not give
// back octet for octet, since its signature could never be verified.
func ParseDER(der []byte) (*Certificate, error) {
	if len(der) > MaxDER {
		return nil, fmt.Errorf("certificate of %d octets in DER, at most %d", len(der), MaxDER)
	}
	c, err := parseDER(der)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	again, err := c.DER()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(der, again) {
		return nil, errors.New("certificate: not encoded the way Matter certificates are")
	}
	if n := len(c.TLV()); n > MaxTLV {
		return nil, fmt.Errorf("certificate of %d octets in TLV, at most %d", n, MaxTLV)
	}
	return c, nil
}

func parseDER(der []byte) (*Certificate, error) {
	s := cryptobyte.String(der)
	var outer, tbs, serial, validity, spki, wrapper, extensions, signature cryptobyte.String
	if !s.ReadASN1(&outer, asn1.SEQUENCE) || !s.Empty() || !outer.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!skip(&tbs, derVersion3) || !tbs.ReadASN1(&serial, asn1.INTEGER) || !skip(&tbs, derSHA256) {
		return nil, errors.New("malformed, not version 3, or not signed with ECDSA and SHA-256")
	}
	c := &Certificate{Serial: serial}
	var err error
	if c.Issuer, err = readNameDER(&tbs); err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	if !tbs.ReadASN1(&validity, asn1.SEQUENCE) || !readTimeDER(&validity, &c.NotBefore) ||
		!readTimeDER(&validity, &c.NotAfter) || !validity.Empty() {
		return nil, errors.New("malformed validity")
	}
	if c.Subject, err = readNameDER(&tbs); err != nil {
		return nil, fmt.Errorf("subject: %w", err)
	}
	if !tbs.ReadASN1(&spki, asn1.SEQUENCE) || !readPublicKey(spki, &c.PublicKey) {
		return nil, errors.New("not a P-256 public key")
	}
	if !tbs.ReadASN1(&wrapper, asn1.Tag(3).ContextSpecific().Constructed()) || !tbs.Empty() ||
		!wrapper.ReadASN1(&extensions, asn1.SEQUENCE) || !wrapper.Empty() {
		return nil, errors.New("malformed extensions")
	}
	if err := c.Extensions.readDER(extensions); err != nil {
		return nil, err
	}
	if !skip(&outer, derSHA256) || !outer.ReadASN1(&signature, asn1.BIT_STRING) || !outer.Empty() ||
		!skip(&signature, "\x00") {
		return nil, errors.New("malformed signature")
	}
	c.Signature, err = ParseSignature(signature)
	return c, err
}

// skip passes over a constant part.
func skip(s *cryptobyte.String, part string) bool {
	var got []byte
	return s.ReadBytes(&got, len(part)) && string(got) == part
}

// optionalBool reads a BOOLEAN DEFAULT FALSE, which DER leaves out if false.
func optionalBool(s *cryptobyte.String, v *bool) bool {
	*v = false
	return !s.PeekASN1Tag(asn1.BOOLEAN) || s.ReadASN1Boolean(v) && *v
}

func readPublicKey(spki cryptobyte.String, k *PublicKey) bool {
	var bits cryptobyte.String
	return skip(&spki, derP256) && spki.ReadASN1(&bits, asn1.BIT_STRING) && spki.Empty() &&
		skip(&bits, "\x00") && bits.CopyBytes(k[:]) && bits.Empty()
}

func readTimeDER(s *cryptobyte.String, t *Time) bool {
	var when time.Time
	ok := false
	if s.PeekASN1Tag(asn1.UTCTime) {
		ok = s.ReadASN1UTCTime(&when)
	} else {
		ok = s.ReadASN1GeneralizedTime(&when)
	}
	if !ok {
		return false
	}
	var err error
	*t, err = TimeOf(when)
	return err == nil
}

func (x *Extensions) readDER(s cryptobyte.String) error {
	for !s.Empty() {
		var whole, ext, oid, value cryptobyte.String
		var critical bool
		if !s.ReadASN1Element(&whole, asn1.SEQUENCE) {
			return errors.New("malformed extensions")
		}
		element := whole
		if !element.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) ||
			!optionalBool(&ext, &critical) ||
			!ext.ReadASN1(&value, asn1.OCTET_STRING) || !ext.Empty() {
			return errors.New("malformed extension")
		}
		k := ExtensionKind(max(0, slices.Index(extensionOIDs[:], string(oid))))
		if k == 0 {
			x.Order = append(x.Order, ExtFuture)
			x.Future = append(x.Future, slices.Clone(whole))
			continue
		}
		if critical != k.critical() || x.Has(k) || !x.readValue(k, value) {
			return fmt.Errorf("extension %d is malformed, comes twice or has the wrong criticality", k)
		}
		x.Order = append(x.Order, k)
	}
	return nil
}

func (x *Extensions) readValue(k ExtensionKind, s cryptobyte.String) bool {
	var inner cryptobyte.String
	switch k {
	case ExtBasicConstraints:
		if !s.ReadASN1(&inner, asn1.SEQUENCE) || !optionalBool(&inner, &x.IsCA) {
			return false
		}
		if x.HasPathLen = !inner.Empty(); x.HasPathLen && !inner.ReadASN1Integer(&x.PathLen) {
			return false
		}
		return inner.Empty() && s.Empty()
	case ExtKeyUsage:
		// What padding the bits have, writing them again shows.
		if !s.ReadASN1(&inner, asn1.BIT_STRING) || len(inner) == 0 || len(inner) > 3 || !s.Empty() {
			return false
		}
		for i, b := range inner[1:] {
			for bit := range 8 {
				if b&(0x80>>bit) != 0 {
					x.KeyUsage |= 1 << (8*i + bit)
				}
			}
		}
		return true
	case ExtKeyPurposes:
		if !s.ReadASN1(&inner, asn1.SEQUENCE) || !s.Empty() {
			return false
		}
		for !inner.Empty() {
			var oid cryptobyte.String
			if !inner.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) {
				return false
			}
			p := slices.Index(purposeOIDs[:], string(oid))
			if p < 1 {
				return false
			}
			x.KeyPurposes = append(x.KeyPurposes, KeyPurpose(p))
		}
		return true
	case ExtSubjectKeyID:
		return s.ReadASN1(&inner, asn1.OCTET_STRING) && s.Empty() && inner.CopyBytes(x.SubjectKeyID[:]) && inner.Empty()
	case ExtAuthorityKeyID:
		var id cryptobyte.String
		return s.ReadASN1(&inner, asn1.SEQUENCE) && s.Empty() &&
			inner.ReadASN1(&id, asn1.Tag(0).ContextSpecific()) && inner.Empty() &&
			id.CopyBytes(x.AuthorityKeyID[:]) && id.Empty()
	}
	return false
}
