package manifest

import (
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Code names a kind of failure. It never changes its meaning: rules, logs and
// translations may rest on it.
type Code string

const (
	Unreachable  Code = "manifest-unreachable"
	Slow         Code = "manifest-slow"
	Endless      Code = "manifest-endless"
	Malformed    Code = "manifest-malformed"
	Newer        Code = "manifest-newer"
	Signatures   Code = "manifest-signatures"
	Frozen       Code = "manifest-frozen"
	Rollback     Code = "manifest-rollback"
	Mixed        Code = "manifest-mixed"
	WrongContent Code = "manifest-wrong-content"
	Outside      Code = "manifest-outside"
	Damaged      Code = "manifest-cache-damaged"
	Storage      Code = "manifest-storage"
)

// advice has what each code means and what to do, one sentence each.
var advice = map[Code][2]string{
	Unreachable:  {"the repository cannot be read", "check the network or the USB stick; what was known before still holds"},
	Slow:         {"the repository answers too slowly to be of use", "try again later, or use another mirror; something may be holding updates back"},
	Endless:      {"a file of the repository is longer than it may be", "do not use this mirror; tell the publisher if it lasts"},
	Malformed:    {"a file of the repository cannot be understood", "tell the publisher"},
	Newer:        {"a statement is written for a newer Gatehouse", "update the gateway"},
	Signatures:   {"too few of the keys that this repository's root names have signed", "do not use this mirror; ask the publisher which keys are right"},
	Frozen:       {"the statements have expired: somebody may be hiding newer ones", "check the gateway's clock; ask the publisher to renew"},
	Rollback:     {"the repository shows older statements than were seen before", "do not use this mirror; ask the publisher whether it was restored from a backup"},
	Mixed:        {"files of different states of the repository were put together", "try again in a minute; if it lasts, do not use this mirror"},
	WrongContent: {"a file is not the one that was signed", "do not use this mirror"},
	Outside:      {"a vendor speaks of what it was not entrusted with", "tell the publisher; the statement is not used"},
	Damaged:      {"the gateway's own copy of the statements is damaged", "refresh; if it happens again, replace the storage"},
	Storage:      {"the gateway cannot keep the statements", "make room on the storage, or replace it"},
}

// Error is why statements, or a part of them, were refused.
type Error struct {
	Code Code
	Part string // the role or file, empty where it is the whole
	Err  error  // what was seen, nil where the code says it all
}

// Means says in one sentence what the code stands for.
func (e *Error) Means() string { return advice[e.Code][0] }

// Do says in one sentence what to do.
func (e *Error) Do() string { return advice[e.Code][1] }

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Part != "" {
		s += ": " + e.Part
	}
	if e.Err == nil {
		return s + ": " + e.Means()
	}
	return fmt.Sprintf("%s: %v", s, e.Err)
}

// CodeOf returns the code of err, or "" where it has none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func refuse(code Code, part, format string, args ...any) *Error {
	return &Error{code, part, fmt.Errorf(format, args...)}
}

// classify gives an error its code, unless it has one. What TUF calls a bad
// version is what version says: a rollback or a mix, by where it is seen.
func classify(part string, err error, version Code) error {
	if err == nil || CodeOf(err) != "" {
		return err
	}
	is := func(target error) bool { return errors.Is(err, target) }
	code := Malformed
	switch {
	case is(&metadata.ErrUnsignedMetadata{}):
		code = Signatures
	case is(&metadata.ErrExpiredMetadata{}):
		code = Frozen
	case is(&metadata.ErrBadVersionNumber{}):
		code = version
	case is(&metadata.ErrLengthOrHashMismatch{}):
		code = Mixed
	case is(&metadata.ErrRepository{}): // something is left out
		code = version
	}
	return &Error{code, part, err}
}
