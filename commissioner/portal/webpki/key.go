package webpki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// Limits of ours.
const (
	minSecret = 16 // octets that a key is derived from
	maxDraws  = 64 // candidates; of 2³² one is no key
)

// keyPurpose tells this derivation from every other one of the same secret. It
// stays as it is: phones trust the key that comes of it.
const keyPurpose = "gatehouse web authority P-256 v1"

const redacted = "[web authority's key]"

// Key is an authority's private key. It cannot be printed.
type Key struct{ key func() *ecdsa.PrivateKey }

// KeyFrom derives a key from a secret of at least 16 octets, which must hold as
// much entropy: always the same of the same.
func KeyFrom(secret []byte) (Key, error) {
	if len(secret) < minSecret {
		return Key{}, fmt.Errorf("a web authority's key needs a secret of %d octets", minSecret)
	}
	prk, err := hkdf.Extract(sha256.New, secret, nil)
	if err != nil {
		return Key{}, fmt.Errorf("derive the web authority's key: %w", err)
	}
	defer clear(prk)
	return firstKey(func(i int) ([]byte, error) {
		return hkdf.Expand(sha256.New, prk, fmt.Sprintf("%s #%d", keyPurpose, i), 32)
	})
}

// firstKey takes the first candidate that is a private key of P-256, that is
// neither zero nor as large as the group's order: with a remainder instead some
// keys would be likelier than others.
func firstKey(candidate func(i int) ([]byte, error)) (Key, error) {
	for i := range maxDraws {
		raw, err := candidate(i)
		if err != nil {
			return Key{}, fmt.Errorf("derive the web authority's key: %w", err)
		}
		k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
		clear(raw)
		if err == nil {
			return Key{func() *ecdsa.PrivateKey { return k }}, nil
		}
	}
	return Key{}, errors.New("derive the web authority's key: no candidate is one")
}

func (k Key) signer() (*ecdsa.PrivateKey, error) {
	if k.key == nil {
		return nil, errors.New("the web authority has no key")
	}
	return k.key(), nil
}

func (Key) String() string               { return redacted }
func (Key) GoString() string             { return redacted }
func (Key) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Key) LogValue() slog.Value         { return slog.StringValue(redacted) }
