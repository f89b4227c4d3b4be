package radio

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Specification constants: the longest value of each key (Matter Core,
// "Commissionable Node Discovery" and "Operational Discovery").
const (
	maxInterval    = 3_600_000 // ms, SII and SAI
	maxThreshold   = 65_535    // ms, SAT
	maxDeviceName  = 32
	maxRotatingID  = 50 // bytes, so 100 hex digits
	maxInstruction = 128
	maxNetworkName = 16
)

// Our own limits.
const (
	maxTXTPairs  = 64 // a TXT record with more is read this far
	maxVendorTXT = 64 // bytes of a border router's vn and mn
)

// SetTXT reads the strings of a TXT record into a, by a.Kind. A key that is
// unknown, malformed or out of its range is as good as absent, whatever the
// others are; of a repeated key the first holds (RFC 6763, section 6.4).
func (a *Advertisement) SetTXT(pairs []string) {
	keys := matterKeys
	if a.Kind == BorderRouter {
		keys = threadKeys
	}
	seen := uint64(0)
	for _, pair := range pairs[:min(len(pairs), maxTXTPairs)] {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			continue
		}
		for i := range keys {
			if len(keys[i].name) != len(key) || !strings.EqualFold(keys[i].name, key) {
				continue
			}
			commissionableOnly := keys[i].commissionable && a.Kind != Commissionable
			if seen&(1<<i) == 0 && !commissionableOnly {
				keys[i].set(a, value)
			}
			seen |= 1 << i
			break
		}
	}
}

// TXT is the inverse of SetTXT for the two kinds the gateway and its virtual
// devices advertise. It leaves out what is zero, except D and CM, which a
// commissionable node always gives.
func (a *Advertisement) TXT() []string {
	var out []string
	add := func(key, value string) { out = append(out, key+"="+value) }
	number := func(key string, v uint64) {
		if v != 0 {
			add(key, strconv.FormatUint(v, 10))
		}
	}
	if a.Kind == Commissionable {
		add("D", strconv.Itoa(int(a.Discriminator)))
		if a.Vendor != 0 {
			vp := strconv.Itoa(int(a.Vendor))
			if a.Product != 0 {
				vp += "+" + strconv.Itoa(int(a.Product))
			}
			add("VP", vp)
		}
		add("CM", strconv.Itoa(int(a.Mode)))
		number("DT", uint64(a.DeviceType))
		if a.DeviceName != "" {
			add("DN", a.DeviceName)
		}
		if len(a.RotatingID) > 0 {
			add("RI", strings.ToUpper(hex.EncodeToString(a.RotatingID)))
		}
		number("PH", uint64(a.PairingHint))
		if a.PairingInstruction != "" {
			add("PI", a.PairingInstruction)
		}
		number("JF", uint64(a.JointFabric))
	}
	number("SII", uint64(a.Session.IdleInterval.Milliseconds()))
	number("SAI", uint64(a.Session.ActiveInterval.Milliseconds()))
	number("SAT", uint64(a.Session.ActiveThreshold.Milliseconds()))
	var tcp uint64
	if a.TCPClient {
		tcp |= 1 << 1
	}
	if a.TCPServer {
		tcp |= 1 << 2
	}
	number("T", tcp)
	if a.ICD != NotICD {
		add("ICD", strconv.Itoa(int(a.ICD-ShortIdle)))
	}
	return out
}

type txtKey struct {
	name           string
	commissionable bool // of no meaning on an operational node
	set            func(a *Advertisement, value string)
}

