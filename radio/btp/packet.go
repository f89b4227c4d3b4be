package btp

import (
	"encoding/binary"
	"errors"
)

// Header flags. All implementations set flagContinuing on every segment but
// the first, the last included.
const (
	flagBeginning  = 0x01
	flagContinuing = 0x02
	flagEnding     = 0x04
	flagAck        = 0x08
	flagManagement = 0x20
	flagHandshake  = 0x40

	flagsData = flagBeginning | flagContinuing | flagEnding
)

// The first two bytes of both handshake packets: all flags of a management
// message of one segment, and the handshake's opcode.
const (
	handshakeFlags  = flagHandshake | flagManagement | flagBeginning | flagEnding
	handshakeOpcode = 0x6c

	requestLen  = 9
	responseLen = 6
	versions    = 8 // slots in a request, half a byte each
)

// packet is any packet but a handshake's.
type packet struct {
	flags  byte
	ack    uint8 // with flagAck
	seq    uint8
	length int // of the message, with flagBeginning
	body   []byte
}

func (p *packet) hasAck() bool { return p.flags&flagAck != 0 }
func (p *packet) data() bool   { return p.flags&flagsData != 0 }

var (
	errShort     = errors.New("a packet that ends within its header")
	errHandshake = errors.New("a handshake or management packet after the handshake")
	errFlags     = errors.New("a segment that both begins and continues a message")
	errEmpty     = errors.New("a packet without a segment or an acknowledgement")
)

// parsePacket reads b, whose bytes the body shares. Reserved flags are
// ignored, as all implementations do.
func parsePacket(b []byte) (p packet, err error) {
	if len(b) == 0 {
		return p, errShort
	}
	p.flags, b = b[0], b[1:]
	if p.flags&(flagHandshake|flagManagement) != 0 {
		return p, errHandshake
	}
	if p.hasAck() {
		if len(b) == 0 {
			return p, errShort
		}
		p.ack, b = b[0], b[1:]
	}
	if len(b) == 0 {
		return p, errShort
	}
	p.seq, b = b[0], b[1:]
	if p.flags&flagBeginning != 0 {
		if len(b) < 2 {
			return p, errShort
		}
		p.length, b = int(binary.LittleEndian.Uint16(b)), b[2:]
	}
	switch {
	case p.flags&flagBeginning != 0 && p.flags&flagContinuing != 0:
		return p, errFlags
	case !p.data() && !p.hasAck():
		return p, errEmpty
	case p.data():
		p.body = b
	}
	return p, nil
}

// append appends the encoded header to b; the body follows it.
func (p *packet) append(b []byte) []byte {
	b = append(b, p.flags)
	if p.hasAck() {
		b = append(b, p.ack)
	}
	b = append(b, p.seq)
	if p.flags&flagBeginning != 0 {
		b = binary.LittleEndian.AppendUint16(b, uint16(p.length))
	}
	return b
}

func (p *packet) headerLen() int {
	n := 2
	if p.hasAck() {
		n++
	}
	if p.flags&flagBeginning != 0 {
		n += 2
	}
	return n
}

// request is what the client opens with. The specification has mtu without
// the 3 bytes of GATT's header, as does matter.js since June 2026; the SDK and
// rs-matter send and expect it with them, and so do we.
type request struct {
	knows4 bool
	mtu    int // 0: unknown
	window int
}

func (r *request) append(b []byte) []byte {
	b = append(b, handshakeFlags, handshakeOpcode, version, 0, 0, 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(r.mtu))
	return append(b, byte(r.window))
}

// response is the server's answer.
type response struct {
	version byte // 0: none that both know
	segment int
	window  int
}

func (r *response) append(b []byte) []byte {
	b = append(b, handshakeFlags, handshakeOpcode, r.version)
	b = binary.LittleEndian.AppendUint16(b, uint16(r.segment))
	return append(b, byte(r.window))
}

var errNotHandshake = errors.New("a packet that is no handshake, before the handshake")

// handshakeBody is b without the first two bytes of a handshake packet. More
// bytes than the packet has are left alone, as all implementations do.
func handshakeBody(b []byte, want int) ([]byte, error) {
	switch {
	case len(b) >= 2 && (b[0] != handshakeFlags || b[1] != handshakeOpcode):
		return nil, errNotHandshake
	case len(b) < want:
		return nil, errShort
	}
	return b[2:], nil
}

func parseRequest(b []byte) (r request, err error) {
	if b, err = handshakeBody(b, requestLen); err != nil {
		return r, err
	}
	for i := range versions {
		if b[i/2]>>(4*(i%2))&0xf == version {
			r.knows4 = true
		}
	}
	r.mtu = int(binary.LittleEndian.Uint16(b[versions/2:]))
	r.window = int(b[versions/2+2])
	return r, nil
}

func parseResponse(b []byte) (r response, err error) {
	if b, err = handshakeBody(b, responseLen); err != nil {
		return r, err
	}
	r.version = b[0] & 0xf // the upper half is reserved
	r.segment = int(binary.LittleEndian.Uint16(b[1:]))
	r.window = int(b[3])
	return r, nil
}
