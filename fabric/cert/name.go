package cert

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"gatehouse/fabric/tlv"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// AttributeType is an attribute of a name, numbered as in TLV. 1 to 16 are
// texts from X.520 and RFC 4519, the rest Matter's own numbers.
type AttributeType uint8

const (
	CommonName          AttributeType = 1
	DomainComponent     AttributeType = 16
	AttrNodeID          AttributeType = 17
	AttrFirmwareSigning AttributeType = 18
	AttrICAC            AttributeType = 19
	AttrRCAC            AttributeType = 20
	AttrFabricID        AttributeType = 21
	AttrCAT             AttributeType = 22
	AttrVVS             AttributeType = 23 // vendor id verification signer
)

// attributeOIDs are the types' object identifiers in DER, by number.
var attributeOIDs = [...]string{
	CommonName:          "\x06\x03\x55\x04\x03",
	2:                   "\x06\x03\x55\x04\x04", // surname
	3:                   "\x06\x03\x55\x04\x05", // serial number
	4:                   "\x06\x03\x55\x04\x06", // country
	5:                   "\x06\x03\x55\x04\x07", // locality
	6:                   "\x06\x03\x55\x04\x08", // state or province
	7:                   "\x06\x03\x55\x04\x0A", // organization
	8:                   "\x06\x03\x55\x04\x0B", // organizational unit
	9:                   "\x06\x03\x55\x04\x0C", // title
	10:                  "\x06\x03\x55\x04\x29", // name
	11:                  "\x06\x03\x55\x04\x2A", // given name
	12:                  "\x06\x03\x55\x04\x2B", // initials
	13:                  "\x06\x03\x55\x04\x2C", // generation qualifier
	14:                  "\x06\x03\x55\x04\x2E", // DN qualifier
	15:                  "\x06\x03\x55\x04\x41", // pseudonym
	DomainComponent:     "\x06\x0A\x09\x92\x26\x89\x93\xF2\x2C\x64\x01\x19",
	AttrNodeID:          matterOID + "\x01",
	AttrFirmwareSigning: matterOID + "\x02",
	AttrICAC:            matterOID + "\x03",
	AttrRCAC:            matterOID + "\x04",
	AttrFabricID:        matterOID + "\x05",
	AttrCAT:             matterOID + "\x06",
	AttrVVS:             matterOID + "\x07",
}

// matterOID is 1.3.6.1.4.1.37244.1, up to its last number.
const matterOID = "\x06\x0A\x2B\x06\x01\x04\x01\x82\xA2\x7C\x01"

func (t AttributeType) known() bool   { return t >= 1 && int(t) < len(attributeOIDs) }
func (t AttributeType) numeric() bool { return t >= AttrNodeID }

// hexDigits is how many digits a number has in DER.
func (t AttributeType) hexDigits() int {
	if t == AttrCAT {
		return 8
	}
	return 16
}

// Attribute is one attribute of a name: a number for Matter's own types, a
// text for the others.
type Attribute struct {
	Type      AttributeType
	Number    uint64
	Text      string
	Printable bool // Text is a PrintableString rather than a UTF8String
}

func (a Attribute) String() string {
	if a.Type.numeric() {
		return fmt.Sprintf("%d=%0*X", a.Type, a.Type.hexDigits(), a.Number)
	}
	return fmt.Sprintf("%d=%q", a.Type, a.Text)
}

// Name is a distinguished name: at most five attributes, in order.
type Name []Attribute

func (n Name) Equal(o Name) bool { return slices.Equal(n, o) }

func (n Name) String() string {
	s := make([]string, len(n))
	for i, a := range n {
		s[i] = a.String()
	}
	return strings.Join(s, ", ")
}

// Find is the number of the only attribute of type t; ok is false if there is
// none, or more than one.
func (n Name) Find(t AttributeType) (number uint64, ok bool) {
	count := 0
	for _, a := range n {
		if a.Type == t {
			number = a.Number
			count++
		}
	}
	return number, count == 1
}

// Count is how many attributes of type t there are.
func (n Name) Count(t AttributeType) int {
	count := 0
	for _, a := range n {
		if a.Type == t {
			count++
		}
	}
	return count
}

// CATs are the CASE authenticated tags in n.
func (n Name) CATs() []CAT {
	var cats []CAT
	for _, a := range n {
		if a.Type == AttrCAT {
			cats = append(cats, CAT(a.Number))
		}
	}
	return cats
}

