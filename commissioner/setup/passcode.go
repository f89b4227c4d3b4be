package setup

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
)

// Specification constants: 5.1.1.6 and 5.1.7.1.
const (
	minPasscode  = 1
	maxPasscode  = 99999998
	passcodeBits = 27
)

// redacted is all that is ever shown of a Passcode.
const redacted = "[passcode]"

// Passcode is the secret of a setup code, a number from 1 to 99999998. It
// shows itself as "[passcode]" to fmt, slog and the encoders of text, and
// cannot be compared with ==. The zero Passcode is none, and not valid.
type Passcode struct {
	// A closure, because fmt prints the fields of an unexported field without
	// asking its methods, but of a function it has only the address.
	reveal func() uint32
}

// NewPasscode is the passcode v. Whether a device may have it, Valid says.
func NewPasscode(v uint32) Passcode { return Passcode{func() uint32 { return v }} }

// RandomPasscode draws a valid passcode, each equally likely.
func RandomPasscode(random io.Reader) (Passcode, error) {
	for {
		var b [4]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return Passcode{}, fmt.Errorf("draw a passcode: %w", err)
		}
		if p := NewPasscode(binary.LittleEndian.Uint32(b[:]) & (1<<passcodeBits - 1)); p.Valid() {
			return p, nil
		}
	}
}

// Reveal is the number itself, for PASE alone. It is 0 for no passcode.
func (p Passcode) Reveal() uint32 {
	if p.reveal == nil {
		return 0
	}
	return p.reveal()
}

// Valid reports whether a device may have this passcode.
func (p Passcode) Valid() bool {
	v := p.Reveal()
	switch v {
	case 12345678, 87654321:
		return false
	}
	// Eight times the same digit: 11111111, 22222222, …
	return v >= minPasscode && v <= maxPasscode && v%11111111 != 0
}

func (Passcode) String() string               { return redacted }
func (Passcode) GoString() string             { return redacted }
func (Passcode) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Passcode) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Passcode) LogValue() slog.Value         { return slog.StringValue(redacted) }
