package interaction

import (
	"errors"
	"fmt"
)

// Status is a status code of the interaction model (Matter Core 8.10).
type Status uint8

const (
	Success                Status = 0x00
	Failure                Status = 0x01
	InvalidSubscription    Status = 0x7d
	UnsupportedAccess      Status = 0x7e
	UnsupportedEndpoint    Status = 0x7f
	InvalidAction          Status = 0x80
	UnsupportedCommand     Status = 0x81
	InvalidCommand         Status = 0x85
	UnsupportedAttribute   Status = 0x86
	ConstraintError        Status = 0x87
	UnsupportedWrite       Status = 0x88
	ResourceExhausted      Status = 0x89
	NotFound               Status = 0x8b
	UnreportableAttribute  Status = 0x8c
	InvalidDataType        Status = 0x8d
	UnsupportedRead        Status = 0x8f
	DataVersionMismatch    Status = 0x92
	Timeout                Status = 0x94
	UnsupportedNode        Status = 0x9b
	Busy                   Status = 0x9c
	AccessRestricted       Status = 0x9d
	UnsupportedCluster     Status = 0xc3
	NoUpstreamSubscription Status = 0xc5
	NeedsTimedInteraction  Status = 0xc6
	UnsupportedEvent       Status = 0xc7
	PathsExhausted         Status = 0xc8
	TimedRequestMismatch   Status = 0xc9
	FailsafeRequired       Status = 0xca
	InvalidInState         Status = 0xcb
	NoCommandResponse      Status = 0xcc
	InvalidTransportType   Status = 0xd1
)

var statusNames = map[Status]string{
	Success: "success", Failure: "failure", InvalidSubscription: "invalid subscription", UnsupportedAccess: "unsupported access",
	UnsupportedEndpoint: "unsupported endpoint", InvalidAction: "invalid action", UnsupportedCommand: "unsupported command",
	InvalidCommand: "invalid command", UnsupportedAttribute: "unsupported attribute", ConstraintError: "constraint error",
	UnsupportedWrite: "unsupported write", ResourceExhausted: "resource exhausted", NotFound: "not found",
	UnreportableAttribute: "unreportable attribute", InvalidDataType: "invalid data type", UnsupportedRead: "unsupported read",
	DataVersionMismatch: "data version mismatch", Timeout: "timeout", UnsupportedNode: "unsupported node", Busy: "busy",
	AccessRestricted: "access restricted", UnsupportedCluster: "unsupported cluster", NoUpstreamSubscription: "no upstream subscription",
	NeedsTimedInteraction: "needs timed interaction", UnsupportedEvent: "unsupported event", PathsExhausted: "paths exhausted",
	TimedRequestMismatch: "timed request mismatch", FailsafeRequired: "failsafe required", InvalidInState: "invalid in state",
	NoCommandResponse: "no command response", InvalidTransportType: "invalid transport type",
}

func (s Status) String() string {
	if name := statusNames[s]; name != "" {
		return name
	}
	return fmt.Sprintf("status %#02x", uint8(s))
}

// StatusError is a status other than success, and whose it is.
type StatusError struct {
	Status  Status
	Cluster *uint8 // the cluster's own code, if it gave one
	Path    string // empty: of the whole interaction
}

func (e *StatusError) Error() string {
	what := "interaction"
	if e.Path != "" {
		what = e.Path
	}
	if e.Cluster != nil {
		return fmt.Sprintf("%s: %v (cluster status %d)", what, e.Status, *e.Cluster)
	}
	return fmt.Sprintf("%s: %v", what, e.Status)
}

func (s StatusIB) err(path string) error {
	if s.Status == Success && (s.Cluster == nil || *s.Cluster == 0) {
		return nil
	}
	return &StatusError{s.Status, s.Cluster, path}
}

// StatusOf is the status that err came of, if a peer's status is its cause.
func StatusOf(err error) (Status, bool) {
	var e *StatusError
	if errors.As(err, &e) {
		return e.Status, true
	}
	return Success, false
}
