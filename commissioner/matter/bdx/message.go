package bdx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Bits of the transfer control and range control fields. Those that are not
// here are reserved and passed over.
const (
	versionMask = 0x0F
	driveMask   = SenderDrive | ReceiverDrive | async

	rangeLength = 0x01 // a definite length follows
	rangeOffset = 0x02 // a start offset follows
	rangeWide   = 0x10 // both have 64 bits, not 32
)

// counterSize is what a block's message has beside the data, in octets.
const counterSize = 4

// initiation is a SendInit or a ReceiveInit.
type initiation struct {
	version    uint8 // the highest that the initiator speaks
	drive      Drive // all that it can do
	block      uint16
	offset     uint64
	length     uint64 // 0: indefinite
	designator []byte
	metadata   []byte // TLV, not looked into
}

// acceptance is a SendAccept or a ReceiveAccept; the former has neither
// offset nor length.
type acceptance struct {
	version  uint8
	drive    Drive
	block    uint16
	offset   uint64
	length   uint64 // 0: indefinite
	metadata []byte // TLV, not looked into
}

// query is a BlockQuery or BlockQueryWithSkip, or, without skip, a BlockAck or
// BlockAckEOF.
type query struct {
	counter uint32
	skip    uint64 // octets
}

// block is a Block or a BlockEOF.
type block struct {
	counter uint32
	data    []byte
}

// reader takes the fields of a message one after the other. What goes beyond
// the end reads as zero and is told by done.
type reader struct {
	b     []byte
	short bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.short = nil, true
		return make([]byte, min(n, 8)) // enough for a number
	}
	field := r.b[:n:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) uint8() uint8   { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) uint32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

func (r *reader) control() (version uint8, drive Drive) {
	c := r.uint8()
	return c & versionMask, Drive(c) & driveMask
}

// span is the offset and the length that the range control announces.
func (r *reader) span(control uint8) (offset, length uint64) {
	number := func() uint64 { return uint64(r.uint32()) }
	if control&rangeWide != 0 {
		number = r.uint64
	}
	if control&rangeOffset != 0 {
		offset = number()
	}
	if control&rangeLength != 0 {
		length = number()
	}
	return offset, length
}

// rest is what no field took, nil if that is nothing.
func (r *reader) rest() []byte {
	if len(r.b) == 0 {
		return nil
	}
	return r.take(len(r.b))
}

func (r *reader) done() error {
	switch {
	case r.short:
		return fmt.Errorf("a message that ends inside a field: %w", BadMessageContents)
	case len(r.b) > 0:
		return fmt.Errorf("a message with %d octets too many: %w", len(r.b), BadMessageContents)
	}
	return nil
}

// The parsed messages alias the octets that they were parsed from.

func parseInit(b []byte) (m initiation, err error) {
	r := reader{b: b}
	m.version, m.drive = r.control()
	control := r.uint8()
	m.block = r.uint16()
	m.offset, m.length = r.span(control)
	m.designator = r.take(int(r.uint16()))
	m.metadata = r.rest()
	return m, r.done()
}

func (m *initiation) append(b []byte) []byte {
	control := rangeControl(m.offset, m.length)
	b = append(b, m.version|uint8(m.drive), control)
	b = binary.LittleEndian.AppendUint16(b, m.block)
	b = appendSpan(b, control, m.offset, m.length)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(m.designator)))
	b = append(b, m.designator...)
	return append(b, m.metadata...)
}

func parseAccept(opcode uint8, b []byte) (m acceptance, err error) {
	r := reader{b: b}
	m.version, m.drive = r.control()
	var control uint8
	if opcode == opReceiveAccept {
		control = r.uint8()
	}
	m.block = r.uint16()
	m.offset, m.length = r.span(control)
	m.metadata = r.rest()
	return m, r.done()
}

func (m *acceptance) append(opcode uint8, b []byte) []byte {
	b = append(b, m.version|uint8(m.drive))
	var control uint8
	if opcode == opReceiveAccept {
		control = rangeControl(m.offset, m.length)
		b = append(b, control)
	}
	b = binary.LittleEndian.AppendUint16(b, m.block)
	b = appendSpan(b, control, m.offset, m.length)
	return append(b, m.metadata...)
}

func parseQuery(opcode uint8, b []byte) (m query, err error) {
	r := reader{b: b}
	m.counter = r.uint32()
	if opcode == opBlockQueryWithSkip {
		m.skip = r.uint64()
	}
	return m, r.done()
}

func (m *query) append(opcode uint8, b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, m.counter)
	if opcode == opBlockQueryWithSkip {
		b = binary.LittleEndian.AppendUint64(b, m.skip)
	}
	return b
}

func parseBlock(b []byte) (m block, err error) {
	r := reader{b: b}
	m.counter = r.uint32()
	m.data = r.rest()
	return m, r.done()
}

// rangeControl announces what is not zero: an offset of nothing is none, and
// a length of nothing would mean that it is indefinite.
func rangeControl(offset, length uint64) (control uint8) {
	if offset > 0 {
		control |= rangeOffset
	}
	if length > 0 {
		control |= rangeLength
	}
	if max(offset, length) > math.MaxUint32 {
		control |= rangeWide
	}
	return control
}

func appendSpan(b []byte, control uint8, offset, length uint64) []byte {
	number := func(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint32(b, uint32(v)) }
	if control&rangeWide != 0 {
		number = binary.LittleEndian.AppendUint64
	}
	if control&rangeOffset != 0 {
		b = number(b, offset)
	}
	if control&rangeLength != 0 {
		b = number(b, length)
	}
	return b
}
