package commissioner

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/attest"
)

// Code is the stable name of a failure.
type Code string

const (
	CodeNotFound        Code = "device-not-found"
	CodePasscode        Code = "passcode-wrong"
	CodeWindowClosed    Code = "device-not-accepting"
	CodeBusy            Code = "device-busy"
	CodeUnreachable     Code = "device-unreachable"
	CodeMember          Code = "device-already-here"
	CodeGateway         Code = "is-a-gateway"
	CodeTableFull       Code = "fabric-table-full"
	CodeModeClosed      Code = "pairing-mode-closed"
	CodeBluetooth       Code = "bluetooth-failed"
	CodeNoNetwork       Code = "network-needed"
	CodeNetworkUnknown  Code = "network-unknown"
	CodeNetworkKind     Code = "network-of-other-kind"
	CodeNetworkUnseen   Code = "network-not-found"
	CodeNetworkPassword Code = "network-password-wrong"
	CodeNetworkSecurity Code = "network-security-unsupported"
	CodeNetworkAddress  Code = "network-no-address"
	CodeNetworkRefused  Code = "network-refused"
	CodeNetworkFailed   Code = "network-not-joined"
	CodeNetworkFull     Code = "network-list-full"
	CodeNetworkInUse    Code = "network-in-use"
	CodeNoBorderRouter  Code = "thread-unreachable"
	CodeBorderRouter    Code = "border-router-refused"
	CodeFailSafe        Code = "failsafe-refused"
	CodeRegulatory      Code = "regulatory-refused"
	CodeAttestation     Code = "attestation-refused"
	CodeFirmware        Code = "firmware-refused"
	CodeDeclined        Code = "firmware-declined"
	CodeNoUpdate        Code = "update-unknown"
	CodeNoImage         Code = "image-not-fetched"
	CodeUpdateFailed    Code = "update-failed"
	CodeNotUpdatable    Code = "device-takes-no-updates"
	CodeReserve         Code = "reservation-refused"
	CodeCSR             Code = "csr-invalid"
	CodeIssue           Code = "certificate-not-issued"
	CodeRoot            Code = "root-refused"
	CodeNOC             Code = "certificate-refused"
	CodeCASE            Code = "operational-session-failed"
	CodeACL             Code = "access-not-written"
	CodeComplete        Code = "completion-refused"
	CodeCommit          Code = "commit-failed"
	CodeUnknownDevice   Code = "device-unknown"
	CodeDeviceStatus    Code = "device-status"
	CodeProtocol        Code = "device-protocol"
	CodeCancelled       Code = "cancelled"
	CodeTime            Code = "step-timeout"
	CodeWindowOpen      Code = "window-already-open"
	CodeWindowNotOpen   Code = "window-not-open"
	CodeOtherFabric     Code = "fabric-not-at-hand"
	CodeRerooted        Code = "home-rerooted"
	CodeMoveDoubt       Code = "move-in-doubt"
	CodeNotLeft         Code = "former-fabric-kept"
	CodeIPKKept         Code = "identity-key-kept"
	CodeAsleep          Code = "device-asleep"
	CodeNoCheckIn       Code = "device-never-checks-in"
	CodeInternal        Code = "internal"
	CodeInvalidArgument Code = "argument-invalid"
)

