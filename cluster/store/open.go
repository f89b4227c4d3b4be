package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// The ways out, said with whatever is refused.
const (
	wayOut = "do not edit it: replace this gateway (another member admits it as a new one) or, if it was the only one, restore a backup onto an empty directory"
	older  = "move that file away, and the gateway starts from the snapshot before it if the log reaches back so far"
)

// Open opens the state in a directory, all of it verified. The error is
// ErrNone if there never was any.
func Open(cfg Config) (*Store, error) {
	s, err := open(cfg)
	if errors.Is(err, ErrNone) {
		return nil, fmt.Errorf("%s: %w", cfg.Dir, err)
	}
	if err != nil {
		return nil, fmt.Errorf("the trust state in %s is refused: %w", cfg.Dir, err)
	}
	return s, nil
}

func open(cfg Config) (*Store, error) {
	if _, err := os.Stat(cfg.database()); errors.Is(err, fs.ErrNotExist) {
		if names, _ := snapshotFiles(cfg.Dir); len(names) > 0 {
			return nil, fmt.Errorf("%s is missing, but its snapshots are there; %s", databaseName, wayOut)
		}
		return nil, ErrNone
	}
	s := &Store{cfg: cfg, step: cfg.step()}
	if err := guard(s.openDatabase); err != nil {
		if s.db != nil {
			err = errors.Join(err, s.db.Close())
		}
		return nil, err
	}
	return s, nil
}

// guard makes errors of what a damaged database does to bbolt: it panics on
// pages that make no sense, and faults on those that are cut off.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s is damaged (%v); %s", databaseName, p, wayOut)
		}
	}()
	return do()
}

func (s *Store) openDatabase() error {
	o := options()
	o.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
		if err != nil {
			return nil, err
		}
		// bbolt makes a new database of an empty file.
		if info, err := f.Stat(); err != nil || info.Size() == 0 {
			return nil, errors.Join(fmt.Errorf("%s is empty; %s", databaseName, wayOut), err, f.Close())
		}
		return f, nil
	}
	db, err := bbolt.Open(s.cfg.database(), 0o600, o)
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return errors.New("another process has it open: end that one first")
	case errors.Is(err, bbolt.ErrInvalid), errors.Is(err, bbolt.ErrChecksum), errors.Is(err, bbolt.ErrVersionMismatch):
		return fmt.Errorf("%s is damaged or no database (%w); %s", databaseName, err, wayOut)
	case err != nil:
		return err
	}
	s.db = db
	if err := s.view(s.check); err != nil {
		return err
	}
	return s.dropCovered()
}

// check verifies what the directory is, whose, and that nothing is missing.
func (s *Store) check(tx *bbolt.Tx) error {
	info, err := os.Stat(s.cfg.database())
	if err != nil {
		return err
	}
	meta := tx.Bucket(metaBucket)
	switch {
	case info.Size() < tx.Size():
		return fmt.Errorf("%s is cut off: %d of %d octets; %s", databaseName, info.Size(), tx.Size(), wayOut)
	case meta == nil || tx.Bucket(logBucket) == nil || tx.Bucket(stableBucket) == nil || string(meta.Get(magicKey)) != magic:
		return fmt.Errorf("%s is not a trust state; %s", databaseName, wayOut)
	}
	if format := meta.Get(formatKey); !bytes.Equal(format, []byte{Format}) {
		return fmt.Errorf("it is of format %x, this release reads %02x: install the release that wrote it", format, Format)
	}
	if owner := meta.Get(ownerKey); string(owner) != string(s.cfg.Owner) {
		return fmt.Errorf("it belongs to gateway %s, this is %s: a state directory cannot be moved from one gateway to another", owner, s.cfg.Owner)
	}
	return s.checkLog(tx)
}

func (s *Store) checkLog(tx *bbolt.Tx) error {
	snapshots, err := s.List()
	if err != nil {
		return fmt.Errorf("%w; %s", err, older)
	}
	var covered uint64
	if len(snapshots) > 0 {
		covered = snapshots[0].Index
	}
	first, _ := bounds(tx)
	if first > covered+1 {
		return fmt.Errorf("the log begins at entry %d, but the newest snapshot is of entry %d: the snapshots were lost or not copied; %s", first, covered, wayOut)
	}
	want := first
	return tx.Bucket(logBucket).ForEach(func(k, v []byte) error {
		if len(k) != 8 || binary.BigEndian.Uint64(k) != want {
			return fmt.Errorf("log entry %d is missing; %s", want, wayOut)
		}
		var l raft.Log
		if err := decodeEntry(want, v, &l); err != nil {
			return fmt.Errorf("%w; %s", err, wayOut)
		}
		want++
		return nil
	})
}

// dropCovered ends what a crash left half done: a snapshot from the leader is
// on the disk, the log that it covers is not yet removed. What follows the
// snapshot would leave a gap.
func (s *Store) dropCovered() error {
	snapshots, err := s.List()
	if err != nil || len(snapshots) == 0 {
		return err
	}
	first, err := s.FirstIndex()
	if err != nil {
		return err
	}
	last, err := s.LastIndex()
	if err != nil || last == 0 || last >= snapshots[0].Index {
		return err
	}
	return s.DeleteRange(first, last)
}

var _ interface {
	raft.LogStore
	raft.StableStore
	raft.SnapshotStore
	raft.MonotonicLogStore
} = (*Store)(nil)
