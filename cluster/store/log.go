package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
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

// FirstIndex is the log's first index, or 0.
func (s *Store) FirstIndex() (uint64, error) { return s.now().First, s.broken() }

// LastIndex is the log's last index, or 0.
func (s *Store) LastIndex() (uint64, error) { return s.now().Last, s.broken() }

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
	return s.update(func(tx *bbolt.Tx, m *summary) error {
		bucket := tx.Bucket(logBucket)
		bucket.FillPercent = fill
		for _, l := range logs {
			switch {
			case m.Last == 0:
				m.First = l.Index
			case l.Index != m.Last+1:
				return fmt.Errorf("log entry %d after %d", l.Index, m.Last)
			}
			if err := bucket.Put(key(l.Index), encodeEntry(l)); err != nil {
				return err
			}
			m.Last = l.Index
		}
		m.Committed = max(m.Committed, min(s.staged.Load(), m.Last))
		return nil
	})
}

// Commit has the next StoreLogs record up to where the log is committed, for
// the process that comes after this one.
func (s *Store) Commit(index uint64) { s.staged.Store(index) }

// Committed is up to where the log was known to be committed, at least.
func (s *Store) Committed() uint64 {
	m := s.now()
	return min(m.Committed, m.Last)
}

// DeleteRange removes the entries from low to high, both included, from either
// end of the log.
func (s *Store) DeleteRange(low, high uint64) error {
	return s.update(func(tx *bbolt.Tx, m *summary) error {
		low, high := max(low, m.First), min(high, m.Last)
		switch {
		case m.Last == 0 || low > high:
			return nil
		case low == m.First && high == m.Last:
			m.First, m.Last = 0, 0 // a snapshot covers it
		case low == m.First:
			m.First = high + 1
		case low <= m.Committed:
			return fmt.Errorf("log entries from %d on would be taken back, and those up to %d are committed", low, m.Committed)
		case high == m.Last:
			m.Last = low - 1
		default:
			return fmt.Errorf("log entries %d to %d of %d to %d", low, high, m.First, m.Last)
		}
		for i := low; i <= high; i++ {
			if err := tx.Bucket(logBucket).Delete(key(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// IsMonotonic says that the log has no gaps; see raft.MonotonicLogStore.
func (s *Store) IsMonotonic() bool { return true }
