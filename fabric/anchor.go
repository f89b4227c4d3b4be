package fabric

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
)

func (s *State) addAnchors(c *AddAnchors) error {
	anchors := maps.Clone(s.Anchors)
	for _, a := range c.Anchors {
		if a.Kind != PAA && a.Kind != CDSigner || len(a.DER) == 0 || len(a.DER) > MaxBlob || len(a.Source) > MaxText {
			return refuse(CodeInvalid, "a certificate has no kind or no contents, or is too long")
		}
		id := AnchorID(a.DER)
		if anchors[id] == nil {
			a.AddedAt = s.Time
			anchors[id] = &a
		}
	}
	if len(anchors) > MaxAnchors {
		return refuse(CodeFull, fmt.Sprintf("the trust store holds at most %d certificates", MaxAnchors))
	}
	s.Anchors = anchors
	return nil
}

// AnchorID names a certificate in the trust store.
func AnchorID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func (s *State) removeAnchor(c *RemoveAnchor) error {
	if s.Anchors[c.ID] == nil {
		return refuse(CodeNoAnchor, fmt.Sprintf("the trust store has no certificate %s", c.ID))
	}
	s.Anchors = maps.Clone(s.Anchors)
	delete(s.Anchors, c.ID)
	return nil
}

func (s *State) addException(e *Exception) error {
	switch {
	case e.Name == "" || len(e.Name) > MaxText:
		return refuse(CodeInvalid, "an exception needs a name of at most 256 octets")
	case s.Exceptions[e.Name] != nil:
		return refuse(CodeExists, fmt.Sprintf("there is an exception %q already", e.Name))
	case e.Expires <= s.Time:
		return refuse(CodeInvalid, "the exception would have expired already")
	case len(s.Exceptions) >= MaxExceptions:
		return refuse(CodeFull, fmt.Sprintf("there are %d exceptions", len(s.Exceptions)))
	}
	exception := *e
	s.Exceptions = maps.Clone(s.Exceptions)
	s.Exceptions[e.Name] = &exception
	return nil
}

func (s *State) removeException(c *RemoveException) error {
	if s.Exceptions[c.Name] == nil {
		return refuse(CodeNoException, fmt.Sprintf("there is no exception %q", c.Name))
	}
	s.Exceptions = maps.Clone(s.Exceptions)
	delete(s.Exceptions, c.Name)
	return nil
}