var explanations = map[Code]struct{ message, remedy string }{
	CodeNotFound:               {"no device in pairing mode has this code", "check that it has power and is on this network, put it into pairing mode (its leaflet says how) and try again"},
	CodePasscode:               {"the device has another passcode than the code says", "scan the code of this very device; after a factory reset it may be the printed one again"},
	CodeWindowClosed:           {"the device does not accept a pairing now", "put it into pairing mode again; after many wrong attempts it may need to be switched off and on"},
	CodeBusy:                   {"the device is busy with another controller", "wait a minute, or stop the other controller, and try again"},
	CodeUnreachable:            {"the device stopped answering", "bring it nearer, check its power and try again: nothing was left on it that the next attempt would mind"},
	CodeGateway:                {"this is a new gateway, not a device", "let it in with `gatehouse gateways add`"},
	CodeMember:                 {"the device is in this home already", "look for it among the devices, or remove it first"},
	CodeTableFull:              {"the device is in as many homes as it can be", "remove it from one of its other controllers' apps, or reset it to factory settings"},
	CodeModeClosed:             {"the gateway is not in pairing mode", "press the gateway's button, then try again within three minutes"},
	CodeBluetooth:              {"the Bluetooth connection to the device failed", "bring the device nearer to the gateway, switch it off and on and try again"},
	CodeNoNetwork:              {"the device needs a network, and the home has none for it", "add one with `gatehouse network add`, then pair it again"},
	CodeNetworkUnknown:         {"the home has no network of that name", "see `gatehouse network list`"},
	CodeNetworkKind:            {"the device has no radio for that network", "choose a network of the kind it has a radio for"},
	CodeNetworkUnseen:          {"the device does not see the network", "bring the device or an access point nearer; many devices know 2.4 GHz only"},
	CodeNetworkPassword:        {"the network did not let the device in: its password is probably wrong", "give the network's password again"},
	CodeNetworkSecurity:        {"the device does not know the network's kind of security", "let the access point offer WPA2 beside WPA3, or choose another network"},
	CodeNetworkAddress:         {"the device joined the network but got no IPv6 address there", "check that the router has IPv6 switched on, at least on the local network"},
	CodeNetworkRefused:         {"the device refuses the network's credentials as malformed", "set the network again with `gatehouse network add`"},
	CodeNetworkFailed:          {"the device could not join the network", "bring it nearer to an access point or border router and try again"},
	CodeNetworkFull:            {"the device has no room for another network", "remove one of its networks, or reset it to factory settings"},
	CodeNetworkInUse:           {"the device is on this network now", "put it on another one first"},
	CodeNoBorderRouter:         {"devices in the Thread network could not be reached from here", "see the reasons given"},
	CodeBorderRouter:           {"the border router did not do what it was asked", "see the reason given"},
	CodeFailSafe:               {"the device refuses to begin", "wait a minute, or stop the other controller that is pairing it, and try again"},
	CodeRegulatory:             {"the device refuses the country or place it was told", "set the home's country and try again"},
	CodeAttestation:            {"the device could not prove that it is genuine", "do not use it unless you know why; see the reasons"},
	CodeFirmware:               {"the home's rules do not let in what the device runs", "update the device with its maker's app and try again, or change the rules; see the reasons"},
	CodeDeclined:               {"the device would come into quarantine for what it runs, and was not let in", "update it with its maker's app and pair it again, or let it in: where there is better software the gateway brings it"},
	CodeNoUpdate:               {"no newer software is known for the device", "add a source that speaks of it (gatehouse firmware source add), or refresh"},
	CodeNoImage:                {"the image of the newer software could not be fetched", "see the reason; plug the stick in, or look at the source's address"},
	CodeUpdateFailed:           {"the device did not take its update", "try again with the device nearer or its power checked; see what it says"},
	CodeNotUpdatable:           {"the device does not take updates from a gateway", "update it with its maker's app"},
	CodeReserve:                {"the trust state has no place for the device", "see the reason given"},
	CodeCSR:                    {"the device's new key is not properly proved", "update or reset the device and try again; if it stays so, return it"},
	CodeIssue:                  {"the gateway could not issue the device's certificate", "look at the gateway's log; its keys may be locked"},
	CodeRoot:                   {"the device refuses this home's root certificate", "reset the device to factory settings and try again"},
	CodeNOC:                    {"the device refuses its new certificate", "reset the device to factory settings and try again"},
	CodeCASE:                   {"the device was not met again under its new identity", "check that the network lets multicast and IPv6 through and try again"},
	CodeACL:                    {"the device did not take the home's access rules", "try again; if it stays so, reset the device"},
	CodeComplete:               {"the device refused the end of its pairing", "try again"},
	CodeCommit:                 {"the gateway could not store the change", "look at the gateway's log and disk; what was in progress is settled by itself"},
	CodeUnknownDevice:          {"there is no such device", "see `gatehouse devices`"},
	CodeDeviceStatus:           {"the device answered with an error", "see the status it gave"},
	CodeProtocol:               {"the device answered in a way that Matter does not allow", "update the device; if it stays so, tell its maker"},
	CodeCancelled:              {"the request was cancelled", "try again when ready"},
	CodeTime:                   {"the device took too long", "bring it nearer, check its power and try again"},
	CodeWindowOpen:             {"a window to share the device is open already", "use the code that was given for it, or close it first"},
	CodeWindowNotOpen:          {"no window to share the device is open", "nothing needs to be done"},
	CodeOtherFabric:            {"this gateway is not on the fabric that the device is on", "wait a minute; if it stays so, reset the device, give it up with `gatehouse fabric reroot --finish` and pair it again"},
	CodeRerooted:               {"the home got another root meanwhile", "try again"},
	CodeMoveDoubt:              {"the device may be on the home's new fabric, and does not answer there yet", "wait a quarter of an hour: it is tried again"},
	CodeNotLeft:                {"the device keeps the home's former fabric", "it is tried again; if it stays so, reset the device and pair it again"},
	CodeIPKKept:                {"the device keeps the identity protection key of before, which is printed in the Matter SDK's source", "it works, and whoever listens can tell that it is this device; it is tried again with other software, and a device that is reset and paired anew has the home's key"},
	CodeAsleep:                 {"the device sleeps", "it can be reached when it wakes up by itself, or when its button is pressed; then try again"},
	CodeNoCheckIn:              {"the device does not sleep for long, or tells nobody when it wakes up", "nothing needs to be done: it is reached as it is"},
	CodeInternal:               {"the gateway failed", "look at its log"},
	Code(fabric.CodeStopped):   {"the roll-out has stopped", "see why (gatehouse firmware rollout), then begin it again"},
	Code(fabric.CodeNoRollout): {"this image is not being rolled out", "see `gatehouse firmware rollout`"},
	CodeInvalidArgument:        {"the request is not well formed", "see the reason given"},
}

