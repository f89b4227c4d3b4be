package radio

import (
	"fmt"
	"net/netip"
	"time"
)

// Kind says what an Advertisement offers.
type Kind uint8

const (
	Commissionable Kind = iota + 1 // a device that may be admitted: _matterc._udp, or a Matter BLE advertisement
	Operational                    // a node on a fabric: _matter._tcp
	BorderRouter                   // a way into a Thread network: _meshcop._udp
)

func (k Kind) String() string {
	switch k {
	case Commissionable:
		return "commissionable"
	case Operational:
		return "operational"
	case BorderRouter:
		return "border router"
	}
	return fmt.Sprintf("kind %d", k)
}

// CommissioningMode is the CM key: whether a commissioning window is open,
// and which.
type CommissioningMode uint8

const (
	NotCommissioning      CommissioningMode = 0
	BasicCommissioning    CommissioningMode = 1 // the passcode on the label
	EnhancedCommissioning CommissioningMode = 2 // a passcode made for this window
	JointFabricMode       CommissioningMode = 3 // enhanced, for a joint fabric administrator
)

// ICD is the ICD key: whether a node sleeps, and how long.
type ICD uint8

const (
	NotICD    ICD = iota // the key is absent
	ShortIdle            // "0"
	LongIdle             // "1": reachable only after a check-in
)

// JointFabric is the JF bitmap.
type JointFabric uint8

const (
	JointFabricAvailable     JointFabric = 1 << iota // could act as a joint fabric administrator
	JointFabricAdministrator                         // acts as one
	JointFabricAnchor                                // acts as the anchor
	JointFabricDatastore                             // holds the datastore
)

// Session is what a peer says of its own retransmission needs. Zero means
// that it said nothing and the protocol's defaults hold.
type Session struct {
	IdleInterval    time.Duration // SII, up to an hour, whole milliseconds
	ActiveInterval  time.Duration // SAI, up to an hour, whole milliseconds
	ActiveThreshold time.Duration // SAT, up to 65535 ms, whole milliseconds
}

// An Advertisement is one thing that discovery found. Nothing in it is
// authenticated: it says where to knock, never whom to trust.
type Advertisement struct {
	Kind     Kind
	Instance string // first label of the service's name; empty over BLE
	Host     string // the name its addresses hang on; empty over BLE
	Addrs    []Addr // most promising first; a link-local address once per zone

	Session   Session
	TCPClient bool // T bit 1: may open TCP connections
	TCPServer bool // T bit 2: listens for TCP
	ICD       ICD

	// Commissionable. Strings are UTF-8, their lengths those of the keys.
	Discriminator      uint16 // D, 12 bits
	HasDiscriminator   bool   // false when D was absent or malformed
	Vendor, Product    uint16 // VP; zero when not told
	Mode               CommissioningMode
	DeviceType         uint32 // DT
	DeviceName         string // DN, at most 32 bytes
	RotatingID         []byte // RI, at most 50 bytes
	PairingHint        uint32 // PH, a bitmap
	PairingInstruction string // PI, at most 128 bytes
	JointFabric        JointFabric

	// Commissionable, over BLE alone.
	RSSI           int8 // dBm; zero when not told
	AdditionalData bool // C3 can be read for more
	Extended       bool // announces itself longer than the first quarter of an hour

	// Operational: the two halves of the instance name.
	CompressedFabric uint64
	Node             uint64

	Thread ThreadRouter // BorderRouter
}

// ThreadRouter is what a border router says of itself and its Thread network.
// It has no network before it has been given one: then ExtendedPANID is zero.
type ThreadRouter struct {
	NetworkName     string       // nn, at most 16 bytes
	ExtendedPANID   uint64       // xp
	ExtendedAddress uint64       // xa: the router itself
	Partition       uint32       // pt: two values for one xp are a network split in two
	ActiveTimestamp uint64       // at: seconds<<16 | ticks<<1 | authoritative
	State           uint32       // sb, a bitmap
	ThreadVersion   string       // tv
	Vendor, Model   string       // vn, mn
	Mesh            netip.Prefix // omr: where the mesh's own addresses lie
}

// ShortDiscriminator is the upper four bits of the discriminator: all that a
// manual pairing code carries.
func (a *Advertisement) ShortDiscriminator() uint8 { return uint8(a.Discriminator >> 8 & 0xf) }

// OperationalInstance is the instance name of a node on a fabric: compressed
// fabric id and node id, 16 upper-case hex digits each.
func OperationalInstance(compressedFabric, node uint64) string {
	return fmt.Sprintf("%016X-%016X", compressedFabric, node)
}

// ParseOperationalInstance is the inverse of OperationalInstance, for either
// case of the digits.
func ParseOperationalInstance(name string) (compressedFabric, node uint64, err error) {
	if len(name) != 33 || name[16] != '-' {
		return 0, 0, fmt.Errorf("operational instance %.40q is not <fabric>-<node> in hex", name)
	}
	fabric, ok1 := parseHex64(name[:16])
	n, ok2 := parseHex64(name[17:])
	if !ok1 || !ok2 {
		return 0, 0, fmt.Errorf("operational instance %q has a digit that is not hex", name)
	}
	return fabric, n, nil
}

func parseHex64(s string) (v uint64, ok bool) {
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}
