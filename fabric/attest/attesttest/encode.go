package attesttest

import (
	"crypto"
	"math/bits"
	"time"

	"gatehouse/fabric/attest"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers and algorithm identifiers in DER.
const (
	oidCommonName = "\x06\x03\x55\x04\x03"
	oidVendorID   = "\x06\x0A\x2B\x06\x01\x04\x01\x82\xA2\x7C\x02\x01"
	oidProductID  = "\x06\x0A\x2B\x06\x01\x04\x01\x82\xA2\x7C\x02\x02"

	oidBasicConstraints = "\x06\x03\x55\x1D\x13"
	oidKeyUsage         = "\x06\x03\x55\x1D\x0F"
	oidSubjectKeyID     = "\x06\x03\x55\x1D\x0E"
	oidAuthorityKeyID   = "\x06\x03\x55\x1D\x23"

	oidSignedData = "\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02"
	oidData       = "\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x01"

	version3        = "\xA0\x03\x02\x01\x02"
	ecdsaWithSHA256 = "\x30\x0A\x06\x08\x2A\x86\x48\xCE\x3D\x04\x03\x02"
	digestSHA256    = "\x30\x0B\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"
	keyOnP256       = "\x30\x13\x06\x07\x2A\x86\x48\xCE\x3D\x02\x01\x06\x08\x2A\x86\x48\xCE\x3D\x03\x01\x07"
)

// Subject is the name in a certificate.
type Subject struct {
	CommonName string
	VendorID   attest.ID
	ProductID  attest.ID
}

// Template is the contents of an attestation certificate.
type Template struct {
	Serial              []byte
	Issuer, Subject     Subject
	NotBefore, NotAfter time.Time
	PublicKey           cert.PublicKey
	IsCA                bool
	PathLen             int // -1: none
	KeyUsage            cert.KeyUsage
	AuthorityKeyID      cert.KeyID
	Extra               []byte // further extensions, in DER
}

// Sign is the certificate in DER, signed with key.
func (t Template) Sign(key crypto.Signer) []byte {
	var tbs cryptobyte.Builder
	tbs.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes([]byte(version3))
		add(b, asn1.INTEGER, t.Serial)
		b.AddBytes([]byte(ecdsaWithSHA256))
		t.Issuer.add(b)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addTime(b, t.NotBefore)
			addTime(b, t.NotAfter)
		})
		t.Subject.add(b)
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte(keyOnP256))
			b.AddASN1BitString(t.PublicKey[:])
		})
		b.AddASN1(asn1.Tag(3).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, t.addExtensions)
		})
	})
	signed := tbs.BytesOrPanic()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(signed)
		b.AddBytes([]byte(ecdsaWithSHA256))
		b.AddASN1BitString(sign(key, signed))
	})
	return b.BytesOrPanic()
}

func sign(key crypto.Signer, message []byte) []byte {
	s, err := cert.SignMessage(nil, key, message)
	if err != nil {
		panic(err)
	}
	return s.DER()
}

func add(b *cryptobyte.Builder, tag asn1.Tag, contents []byte) {
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(contents) })
}

func addTime(b *cryptobyte.Builder, t time.Time) {
	if t.Year() < 2050 {
		b.AddASN1UTCTime(t)
	} else {
		b.AddASN1GeneralizedTime(t)
	}
}

func (s Subject) add(b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		attribute := func(oid, text string) {
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddBytes([]byte(oid))
					add(b, asn1.UTF8String, []byte(text))
				})
			})
		}
		attribute(oidCommonName, s.CommonName)
		if s.VendorID.Present {
			attribute(oidVendorID, s.VendorID.String())
		}
		if s.ProductID.Present {
			attribute(oidProductID, s.ProductID.String())
		}
	})
}

func (t Template) addExtensions(b *cryptobyte.Builder) {
	extension := func(oid string, critical bool, value func(*cryptobyte.Builder)) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte(oid))
			if critical {
				b.AddASN1Boolean(true)
			}
			b.AddASN1(asn1.OCTET_STRING, value)
		})
	}
	extension(oidBasicConstraints, true, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			if t.IsCA {
				b.AddASN1Boolean(true)
			}
			if t.PathLen >= 0 {
				b.AddASN1Int64(int64(t.PathLen))
			}
		})
	})
	extension(oidKeyUsage, true, func(b *cryptobyte.Builder) {
		first := bits.Reverse8(byte(t.KeyUsage)) // the uses wanted here fit the first octet
		add(b, asn1.BIT_STRING, []byte{byte(bits.TrailingZeros8(first)), first})
	})
	extension(oidSubjectKeyID, false, func(b *cryptobyte.Builder) {
		id := t.PublicKey.ID()
		b.AddASN1OctetString(id[:])
	})
	extension(oidAuthorityKeyID, false, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			add(b, asn1.Tag(0).ContextSpecific(), t.AuthorityKeyID[:])
		})
	})
	b.AddBytes(t.Extra)
}

// EncodeDeclaration is the TLV inside a certification declaration.
func EncodeDeclaration(d attest.Declaration) []byte {
	var w tlv.Writer
	w.Struct(tlv.Anonymous)
	w.Uint(tlv.Context(0), uint64(d.FormatVersion))
	w.Uint(tlv.Context(1), uint64(d.VendorID))
	w.Array(tlv.Context(2))
	for _, p := range d.ProductIDs {
		w.Uint(tlv.Anonymous, uint64(p))
	}
	w.End()
	w.Uint(tlv.Context(3), uint64(d.DeviceType))
	w.Text(tlv.Context(4), d.CertificateID)
	w.Uint(tlv.Context(5), uint64(d.SecurityLevel))
	w.Uint(tlv.Context(6), uint64(d.SecurityInfo))
	w.Uint(tlv.Context(7), uint64(d.VersionNumber))
	w.Uint(tlv.Context(8), uint64(d.CertificationType))
	if d.OriginVendorID.Present {
		w.Uint(tlv.Context(9), uint64(d.OriginVendorID.Value))
	}
	if d.OriginProductID.Present {
		w.Uint(tlv.Context(10), uint64(d.OriginProductID.Value))
	}
	if d.HasAuthorizedPAAs {
		w.Array(tlv.Context(11))
		for _, id := range d.AuthorizedPAAs {
			w.Octets(tlv.Anonymous, id[:])
		}
		w.End()
	}
	w.End()
	return w.Bytes()
}

// SignDeclaration wraps the contents of a declaration in CMS.
func SignDeclaration(contents []byte, signer cert.KeyID, key crypto.Signer) []byte {
	explicit := asn1.Tag(0).ContextSpecific().Constructed()
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes([]byte(oidSignedData))
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(3)
				add(b, asn1.SET, []byte(digestSHA256))
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddBytes([]byte(oidData))
					b.AddASN1(explicit, func(b *cryptobyte.Builder) { b.AddASN1OctetString(contents) })
				})
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1Int64(3)
						add(b, asn1.Tag(0).ContextSpecific(), signer[:])
						b.AddBytes([]byte(digestSHA256))
						b.AddBytes([]byte(ecdsaWithSHA256))
						b.AddASN1OctetString(sign(key, contents))
					})
				})
			})
		})
	})
	return b.BytesOrPanic()
}
