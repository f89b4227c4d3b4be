package enroll

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Code is the stable name of a failure.
type Code string

const (
	CodeNotFound    Code = "gateway-not-found"
	CodeNotGateway  Code = "not-a-gateway"
	CodePasscode    Code = "passcode-wrong"
	CodeClosed      Code = "gateway-not-accepting"
	CodeBusy        Code = "gateway-busy"
	CodeUnreachable Code = "gateway-unreachable"
	CodeVersion     Code = "gateway-of-other-version"
	CodeProtocol    Code = "gateway-protocol"
	CodeUnproved    Code = "gateway-unproved"
	CodeElsewhere   Code = "gateway-in-other-home"
	CodeEnroll      Code = "gateway-not-enrolled"
	CodeRefused     Code = "gateway-refused"
	CodeUnconfirmed Code = "gateway-unconfirmed"
	CodeCancelled   Code = "cancelled"
	CodeTime        Code = "step-timeout"
)

var explanations = map[Code]struct{ message, remedy string }{
	CodeNotFound:    {"no new gateway shows this code", "check that it has power, is on this network and still shows this very code, and try again"},
	CodeNotGateway:  {"the code is that of a device, not of a gateway", "pair it as a device, or give the code that the new gateway shows"},
	CodePasscode:    {"the gateway has another passcode than the code says", "give the code that it shows now: it draws another after many wrong attempts, and when it starts"},
	CodeClosed:      {"the gateway does not accept anybody now", "give the code that it shows in a quarter of a minute"},
	CodeBusy:        {"another member is admitting the gateway", "wait half a minute and see whether it has become a member"},
	CodeUnreachable: {"the gateway stopped answering", "check its power and its network and give the code again: nothing was changed yet"},
	CodeVersion:     {"the gateway's release does not fit this home's", "bring both to the same release and try again"},
	CodeProtocol:    {"the gateway answered in a way that it should not", "bring it to the release of this home's gateways and try again"},
	CodeUnproved:    {"the gateway could not prove that its keys are its own", "do not use it unless you know why; flash it anew"},
	CodeElsewhere:   {"the gateway is a member of a home by another certificate", "flash it anew, or reset it, before it can join this home"},
	CodeEnroll:      {"the home could not take the gateway in", "see the reason given, then give the code again: what was committed is used again"},
	CodeRefused:     {"the gateway did not take its membership", "see the reason given"},
	CodeUnconfirmed: {"the gateway did not say whether it took its membership", ""},
	CodeCancelled:   {"the request was cancelled", "try again when ready"},
	CodeTime:        {"it took too long", "check the gateway's power and its network and try again"},
}

// committedRemedy is that of every failure after the home has committed the
// gateway's certificate.
const committedRemedy = "this home counts the gateway as a member already: if it does not appear among the gateways by itself, give the code that it shows again, " +
	"which uses what was committed, or evict it"

// Failure is what went wrong, for a person.
type Failure struct {
	Code    Code
	Step    string
	Message string
	Remedy  string
	// Node is the gateway's, if the home has committed its certificate all
	// the same; else 0.
	Node cert.NodeID
	err  error
}

func (f *Failure) Error() string {
	if f.Step != "" {
		return f.Step + ": " + f.Message
	}
	return f.Message
}

func (f *Failure) Unwrap() error { return f.err }

// fail is a Failure with the code's explanation and err as its detail.
func fail(code Code, err error) *Failure {
	e := explanations[code]
	f := &Failure{Code: code, Message: e.message, Remedy: e.remedy, err: err}
	if err != nil {
		f.Message = fmt.Sprintf("%s (%v)", e.message, err)
	}
	return f
}

// explain makes a Failure of any error. otherwise is the code where the error
// itself says nothing better.
func explain(err error, otherwise Code) *Failure {
	var f *Failure
	var refused *fabric.Refusal
	status, answered := interaction.StatusOf(err)
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &refused):
		return &Failure{Code: Code(refused.Code), Message: refused.Reason, Remedy: explanations[CodeEnroll].remedy, err: err}
	case errors.Is(err, context.Canceled):
		return &Failure{Code: CodeCancelled, Message: explanations[CodeCancelled].message, Remedy: explanations[CodeCancelled].remedy, err: err}
	case errors.Is(err, context.DeadlineExceeded):
		return fail(CodeTime, nil)
	case errors.Is(err, securechannel.ErrPasscode):
		return fail(CodePasscode, nil)
	case securechannel.IsStatus(err, securechannel.CodeInvalidParameter):
		return fail(CodeClosed, nil)
	case securechannel.IsStatus(err, securechannel.CodeBusy), answered && status == interaction.Busy:
		return fail(CodeBusy, nil)
	case answered && (status == interaction.UnsupportedCluster || status == interaction.UnsupportedEndpoint):
		return fail(CodeNotGateway, nil)
	case errors.Is(err, errVersion):
		return fail(CodeVersion, err)
	case errors.Is(err, errUnproved):
		return fail(CodeUnproved, nil)
	case lost(err):
		return fail(CodeUnreachable, err)
	}
	return fail(otherwise, err)
}

// lost reports whether the box, or the session with it, was lost.
func lost(err error) bool {
	return errors.Is(err, exchange.ErrNoAck) || errors.Is(err, exchange.ErrTimeout) || errors.Is(err, exchange.ErrClosed) || errors.Is(err, exchange.ErrLinkLost)
}
