package thread

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
	"time"
)

// Timestamp orders datasets: of two with the same extended PAN id the later
// one holds.
type Timestamp struct {
	Seconds       uint64 // since 1970, 48 bits; networks that were never told the time count from 1
	Ticks         uint16 // 1/32768 s, 15 bits
	Authoritative bool   // the clock it came from was set
}

// ParseTimestamp splits the form that a border router advertises.
func ParseTimestamp(v uint64) Timestamp {
	return Timestamp{Seconds: v >> 16, Ticks: uint16(v) >> 1, Authoritative: v&1 != 0}
}

// Uint64 is the inverse of ParseTimestamp.
func (t Timestamp) Uint64() uint64 {
	v := t.Seconds<<16 | uint64(t.Ticks)<<1
	if t.Authoritative {
		v |= 1
	}
	return v
}

// Compare is negative when t is earlier than other.
func (t Timestamp) Compare(other Timestamp) int {
	switch a, b := t.Uint64(), other.Uint64(); {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Channel is a radio channel. Page 0 is the 2.4 GHz band with channels 11 to 26.
type Channel struct {
	Page   uint8
	Number uint16
}

// SecurityPolicy says how often the network's key rotates, and what it allows.
type SecurityPolicy struct {
	Rotation time.Duration // whole hours
	Flags    uint16        // the Thread specification's, its first byte above
}

// Channel that the network is on.
func (d Dataset) Channel() (Channel, bool) { return d.channel(typeChannel) }

// WakeupChannel is where sleeping devices listen to be woken.
func (d Dataset) WakeupChannel() (Channel, bool) { return d.channel(typeWakeupChannel) }

func (d Dataset) channel(typ byte) (Channel, bool) {
	v, ok := d.value(typ)
	if !ok {
		return Channel{}, false
	}
	return Channel{Page: v[0], Number: binary.BigEndian.Uint16(v[1:])}, true
}

// PANID is the network's short name on the air.
func (d Dataset) PANID() (uint16, bool) {
	v, ok := d.value(typePANID)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint16(v), true
}

// ExtendedPANID is the network's identity.
func (d Dataset) ExtendedPANID() (uint64, bool) { return d.uint64(typeExtendedPANID) }

func (d Dataset) uint64(typ byte) (uint64, bool) {
	v, ok := d.value(typ)
	if !ok {
		return 0, false
	}
	return binary.BigEndian.Uint64(v), true
}

// Name of the network, at most 16 bytes of UTF-8.
func (d Dataset) Name() (string, bool) {
	v, ok := d.value(typeName)
	return string(v), ok
}

// NetworkKey opens everything on the network.
func (d Dataset) NetworkKey() (Key, bool) { return d.key(typeNetworkKey) }

// PSKc admits a commissioner, who is told the network key.
func (d Dataset) PSKc() (Key, bool) { return d.key(typePSKc) }

func (d Dataset) key(typ byte) (Key, bool) {
	v, ok := d.value(typ)
	if !ok {
		return Key{}, false
	}
	return NewKey([KeySize]byte(v)), true
}

// MeshLocalPrefix is a /64 that is known within the mesh alone.
func (d Dataset) MeshLocalPrefix() (netip.Prefix, bool) {
	v, ok := d.value(typeMeshLocalPrefix)
	if !ok {
		return netip.Prefix{}, false
	}
	var ip [16]byte
	copy(ip[:], v)
	return netip.PrefixFrom(netip.AddrFrom16(ip), 64), true
}

// SecurityPolicy of the network.
func (d Dataset) SecurityPolicy() (SecurityPolicy, bool) {
	v, ok := d.value(typeSecurityPolicy)
	if !ok {
		return SecurityPolicy{}, false
	}
	p := SecurityPolicy{Rotation: time.Duration(binary.BigEndian.Uint16(v)) * time.Hour, Flags: uint16(v[2]) << 8}
	if len(v) > 3 { // before Thread 1.2 there was one byte of flags
		p.Flags |= uint16(v[3])
	}
	return p, true
}

// ActiveTimestamp is the dataset's age.
func (d Dataset) ActiveTimestamp() (Timestamp, bool) {
	v, ok := d.uint64(typeActiveTimestamp)
	return ParseTimestamp(v), ok
}

// PendingTimestamp is the age of a pending dataset.
func (d Dataset) PendingTimestamp() (Timestamp, bool) {
	v, ok := d.uint64(typePendingTimestamp)
	return ParseTimestamp(v), ok
}

// Delay until a pending dataset becomes active, up to 72 hours.
func (d Dataset) Delay() (time.Duration, bool) {
	v, ok := d.value(typeDelay)
	if !ok {
		return 0, false
	}
	return time.Duration(binary.BigEndian.Uint32(v)) * time.Millisecond, true
}

// ChannelMask says which channels of the 2.4 GHz band the network may use:
// bit n is channel n.
func (d Dataset) ChannelMask() (uint32, bool) {
	v, _ := d.value(typeChannelMask)
	for len(v) > 0 {
		if v[0] == page0 { // the first bit on the air is channel 0
			return bits.Reverse32(binary.BigEndian.Uint32(v[2:])), true
		}
		v = v[2+v[1]:]
	}
	return 0, false
}

// Complete says what an active dataset lacks, if anything.
func (d Dataset) Complete() error {
	var missing []string
	for _, typ := range []byte{typeActiveTimestamp, typeChannel, typeChannelMask, typeExtendedPANID, typeMeshLocalPrefix,
		typeNetworkKey, typeName, typePANID, typePSKc, typeSecurityPolicy} {
		if _, ok := d.value(typ); !ok {
			missing = append(missing, kinds[typ].name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the dataset is not complete: it has no %s", strings.Join(missing, ", "))
	}
	return nil
}
