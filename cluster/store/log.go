package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// A log entry is stored under its index, big-endian:
//
//	version 1, type 1, term 8, appended at 8 (Unix ns), length of extensions 4, extensions, data, CRC-32C 4
//
// The checksum covers the index too.
const (
	entryVersion = 1
	entryHead    = 1 + 1 + 8 + 8 + 4
	entryTail    = 4
	// fill leaves little room in a page: the log is only ever appended to.
	fill = 0.9
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func key(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func encodeEntry(l *raft.Log) []byte {
	b := make([]byte, 0, entryHead+len(l.Extensions)+len(l.Data)+entryTail)
	b = append(b, entryVersion, byte(l.Type))
	b = binary.BigEndian.AppendUint64(b, l.Term)
	var appended int64
	if !l.AppendedAt.IsZero() {
		appended = l.AppendedAt.UnixNano()
	}
	b = binary.BigEndian.AppendUint64(b, uint64(appended))
	b = binary.BigEndian.AppendUint32(b, uint32(len(l.Extensions)))
	b = append(append(b, l.Extensions...), l.Data...)
	return binary.BigEndian.AppendUint32(b, entrySum(l.Index, b))
}

func entrySum(index uint64, b []byte) uint32 {
	return crc32.Update(crc32.Checksum(key(index), castagnoli), castagnoli, b)
}

// decodeEntry reads the entry of an index. It keeps nothing of b.
func decodeEntry(index uint64, b []byte, l *raft.Log) error {
	if len(b) < entryHead+entryTail {
		return fmt.Errorf("log entry %d has %d octets", index, len(b))
	}
	body := b[:len(b)-entryTail]
	if entrySum(index, body) != binary.BigEndian.Uint32(b[len(body):]) {
		return fmt.Errorf("log entry %d is damaged", index)
	}
	if body[0] != entryVersion {
		return fmt.Errorf("log entry %d is of format %d, this release reads %d", index, body[0], entryVersion)
	}
	extensions, rest := uint64(binary.BigEndian.Uint32(body[18:])), body[entryHead:]
	if extensions > uint64(len(rest)) {
		return fmt.Errorf("log entry %d has %d octets of extensions in %d", index, extensions, len(rest))
	}
	*l = raft.Log{Index: index, Type: raft.LogType(body[1]), Term: binary.BigEndian.Uint64(body[2:])}
	if appended := int64(binary.BigEndian.Uint64(body[10:])); appended != 0 {
		l.AppendedAt = time.Unix(0, appended)
	}
	if extensions > 0 {
		l.Extensions = append([]byte(nil), rest[:extensions]...)
	}
	if len(rest) > int(extensions) {
		l.Data = append([]byte(nil), rest[extensions:]...)
	}
	return nil
}

// bounds are the first and the last index of the log, 0 if it is empty.
func bounds(tx *bbolt.Tx) (first, last uint64) {
	c := tx.Bucket(logBucket).Cursor()
	if k, _ := c.First(); k != nil {
		first = binary.BigEndian.Uint64(k)
	}
	if k, _ := c.Last(); k != nil {
		last = binary.BigEndian.Uint64(k)
	}
	return first, last
}

// FirstIndex is the log's first index, or 0.
func (s *Store) FirstIndex() (first uint64, err error) {
	err = s.view(func(tx *bbolt.Tx) error { first, _ = bounds(tx); return nil })
	return first, err
}

// LastIndex is the log's last index, or 0.
func (s *Store) LastIndex() (last uint64, err error) {
	err = s.view(func(tx *bbolt.Tx) error { _, last = bounds(tx); return nil })
	return last, err
}

// GetLog reads an entry; raft.ErrLogNotFound if there is none.
func (s *Store) GetLog(index uint64, l *raft.Log) error {
	var damage error
	err := s.view(func(tx *bbolt.Tx) error {
		b := tx.Bucket(logBucket).Get(key(index))
		if b == nil {
			return raft.ErrLogNotFound
		}
		damage = decodeEntry(index, b, l)
		return nil
	})
	if damage != nil {
		return s.fail(damage)
	}
	return err
}

// StoreLog appends an entry.
func (s *Store) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs appends entries, all or none, in one transaction. They must follow
// the last one.
func (s *Store) StoreLogs(logs []*raft.Log) error {
	return s.update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(logBucket)
		bucket.FillPercent = fill
		_, last := bounds(tx)
		for _, l := range logs {
			if last != 0 && l.Index != last+1 {
				return fmt.Errorf("log entry %d after %d", l.Index, last)
			}
			if len(l.Extensions) > math.MaxUint32 {
				return errors.New("extensions too long")
			}
			if err := bucket.Put(key(l.Index), encodeEntry(l)); err != nil {
				return err
			}
			last = l.Index
		}
		return nil
	})
}

// DeleteRange removes the entries from low to high, both included.
func (s *Store) DeleteRange(low, high uint64) error {
	return s.update(func(tx *bbolt.Tx) error { return deleteRange(tx, low, high) })
}

func deleteRange(tx *bbolt.Tx, low, high uint64) error {
	c := tx.Bucket(logBucket).Cursor()
	for k, _ := c.Seek(key(low)); k != nil && binary.BigEndian.Uint64(k) <= high; k, _ = c.Seek(key(low)) {
		if err := c.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// IsMonotonic says that the log has no gaps; see raft.MonotonicLogStore.
func (s *Store) IsMonotonic() bool { return true }
