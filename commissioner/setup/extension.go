package setup

import (
	"errors"
	"fmt"
	"strconv"

	"gatehouse/fabric/tlv"
)

// Specification constants: 5.1.5, tags and ranges.
const (
	tagSerialNumber    = 0
	tagIterations      = 1
	tagSalt            = 2
	tagNumberOfDevices = 3
	tagTimeout         = 4

	minIterations, maxIterations = 1000, 100000
	minSalt, maxSalt             = 16, 32 // octets
)

// Extension is the additional data of a QR code. A zero field is absent.
type Extension struct {
	SerialNumber    string // one written as a number is its decimal digits
	Iterations      uint32 // PBKDF2 iterations, 1000 to 100000, together with Salt
	Salt            []byte // 16 to 32 octets
	NumberOfDevices uint8  // devices to be paired with this code
	Timeout         uint16 // seconds these devices stay in commissioning mode
	Other           []Element
}

// Element is a member of the extension under a vendor's tag (0x80 and above)
// or one this package does not know, kept as it was.
type Element struct {
	Tag   uint8
	Value tlv.Raw
}

func parseExtension(b []byte) (x Extension, err error) {
	if len(b) == 0 {
		return x, nil
	}
	if kind, err := tlv.Check(b); err != nil {
		return x, err
	} else if kind != tlv.TypeStruct {
		return x, fmt.Errorf("it is a %v where a struct belongs", kind)
	}
	r := tlv.NewReader(b)
	r.Next()
	if r.Tag() != tlv.Anonymous {
		return x, errors.New("its struct has a tag")
	}
	if err := r.Enter(); err != nil {
		return x, err
	}
	var seen [256]bool
	for r.Next() {
		if r.Tag().Form != tlv.FormContext {
			return x, fmt.Errorf("tag %v is none that an extension has", r.Tag())
		}
		tag := uint8(r.Tag().Number)
		if seen[tag] {
			return x, fmt.Errorf("tag %d comes twice", tag)
		}
		seen[tag] = true
		if err := x.read(tag, &r); err != nil {
			return x, fmt.Errorf("tag %d: %w", tag, err)
		}
	}
	return x, r.Err()
}

func (x *Extension) read(tag uint8, r *tlv.Reader) (err error) {
	switch tag {
	case tagSerialNumber:
		if r.Type() == tlv.TypeString {
			x.SerialNumber, err = r.Text()
			return err
		}
		var n uint64
		n, err = r.Uint()
		x.SerialNumber = strconv.FormatUint(n, 10)
	case tagIterations:
		var n uint64
		n, err = ranged(r, minIterations, maxIterations)
		x.Iterations = uint32(n)
	case tagSalt:
		var salt []byte
		if salt, err = r.Bytes(); err == nil && (len(salt) < minSalt || len(salt) > maxSalt) {
			err = fmt.Errorf("a salt of %d octets", len(salt))
		}
		x.Salt = append([]byte(nil), salt...)
	case tagNumberOfDevices:
		var n uint64
		n, err = ranged(r, 1, 0xFF)
		x.NumberOfDevices = uint8(n)
	case tagTimeout:
		var n uint64
		n, err = ranged(r, 0, 0xFFFF)
		x.Timeout = uint16(n)
	default:
		var raw tlv.Raw
		raw, err = r.Raw()
		x.Other = append(x.Other, Element{tag, append(tlv.Raw(nil), raw...)})
	}
	return err
}

func ranged(r *tlv.Reader, low, high uint64) (uint64, error) {
	n, err := r.Uint()
	if err == nil && (n < low || n > high) {
		err = fmt.Errorf("%d is not between %d and %d", n, low, high)
	}
	return n, err
}

// encode is nil for the zero Extension.
func (x Extension) encode() []byte {
	var w tlv.Writer
	w.Struct(tlv.Anonymous)
	empty := w.Len()
	if x.SerialNumber != "" {
		w.Text(tlv.Context(tagSerialNumber), x.SerialNumber)
	}
	if x.Iterations != 0 {
		w.Uint(tlv.Context(tagIterations), uint64(x.Iterations))
	}
	if len(x.Salt) != 0 {
		w.Octets(tlv.Context(tagSalt), x.Salt)
	}
	if x.NumberOfDevices != 0 {
		w.Uint(tlv.Context(tagNumberOfDevices), uint64(x.NumberOfDevices))
	}
	if x.Timeout != 0 {
		w.Uint(tlv.Context(tagTimeout), uint64(x.Timeout))
	}
	for _, e := range x.Other {
		w.Raw(tlv.Context(e.Tag), e.Value)
	}
	if w.Len() == empty {
		return nil
	}
	w.End()
	return w.Bytes()
}
