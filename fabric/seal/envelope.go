package seal

import (
	"crypto/hpke"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// seedSize is what a sealing key is derived from, in octets.
const seedSize = 64

// SealingKey is a gateway's private key for envelopes. It cannot be printed.
type SealingKey struct{ key func() hpke.PrivateKey }

func suite() (hpke.KEM, hpke.KDF, hpke.AEAD) {
	return hpke.MLKEM768X25519(), hpke.HKDFSHA256(), hpke.AES256GCM()
}

// NewSealingKey draws a key.
func NewSealingKey(random io.Reader) (SealingKey, error) {
	var seed [seedSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return SealingKey{}, fmt.Errorf("draw a sealing key: %w", err)
	}
	defer clear(seed[:])
	kem, _, _ := suite()
	k, err := kem.DeriveKeyPair(seed[:])
	if err != nil {
		return SealingKey{}, errors.New("seal: no sealing key can be derived") // err might say more
	}
	return SealingKey{func() hpke.PrivateKey { return k }}, nil
}

// ParseSealingKey is the inverse of Reveal.
func ParseSealingKey(s Secret) (SealingKey, error) {
	kem, _, _ := suite()
	raw := s.Reveal()
	defer clear(raw)
	k, err := kem.NewPrivateKey(raw)
	if err != nil {
		return SealingKey{}, errors.New("seal: not a sealing key") // err might say more
	}
	return SealingKey{func() hpke.PrivateKey { return k }}, nil
}

// Reveal is the key itself, for keeping; an empty Secret if there is none.
func (k SealingKey) Reveal() (Secret, error) {
	if k.key == nil {
		return Secret{}, nil
	}
	raw, err := k.key().Bytes() // the key's own octets, not a copy
	if err != nil {
		return Secret{}, err
	}
	return NewSecret(raw), nil
}

// Public is what others wrap to; nil if there is no key.
func (k SealingKey) Public() []byte {
	if k.key == nil {
		return nil
	}
	return k.key().PublicKey().Bytes()
}

func (SealingKey) String() string               { return redacted }
func (SealingKey) GoString() string             { return redacted }
func (SealingKey) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (SealingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (SealingKey) LogValue() slog.Value         { return slog.StringValue(redacted) }

// Wrap seals a data key to a gateway's public sealing key, for a purpose.
// crypto/hpke draws from the system's randomness, whatever it is told.
func Wrap(public []byte, purpose string, key Secret) ([]byte, error) {
	kem, kdf, aead := suite()
	pk, err := kem.NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("seal: not a public sealing key: %w", err)
	}
	raw := key.Reveal()
	defer clear(raw)
	sealed, err := hpke.Seal(pk, kdf, aead, bound(HybridHPKE, purpose), raw)
	if err != nil {
		return nil, err
	}
	return append([]byte{byte(HybridHPKE)}, sealed...), nil
}

// Unwrap opens what Wrap sealed for the same purpose.
func (k SealingKey) Unwrap(purpose string, blob []byte) (Secret, error) {
	if len(blob) == 0 {
		return Secret{}, ErrOpen
	}
	if a := Algorithm(blob[0]); a != HybridHPKE {
		return Secret{}, fmt.Errorf("seal: algorithm %#02x is not one that this release opens", a)
	}
	_, kdf, aead := suite()
	raw, err := hpke.Open(k.key(), kdf, aead, bound(HybridHPKE, purpose), blob[1:])
	if err != nil {
		return Secret{}, ErrOpen
	}
	defer clear(raw)
	return NewSecret(raw), nil
}
