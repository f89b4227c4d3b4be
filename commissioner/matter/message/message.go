// Package message is Matter's message layer: the headers of a message, its
// protection under a session's keys, the counter that makes every message
// unique and the window that refuses a replay (Matter Core 4.4 to 4.8).
//
// It promises that what Open returns was sealed by a holder of the key and
// that parsing never reads beyond a message. It keeps no session and sends
// nothing.
package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of the specification, in octets.
const (
	MaxSize    = 1280 // a message over UDP, headers and tag included
	TagSize    = 16
	maxHeader  = 4 + 4 + 8 + 8
	maxPayload = 6 + 2 + 4 // payload header without extensions

	// Overhead is what headers and tag take at the most of a secure unicast
	// message that this package writes.
	Overhead = 8 + 8 + maxPayload + TagSize
)

// Flags of the message header.
const (
	flagSource    = 0x04
	flagDestMask  = 0x03
	destNode      = 1
	destGroup     = 2
	secPrivacy    = 0x80
	secControl    = 0x40
	secExtension  = 0x20
	secTypeMask   = 0x03
	secTypeGroup  = 1
	versionMask   = 0xF0
	minHeaderSize = 8
)

var (
	errShort   = errors.New("message: shorter than its header")
	errVersion = errors.New("message: unknown message version")
)

// Header is the unencrypted head of a message.
type Header struct {
	SessionID uint16
	Counter   uint32
	Source    uint64 // node id; meaningful with HasSource
	Dest      uint64 // node id, or group id; meaningful with HasDest or Group
	HasSource bool
	HasDest   bool
	Group     bool // a group session, or a group destination
	Control   bool // a control message: uses the control counter
	Private   bool // the fields behind the flags were obfuscated
	size      int  // octets of the header as parsed
}

// Append appends the header. A Header to append has no extensions, no
// privacy and no group destination.
func (h *Header) Append(b []byte) []byte {
	var flags byte
	if h.HasSource {
		flags |= flagSource
	}
	if h.HasDest {
		flags |= destNode
	}
	var security byte
	if h.Control {
		security |= secControl
	}
	b = append(b, flags)
	b = binary.LittleEndian.AppendUint16(b, h.SessionID)
	b = append(b, security)
	b = binary.LittleEndian.AppendUint32(b, h.Counter)
	if h.HasSource {
		b = binary.LittleEndian.AppendUint64(b, h.Source)
	}
	if h.HasDest {
		b = binary.LittleEndian.AppendUint64(b, h.Dest)
	}
	return b
}

// ParseSession reads only what picks the session of a message: all that can
// be read of one with privacy before its key is known.
func ParseSession(b []byte) (id uint16, group, private bool, err error) {
	if len(b) < minHeaderSize {
		return 0, false, false, errShort
	}
	if b[0]&versionMask != 0 {
		return 0, false, false, errVersion
	}
	return binary.LittleEndian.Uint16(b[1:]), b[3]&secTypeMask == secTypeGroup, b[3]&secPrivacy != 0, nil
}

// ParseHeader parses the head of b; rest is what follows it. Extensions are
// passed over.
func ParseHeader(b []byte) (h Header, rest []byte, err error) {
	var id uint16
	if id, h.Group, h.Private, err = ParseSession(b); err != nil {
		return h, nil, err
	}
	flags, security := b[0], b[3]
	if t := security & secTypeMask; t > secTypeGroup {
		return h, nil, fmt.Errorf("message: reserved session type %d", t)
	}
	h.SessionID = id
	h.Control = security&secControl != 0
	h.Counter = binary.LittleEndian.Uint32(b[4:])
	rest = b[minHeaderSize:]
	if h.HasSource = flags&flagSource != 0; h.HasSource {
		if len(rest) < 8 {
			return h, nil, errShort
		}
		h.Source, rest = binary.LittleEndian.Uint64(rest), rest[8:]
	}
	switch flags & flagDestMask {
	case destNode:
		if len(rest) < 8 {
			return h, nil, errShort
		}
		h.HasDest = true
		h.Dest, rest = binary.LittleEndian.Uint64(rest), rest[8:]
	case destGroup:
		if len(rest) < 2 {
			return h, nil, errShort
		}
		h.Group = true
		h.Dest, rest = uint64(binary.LittleEndian.Uint16(rest)), rest[2:]
	case flagDestMask:
		return h, nil, errors.New("message: reserved destination size")
	}
	if security&secExtension != 0 {
		if rest, err = skipExtension(rest); err != nil {
			return h, nil, err
		}
	}
	h.size = len(b) - len(rest)
	return h, rest, nil
}

func skipExtension(b []byte) ([]byte, error) {
	if len(b) < 2 {
		return nil, errShort
	}
	n := int(binary.LittleEndian.Uint16(b))
	if len(b)-2 < n {
		return nil, errors.New("message: extension longer than the message")
	}
	return b[2+n:], nil
}

// Protocol ids of the standard's own protocols (vendor 0).
type ProtocolID uint16

const (
	SecureChannel ProtocolID = 0
	Interaction   ProtocolID = 1
	BDX           ProtocolID = 2
	UserDirected  ProtocolID = 3
)

// Flags of the payload header.
const (
	exchangeInitiator = 0x01
	exchangeAck       = 0x02
	exchangeReliable  = 0x04
	exchangeExtension = 0x08
	exchangeVendor    = 0x10
)

// Payload is the encrypted head of a message and its body.
type Payload struct {
	Protocol   ProtocolID
	Opcode     uint8
	ExchangeID uint16
	Initiator  bool // sent by the exchange's initiator
	Reliable   bool // the sender wants an acknowledgement
	HasAck     bool
	Ack        uint32 // counter of the message acknowledged
	Body       []byte
}

// Append appends the payload header and the body.
func (p *Payload) Append(b []byte) []byte {
	var flags byte
	if p.Initiator {
		flags |= exchangeInitiator
	}
	if p.HasAck {
		flags |= exchangeAck
	}
	if p.Reliable {
		flags |= exchangeReliable
	}
	b = append(b, flags, p.Opcode)
	b = binary.LittleEndian.AppendUint16(b, p.ExchangeID)
	b = binary.LittleEndian.AppendUint16(b, uint16(p.Protocol))
	if p.HasAck {
		b = binary.LittleEndian.AppendUint32(b, p.Ack)
	}
	return append(b, p.Body...)
}

// ParsePayload parses a decrypted payload; Body aliases b. A protocol of a
// vendor's own is an error: nothing here speaks one.
func ParsePayload(b []byte) (p Payload, err error) {
	if len(b) < 6 {
		return p, errors.New("message: shorter than its payload header")
	}
	flags := b[0]
	if flags&exchangeVendor != 0 {
		return p, errors.New("message: protocol of a vendor")
	}
	p.Opcode = b[1]
	p.ExchangeID = binary.LittleEndian.Uint16(b[2:])
	p.Protocol = ProtocolID(binary.LittleEndian.Uint16(b[4:]))
	p.Initiator = flags&exchangeInitiator != 0
	p.Reliable = flags&exchangeReliable != 0
	b = b[6:]
	if p.HasAck = flags&exchangeAck != 0; p.HasAck {
		if len(b) < 4 {
			return p, errors.New("message: ends inside its acknowledgement")
		}
		p.Ack, b = binary.LittleEndian.Uint32(b), b[4:]
	}
	if flags&exchangeExtension != 0 {
		if b, err = skipExtension(b); err != nil {
			return p, err
		}
	}
	p.Body = b
	return p, nil
}
