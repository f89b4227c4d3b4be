package cluster

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/fabric"
)

// Limits of what is read from the log and from snapshots.
const (
	maxCommand  = 32 << 20 // octets; a whole trust state that is restored is the longest
	maxSnapshot = 64 << 20 // octets
	maxElements = 1 << 16  // of one array or map
	maxNesting  = 8
)

// A snapshot is: magic 7, format 1, State (CBOR), SHA-256 of all before 32.
const (
	snapshotMagic  = "GHSTATE"
	snapshotFormat = 1
	snapshotHead   = len(snapshotMagic) + 1
)

// Deterministic, so that the same State is the same octets on every gateway.
var encoding = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Strict in all but unknown fields: the next release may add some.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		UTF8:              cbor.UTF8RejectInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		MaxNestedLevels:   maxNesting,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxElements,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// encodeCommand is a log entry. What it returns, decodeCommand reads.
func encodeCommand(c *fabric.Command) ([]byte, error) {
	b, err := encoding.Marshal(c)
	if err == nil {
		// A text that is not UTF-8 would be encoded, and then stop every
		// gateway that reads it.
		_, err = decodeCommand(b)
	}
	return b, err
}

func decodeCommand(b []byte) (*fabric.Command, error) {
	if len(b) > maxCommand {
		return nil, fmt.Errorf("a command of %d octets, at most %d", len(b), maxCommand)
	}
	c := new(fabric.Command)
	if err := decoding.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("a command that makes no sense: %w", err)
	}
	return c, nil
}

func encodeState(s *fabric.State) ([]byte, error) {
	encoded, err := encoding.Marshal(s)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, snapshotHead+len(encoded)+sha256.Size)
	b = append(append(append(b, snapshotMagic...), snapshotFormat), encoded...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

func decodeState(b []byte) (*fabric.State, error) {
	switch {
	case len(b) < snapshotHead+sha256.Size || len(b) > maxSnapshot || string(b[:len(snapshotMagic)]) != snapshotMagic:
		return nil, errors.New("this is no snapshot of a trust state")
	case b[len(snapshotMagic)] != snapshotFormat:
		return nil, fmt.Errorf("the snapshot is of format %d, this release reads %d", b[len(snapshotMagic)], snapshotFormat)
	}
	body := b[:len(b)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], b[len(body):]) {
		return nil, errors.New("the snapshot is damaged")
	}
	s := new(fabric.State)
	if err := decoding.Unmarshal(body[snapshotHead:], s); err != nil {
		return nil, fmt.Errorf("a snapshot that makes no sense: %w", err)
	}
	if s.Version > fabric.Version {
		return nil, fmt.Errorf("the trust state is of version %d, this release knows %d: install the newer release", s.Version, fabric.Version)
	}
	return s, nil
}
