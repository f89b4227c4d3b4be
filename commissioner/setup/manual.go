package setup

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// Specification constants: 5.1.4.
const (
	shortCodeLength = 11 // digits, the check digit among them
	longCodeLength  = 21 // with vendor and product

	manualLowBits  = 14 // passcode bits in digits 2 to 6
	manualLongFlag = 4  // in the first digit: vendor and product follow
)

func separator(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) }

// looksManual tells a mistyped manual code from something else: it begins with
// a digit, and most of it is digits.
func looksManual(code string) bool {
	digits, others := 0, 0
	for _, r := range code {
		switch {
		case r >= '0' && r <= '9':
			digits++
		case !separator(r):
			others++
		}
	}
	return digits > others && code[0] >= '0' && code[0] <= '9'
}

// parseManual reads d·ddddd·dddd·c or d·ddddd·dddd·vvvvv·ppppp·c:
//
//	digit 1       2 bits discriminator (11..10), 1 bit "long code"
//	digits 2–6    14 bits passcode (13..0), 2 bits discriminator (9..8)
//	digits 7–10   13 bits passcode (26..14)
//	v, p          vendor, product
func parseManual(code string) (Payload, error) {
	digits := strings.Map(func(r rune) rune {
		if separator(r) {
			return -1
		}
		return r
	}, code)
	if strings.Trim(digits, "0123456789") != "" {
		return Payload{}, fail(CodeCharacter)
	}
	if len(digits) != shortCodeLength && len(digits) != longCodeLength {
		return Payload{}, fail(CodeLength)
	}
	if digits[0] >= '8' { // a format yet to come
		return Payload{}, fail(CodeVersion)
	}
	first := number(digits[:1])
	if long := first&manualLongFlag != 0; long != (len(digits) == longCodeLength) {
		return Payload{}, fail(CodeLength)
	}
	if !verhoeffValid(digits) {
		return Payload{}, fail(CodeChecksum)
	}
	low, high := number(digits[1:6]), number(digits[6:10])
	if low > 0xFFFF || high >= 1<<(passcodeBits-manualLowBits) {
		return Payload{}, fail(CodePadding)
	}
	p := Payload{
		Discriminator: Short(uint8(first&3<<2 | low>>manualLowBits)),
		Passcode:      NewPasscode(low&(1<<manualLowBits-1) | high<<manualLowBits),
	}
	if len(digits) == longCodeLength {
		vendor, product := number(digits[10:15]), number(digits[15:20])
		if vendor > maxVendorID {
			return Payload{}, fail(CodeVendor)
		}
		if product > 0xFFFF {
			return Payload{}, fail(CodeProduct)
		}
		p.VendorID, p.ProductID, p.Flow = uint16(vendor), uint16(product), FlowCustom
	}
	return p, p.Validate()
}

// number is the value of at most five decimal digits.
func number(digits string) uint32 {
	n, _ := strconv.ParseUint(digits, 10, 32)
	return uint32(n)
}

// Manual is the manual code of the device, without separators: 21 digits if
// something other than the standard flow must be announced, otherwise 11.
func (p Payload) Manual() (string, error) {
	if err := p.Validate(); err != nil {
		return "", err
	}
	passcode, upper := p.Passcode.Reveal(), uint32(p.Discriminator.Upper())
	first := upper >> 2
	if p.Flow != FlowStandard {
		first |= manualLongFlag
	}
	digits := fmt.Sprintf("%d%05d%04d", first,
		upper&3<<manualLowBits|passcode&(1<<manualLowBits-1), passcode>>manualLowBits)
	if p.Flow != FlowStandard {
		digits += fmt.Sprintf("%05d%05d", p.VendorID, p.ProductID)
	}
	return digits + string(verhoeffDigit(digits)), nil
}
