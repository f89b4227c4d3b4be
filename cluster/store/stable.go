package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"

	"github.com/fxamacker/cbor/v2"
	"go.etcd.io/bbolt"
)

// summary is all but the log itself, in one value with a checksum, written with
// every change. bbolt has no checksums: where a page lost its entries the log
// would only seem shorter, and a vote never given. It is
//
//	CBOR, CRC-32C 4
type summary struct {
	Owner  string            `cbor:"0,keyasint"`
	First  uint64            `cbor:"1,keyasint"` // index of the log, 0: it is empty
	Last   uint64            `cbor:"2,keyasint"`
	Values map[string][]byte `cbor:"3,keyasint"` // Raft's term and vote
	// Committed is up to where a quorum was known to have the log.
	Committed uint64 `cbor:"4,keyasint,omitempty"`
}

var summaryKey = []byte("summary")

func (m *summary) put(tx *bbolt.Tx) error {
	b, err := cbor.Marshal(m)
	if err != nil {
		return err
	}
	return tx.Bucket(metaBucket).Put(summaryKey, binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)))
}

func readSummary(tx *bbolt.Tx) (m summary, err error) {
	b := tx.Bucket(metaBucket).Get(summaryKey)
	n := len(b) - crc32.Size
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return m, errors.New("its summary is damaged")
	}
	return m, cbor.Unmarshal(b[:n], &m)
}

// now is the summary as last committed.
func (s *Store) now() summary {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.summary
}

// Raft's own keys.
const (
	currentTerm = "CurrentTerm"
	votedTerm   = "LastVoteTerm"
	votedFor    = "LastVoteCand"
)

// Set keeps a value, which must not be empty. What Raft must never do, and would lose what is committed,
// is as good as a disk that fails: to take back a term, and to vote twice in
// one.
func (s *Store) Set(key, value []byte) error {
	if len(value) == 0 { // Raft would take a vote for nobody for none
		return s.fail(fmt.Errorf("%q would be empty", key))
	}
	return s.update(func(_ *bbolt.Tx, m *summary) error {
		values := maps.Clone(m.Values) // the old one is still being read
		if values == nil {
			values = make(map[string][]byte)
		}
		switch order := bytes.Compare(value, values[string(key)]); string(key) { // big-endian numbers
		case currentTerm:
			if order < 0 {
				return fmt.Errorf("term %x would follow %x", value, values[currentTerm])
			}
		case votedTerm:
			if order < 0 || order == 0 && values[votedFor] != nil {
				return fmt.Errorf("there would be a second vote in term %x, or one after it in %x", values[votedTerm], value)
			}
			// Raft writes the term first. A crash before it writes who got the
			// vote must not leave the one of before: Raft would grant that one
			// another vote, without a look at its log.
			delete(values, votedFor)
		}
		values[string(key)] = append([]byte{}, value...)
		m.Values = values
		return nil
	})
}

// Get is a value kept, or nil.
func (s *Store) Get(key []byte) ([]byte, error) {
	return append([]byte(nil), s.now().Values[string(key)]...), s.broken()
}

// SetUint64 keeps a number.
func (s *Store) SetUint64(key []byte, n uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, n))
}

// GetUint64 is a number kept, or 0.
func (s *Store) GetUint64(key []byte) (uint64, error) {
	value, err := s.Get(key)
	if err != nil || value == nil {
		return 0, err
	}
	if len(value) != 8 {
		return 0, s.fail(fmt.Errorf("%q is no number", key))
	}
	return binary.BigEndian.Uint64(value), nil
}
