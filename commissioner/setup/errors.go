package setup

import "fmt"

// Code is the stable name of what is wrong with a setup code.
type Code string

const (
	CodeEmpty         Code = "code-empty"
	CodeUnknown       Code = "code-unknown"
	CodeTooLong       Code = "code-too-long"
	CodeCharacter     Code = "code-character"
	CodeLength        Code = "code-length"
	CodeChecksum      Code = "code-checksum"
	CodePadding       Code = "code-padding"
	CodeVersion       Code = "code-version"
	CodeFlow          Code = "code-flow"
	CodeVendor        Code = "code-vendor"
	CodeProduct       Code = "code-product"
	CodePasscode      Code = "code-passcode"
	CodeDiscriminator Code = "code-discriminator"
	CodeExtension     Code = "code-extension"
	CodeNFC           Code = "code-nfc"
)

const (
	scanAgain   = "scan the code again, or type the digits printed beside it"
	typeAgain   = "compare the digits with the label one by one and type them again"
	askVendor   = "look for another code on the device or in its leaflet; if this is the only one, ask its maker"
	updateFirst = "update the gateway and try again"
)

var explanations = map[Code]struct{ message, remedy string }{
	CodeEmpty:         {"there is no setup code", "scan the QR code or type the digits printed beside it"},
	CodeUnknown:       {"this is not a Matter setup code", "look for a QR code whose text begins with MT:, or for a number of 11 or 21 digits"},
	CodeTooLong:       {"the setup code is longer than any can be", scanAgain},
	CodeCharacter:     {"a character cannot be part of a setup code", scanAgain},
	CodeLength:        {"characters are missing from the setup code, or there are too many", scanAgain},
	CodeChecksum:      {"the check digit does not fit: a digit is wrong or two are swapped", typeAgain},
	CodePadding:       {"bits that must be empty are set", scanAgain},
	CodeVersion:       {"the setup code is of a newer kind", updateFirst},
	CodeFlow:          {"the setup code asks for a pairing flow that does not exist yet", updateFirst},
	CodeVendor:        {"the vendor number in the setup code cannot be one", askVendor},
	CodeProduct:       {"the setup code names a vendor but no product", askVendor},
	CodePasscode:      {"the passcode in the setup code is one that no device may have", askVendor},
	CodeDiscriminator: {"a QR code needs the full discriminator, and only its first four bits are known", "make a manual code instead"},
	CodeExtension:     {"the additional data in the setup code is malformed", scanAgain},
	CodeNFC:           {"the NFC tag does not hold a Matter setup code", "scan the QR code instead"},
}

// Error says what is wrong with a setup code. It never holds the code itself.
type Error struct {
	Code    Code
	Message string // what is wrong, as a sentence
	Remedy  string // what to do about it
	Index   int    // which of several devices' payloads, from 0
	err     error  // may be nil
}

func (e *Error) Error() string {
	s := e.Message
	if e.Index > 0 {
		s = fmt.Sprintf("device %d in the code: %s", e.Index+1, s)
	}
	if e.err != nil {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.err }

func fail(c Code) error { return failWith(c, nil) }

func failWith(c Code, err error) error {
	x := explanations[c]
	return &Error{Code: c, Message: x.message, Remedy: x.remedy, err: err}
}
