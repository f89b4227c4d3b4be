package tlv

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Reader walks over encoded elements without allocating. The zero Reader is
// an empty input. Copying a Reader copies its place.
type Reader struct {
	buf   []byte
	next  int // offset of the next element
	start int // offset of the current element
	tag   Tag
	typ   Type
	val   []byte // strings: the contents
	num   uint64 // integers, booleans and floats: the bits
	depth int
	stack [MaxDepth]Type
	ended bool // the end of the entered container was read
	err   error
}

// NewReader reads the elements in b, which must stay unchanged meanwhile.
func NewReader(b []byte) Reader { return Reader{buf: b} }

// Err is the first error met, always a *SyntaxError or a type mismatch.
func (r *Reader) Err() error { return r.err }

// Tag is the tag of the current element.
func (r *Reader) Tag() Tag { return r.tag }

// Type is the type of the current element.
func (r *Reader) Type() Type { return r.typ }

func (r *Reader) fail(reason string) bool {
	if r.err == nil {
		r.err = &SyntaxError{r.start, reason}
	}
	r.typ = TypeNone
	return false
}

// Next goes to the next element of the container the Reader is in, past a
// current container that was not entered. It returns false at the container's
// end, at the end of the input, and on an error.
func (r *Reader) Next() bool {
	if r.err != nil || r.ended {
		return false
	}
	if r.typ.Container() && !r.skip() {
		return false
	}
	if r.depth == 0 && r.next == len(r.buf) {
		r.typ = TypeNone
		return false
	}
	if end, ok := r.element(); !ok {
		return false
	} else if end {
		r.ended = true
		r.typ = TypeNone
		return false
	}
	return r.checkTag()
}

// checkTag holds the current element's tag against its container.
func (r *Reader) checkTag() bool {
	if r.depth == 0 {
		return true
	}
	switch anonymous := r.tag.Form == FormAnonymous; r.stack[r.depth-1] {
	case TypeStruct:
		if anonymous {
			return r.fail("anonymous member of a struct")
		}
	case TypeArray:
		if !anonymous {
			return r.fail("tagged member of an array")
		}
	}
	return true
}

// Enter goes into the current container; Next then yields its members.
func (r *Reader) Enter() error {
	if r.err != nil {
		return r.err
	}
	if !r.typ.Container() {
		return r.mismatch("container")
	}
	if r.depth == MaxDepth {
		r.fail("nested too deep")
		return r.err
	}
	r.stack[r.depth] = r.typ
	r.depth++
	r.typ = TypeNone
	return nil
}

// Exit leaves the container last entered, past members not read.
func (r *Reader) Exit() error {
	if r.depth == 0 {
		r.fail("exit without a container")
	}
	for r.Next() {
	}
	if r.err != nil {
		return r.err
	}
	r.depth--
	r.ended = false
	r.typ = TypeNone
	return nil
}

// skip passes over the current container's members, checking them.
func (r *Reader) skip() bool {
	start, tag := r.start, r.tag
	outer := r.depth
	if r.Enter() != nil {
		return false
	}
	for r.depth > outer {
		if r.Next() {
			if r.typ.Container() && r.Enter() != nil {
				return false
			}
			continue
		}
		if r.Exit() != nil {
			return false
		}
	}
	r.start, r.tag = start, tag
	return true
}

// element decodes one element's head (and value, unless a container) at next.
func (r *Reader) element() (end, ok bool) {
	r.start = r.next
	if r.next >= len(r.buf) {
		return false, r.fail("ends inside a container")
	}
	control := r.buf[r.next]
	r.next++
	form := Form(control >> octetFormShift)
	n := formSize[form]
	if len(r.buf)-r.next < n {
		return false, r.fail("ends inside a tag")
	}
	r.tag = readTag(form, r.buf[r.next:r.next+n])
	r.next += n
	switch octet := control & octetTypeMask; {
	case octet < octetFalse, octet == octetFloat32, octet == octetFloat64:
		return false, r.number(octet)
	case octet <= octetTrue:
		r.typ, r.num = TypeBool, uint64(octet&1)
	case octet < octetNull:
		return false, r.string(octet)
	case octet == octetNull:
		r.typ = TypeNull
	case octet <= octetList:
		r.typ = TypeStruct + Type(octet-octetStruct)
	case octet == octetEnd:
		if r.depth == 0 || form != FormAnonymous {
			return false, r.fail("stray end of container")
		}
		return true, true
	default:
		return false, r.fail("reserved element type")
	}
	return false, true
}

