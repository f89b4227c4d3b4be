package thread

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode/utf8"
)

// Specification constants.
const (
	// MaxDataset is the longest operational dataset, in bytes.
	MaxDataset = 254
	// MaxName is the longest network name, in bytes of UTF-8.
	MaxName = 16

	extendedLength  = 0xff      // in place of a length: two more bytes have it
	maxDelay        = 259200000 // ms, 72 hours
	page0           = 0         // the 2.4 GHz band
	firstChannel    = 11
	lastChannel     = 26
	channelMaskSize = 4 // of page 0, in bytes
)

// Types of the TLVs that a dataset has.
const (
	typeChannel          = 0
	typePANID            = 1
	typeExtendedPANID    = 2
	typeName             = 3
	typePSKc             = 4
	typeNetworkKey       = 5
	typeMeshLocalPrefix  = 7
	typeSecurityPolicy   = 12
	typeActiveTimestamp  = 14
	typePendingTimestamp = 51
	typeDelay            = 52
	typeChannelMask      = 53
	typeWakeupChannel    = 74
)

// kinds says of the types we know how long their values are and what else
// they have to be.
var kinds = map[byte]struct {
	name     string
	min, max int
	check    func(v []byte) error
}{
	typeChannel:          {"channel", 3, 3, checkChannel},
	typePANID:            {"PAN id", 2, 2, nil},
	typeExtendedPANID:    {"extended PAN id", 8, 8, nil},
	typeName:             {"network name", 0, MaxName, checkName},
	typePSKc:             {"PSKc", KeySize, KeySize, nil},
	typeNetworkKey:       {"network key", KeySize, KeySize, nil},
	typeMeshLocalPrefix:  {"mesh-local prefix", 8, 8, nil},
	typeSecurityPolicy:   {"security policy", 3, 4, nil},
	typeActiveTimestamp:  {"active timestamp", 8, 8, nil},
	typePendingTimestamp: {"pending timestamp", 8, 8, nil},
	typeDelay:            {"delay", 4, 4, checkDelay},
	typeChannelMask:      {"channel mask", 2, MaxDataset, checkChannelMask},
	typeWakeupChannel:    {"wake-up channel", 3, 3, checkChannel},
}

// Dataset is an operational dataset: all that a device needs to join a Thread
// network, its keys among it. It cannot be printed, marshalled or compared by
// accident. The zero value is empty.
type Dataset struct {
	octets func() []byte // checked TLVs; a closure as in Key
}

// Parse reads the TLVs of a dataset, of which it keeps a copy. Types that are
// not known are kept as they are.
func Parse(b []byte) (Dataset, error) {
	if len(b) > MaxDataset {
		return Dataset{}, fmt.Errorf("dataset of %d bytes, %d are the most", len(b), MaxDataset)
	}
	seen := [256]bool{}
	for rest := b; len(rest) > 0; {
		at, typ := len(b)-len(rest), rest[0]
		fail := func(format string, args ...any) (Dataset, error) {
			where := fmt.Sprintf("type %d", typ)
			if k, ok := kinds[typ]; ok {
				where = k.name
			}
			return Dataset{}, fmt.Errorf("dataset, byte %d: %s: %w", at, where, fmt.Errorf(format, args...))
		}
		switch {
		case len(rest) < 2:
			return fail("its length is missing")
		case rest[1] == extendedLength:
			return fail("it has an extended length")
		case int(rest[1]) > len(rest)-2:
			return fail("it has %d bytes, of which %d are there", rest[1], len(rest)-2)
		case seen[typ]:
			return fail("it is there twice")
		}
		v := rest[2 : 2+rest[1]]
		if k, ok := kinds[typ]; ok {
			switch {
			case k.min == k.max && len(v) != k.min:
				return fail("it has %d bytes and should have %d", len(v), k.min)
			case len(v) < k.min || len(v) > k.max:
				return fail("it has %d bytes and should have %d to %d", len(v), k.min, k.max)
			case k.check != nil:
				if err := k.check(v); err != nil {
					return fail("%w", err)
				}
			}
		}
		seen[typ] = true
		rest = rest[2+len(v):]
	}
	kept := bytes.Clone(b)
	return Dataset{func() []byte { return kept }}, nil
}

