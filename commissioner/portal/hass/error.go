package hass

import (
	"errors"
	"fmt"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric/cert"
)

// Code is the number of a kind of error.
type Code int

const (
	Unknown          Code = 0
	CommissionFailed Code = 1
	InterviewFailed  Code = 2
	NotReady         Code = 3
	NotResolving     Code = 4
	NotExists        Code = 5
	SDKStack         Code = 7
	InvalidArguments Code = 8
	InvalidCommand   Code = 9
	UpdateCheck      Code = 10
	UpdateFailed     Code = 11
	UploadFailed     Code = 101

	// OtherAdministrators has JSON for details.
	OtherAdministrators Code = 100
)

// Error is an error as a client is told it.
type Error struct {
	Code    Code
	Details string
	// Status and Cluster are what the device said; nil: it said nothing.
	Status  *interaction.Status
	Cluster *uint8
}

func (e *Error) Error() string { return e.Details }

func fail(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Details: fmt.Sprintf(format, args...)}
}

// missing is the error of a node that is not there.
func missing(n cert.NodeID) *Error { return fail(NotExists, "Node %d does not exist", uint64(n)) }

// absent is the error of what this gateway does not do.
func absent(what string) *Error { return fail(Unknown, "this gateway %s", what) }

// codes are those of the failures that have one of their own.
var codes = map[commissioner.Code]Code{
	commissioner.CodeUnknownDevice:   NotExists,
	commissioner.CodeUnreachable:     NotResolving,
	commissioner.CodeTime:            NotResolving,
	commissioner.CodeAsleep:          NotReady,
	commissioner.CodeInvalidArgument: InvalidArguments,
	commissioner.CodeDeviceStatus:    SDKStack,
	commissioner.CodeProtocol:        SDKStack,
	commissioner.CodeNoUpdate:        UpdateFailed,
	commissioner.CodeNoImage:         UpdateFailed,
	commissioner.CodeUpdateFailed:    UpdateFailed,
	commissioner.CodeNotUpdatable:    UpdateFailed,
}

// explain makes an Error of any error. otherwise is the code of one that says
// nothing better. Where that is of what the command was for, as of a pairing,
// it says more than that the device could not be reached.
func explain(err error, otherwise Code) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = &Error{Code: otherwise, Details: err.Error()}
	var f *commissioner.Failure
	var status *interaction.StatusError
	if errors.As(err, &f) {
		if code, ok := codes[f.Code]; ok && (otherwise == SDKStack || otherwise == Unknown || code == InvalidArguments || code == NotExists) {
			e.Code = code
		}
		for _, r := range f.Reasons {
			e.Details += "; " + r.Message
		}
		if f.Remedy != "" {
			e.Details += ": " + f.Remedy
		}
	}
	if errors.As(err, new(*setup.Error)) {
		e.Code = InvalidArguments
	}
	if errors.As(err, &status) {
		e.Status, e.Cluster = &status.Status, status.Cluster
	}
	return e
}
