package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"gatehouse/fabric/cert"
)

const (
	keyLength = 32
	redacted  = "[private key]"
)

// errNoKey is the zero PrivateKey, or one that was erased.
var errNoKey = errors.New("no private key")

// PrivateKey is a private key on P-256. It is a crypto.Signer; signed without
// randomness, the same message gets the same signature. It cannot be printed,
// marshalled or compared.
type PrivateKey struct {
	// A closure, because fmt prints the fields of an unexported field without
	// asking its methods, but of a function it has only the address.
	octets func() *[keyLength]byte
	public cert.PublicKey
}

// GenerateKey draws a key from random, and from nothing else: crypto/ecdsa
// would ignore the reader.
func GenerateKey(random io.Reader) (PrivateKey, error) {
	for {
		var b [keyLength]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return PrivateKey{}, fmt.Errorf("draw a private key: %w", err)
		}
		// Outside the range of keys are 1 in 2³² draws. To draw again keeps
		// the rest equally likely.
		if k, err := ParsePrivateKey(b[:]); err == nil {
			return k, nil
		}
	}
}

// ParsePrivateKey is the key that Reveal gave. It keeps nothing of raw.
func ParsePrivateKey(raw []byte) (PrivateKey, error) {
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return PrivateKey{}, errors.New("not a private key on P-256") // err might say more
	}
	public, err := cert.PublicKeyOf(key.Public())
	if err != nil {
		return PrivateKey{}, err
	}
	octets := [keyLength]byte(raw)
	return PrivateKey{func() *[keyLength]byte { return &octets }, public}, nil
}

// Reveal is the key itself, 32 octets, for sealing; nil if there is none.
func (k PrivateKey) Reveal() []byte {
	if k.octets == nil || *k.octets() == [keyLength]byte{} {
		return nil
	}
	b := *k.octets()
	return b[:]
}

// Erase overwrites the key in every copy of this value. What crypto/ecdsa made
// of it while signing is left to the garbage collector.
func (k PrivateKey) Erase() {
	if k.octets != nil {
		clear(k.octets()[:])
	}
}

// PublicKey is the public key as it travels.
func (k PrivateKey) PublicKey() cert.PublicKey { return k.public }

// Public is the *ecdsa.PublicKey.
func (k PrivateKey) Public() crypto.PublicKey {
	key, err := k.public.Key()
	if err != nil {
		return nil
	}
	return key
}

// Sign signs a digest; see crypto.Signer and ecdsa.PrivateKey.
func (k PrivateKey) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	raw := k.Reveal()
	if raw == nil {
		return nil, errNoKey
	}
	defer clear(raw)
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		return nil, errNoKey
	}
	return key.Sign(random, digest, opts)
}

func (PrivateKey) String() string               { return redacted }
func (PrivateKey) GoString() string             { return redacted }
func (PrivateKey) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (PrivateKey) LogValue() slog.Value         { return slog.StringValue(redacted) }
