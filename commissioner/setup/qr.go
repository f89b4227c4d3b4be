package setup

import (
	"encoding/binary"
	"errors"
	"strings"
)

// Specification constants: 5.1.3.
const (
	qrPrefix    = "MT:"
	qrDelimiter = "*" // between the payloads of several devices
	qrSchemes   = "%" // between the texts of several ecosystems

	maxPayloadLength = 255  // characters of one device, when written
	maxCodeLength    = 4296 // characters of a QR code

	fixedLength = 11 // octets of the fields in front of the extension
)

// matterText is the Matter part of a QR code's text, behind its prefix. Codes
// are upper case; an NFC reader may have made them lower case.
func matterText(code string) (string, bool) {
	for segment := range strings.SplitSeq(strings.Map(upper, code), qrSchemes) {
		if text, ok := strings.CutPrefix(segment, qrPrefix); ok {
			return text, true
		}
	}
	return "", false
}

func upper(r rune) rune {
	if r >= 'a' && r <= 'z' { // unicode's upper case would let foreign letters in
		return r - 'a' + 'A'
	}
	return r
}

func parseQR(text string) ([]Payload, error) {
	var payloads []Payload
	for chunk := range strings.SplitSeq(text, qrDelimiter) {
		p, err := parsePayload(chunk)
		if err != nil {
			if e := (*Error)(nil); errors.As(err, &e) {
				e.Index = len(payloads)
			}
			return nil, err
		}
		payloads = append(payloads, p)
	}
	return payloads, nil
}

// parsePayload takes the fields off a little-endian number of 88 bits, least
// significant first:
//
//	version 3, vendor 16, product 16, flow 2, discovery 8, discriminator 12,
//	passcode 27 (7 bits in the first eight octets), padding 4
func parsePayload(chunk string) (Payload, error) {
	b, err := decode38(chunk)
	if err != nil {
		return Payload{}, err
	}
	if len(b) < fixedLength {
		return Payload{}, fail(CodeLength)
	}
	low := binary.LittleEndian.Uint64(b)
	high := uint32(b[8]) | uint32(b[9])<<8 | uint32(b[10])<<16
	p := Payload{
		Version:       uint8(low & 7),
		VendorID:      uint16(low >> 3),
		ProductID:     uint16(low >> 19),
		Flow:          Flow(low >> 35 & 3),
		Discovery:     Discovery(low >> 37),
		Discriminator: Long(uint16(low >> 45)),
		Passcode:      NewPasscode(uint32(low>>57) | high<<7&(1<<passcodeBits-1)),
	}
	if p.Version > maxVersion { // what follows may mean something else
		return Payload{}, fail(CodeVersion)
	}
	if high>>20 != 0 {
		return Payload{}, fail(CodePadding)
	}
	if p.Extension, err = parseExtension(b[fixedLength:]); err != nil {
		return Payload{}, failWith(CodeExtension, err)
	}
	return p, p.Validate()
}

// QR is the text of a QR code for the device.
func (p Payload) QR() (string, error) { return QR(p) }

// QR is the text of one QR code for several devices.
func QR(payloads ...Payload) (string, error) {
	if len(payloads) == 0 {
		return "", fail(CodeEmpty)
	}
	chunks := make([]string, len(payloads))
	for i, p := range payloads {
		b, err := p.pack()
		if err != nil {
			return "", err
		}
		if chunks[i] = encode38(b); len(chunks[i]) > maxPayloadLength {
			return "", fail(CodeTooLong)
		}
	}
	code := qrPrefix + strings.Join(chunks, qrDelimiter)
	if len(code) > maxCodeLength {
		return "", fail(CodeTooLong)
	}
	return code, nil
}

func (p Payload) pack() ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	discriminator, ok := p.Discriminator.Full()
	if !ok {
		return nil, fail(CodeDiscriminator)
	}
	passcode := p.Passcode.Reveal()
	low := uint64(p.Version) | uint64(p.VendorID)<<3 | uint64(p.ProductID)<<19 | uint64(p.Flow)<<35 |
		uint64(p.Discovery)<<37 | uint64(discriminator)<<45 | uint64(passcode)<<57
	high := passcode >> 7
	b := binary.LittleEndian.AppendUint64(nil, low)
	b = append(b, byte(high), byte(high>>8), byte(high>>16))
	extension := p.Extension.encode()
	if _, err := parseExtension(extension); err != nil {
		return nil, failWith(CodeExtension, err)
	}
	return append(b, extension...), nil
}
