// Package seal is how secrets rest: a data key seals the trust state's
// secrets, each gateway's sealing key opens the data key, and the recovery kit
// holds the root key under a passphrase.
//
// It promises that every sealed blob names its algorithm and is bound to its
// purpose, so that none opens in another's place, and that a secret comes out
// only in a type that cannot be printed, marshalled or compared. It has no
// disk.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// KeySize is the length of a data key, in octets.
const KeySize = 32

// ErrOpen says that a blob was sealed with another key or for another purpose,
// or was changed.
var ErrOpen = errors.New("seal: the sealed secret does not open with this key")

const redacted = "[secret]"

// Secret is octets that must not be seen. It cannot be printed, marshalled or
// compared.
type Secret struct {
	// A closure: fmt prints the fields of an unexported field without asking
	// its methods, but of a function it has only the address.
	octets func() []byte
}

// NewSecret keeps a copy of b.
func NewSecret(b []byte) Secret {
	c := append([]byte(nil), b...)
	return Secret{func() []byte { return c }}
}

// RandomSecret draws a data key.
func RandomSecret(random io.Reader) (Secret, error) {
	var b [KeySize]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return Secret{}, fmt.Errorf("draw a data key: %w", err)
	}
	defer clear(b[:])
	return NewSecret(b[:]), nil
}

// Reveal is a copy of the secret; nil if there is none.
func (s Secret) Reveal() []byte {
	if s.octets == nil {
		return nil
	}
	return append([]byte(nil), s.octets()...)
}

// Erase overwrites the secret in every copy of this value.
func (s Secret) Erase() {
	if s.octets != nil {
		clear(s.octets())
	}
}

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }

func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// bound is the additional data: the algorithm and the purpose.
func bound(a Algorithm, purpose string) []byte { return append([]byte{byte(a)}, purpose...) }

// Seal seals plain for a purpose under a data key.
func (a Algorithm) Seal(random io.Reader, key Secret, purpose string, plain []byte) ([]byte, error) {
	aead, err := a.aead(key)
	if err != nil {
		return nil, err
	}
	head := 1 + aead.NonceSize()
	blob := make([]byte, head, head+len(plain)+aead.Overhead())
	blob[0] = byte(a)
	if _, err := io.ReadFull(random, blob[1:]); err != nil {
		return nil, fmt.Errorf("draw a nonce: %w", err)
	}
	return aead.Seal(blob, blob[1:], plain, bound(a, purpose)), nil
}

// Open opens what Seal sealed for the same purpose.
func Open(key Secret, purpose string, blob []byte) (Secret, error) {
	if len(blob) == 0 {
		return Secret{}, ErrOpen
	}
	a := Algorithm(blob[0])
	aead, err := a.aead(key)
	if err != nil {
		return Secret{}, err
	}
	head := 1 + aead.NonceSize()
	if len(blob) < head {
		return Secret{}, ErrOpen
	}
	plain, err := aead.Open(nil, blob[1:head], blob[head:], bound(a, purpose))
	if err != nil {
		return Secret{}, ErrOpen
	}
	defer clear(plain)
	return NewSecret(plain), nil
}
