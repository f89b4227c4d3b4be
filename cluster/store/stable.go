package store

import (
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

// Set keeps a value.
func (s *Store) Set(key, value []byte) error {
	return s.update(func(_ *bbolt.Tx, m *summary) error {
		values := maps.Clone(m.Values) // the old one is still being read
		if values == nil {
			values = make(map[string][]byte)
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
