// Package thread knows what a gateway must know of a Thread network to put
// devices on it and to reach them there: its operational dataset, the border
// router that leads into it, and whether the way there is sound.
//
// It promises that a dataset it has read is written back byte for byte, that
// the keys in one come out only by Reveal, and that whatever is wrong is said
// with what to do about it. It never moves a running network to another
// dataset, and never sends a part of one: border routers fill in the rest at
// random and leave everybody else behind.
//
// It serves the Thread specification 1.4, section 8.10 (operational dataset),
// and the REST interface of otbr-agent.
package thread

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

// KeySize is the length of a network key and of a PSKc, in bytes.
const KeySize = 16

const redacted = "[secret]"

var errSecret = errors.New("a Thread network's keys are not to be marshalled: use Reveal")

// Key is a network key or a PSKc. It cannot be printed, marshalled or compared
// by accident.
type Key struct {
	// A closure: fmt prints the fields of an unexported field without asking
	// its methods, but of a function it has only the address.
	octets func() *[KeySize]byte
}

// NewKey keeps a copy of b.
func NewKey(b [KeySize]byte) Key { return Key{func() *[KeySize]byte { return &b }} }

// Reveal is a copy of the key; nil if there is none.
func (k Key) Reveal() []byte {
	if k.octets == nil {
		return nil
	}
	return append([]byte(nil), k.octets()[:]...)
}

// Equal compares in constant time.
func (k Key) Equal(other Key) bool {
	if k.octets == nil || other.octets == nil {
		return k.octets == nil && other.octets == nil
	}
	return subtle.ConstantTimeCompare(k.octets()[:], other.octets()[:]) == 1
}

func (Key) String() string                 { return redacted }
func (Key) GoString() string               { return redacted }
func (Key) Format(f fmt.State, _ rune)     { io.WriteString(f, redacted) }
func (Key) LogValue() slog.Value           { return slog.StringValue(redacted) }
func (Key) MarshalText() ([]byte, error)   { return nil, errSecret }
func (Key) MarshalBinary() ([]byte, error) { return nil, errSecret }
