package tlv

import (
	"encoding/binary"
	"math"
)

// Writer appends elements to a buffer. It always uses the shortest encoding
// of a number, a length and a tag number. The zero Writer is ready to use.
type Writer struct {
	buf  []byte
	open int // containers not yet ended
}

// NewWriter appends to b.
func NewWriter(b []byte) Writer { return Writer{buf: b} }

// Bytes is what was written, behind the buffer the Writer was given.
func (w *Writer) Bytes() []byte { return w.buf }

// Len is the length of Bytes.
func (w *Writer) Len() int { return len(w.buf) }

// Mark is a place in a Writer's output to go back to.
type Mark struct{ length, open int }

// Mark is the place behind what was written so far.
func (w *Writer) Mark() Mark { return Mark{len(w.buf), w.open} }

// Rewind takes back what was written since m: for messages of a fixed size,
// where the element that does not fit goes into the next one.
func (w *Writer) Rewind(m Mark) { w.buf, w.open = w.buf[:m.length], m.open }

func (w *Writer) head(t Tag, octet byte) {
	form := t.Form
	switch form { // the even forms hold two octets of number, the odd ones four
	case FormCommon2, FormImplicit2, FormFull6:
		if t.Number > math.MaxUint16 {
			form++
		}
	}
	w.buf = append(w.buf, byte(form)<<octetFormShift|octet)
	switch form {
	case FormAnonymous:
		return
	case FormContext:
		w.buf = append(w.buf, byte(t.Number))
		return
	case FormFull6, FormFull8:
		w.buf = binary.LittleEndian.AppendUint16(w.buf, t.Vendor)
		w.buf = binary.LittleEndian.AppendUint16(w.buf, t.Profile)
	}
	if form == FormCommon2 || form == FormImplicit2 || form == FormFull6 {
		w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(t.Number))
		return
	}
	w.buf = binary.LittleEndian.AppendUint32(w.buf, t.Number)
}

// appendWidth appends the low 1<<log octets of n.
func (w *Writer) appendWidth(n uint64, log byte) {
	switch log {
	case 0:
		w.buf = append(w.buf, byte(n))
	case 1:
		w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(n))
	case 2:
		w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(n))
	default:
		w.buf = binary.LittleEndian.AppendUint64(w.buf, n)
	}
}

func uintLog(n uint64) byte {
	switch {
	case n <= math.MaxUint8:
		return 0
	case n <= math.MaxUint16:
		return 1
	case n <= math.MaxUint32:
		return 2
	}
	return 3
}

func intLog(n int64) byte {
	switch {
	case n == int64(int8(n)):
		return 0
	case n == int64(int16(n)):
		return 1
	case n == int64(int32(n)):
		return 2
	}
	return 3
}

// Uint writes an unsigned integer.
func (w *Writer) Uint(t Tag, n uint64) {
	log := uintLog(n)
	w.head(t, octetUint8+log)
	w.appendWidth(n, log)
}

// Int writes a signed integer.
func (w *Writer) Int(t Tag, n int64) {
	log := intLog(n)
	w.head(t, octetInt8+log)
	w.appendWidth(uint64(n), log)
}

// Bool writes a boolean.
func (w *Writer) Bool(t Tag, v bool) {
	if v {
		w.head(t, octetTrue)
	} else {
		w.head(t, octetFalse)
	}
}

// Float32 writes a single-precision float.
func (w *Writer) Float32(t Tag, v float32) {
	w.head(t, octetFloat32)
	w.appendWidth(uint64(math.Float32bits(v)), 2)
}

// Float64 writes a double-precision float.
func (w *Writer) Float64(t Tag, v float64) {
	w.head(t, octetFloat64)
	w.appendWidth(math.Float64bits(v), 3)
}

// Text writes a UTF-8 string.
func (w *Writer) Text(t Tag, s string) {
	log := uintLog(uint64(len(s)))
	w.head(t, octetString+log)
	w.appendWidth(uint64(len(s)), log)
	w.buf = append(w.buf, s...)
}

// Octets writes an octet string.
func (w *Writer) Octets(t Tag, b []byte) {
	log := uintLog(uint64(len(b)))
	w.head(t, octetBytes+log)
	w.appendWidth(uint64(len(b)), log)
	w.buf = append(w.buf, b...)
}

// Null writes a null.
func (w *Writer) Null(t Tag) { w.head(t, octetNull) }

// Struct opens a struct; End closes it.
func (w *Writer) Struct(t Tag) { w.start(t, octetStruct) }

// Array opens an array; End closes it.
func (w *Writer) Array(t Tag) { w.start(t, octetArray) }

// List opens a list; End closes it.
func (w *Writer) List(t Tag) { w.start(t, octetList) }

func (w *Writer) start(t Tag, octet byte) {
	w.head(t, octet)
	w.open++
}

// End closes the container opened last. One End too many is a bug of the
// caller and panics.
func (w *Writer) End() {
	if w.open == 0 {
		panic("tlv: End without a container")
	}
	w.open--
	w.buf = append(w.buf, octetEnd)
}

// Raw writes an encoded element under the tag t. The element must be well
// formed; one that is empty becomes a null.
func (w *Writer) Raw(t Tag, e Raw) {
	if len(e) == 0 {
		w.Null(t)
		return
	}
	w.head(t, e[0]&octetTypeMask)
	w.buf = append(w.buf, e[1+formSize[e[0]>>octetFormShift]:]...)
}
