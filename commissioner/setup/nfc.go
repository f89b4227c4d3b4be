package setup

import (
	"encoding/binary"
	"errors"
	"strings"
)

// Specification constants: NFC Forum, NDEF and URI record type definition.
const (
	ndefBegin    = 0x80 // first record of the message
	ndefEnd      = 0x40 // last record
	ndefChunk    = 0x20 // payload goes on in the next record
	ndefShort    = 0x10 // payload length in one octet rather than four
	ndefID       = 0x08 // an id is present
	ndefTypeMask = 0x07
	ndefKnown    = 0x01 // the type is an NFC Forum well-known one

	uriNoPrefix = 0x00 // the URI is spelt out
)

const maxNFCLength = 8192 // octets; tags hold far less

// ParseNFC reads an NDEF message (without a tag's own length field): the
// payloads of all its URI records that hold an MT: text. Other records are
// passed over. The error is an *Error.
func ParseNFC(message []byte) ([]Payload, error) {
	if len(message) == 0 {
		return nil, fail(CodeEmpty)
	}
	if len(message) > maxNFCLength {
		return nil, fail(CodeTooLong)
	}
	var payloads []Payload
	for first := true; ; first = false {
		r, rest, err := cutRecord(message)
		if err != nil {
			return nil, failWith(CodeNFC, err)
		}
		if r.begin != first {
			return nil, failWith(CodeNFC, errors.New("its records are not one message"))
		}
		if r.uri != "" {
			if text, ok := matterText(r.uri); ok {
				more, err := parseQR(text)
				if err != nil {
					return nil, err
				}
				payloads = append(payloads, more...)
			}
		}
		if r.end {
			if len(rest) != 0 {
				return nil, failWith(CodeNFC, errors.New("octets behind the message"))
			}
			break
		}
		message = rest
	}
	if len(payloads) == 0 {
		return nil, fail(CodeNFC)
	}
	return payloads, nil
}

// NFC is the NDEF message for the device's tag.
func (p Payload) NFC() ([]byte, error) { return NFC(p) }

// NFC is the NDEF message for several devices: one URI record.
func NFC(payloads ...Payload) ([]byte, error) {
	code, err := QR(payloads...)
	if err != nil {
		return nil, err
	}
	head := byte(ndefBegin | ndefEnd | ndefKnown)
	length := []byte{byte(len(code) + 1)}
	if len(code)+1 > 0xFF {
		length = binary.BigEndian.AppendUint32(nil, uint32(len(code)+1))
	} else {
		head |= ndefShort
	}
	b := append([]byte{head, 1}, length...)
	b = append(b, 'U', uriNoPrefix)
	return append(b, code...), nil
}

type ndefRecord struct {
	begin, end bool
	uri        string // "" unless it is an unabbreviated URI record
}

// cutRecord takes the first record off b.
func cutRecord(b []byte) (r ndefRecord, rest []byte, err error) {
	short := errors.New("a record is cut off")
	if len(b) < 2 {
		return r, nil, short
	}
	head, typeLength := b[0], int(b[1])
	b = b[2:]
	if head&ndefChunk != 0 {
		return r, nil, errors.New("a record comes in chunks")
	}
	lengthSize := 4
	if head&ndefShort != 0 {
		lengthSize = 1
	}
	if len(b) < lengthSize {
		return r, nil, short
	}
	var payloadLength uint64
	for _, x := range b[:lengthSize] {
		payloadLength = payloadLength<<8 | uint64(x)
	}
	b = b[lengthSize:]
	idLength := 0
	if head&ndefID != 0 {
		if len(b) < 1 {
			return r, nil, short
		}
		idLength, b = int(b[0]), b[1:]
	}
	if uint64(len(b)) < uint64(typeLength+idLength)+payloadLength {
		return r, nil, short
	}
	kind := string(b[:typeLength])
	b = b[typeLength+idLength:]
	payload, rest := b[:payloadLength], b[payloadLength:]
	r.begin, r.end = head&ndefBegin != 0, head&ndefEnd != 0
	if head&ndefTypeMask == ndefKnown && kind == "U" && len(payload) > 0 && payload[0] == uriNoPrefix {
		r.uri = strings.ToValidUTF8(string(payload[1:]), "?")
	}
	return r, rest, nil
}