func readTag(form Form, b []byte) Tag {
	t := Tag{Form: form}
	if form >= FormFull6 {
		t.Vendor = binary.LittleEndian.Uint16(b)
		t.Profile = binary.LittleEndian.Uint16(b[2:])
		b = b[4:]
	}
	t.Number = uint32(little(b))
	return t
}

// little is the little-endian number in the at most eight octets of b.
func little(b []byte) (n uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		n = n<<8 | uint64(b[i])
	}
	return n
}

func (r *Reader) number(octet byte) bool {
	var width int
	switch octet {
	case octetFloat32:
		r.typ, width = TypeFloat32, 4
	case octetFloat64:
		r.typ, width = TypeFloat64, 8
	default:
		r.typ, width = TypeInt, 1<<(octet&3)
		if octet >= octetUint8 {
			r.typ = TypeUint
		}
	}
	if len(r.buf)-r.next < width {
		return r.fail("ends inside a number")
	}
	r.num = little(r.buf[r.next : r.next+width])
	if r.typ == TypeInt { // extend the sign
		shift := 64 - 8*width
		r.num = uint64(int64(r.num<<shift) >> shift)
	}
	r.next += width
	return true
}

func (r *Reader) string(octet byte) bool {
	width := 1 << (octet & 3)
	if len(r.buf)-r.next < width {
		return r.fail("ends inside a length")
	}
	length := little(r.buf[r.next : r.next+width])
	r.next += width
	if length > uint64(len(r.buf)-r.next) {
		return r.fail("string longer than the input")
	}
	r.val = r.buf[r.next : r.next+int(length)]
	r.next += int(length)
	r.typ = TypeBytes
	if octet < octetBytes {
		r.typ = TypeString
		if !utf8.Valid(r.val) {
			return r.fail("string is not UTF-8")
		}
	}
	return true
}

func (r *Reader) mismatch(want string) error {
	if r.err != nil {
		return r.err
	}
	return fmt.Errorf("tlv: octet %d: tag %v holds a %v where a %s belongs", r.start, r.tag, r.typ, want)
}

// Uint is the current integer; a negative one is an error.
func (r *Reader) Uint() (uint64, error) {
	if r.typ == TypeUint || r.typ == TypeInt && int64(r.num) >= 0 {
		return r.num, nil
	}
	return 0, r.mismatch("unsigned integer")
}

// Int is the current integer; one beyond an int64 is an error.
func (r *Reader) Int() (int64, error) {
	if r.typ == TypeInt || r.typ == TypeUint && r.num <= math.MaxInt64 {
		return int64(r.num), nil
	}
	return 0, r.mismatch("signed integer")
}

// Bool is the current boolean.
func (r *Reader) Bool() (bool, error) {
	if r.typ != TypeBool {
		return false, r.mismatch("boolean")
	}
	return r.num == 1, nil
}

// Float is the current float of either width.
func (r *Reader) Float() (float64, error) {
	switch r.typ {
	case TypeFloat32:
		return float64(math.Float32frombits(uint32(r.num))), nil
	case TypeFloat64:
		return math.Float64frombits(r.num), nil
	}
	return 0, r.mismatch("float")
}

// Text is the current UTF-8 string.
func (r *Reader) Text() (string, error) {
	if r.typ != TypeString {
		return "", r.mismatch("string")
	}
	return string(r.val), nil
}

// Bytes is the current octet string; it aliases the input.
func (r *Reader) Bytes() ([]byte, error) {
	if r.typ != TypeBytes {
		return nil, r.mismatch("octet string")
	}
	return r.val, nil
}

// Raw is the whole current element, tag included; it aliases the input. The
// Reader is then behind the element.
func (r *Reader) Raw() (Raw, error) {
	if r.typ == TypeNone {
		return nil, r.mismatch("value")
	}
	if r.typ.Container() && !r.skip() {
		return nil, r.err
	}
	r.typ = TypeNone
	return Raw(r.buf[r.start:r.next]), nil
}

// Rest is the input behind the current element.
func (r *Reader) Rest() []byte { return r.buf[r.next:] }

// Raw is one encoded element with its tag. Writing it puts it under another
// tag.
type Raw []byte

// Check walks over b, which must be exactly one well-formed element, and
// returns its type.
func Check(b []byte) (Type, error) {
	r := NewReader(b)
	if !r.Next() {
		if r.err == nil {
			r.fail("empty input")
		}
		return TypeNone, r.err
	}
	t := r.typ
	if t.Container() && !r.skip() {
		return TypeNone, r.err
	}
	if len(r.Rest()) != 0 {
		r.start = r.next
		r.fail("octets behind the element")
		return TypeNone, r.err
	}
	return t, nil
}
