package wire

import (
	"fmt"
	"net"
	"strings"
)

// Address is a Bluetooth device address and its type: the same six bytes
// public and random are two devices.
type Address struct {
	Bytes  [6]byte // as written, most significant first
	Random bool
}

// IsZero says that no address is given.
func (a Address) IsZero() bool { return a == Address{} }

// String is 02:ca:fe:00:00:01 for a public address and
// random/c2:ca:fe:00:00:01 for a random one.
func (a Address) String() string {
	s := net.HardwareAddr(a.Bytes[:]).String()
	if a.Random {
		return randomPrefix + s
	}
	return s
}

const randomPrefix = "random/"

// ParseAddress is the inverse of String.
func ParseAddress(s string) (a Address, err error) {
	digits, random := strings.CutPrefix(s, randomPrefix)
	hw, err := net.ParseMAC(digits)
	if err != nil || len(hw) != len(a.Bytes) {
		return a, fmt.Errorf("%.40q is not a Bluetooth address", s)
	}
	return Address{Bytes: [6]byte(hw), Random: random}, nil
}

// MarshalBinary gives the six bytes and a seventh, 1 for a random address.
func (a Address) MarshalBinary() ([]byte, error) {
	b := append([]byte(nil), a.Bytes[:]...)
	if a.Random {
		return append(b, 1), nil
	}
	return append(b, 0), nil
}

// UnmarshalBinary is the inverse of MarshalBinary.
func (a *Address) UnmarshalBinary(b []byte) error {
	if len(b) != len(a.Bytes)+1 || b[len(b)-1] > 1 {
		return fmt.Errorf("% .8x is not an address and its type", b)
	}
	*a = Address{Bytes: [6]byte(b[:6]), Random: b[6] == 1}
	return nil
}