// ParseHex reads a dataset in hex, upper or lower case, as otbr-agent, ot-ctl
// and the phone apps show it. White space around it is no part of it. Its
// errors say where, and nothing of what is there.
func ParseHex(s string) (Dataset, error) {
	s = strings.TrimSpace(s)
	for i, r := range s {
		if !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return Dataset{}, fmt.Errorf("dataset: digit %d is %q, which is not hex", i+1, r)
		}
	}
	switch {
	case s == "":
		return Dataset{}, fmt.Errorf("dataset: nothing is there")
	case len(s) > 2*MaxDataset:
		return Dataset{}, fmt.Errorf("dataset of %d hex digits, %d are the most", len(s), 2*MaxDataset)
	case len(s)%2 != 0:
		return Dataset{}, fmt.Errorf("dataset of %d hex digits: one is missing or too many", len(s))
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return Dataset{}, fmt.Errorf("dataset: %w", err)
	}
	return Parse(b)
}

// Reveal is the dataset's TLVs, keys included, as they were read.
func (d Dataset) Reveal() []byte { return bytes.Clone(d.tlvs()) }

func (d Dataset) tlvs() []byte {
	if d.octets == nil {
		return nil
	}
	return d.octets()
}

// value is the value of a TLV; it shares the dataset's bytes.
func (d Dataset) value(typ byte) ([]byte, bool) {
	for b := d.tlvs(); len(b) > 0; b = b[2+b[1]:] {
		if b[0] == typ {
			return b[2 : 2+b[1]], true
		}
	}
	return nil, false
}

// Covers says whether all that is in other is in d, with the same values.
func (d Dataset) Covers(other Dataset) bool {
	same := true
	for b := other.tlvs(); len(b) > 0; b = b[2+b[1]:] {
		v, ok := d.value(b[0])
		same = same && ok && subtle.ConstantTimeCompare(v, b[2:2+b[1]]) == 1
	}
	return same
}

// Equal says whether both have the same content, in whatever order.
func (d Dataset) Equal(other Dataset) bool {
	return len(d.tlvs()) == len(other.tlvs()) && d.Covers(other)
}

// String is for people, and has no secret.
func (d Dataset) String() string {
	name, _ := d.Name()
	id, ok := d.ExtendedPANID()
	if !ok {
		return "a part of a Thread dataset"
	}
	return fmt.Sprintf("Thread network %q (%016x)", name, id)
}

func (d Dataset) GoString() string             { return d.String() }
func (d Dataset) Format(f fmt.State, _ rune)   { io.WriteString(f, d.String()) }
func (d Dataset) LogValue() slog.Value         { return slog.StringValue(d.String()) }
func (Dataset) MarshalText() ([]byte, error)   { return nil, errSecret }
func (Dataset) MarshalBinary() ([]byte, error) { return nil, errSecret }

func checkChannel(v []byte) error {
	channel := int(v[1])<<8 | int(v[2])
	if v[0] == page0 && (channel < firstChannel || channel > lastChannel) {
		return fmt.Errorf("there is no channel %d, only %d to %d", channel, firstChannel, lastChannel)
	}
	return nil
}

func checkName(v []byte) error {
	if !utf8.Valid(v) {
		return fmt.Errorf("it is not UTF-8")
	}
	return nil
}

func checkDelay(v []byte) error {
	if ms := uint32(v[0])<<24 | uint32(v[1])<<16 | uint32(v[2])<<8 | uint32(v[3]); ms > maxDelay {
		return fmt.Errorf("%d ms are more than 72 hours", ms)
	}
	return nil
}

// checkChannelMask looks at the entries: page, size and mask of each.
func checkChannelMask(v []byte) error {
	for len(v) > 0 {
		if len(v) < 2 || int(v[1]) > len(v)-2 {
			return fmt.Errorf("an entry is cut off")
		}
		if v[0] == page0 && v[1] != channelMaskSize {
			return fmt.Errorf("the mask of the 2.4 GHz band has %d bytes and should have %d", v[1], channelMaskSize)
		}
		v = v[2+v[1]:]
	}
	return nil
}
