package fabric

import (
	"bytes"
	"errors"
	"slices"
)

// Limits of what is remembered of requests: longer than anybody goes on asking.
const (
	RequestSize = 16  // octets of Command.Request
	maxRecent   = 256 // requests remembered
)

// Outcome is what became of a request.
type Outcome struct {
	Request []byte `cbor:"0,keyasint"`
	Code    Code   `cbor:"1,keyasint,omitempty"` // empty: done
	Reason  string `cbor:"2,keyasint,omitempty"`
}

// outcome is what became of a request that was applied before, nil if none was.
func (s *State) outcome(request []byte) *Outcome {
	i := slices.IndexFunc(s.Recent, func(o Outcome) bool { return bytes.Equal(o.Request, request) })
	if i < 0 {
		return nil
	}
	return &s.Recent[i]
}

// err is what Apply answered to the request.
func (o *Outcome) err() error {
	if o.Code == "" {
		return nil
	}
	return refuse(o.Code, o.Reason)
}

// remember keeps what Apply answers to a request.
func (s *State) remember(request []byte, err error) {
	o := Outcome{Request: request}
	var r *Refusal
	if errors.As(err, &r) {
		o.Code, o.Reason = r.Code, Cut(r.Reason)
	}
	recent := s.Recent
	if len(recent) >= maxRecent {
		recent = recent[1:]
	}
	s.Recent = append(slices.Clip(recent), o) // clipped: no other State's array is written
}