func (n Name) validate() error {
	if len(n) > maxAttributes {
		return fmt.Errorf("%d attributes", len(n))
	}
	for _, a := range n {
		if err := a.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (a Attribute) validate() error {
	switch {
	case !a.Type.known():
		return fmt.Errorf("unknown attribute %d", a.Type)
	case a.Printable && (a.Type.numeric() || a.Type == DomainComponent):
		return fmt.Errorf("attribute %d as a printable string", a.Type)
	case a.Type == AttrNodeID && !NodeID(a.Number).Operational():
		return fmt.Errorf("%v is no node id", NodeID(a.Number))
	case a.Type == AttrFabricID && !FabricID(a.Number).Valid():
		return errors.New("0 is no fabric id")
	case a.Type == AttrCAT && (a.Number>>32 != 0 || !CAT(a.Number).Valid()):
		return fmt.Errorf("%X is no CAT", a.Number)
	case !utf8.ValidString(a.Text):
		return fmt.Errorf("attribute %d is not UTF-8", a.Type)
	case (a.Printable || a.Type == DomainComponent) && !ascii(a.Text):
		return fmt.Errorf("attribute %d is not ASCII", a.Type)
	}
	return nil
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7E || r < 0x20 })
}

// tlvPrintable is added to the tag of a PrintableString.
const tlvPrintable = 0x80

func (n Name) writeTLV(w *tlv.Writer, tag uint8) {
	w.List(tlv.Context(tag))
	for _, a := range n {
		switch {
		case a.Type.numeric():
			w.Uint(tlv.Context(uint8(a.Type)), a.Number)
		case a.Printable:
			w.Text(tlv.Context(uint8(a.Type)|tlvPrintable), a.Text)
		default:
			w.Text(tlv.Context(uint8(a.Type)), a.Text)
		}
	}
	w.End()
}

func readNameTLV(r *tlv.Reader) (Name, error) {
	n := make(Name, 0, maxAttributes)
	for r.Next() {
		if r.Tag().Form != tlv.FormContext {
			return nil, fmt.Errorf("tag %v in a name", r.Tag())
		}
		if len(n) == maxAttributes {
			return nil, fmt.Errorf("more than %d attributes", maxAttributes)
		}
		tag := uint8(r.Tag().Number)
		a := Attribute{Type: AttributeType(tag &^ tlvPrintable), Printable: tag&tlvPrintable != 0}
		var err error
		if a.Type.numeric() {
			a.Number, err = unsigned(r)
		} else {
			a.Text, err = r.Text()
		}
		if err != nil {
			return nil, err
		}
		n = append(n, a)
	}
	return n, r.Err()
}

func (n Name) addDER(b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, a := range n {
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, a.addDER)
			})
		}
	})
}

func (a Attribute) addDER(b *cryptobyte.Builder) {
	b.AddBytes([]byte(attributeOIDs[a.Type]))
	kind, text := asn1.UTF8String, a.Text
	switch {
	case a.Type.numeric():
		text = fmt.Sprintf("%0*X", a.Type.hexDigits(), a.Number)
	case a.Type == DomainComponent:
		kind = asn1.IA5String
	case a.Printable:
		kind = asn1.PrintableString
	}
	b.AddASN1(kind, func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
}

func readNameDER(s *cryptobyte.String) (Name, error) {
	var rdns cryptobyte.String
	if !s.ReadASN1(&rdns, asn1.SEQUENCE) {
		return nil, errors.New("no name")
	}
	n := Name{}
	for !rdns.Empty() {
		var set, pair, oid, text cryptobyte.String
		var kind asn1.Tag
		if !rdns.ReadASN1(&set, asn1.SET) || !set.ReadASN1(&pair, asn1.SEQUENCE) || !set.Empty() ||
			!pair.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) || !pair.ReadAnyASN1(&text, &kind) || !pair.Empty() {
			return nil, errors.New("malformed name")
		}
		t := slices.Index(attributeOIDs[:], string(oid))
		if t < 1 {
			return nil, errors.New("an attribute that Matter certificates do not have")
		}
		a := Attribute{Type: AttributeType(t), Text: string(text), Printable: kind == asn1.PrintableString}
		if a.Type.numeric() {
			// What strconv takes beyond upper case digits, writing it again shows.
			v, err := strconv.ParseUint(a.Text, 16, 64)
			if err != nil {
				return nil, fmt.Errorf("attribute %d is no number", t)
			}
			a.Number, a.Text = v, ""
		}
		n = append(n, a)
	}
	return n, nil
}
