package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// ErrSignature is a signature that does not verify.
var ErrSignature = errors.New("the signature does not verify")

// DER is s as X.509 and crypto/ecdsa have it: a sequence of two integers.
func (s Signature) DER() []byte {
	b := cryptobyte.NewBuilder(make([]byte, 0, signatureLength+8))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addInteger(b, s[:signatureLength/2])
		addInteger(b, s[signatureLength/2:])
	})
	return b.BytesOrPanic()
}

// addInteger adds a positive number, big-endian.
func addInteger(b *cryptobyte.Builder, n []byte) {
	for len(n) > 1 && n[0] == 0 {
		n = n[1:]
	}
	b.AddASN1(asn1.INTEGER, func(b *cryptobyte.Builder) {
		if n[0] >= 0x80 {
			b.AddUint8(0)
		}
		b.AddBytes(n)
	})
}

// ParseSignature reads a signature in DER.
func ParseSignature(der []byte) (s Signature, err error) {
	outer := cryptobyte.String(der)
	var pair cryptobyte.String
	var r, t []byte
	if !outer.ReadASN1(&pair, asn1.SEQUENCE) || !outer.Empty() ||
		!pair.ReadASN1Integer(&r) || !pair.ReadASN1Integer(&t) || !pair.Empty() ||
		len(r) > signatureLength/2 || len(t) > signatureLength/2 {
		return s, errors.New("malformed ECDSA signature")
	}
	copy(s[signatureLength/2-len(r):], r)
	copy(s[signatureLength-len(t):], t)
	return s, nil
}

// Key is k for crypto/ecdsa. It fails if k is no point on the curve.
func (k PublicKey) Key() (*ecdsa.PublicKey, error) {
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), k[:])
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	return key, nil
}

// PublicKeyOf is key as it travels. It fails for a key that is not on P-256.
func PublicKeyOf(key crypto.PublicKey) (k PublicKey, err error) {
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return k, errors.New("public key: not on P-256")
	}
	b, err := public.Bytes()
	if err != nil {
		return k, fmt.Errorf("public key: %w", err)
	}
	copy(k[:], b)
	return k, nil
}

// Verify reports whether s is key's signature of message, which it hashes.
func (s Signature) Verify(key *ecdsa.PublicKey, message []byte) bool {
	digest := sha256.Sum256(message)
	return ecdsa.VerifyASN1(key, digest[:], s.DER())
}

// SignMessage signs message, which it hashes, with a key on P-256. A nil random
// makes crypto/ecdsa sign deterministically (RFC 6979); since Go 1.26 any other
// only tells it to use randomness of its own.
func SignMessage(random io.Reader, key crypto.Signer, message []byte) (Signature, error) {
	digest := sha256.Sum256(message)
	der, err := key.Sign(random, digest[:], crypto.SHA256)
	if err != nil {
		return Signature{}, fmt.Errorf("sign: %w", err)
	}
	return ParseSignature(der)
}

// Sign puts key's signature on c.
func (c *Certificate) Sign(random io.Reader, key crypto.Signer) error {
	tbs, err := c.TBS()
	if err != nil {
		return err
	}
	c.Signature, err = SignMessage(random, key, tbs)
	return err
}

// VerifySignature fails, with ErrSignature, unless c was signed with key.
func (c *Certificate) VerifySignature(key *ecdsa.PublicKey) error {
	tbs, err := c.TBS()
	if err != nil {
		return err
	}
	if !c.Signature.Verify(key, tbs) {
		return ErrSignature
	}
	return nil
}
