package cert

import (
	"crypto"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxRequest is the longest CSR read, in octets. Devices' are about 220.
const maxRequest = 600

// requestName is the subject of the CSRs made here, O=CSR: nothing reads it.
var requestName = Name{{Type: 7, Text: "CSR"}}

// ParseRequest reads a PKCS#10 certificate request and verifies that it was
// signed with the key it asks a certificate for. Subject and attributes are
// passed over: what goes into the certificate, its issuer decides.
func ParseRequest(der []byte) (PublicKey, error) {
	k, err := parseRequest(der)
	if err != nil {
		return PublicKey{}, fmt.Errorf("certificate request: %w", err)
	}
	return k, nil
}

func parseRequest(der []byte) (k PublicKey, err error) {
	if len(der) > maxRequest {
		return k, fmt.Errorf("%d octets, at most %d", len(der), maxRequest)
	}
	s := cryptobyte.String(der)
	var outer, signed, bits cryptobyte.String
	if !s.ReadASN1(&outer, asn1.SEQUENCE) || !s.Empty() ||
		!outer.ReadASN1Element(&signed, asn1.SEQUENCE) || !skip(&outer, derSHA256) ||
		!outer.ReadASN1(&bits, asn1.BIT_STRING) || !outer.Empty() || !skip(&bits, "\x00") {
		return k, errors.New("malformed, or not signed with ECDSA and SHA-256")
	}
	info := signed
	var body, spki cryptobyte.String
	version := 0
	if !info.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1Integer(&version) || version != 0 ||
		!body.SkipASN1(asn1.SEQUENCE) || !body.ReadASN1(&spki, asn1.SEQUENCE) || !readPublicKey(spki, &k) {
		return k, errors.New("malformed, or not for a P-256 key")
	}
	if !body.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) || !body.Empty() {
		return k, errors.New("malformed attributes")
	}
	key, err := k.Key()
	if err != nil {
		return k, err
	}
	signature, err := ParseSignature(bits)
	if err != nil {
		return k, err
	}
	if !signature.Verify(key, signed) {
		return k, ErrSignature
	}
	return k, nil
}

// NewRequest is a PKCS#10 certificate request for key, in DER. About random,
// see SignMessage.
func NewRequest(random io.Reader, key crypto.Signer) ([]byte, error) {
	k, err := PublicKeyOf(key.Public())
	if err != nil {
		return nil, err
	}
	var body cryptobyte.Builder
	body.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(0)
		requestName.addDER(b)
		addPublicKey(b, k)
		b.AddASN1(asn1.Tag(0).ContextSpecific().Constructed(), func(*cryptobyte.Builder) {})
	})
	signed := body.BytesOrPanic()
	signature, err := SignMessage(random, key, signed)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(signed)
		b.AddBytes([]byte(derSHA256))
		b.AddASN1BitString(signature.DER())
	})
	return b.Bytes()
}
