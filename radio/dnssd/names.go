package dnssd

import (
	"fmt"
	"strings"

	"gatehouse/radio"
)

// Service types (Matter Core, "Discovery"; Thread, "Border Agent Discovery").
const (
	commissionableType = "_matterc._udp"
	operationalType    = "_matter._tcp"
	borderRouterType   = "_meshcop._udp"

	domain      = "local."
	servicesPTR = "_services._dns-sd._udp." + domain // RFC 6763, section 9
)

const maxLabel = 63 // bytes of one label of a name

// kinds are the services that are found; whatever else is said on the link is
// not remembered.
var kinds = []struct {
	kind   radio.Kind
	suffix string // of a name in lower case
}{
	{radio.Commissionable, "." + commissionableType + "." + domain},
	{radio.Operational, "." + operationalType + "." + domain},
	{radio.BorderRouter, "." + borderRouterType + "." + domain},
}

// A Query says what to look for. Make one with the functions below.
type Query struct {
	kind    radio.Kind
	subtype string
}

// Commissionables is every device that could be admitted.
func Commissionables() Query { return Query{kind: radio.Commissionable} }

// LongDiscriminator is devices with this 12-bit discriminator.
func LongDiscriminator(d uint16) Query { return Query{radio.Commissionable, fmt.Sprintf("_L%d", d)} }

// ShortDiscriminator is devices whose discriminator has these upper 4 bits.
func ShortDiscriminator(d uint8) Query { return Query{radio.Commissionable, fmt.Sprintf("_S%d", d)} }

// Vendor is devices that tell this vendor id.
func Vendor(v uint16) Query { return Query{radio.Commissionable, fmt.Sprintf("_V%d", v)} }

// DeviceType is devices that tell this device type.
func DeviceType(t uint32) Query { return Query{radio.Commissionable, fmt.Sprintf("_T%d", t)} }

// Commissioning is devices with an open commissioning window.
func Commissioning() Query { return Query{radio.Commissionable, "_CM"} }

// Operationals is every node of every fabric on the link.
func Operationals() Query { return Query{kind: radio.Operational} }

// Fabric is the nodes of one fabric.
func Fabric(compressed uint64) Query {
	return Query{radio.Operational, fmt.Sprintf("_I%016X", compressed)}
}

// BorderRouters is the Thread border routers on the link.
func BorderRouters() Query { return Query{kind: radio.BorderRouter} }

func (q Query) String() string { return strings.TrimSuffix(q.name(), "."+domain) }

// name is the PTR name to ask for.
func (q Query) name() string {
	name := serviceType(q.kind) + "." + domain
	if q.subtype != "" {
		name = q.subtype + "._sub." + name
	}
	return name
}

func serviceType(k radio.Kind) string {
	switch k {
	case radio.Commissionable:
		return commissionableType
	case radio.Operational:
		return operationalType
	case radio.BorderRouter:
		return borderRouterType
	}
	return ""
}

// kindOf is the service a lower-case name belongs to, be it that of an
// instance, of the type itself or of a subtype.
func kindOf(key string) (radio.Kind, bool) {
	for _, k := range kinds {
		if strings.HasSuffix(key, k.suffix) || key == k.suffix[1:] {
			return k.kind, true
		}
	}
	return 0, false
}

// Names are kept in the presentation form of the wire codec, where a byte that
// is not plain stands as \c or \ddd. Keys are names in lower case.
func keyOf(name string) string { return strings.ToLower(name) }

// instanceName is the full name of an instance of a service type.
func instanceName(instance, serviceType string) string {
	return escape(instance) + "." + serviceType + "." + domain
}

// firstLabel cuts the first label off a name and gives it as plain bytes.
func firstLabel(name string) (label, rest string) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			return b.String(), name[i+1:]
		case c == '\\':
			plain, n := unescapeByte(name[i:])
			b.WriteByte(plain)
			i += n - 1
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

// escape is the presentation form of one label or one TXT string. It escapes
// more in a string than the codec would, which its packer undoes all the same.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case strings.IndexByte(`. '@;()"\`, c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		plain, n := unescapeByte(s[i:])
		b.WriteByte(plain)
		i += n - 1
	}
	return b.String()
}

// unescapeByte reads \c or \ddd at the start of s, and how long it is.
func unescapeByte(s string) (byte, int) {
	digit := func(i int) bool { return s[i] >= '0' && s[i] <= '9' }
	switch {
	case len(s) >= 4 && digit(1) && digit(2) && digit(3):
		return (s[1]-'0')*100 + (s[2]-'0')*10 + s[3] - '0', 4
	case len(s) >= 2:
		return s[1], 2
	}
	return s[0], 1
}
