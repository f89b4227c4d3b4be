// Package setup reads and writes Matter setup codes: the text in a QR code,
// the manual code of 11 or 21 digits, and the NDEF message of an NFC tag.
//
//	payloads, err := setup.Parse("MT:Y.K9042C00KA0648G00") // or "3497-011-2332"
//	payloads, err := setup.ParseNFC(tag)
//
// It promises that a Payload it returns may be used for pairing: every field
// is in range and the passcode is one a device may have. A code that is not
// comes back as an *Error which says which part is wrong and what to do. It
// never puts a passcode, or digits it could be worked out from, into an error,
// and a Passcode cannot be printed or marshalled.
//
// Matter Core Specification, 5.1 (onboarding payload).
package setup

import (
	"fmt"
	"strings"
)

// Specification constants.
const (
	maxVersion       = 0      // the only payload version there is
	maxVendorID      = 0xFFF4 // the last test vendor; what follows is reserved
	maxDiscriminator = 0xFFF
	longBits         = 12 // bits in a discriminator
	shortBits        = 4  // of them, in a manual code: the most significant
)

// Payload is one device's part of a setup code.
type Payload struct {
	Version       uint8
	VendorID      uint16 // 0: not said
	ProductID     uint16 // 0: not said
	Flow          Flow
	Discovery     Discovery // 0: not said (always so in a manual code); try every way
	Discriminator Discriminator
	Passcode      Passcode
	Extension     Extension // QR and NFC only
}

// Flow says what a person must do before the device can be found.
type Flow uint8

const (
	FlowStandard   Flow = iota // switch it on
	FlowUserIntent             // press something on it
	FlowCustom                 // follow the vendor's steps; a 21-digit code always says this
)

func (f Flow) String() string {
	switch f {
	case FlowStandard:
		return "standard"
	case FlowUserIntent:
		return "user-intent"
	case FlowCustom:
		return "custom"
	}
	return fmt.Sprintf("flow %d", uint8(f))
}

// Discovery is the set of ways a device can be found. Bits that are not named
// here are kept.
type Discovery uint8

const (
	DiscoverSoftAP    Discovery = 1 << iota // a Wi-Fi network of the device's own
	DiscoverBLE                             // Bluetooth advertisements
	DiscoverOnNetwork                       // DNS-SD: the device is on the IP network
	DiscoverWiFiPAF                         // Wi-Fi public action frames
	DiscoverNFC                             // the NFC transport layer
	DiscoverThread                          // Thread MeshCoP
)

var discoveryNames = []string{"soft-ap", "ble", "on-network", "wifi-paf", "nfc", "thread"}

func (d Discovery) String() string {
	var names []string
	for i, name := range discoveryNames {
		if d&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if rest := d >> len(discoveryNames); rest != 0 {
		names = append(names, fmt.Sprintf("%#x", uint8(rest<<len(discoveryNames))))
	}
	return strings.Join(names, "+")
}

// Discriminator tells devices in commissioning mode apart. A manual code holds
// only its four most significant bits: it is then short, and may match several
// devices.
type Discriminator struct {
	value uint16 // short: the four bits in their place, the rest zero
	short bool
}

// Long is the full discriminator v, of which only the low 12 bits count.
func Long(v uint16) Discriminator { return Discriminator{value: v & maxDiscriminator} }

// Short is the discriminator of which only the upper four bits, v, are known.
func Short(v uint8) Discriminator {
	return Discriminator{value: uint16(v) << (longBits - shortBits) & maxDiscriminator, short: true}
}

// IsShort reports whether only the upper four bits are known.
func (d Discriminator) IsShort() bool { return d.short }

// Upper is the four most significant bits, which are always known.
func (d Discriminator) Upper() uint8 { return uint8(d.value >> (longBits - shortBits)) }

// Full is all 12 bits; ok is false for a short discriminator.
func (d Discriminator) Full() (v uint16, ok bool) { return d.value, !d.short }

// Matches reports whether a device that announces the full discriminator v
// may be the one meant.
func (d Discriminator) Matches(v uint16) bool {
	if d.short {
		return d.Upper() == Long(v).Upper()
	}
	return d.value == v
}

func (d Discriminator) String() string {
	if d.short {
		return fmt.Sprintf("short %d", d.Upper())
	}
	return fmt.Sprint(d.value)
}

// Parse reads a QR code's text ("MT:…", upper or lower case, one device or
// several) or a manual code (11 or 21 digits, with any spaces and dashes). The
// error is an *Error.
func Parse(code string) ([]Payload, error) {
	code = strings.TrimSpace(code)
	switch {
	case code == "":
		return nil, fail(CodeEmpty)
	case len(code) > maxCodeLength:
		return nil, fail(CodeTooLong)
	}
	if text, ok := matterText(code); ok {
		return parseQR(text)
	}
	if looksManual(code) {
		p, err := parseManual(code)
		if err != nil {
			return nil, err
		}
		return []Payload{p}, nil
	}
	return nil, fail(CodeUnknown)
}

// Validate reports whether p may be used for pairing and be encoded. The error
// is an *Error.
func (p Payload) Validate() error {
	switch {
	case p.Version > maxVersion:
		return fail(CodeVersion)
	case p.Flow > FlowCustom:
		return fail(CodeFlow)
	case p.VendorID > maxVendorID:
		return fail(CodeVendor)
	case p.VendorID != 0 && p.ProductID == 0:
		return fail(CodeProduct)
	case !p.Passcode.Valid():
		return fail(CodePasscode)
	}
	return nil
}
