package cert

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
)

// GroupKeyLength is the length of epoch and operational group keys in octets.
const GroupKeyLength = 16

const redacted = "[key]"

// EpochKey is a group's key as administrators hand it to devices; that of
// group key set 0 is the identity protection key (IPK). It cannot be printed,
// marshalled or compared.
type EpochKey struct{ key }

// GroupKey is the key derived from an EpochKey that a fabric's nodes use. It
// cannot be printed, marshalled or compared.
type GroupKey struct{ key }

// NewEpochKey is the epoch key b.
func NewEpochKey(b [GroupKeyLength]byte) EpochKey { return EpochKey{newKey(&b)} }

// RandomEpochKey draws an epoch key.
func RandomEpochKey(random io.Reader) (EpochKey, error) {
	var b [GroupKeyLength]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return EpochKey{}, fmt.Errorf("draw an epoch key: %w", err)
	}
	return NewEpochKey(b), nil
}

// Operational derives the key that nodes use on a fabric (Matter Core 4.17.2).
func (k EpochKey) Operational(fabric CompressedFabricID) GroupKey {
	b := k.Reveal()
	derived, err := hkdf.Key(sha256.New, b[:], fabric.Bytes(), "GroupKey v1.0", GroupKeyLength)
	if err != nil {
		panic(err) // only for more output than HKDF can give
	}
	return GroupKey{newKey((*[GroupKeyLength]byte)(derived))}
}

// key holds its octets in a closure: fmt prints the fields of an unexported
// field without asking its methods, and even follows pointers, but of a
// function it has only the address. Nor can functions be compared.
type key struct{ octets func() *[GroupKeyLength]byte }

func newKey(b *[GroupKeyLength]byte) key {
	return key{func() *[GroupKeyLength]byte { return b }}
}

// Reveal is the key itself. It is all zeros for the zero value.
func (k key) Reveal() (b [GroupKeyLength]byte) {
	if k.octets != nil {
		b = *k.octets()
	}
	return b
}

// Erase overwrites the key, in every copy of this value.
func (k key) Erase() {
	if k.octets != nil {
		clear(k.octets()[:])
	}
}

func (key) String() string               { return redacted }
func (key) GoString() string             { return redacted }
func (key) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (key) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (key) LogValue() slog.Value         { return slog.StringValue(redacted) }
