// Package tlv reads and writes Matter TLV, the encoding of every Matter
// message, certificate and attribute (Matter Core, appendix A).
//
// It promises strict, bounded parsing: a length never reaches beyond its
// buffer, nesting ends at MaxDepth, strings are UTF-8, tags fit their
// container, and reading allocates nothing. It never keeps a caller's buffer
// longer than the Reader or the decoded value that aliases it: byte slices
// and Raw values returned by Reader alias the input, those of Unmarshal are
// copies.
package tlv

import "fmt"

// MaxDepth bounds nesting of containers. The deepest message Matter defines
// (an invoke response carrying a struct of lists) stays below half of it.
const MaxDepth = 24

// Type is the kind of an element, with the width of its value left out.
type Type uint8

const (
	TypeNone Type = iota
	TypeInt
	TypeUint
	TypeBool
	TypeFloat32
	TypeFloat64
	TypeString
	TypeBytes
	TypeNull
	TypeStruct
	TypeArray
	TypeList
)

var typeNames = [...]string{"none", "signed integer", "unsigned integer", "boolean", "float32", "float64",
	"string", "bytes", "null", "struct", "array", "list"}

func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Container reports whether t holds other elements.
func (t Type) Container() bool { return t >= TypeStruct && t <= TypeList }

// Form is how a tag is written: the upper three bits of an element's control
// octet.
type Form uint8

const (
	FormAnonymous Form = iota
	FormContext
	FormCommon2
	FormCommon4
	FormImplicit2
	FormImplicit4
	FormFull6
	FormFull8
)

// formSize is the number of tag octets of each Form.
var formSize = [8]int{0, 1, 2, 4, 2, 4, 6, 8}

// Tag names an element within its container. Tags are comparable.
type Tag struct {
	Form    Form
	Vendor  uint16 // FormFull6 and FormFull8 only
	Profile uint16 // FormFull6 and FormFull8 only
	Number  uint32
}

// Anonymous is the tag of array members and of a message's outermost element.
var Anonymous = Tag{}

// Context is the context-specific tag n.
func Context(n uint8) Tag { return Tag{Form: FormContext, Number: uint32(n)} }

// Full is the fully qualified tag of a vendor's profile.
func Full(vendor, profile uint16, number uint32) Tag {
	form := FormFull6
	if number > 0xFFFF {
		form = FormFull8
	}
	return Tag{form, vendor, profile, number}
}

// IsContext reports whether t is the context-specific tag n.
func (t Tag) IsContext(n uint8) bool { return t.Form == FormContext && t.Number == uint32(n) }

func (t Tag) String() string {
	switch t.Form {
	case FormAnonymous:
		return "anonymous"
	case FormContext:
		return fmt.Sprint(t.Number)
	case FormFull6, FormFull8:
		return fmt.Sprintf("%04x:%04x:%d", t.Vendor, t.Profile, t.Number)
	}
	return fmt.Sprintf("profile:%d", t.Number)
}

// Element type octets (lower five bits of the control octet).
const (
	octetInt8    = 0x00
	octetUint8   = 0x04
	octetFalse   = 0x08
	octetTrue    = 0x09
	octetFloat32 = 0x0A
	octetFloat64 = 0x0B
	octetString  = 0x0C
	octetBytes   = 0x10
	octetNull    = 0x14
	octetStruct  = 0x15
	octetArray   = 0x16
	octetList    = 0x17
	octetEnd     = 0x18

	octetTypeMask  = 0x1F
	octetFormShift = 5
)

// SyntaxError says where and why bytes are not Matter TLV.
type SyntaxError struct {
	Offset int // octets from the start of the buffer
	Reason string
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("tlv: octet %d: %s", e.Offset, e.Reason)
}
