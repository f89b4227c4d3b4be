// Package store keeps a gateway's Raft log, votes and snapshots on its disk.
//
// It promises that what it has acknowledged is on the disk, and that it stops
// at the first doubt: after any write or sync that failed, after anything read
// that is damaged, it calls Config.Fatal, which ends the process, and
// acknowledges nothing more. (hashicorp/raft itself would carry on, and a
// second fsync may say yes to what the first one lost.) It never creates state
// but in Create, and never opens state that is not whole.
//
// A state directory holds
//
//	state.db             log, term, vote and what this directory is, in bbolt
//	snapshots/*.snapshot the trust state at an index; the newest two
//
// state.db gets its name last, so that a directory has it only once it is
// complete.
package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"gatehouse/cluster/durable"
)

// Format of the directory that this release writes, and the only one it reads.
const Format = 1

const (
	databaseName = "state.db"
	snapshotsDir = "snapshots"
	magic        = "gatehouse trust state"
	lockWait     = time.Second // a process that is just ending may still hold the lock
)

var (
	metaBucket = []byte("meta")
	logBucket  = []byte("log")
	magicKey   = []byte("magic")
	formatKey  = []byte("format")
)

// ErrNone is a directory in which no state was ever created.
var ErrNone = errors.New("there is no trust state here: set the gateway up first")

// Config says where the state is and whose.
type Config struct {
	Dir   string
	Owner raft.ServerID
	// Fatal ends the process. Should it return, the store stays shut.
	Fatal func(error)
	Step  durable.Step // nil but in tests
}

func (c Config) database() string { return filepath.Join(c.Dir, databaseName) }

// Store is a gateway's disk. It is a raft.LogStore, a raft.StableStore and a
// raft.SnapshotStore; its methods may be called from several goroutines.
type Store struct {
	cfg  Config
	step durable.Step
	db   *bbolt.DB

	writing sync.Mutex // held by the transaction that writes
	mu      sync.Mutex
	failed  error
	summary summary // as last committed

	staged atomic.Uint64 // the commit index of the next entries

	snapshots sync.Mutex // held while one is written
}

// Create makes the state in a directory that has none. first may write to it:
// either all that it writes is there in the end, or no state is.
func Create(cfg Config, first func(*Store) error) error {
	if err := create(cfg, first); err != nil {
		return fmt.Errorf("create the trust state in %s: %w", cfg.Dir, err)
	}
	return nil
}

func create(cfg Config, first func(*Store) error) error {
	step, temporary := cfg.Step, cfg.database()+durable.Suffix
	if _, err := os.Lstat(cfg.database()); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(errors.New("there is one already"), err)
	}
	if err := durable.MakeDir(step, cfg.Dir); err != nil {
		return err
	}
	// To last before the database has its name: one without the other is not whole.
	if err := durable.MakeDir(step, filepath.Join(cfg.Dir, snapshotsDir)); err != nil {
		return err
	}
	if left, err := snapshotFiles(cfg.Dir); err != nil || len(left) > 0 {
		return errors.Join(errors.New("there are snapshots without their database: move them away"), err)
	}
	if err := durable.Remove(step, temporary); err != nil {
		return err
	}
	db, err := bbolt.Open(temporary, 0o600, options())
	if err != nil {
		return err
	}
	s := &Store{cfg: cfg, step: step, db: db, summary: summary{Owner: string(cfg.Owner)}}
	if err = s.update(func(tx *bbolt.Tx, _ *summary) error { return putMeta(tx) }); err == nil && first != nil {
		err = first(s)
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	return durable.Rename(step, temporary, cfg.database())
}

func putMeta(tx *bbolt.Tx) error {
	meta, err := tx.CreateBucket(metaBucket)
	if err != nil {
		return err
	}
	_, err = tx.CreateBucket(logBucket)
	return errors.Join(err, meta.Put(magicKey, []byte(magic)), meta.Put(formatKey, []byte{Format}))
}

func options() *bbolt.Options {
	return &bbolt.Options{
		Timeout:      lockWait,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
	}
}

// Close lets go of the disk.
func (s *Store) Close() error { return s.db.Close() }

// fail ends the process; see Config.Fatal.
func (s *Store) fail(err error) error {
	s.mu.Lock()
	if s.failed == nil {
		s.failed = fmt.Errorf("the trust state's disk: %w", err)
	}
	err = s.failed
	s.mu.Unlock()
	s.cfg.Fatal(err)
	return err
}

// broken is the end of everything after a failure. Whoever still comes is told
// to end the process again: Raft would not take an error for that.
func (s *Store) broken() error {
	s.mu.Lock()
	err := s.failed
	s.mu.Unlock()
	if err != nil {
		s.cfg.Fatal(err)
	}
	return err
}

// update changes the database, for good once it returns nil.
func (s *Store) update(change func(*bbolt.Tx, *summary) error) error {
	if err := s.broken(); err != nil {
		return err
	}
	err := s.write(change)
	if err != nil && !errors.Is(err, berrors.ErrDatabaseNotOpen) { // closed: nothing was tried
		return s.fail(err) // with no lock held: it does not return
	}
	return err
}

// write is one transaction and what the memory keeps of it. Between the two no
// other one may begin: it would start from the summary of before, and take
// back what Raft was told is on the disk.
func (s *Store) write(change func(*bbolt.Tx, *summary) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	tx, err := s.db.Begin(true)
	if err != nil {
		return err
	}
	next := s.now()
	if err = change(tx, &next); err == nil {
		err = next.put(tx)
	}
	if err == nil {
		err = s.step.Do("commit", tx.Commit)
	}
	if err != nil {
		_ = tx.Rollback()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.summary = next
	return nil
}

func (s *Store) view(read func(*bbolt.Tx) error) error {
	if err := s.broken(); err != nil {
		return err
	}
	return s.db.View(read)
}
