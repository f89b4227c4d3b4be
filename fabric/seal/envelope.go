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
type SealingKey struct {
	algorithm Algorithm
	key       func() hpke.PrivateKey
}

// NewSealingKey draws a key for an algorithm.
func NewSealingKey(a Algorithm, random io.Reader) (SealingKey, error) {
	kem, _, _, err := a.hpke()
	if err != nil {
		return SealingKey{}, err
	}
	var seed [seedSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return SealingKey{}, fmt.Errorf("draw a sealing key: %w", err)
	}
	defer clear(seed[:])
	k, err := kem.DeriveKeyPair(seed[:])
	if err != nil {
		return SealingKey{}, errors.New("seal: no sealing key can be derived") // err might say more
	}
	return SealingKey{a, func() hpke.PrivateKey { return k }}, nil
}

// ParseSealingKey is the inverse of Reveal.
func ParseSealingKey(s Secret) (SealingKey, error) {
	raw := s.Reveal()
	defer clear(raw)
	a, raw := untag(raw, firstPrivateSize)
	kem, _, _, err := a.hpke()
	if err != nil {
		return SealingKey{}, err
	}
	k, err := kem.NewPrivateKey(raw)
	if err != nil {
		return SealingKey{}, errors.New("seal: not a sealing key") // err might say more
	}
	return SealingKey{a, func() hpke.PrivateKey { return k }}, nil
}

// Algorithm is what the key is for.
func (k SealingKey) Algorithm() Algorithm { return k.algorithm }

// Reveal is the key itself, for keeping; an empty Secret if there is none.
func (k SealingKey) Reveal() (Secret, error) {
	if k.key == nil {
		return Secret{}, nil
	}
	raw, err := k.key().Bytes() // the key's own octets, not a copy
	if err != nil {
		return Secret{}, err
	}
	tagged := k.algorithm.tag(raw)
	if k.algorithm != HybridHPKE {
		defer clear(tagged)
	}
	return NewSecret(tagged), nil
}

// Public is what others wrap to; nil if there is no key.
func (k SealingKey) Public() []byte {
	if k.key == nil {
		return nil
	}
	return k.algorithm.tag(k.key().PublicKey().Bytes())
}

func (SealingKey) String() string               { return redacted }
func (SealingKey) GoString() string             { return redacted }
func (SealingKey) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (SealingKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (SealingKey) LogValue() slog.Value         { return slog.StringValue(redacted) }

// AlgorithmOf is what a public sealing key is for.
func AlgorithmOf(public []byte) Algorithm {
	a, _ := untag(public, firstPublicSize)
	return a
}

// Wrap seals a data key to a gateway's public sealing key, for a purpose, with
// the algorithm that the key is for. crypto/hpke draws from the system's
// randomness, whatever it is told.
func Wrap(public []byte, purpose string, key Secret) ([]byte, error) {
	a, octets := untag(public, firstPublicSize)
	kem, kdf, aead, err := a.hpke()
	if err != nil {
		return nil, fmt.Errorf("seal: not a public sealing key: %w", err)
	}
	pk, err := kem.NewPublicKey(octets)
	if err != nil {
		return nil, fmt.Errorf("seal: not a public sealing key: %w", err)
	}
	raw := key.Reveal()
	defer clear(raw)
	sealed, err := hpke.Seal(pk, kdf, aead, bound(a, purpose), raw)
	if err != nil {
		return nil, err
	}
	return append([]byte{byte(a)}, sealed...), nil
}

// Unwrap opens what Wrap sealed for the same purpose.
func (k SealingKey) Unwrap(purpose string, blob []byte) (Secret, error) {
	if len(blob) == 0 || k.key == nil {
		return Secret{}, ErrOpen
	}
	a := Algorithm(blob[0])
	_, kdf, aead, err := a.hpke()
	if err != nil {
		return Secret{}, err
	}
	if a != k.algorithm {
		return Secret{}, ErrOpen
	}
	raw, err := hpke.Open(k.key(), kdf, aead, bound(a, purpose), blob[1:])
	if err != nil {
		return Secret{}, ErrOpen
	}
	defer clear(raw)
	return NewSecret(raw), nil
}
