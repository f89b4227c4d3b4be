package attest

import "fmt"

// Code is the stable name of a reason.
type Code string

const (
	DACMalformed   Code = "dac-malformed"
	DACProfile     Code = "dac-profile"
	DACVendor      Code = "dac-vendor"
	DACProduct     Code = "dac-product"
	DACIssuer      Code = "dac-issuer"
	DACSignature   Code = "dac-signature"
	DACNotYetValid Code = "dac-not-yet-valid"
	DACExpired     Code = "dac-expired"
	DACRevoked     Code = "dac-revoked"

	PAIMalformed Code = "pai-malformed"
	PAIProfile   Code = "pai-profile"
	PAIVendor    Code = "pai-vendor"
	PAIIssuer    Code = "pai-issuer"
	PAISignature Code = "pai-signature"
	PAITime      Code = "pai-time"
	PAIRevoked   Code = "pai-revoked"

	PAAUnknown Code = "paa-unknown"
	PAATime    Code = "paa-time"
	TestRoot   Code = "test-root"

	ElementsMalformed Code = "elements-malformed"
	ElementsSignature Code = "elements-signature"
	ElementsNonce     Code = "elements-nonce"

	CDMalformed     Code = "cd-malformed"
	CDSignerUnknown Code = "cd-signer-unknown"
	CDSignature     Code = "cd-signature"
	CDSignerType    Code = "cd-signer-type"
	CDFormat        Code = "cd-format"
	CDVendor        Code = "cd-vendor"
	CDProduct       Code = "cd-product"
	CDPAA           Code = "cd-paa"
	CDTestSigner    Code = "cd-test-signer"
	CDTestType      Code = "cd-test-type"

	CSRMalformed Code = "csr-malformed"
	CSRNonce     Code = "csr-nonce"
	CSRSignature Code = "csr-signature"

	NoteProvisional         Code = "cd-provisional"
	NoteRevocationUnchecked Code = "revocation-unchecked"
	NoteTimeUnchecked       Code = "time-unchecked"
)

const (
	counterfeit = "do not add the device: it may be counterfeit. Return it, or ask its maker"
	faulty      = "reset the device and try again; if it happens again, ask its maker"
	developer   = "if this is a device under development, add an exception for it in the settings"
)

var explanations = map[Code]struct{ message, remedy string }{
	DACMalformed:   {"the device's attestation certificate cannot be read", counterfeit},
	DACProfile:     {"the device's attestation certificate breaks the rules for one", counterfeit},
	DACVendor:      {"the device's attestation certificate is for another vendor than the one that issued it", counterfeit},
	DACProduct:     {"the device's attestation certificate is for another product than its issuer may certify", counterfeit},
	DACIssuer:      {"the device's attestation certificate was not issued by the certificate shown with it", counterfeit},
	DACSignature:   {"the signature on the device's attestation certificate is wrong", counterfeit},
	DACNotYetValid: {"the device's attestation certificate is not valid yet", "check the gateway's clock and try again"},
	DACExpired:     {"the device's attestation certificate has expired", "check the gateway's clock; if it is right, ask the device's maker"},
	DACRevoked:     {"the device's attestation certificate has been revoked", counterfeit},

	PAIMalformed: {"the maker's intermediate certificate cannot be read", counterfeit},
	PAIProfile:   {"the maker's intermediate certificate breaks the rules for one", counterfeit},
	PAIVendor:    {"the maker's intermediate certificate is for another vendor than its root", counterfeit},
	PAIIssuer:    {"the maker's intermediate certificate was not issued by its root", counterfeit},
	PAISignature: {"the signature on the maker's intermediate certificate is wrong", counterfeit},
	PAITime:      {"the maker's intermediate certificate was not valid when the device's was issued", counterfeit},
	PAIRevoked:   {"the maker's intermediate certificate has been revoked", counterfeit},

	PAAUnknown: {"the root certificate of the device's maker is not among those the gateway trusts",
		"update the gateway's list of roots and try again; if the root is still missing, do not add the device"},
	PAATime:  {"the maker's root certificate was not valid when the device's was issued", counterfeit},
	TestRoot: {"the device is certified by a test root, which anybody can use", developer},

	ElementsMalformed: {"the device's attestation cannot be read", faulty},
	ElementsSignature: {"the device could not prove that its attestation certificate is its own", counterfeit},
	ElementsNonce:     {"the device answered another question than the one asked, as if replaying an old answer", counterfeit},

	CDMalformed:     {"the certification declaration cannot be read", faulty},
	CDSignerUnknown: {"the certification declaration is signed with an unknown key", "update the gateway's list of roots and try again; if the key is still unknown, do not add the device"},
	CDSignature:     {"the signature on the certification declaration is wrong", counterfeit},
	CDSignerType:    {"the certification declaration claims a full certification, but is signed with a test key", counterfeit},
	CDFormat:        {"the certification declaration is of a kind that does not exist yet", "update the gateway and try again"},
	CDVendor:        {"the certification declaration is for another vendor", counterfeit},
	CDProduct:       {"the certification declaration is for another product", counterfeit},
	CDPAA:           {"the certification declaration does not allow the root that certifies the device", counterfeit},
	CDTestSigner:    {"the certification declaration is signed with a test key, which anybody can use", developer},
	CDTestType:      {"the certification declaration is only for development", developer},

	CSRMalformed: {"the device's certificate request cannot be read", faulty},
	CSRNonce:     {"the device's certificate request answers another question than the one asked", counterfeit},
	CSRSignature: {"the device's certificate request is not signed with its attestation key", counterfeit},

	NoteProvisional:         {"the device's certification is provisional", "nothing needs to be done"},
	NoteRevocationUnchecked: {"whether the device's certificates have been revoked was not checked", "update the gateway's list of revoked certificates"},
	NoteTimeUnchecked:       {"whether the device's certificate has expired was not checked, because the time is not known", "let the gateway reach a time server"},
}

// Reason is one thing that speaks against a device, or is worth noting.
type Reason struct {
	Code      Code
	Message   string // what is wrong, as a sentence
	Detail    string // with which values; may be empty
	Remedy    string // what to do about it
	Exception string // the exception that let it pass, or ""
}

func newReason(code Code, format string, args ...any) Reason {
	x := explanations[code]
	return Reason{Code: code, Message: x.message, Remedy: x.remedy, Detail: fmt.Sprintf(format, args...)}
}

func (r Reason) Error() string {
	if r.Detail == "" {
		return r.Message
	}
	return r.Message + ": " + r.Detail
}