// Reason is one of several grounds of a Failure.
type Reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// Failure is what went wrong, for a person.
type Failure struct {
	Code    Code     `json:"code"`
	Step    string   `json:"step,omitempty"`
	Message string   `json:"message"`
	Remedy  string   `json:"remedy"`
	Reasons []Reason `json:"reasons,omitempty"`
	err     error
}

func (f *Failure) Error() string {
	if f.Step != "" {
		return f.Step + ": " + f.Message
	}
	return f.Message
}

func (f *Failure) Unwrap() error { return f.err }

// Fail is a Failure with the code's explanation and err as its detail.
func Fail(code Code, err error) *Failure {
	e := explanations[code]
	f := &Failure{Code: code, Message: e.message, Remedy: e.remedy, err: err}
	if err != nil {
		f.Message = fmt.Sprintf("%s (%v)", e.message, err)
	}
	return f
}

// codeOf is the code of a Failure; empty if err is none.
func codeOf(err error) Code {
	var f *Failure
	if errors.As(err, &f) {
		return f.Code
	}
	return ""
}

// Explain makes a Failure of any error. otherwise is the code where the error
// itself says nothing better.
func Explain(err error, otherwise Code) *Failure {
	var f *Failure
	var code *setup.Error
	var refused *fabric.Refusal
	var status *interaction.StatusError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &code):
		return &Failure{Code: Code(code.Code), Message: code.Message, Remedy: code.Remedy, err: err}
	case errors.As(err, &refused):
		return &Failure{Code: Code(refused.Code), Message: refused.Reason, Remedy: cmp.Or(explanations[Code(refused.Code)].remedy, explanations[CodeReserve].remedy), err: err}
	case errors.Is(err, context.Canceled):
		return &Failure{Code: CodeCancelled, Message: explanations[CodeCancelled].message, Remedy: explanations[CodeCancelled].remedy, err: err}
	case errors.As(err, new(errBluetooth)), errors.Is(err, exchange.ErrLinkLost): // whatever ran out meanwhile
		return Fail(CodeBluetooth, err)
	case errors.Is(err, context.DeadlineExceeded):
		return Fail(CodeTime, nil)
	case errors.Is(err, exchange.ErrNoAck), errors.Is(err, exchange.ErrTimeout), errors.Is(err, exchange.ErrClosed):
		return Fail(CodeUnreachable, err)
	case errors.Is(err, securechannel.ErrPasscode):
		return Fail(CodePasscode, nil)
	case securechannel.IsStatus(err, securechannel.CodeBusy):
		return Fail(CodeBusy, nil)
	case errors.As(err, &status) && otherwise == CodeProtocol:
		return Fail(CodeDeviceStatus, err)
	}
	return Fail(otherwise, err)
}

// refusedBy is the Failure of an attestation verdict.
func refusedBy(v attest.Verdict) *Failure {
	f := Fail(CodeAttestation, nil)
	for _, r := range v.Reasons {
		if r.Exception == "" {
			message := r.Message
			if r.Detail != "" {
				message += ": " + r.Detail
			}
			f.Reasons = append(f.Reasons, Reason{string(r.Code), message, r.Remedy})
		}
	}
	if len(f.Reasons) > 0 { // the first is the nearest to the cause
		f.Code = Code(f.Reasons[0].Code)
		f.Message, f.Remedy = f.Message+": "+f.Reasons[0].Message, f.Reasons[0].Remedy
	}
	return f
}