var matterKeys = []txtKey{
	{"D", true, func(a *Advertisement, v string) {
		if n, ok := decimal(v, 1<<12-1); ok {
			a.Discriminator, a.HasDiscriminator = uint16(n), true
		}
	}},
	{"VP", true, setVendorProduct},
	{"CM", true, func(a *Advertisement, v string) {
		if n, ok := decimal(v, uint64(JointFabricMode)); ok {
			a.Mode = CommissioningMode(n)
		}
	}},
	{"DT", true, func(a *Advertisement, v string) {
		if n, ok := decimal(v, 1<<32-1); ok {
			a.DeviceType = uint32(n)
		}
	}},
	{"DN", true, func(a *Advertisement, v string) { a.DeviceName = text(v, maxDeviceName) }},
	{"RI", true, func(a *Advertisement, v string) {
		if id, err := hex.DecodeString(v[:min(len(v), 2*maxRotatingID+2)]); err == nil && len(id) > 0 && len(id) <= maxRotatingID {
			a.RotatingID = id
		}
	}},
	{"PH", true, func(a *Advertisement, v string) {
		if n, ok := decimal(v, 1<<32-1); ok {
			a.PairingHint = uint32(n)
		}
	}},
	{"PI", true, func(a *Advertisement, v string) { a.PairingInstruction = text(v, maxInstruction) }},
	{"JF", true, func(a *Advertisement, v string) {
		if n, ok := decimal(v, 1<<8-1); ok {
			a.JointFabric = JointFabric(n)
		}
	}},
	{"SII", false, func(a *Advertisement, v string) { setDuration(&a.Session.IdleInterval, v, maxInterval) }},
	{"SAI", false, func(a *Advertisement, v string) { setDuration(&a.Session.ActiveInterval, v, maxInterval) }},
	{"SAT", false, func(a *Advertisement, v string) { setDuration(&a.Session.ActiveThreshold, v, maxThreshold) }},
	{"T", false, func(a *Advertisement, v string) {
		if n, ok := decimal(v, 1<<8-1); ok { // bit 0 is reserved
			a.TCPClient, a.TCPServer = n&(1<<1) != 0, n&(1<<2) != 0
		}
	}},
	{"ICD", false, func(a *Advertisement, v string) {
		if n, ok := decimal(v, 1); ok {
			a.ICD = ShortIdle + ICD(n)
		}
	}},
}

// Values of a border router are bytes, not text: big-endian integers and a
// prefix of one length byte and what it covers.
var threadKeys = []txtKey{
	{"nn", false, func(a *Advertisement, v string) { a.Thread.NetworkName = text(v, maxNetworkName) }},
	{"xp", false, func(a *Advertisement, v string) { setBytes64(&a.Thread.ExtendedPANID, v) }},
	{"xa", false, func(a *Advertisement, v string) { setBytes64(&a.Thread.ExtendedAddress, v) }},
	{"at", false, func(a *Advertisement, v string) { setBytes64(&a.Thread.ActiveTimestamp, v) }},
	{"pt", false, func(a *Advertisement, v string) { setBytes32(&a.Thread.Partition, v) }},
	{"sb", false, func(a *Advertisement, v string) { setBytes32(&a.Thread.State, v) }},
	{"tv", false, func(a *Advertisement, v string) { a.Thread.ThreadVersion = text(v, maxVendorTXT) }},
	{"vn", false, func(a *Advertisement, v string) { a.Thread.Vendor = text(v, maxVendorTXT) }},
	{"mn", false, func(a *Advertisement, v string) { a.Thread.Model = text(v, maxVendorTXT) }},
	{"omr", false, setMesh},
}

func setVendorProduct(a *Advertisement, v string) {
	vendor, product, both := strings.Cut(v, "+")
	n, ok := decimal(vendor, 1<<16-1)
	if !ok {
		return
	}
	var p uint64
	if both {
		if p, ok = decimal(product, 1<<16-1); !ok {
			return
		}
	}
	a.Vendor, a.Product = uint16(n), uint16(p)
}

func setMesh(a *Advertisement, v string) {
	if len(v) < 2 || v[0] == 0 || v[0] > 128 || len(v)-1 > 16 || len(v)-1 < (int(v[0])+7)/8 {
		return
	}
	var ip [16]byte
	copy(ip[:], v[1:])
	a.Thread.Mesh = netip.PrefixFrom(netip.AddrFrom16(ip), int(v[0])).Masked()
}

func setDuration(to *time.Duration, v string, maxMillis uint64) {
	if n, ok := decimal(v, maxMillis); ok {
		*to = time.Duration(n) * time.Millisecond
	}
}

func setBytes64(to *uint64, v string) {
	if len(v) == 8 {
		*to = binary.BigEndian.Uint64([]byte(v))
	}
}

func setBytes32(to *uint32, v string) {
	if len(v) == 4 {
		*to = binary.BigEndian.Uint32([]byte(v))
	}
}

// decimal reads digits and nothing else. Leading zeros are no number in this
// format, as in the SDK.
func decimal(s string, most uint64) (uint64, bool) {
	if s == "" || len(s) > 10 || len(s) > 1 && s[0] == '0' {
		return 0, false
	}
	n := uint64(0)
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(s[i]-'0')
	}
	return n, n <= most
}

// text is s when it is short and clean enough to be shown to a person, else
// nothing: the bytes are a stranger's.
func text(s string, most int) string {
	if len(s) > most || !utf8.ValidString(s) {
		return ""
	}
	for _, r := range s {
		if r < ' ' || r == 0x7f {
			return ""
		}
	}
	return s
}
