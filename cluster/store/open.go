package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"gatehouse/cluster/durable"
)

// The ways out, said with whatever is refused.
const (
	wayOut = "do not edit it: replace this gateway (another member admits it as a new one) or, if it was the only one, restore a backup onto an empty directory"
	older  = "move that file away, and the gateway starts from the snapshot before it if the log reaches back so far"
)

// Exists reports whether there is a state in a directory, whole or not.
func Exists(dir string) bool {
	_, err := os.Lstat(Config{Dir: dir}.database())
	names, _ := snapshotFiles(dir)
	return err == nil || len(names) > 0
}

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
	s := &Store{cfg: cfg, step: cfg.Step}
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
	if err := checkPages(s.cfg.database()); err != nil {
		return fmt.Errorf("%s is damaged: %w; %s", databaseName, err, wayOut)
	}
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
	case errors.Is(err, berrors.ErrTimeout):
		return errors.New("another process has it open: end that one first")
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%s is damaged or no database (%w); %s", databaseName, err, wayOut)
	case err != nil:
		return err
	}
	s.db = db
	if err := s.view(s.check); err != nil {
		return err
	}
	return errors.Join(s.dropCovered(), s.sweep())
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
	case meta == nil || tx.Bucket(logBucket) == nil || string(meta.Get(magicKey)) != magic:
		return fmt.Errorf("%s is not a trust state; %s", databaseName, wayOut)
	}
	if format := meta.Get(formatKey); !bytes.Equal(format, []byte{Format}) {
		return fmt.Errorf("it is of format %x, this release reads %02x: install the release that wrote it", format, Format)
	}
	if s.summary, err = readSummary(tx); err != nil {
		return fmt.Errorf("%w; %s", err, wayOut)
	}
	if s.summary.Owner != string(s.cfg.Owner) {
		return fmt.Errorf("it belongs to gateway %s, this is %s: a state directory cannot be moved from one gateway to another", s.summary.Owner, s.cfg.Owner)
	}
	if err := s.checkLog(tx); err != nil {
		return fmt.Errorf("%w; %s", err, wayOut)
	}
	return s.checkCovered()
}

// checkLog reads every entry, and then has bbolt look after its free pages: one
// that is free and in use would be overwritten.
func (s *Store) checkLog(tx *bbolt.Tx) error {
	want := s.summary.First
	err := tx.Bucket(logBucket).ForEach(func(k, v []byte) error {
		if len(k) != 8 || binary.BigEndian.Uint64(k) != want {
			return fmt.Errorf("log entry %d is missing", want)
		}
		var l raft.Log
		if err := decodeEntry(want, v, &l); err != nil {
			return err
		}
		want++
		return nil
	})
	if err == nil && s.summary.Last != 0 && want != s.summary.Last+1 {
		err = fmt.Errorf("log entries %d to %d are missing", want, s.summary.Last)
	}
	if err != nil {
		return err
	}
	for e := range tx.Check() { // to the end, or its goroutine stays
		err = errors.Join(err, e)
	}
	return err
}

// checkCovered verifies that the newest snapshot reaches to where the log
// begins.
func (s *Store) checkCovered() error {
	snapshots, err := s.List()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is missing: the snapshots were lost or not copied; %s", snapshotsDir, wayOut)
	case err != nil:
		return fmt.Errorf("%w; %s", err, older)
	}
	var covered uint64
	if len(snapshots) > 0 {
		covered = snapshots[0].Index
	}
	if first := s.summary.First; first > covered+1 {
		return fmt.Errorf("the log begins at entry %d, but the newest snapshot is of entry %d: the snapshots were lost or not copied; %s", first, covered, wayOut)
	}
	return nil
}

// dropCovered ends what a crash left half done: a snapshot from the leader is
// on the disk, the log that it covers is not yet removed. What follows the
// snapshot would leave a gap.
func (s *Store) dropCovered() error {
	snapshots, err := s.List()
	if err != nil || len(snapshots) == 0 || s.summary.Last >= snapshots[0].Index {
		return err
	}
	return s.DeleteRange(s.summary.First, s.summary.Last)
}

// sweep removes what a crash left of a snapshot that was being written.
func (s *Store) sweep() error {
	left, err := filepath.Glob(filepath.Join(s.cfg.Dir, snapshotsDir, "*"+durable.Suffix))
	return errors.Join(err, durable.Remove(s.step, left...))
}

var _ interface {
	raft.LogStore
	raft.StableStore
	raft.SnapshotStore
	raft.MonotonicLogStore
} = (*Store)(nil)
