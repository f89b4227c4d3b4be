package cluster

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"gatehouse/cluster/store"
	"gatehouse/cluster/trail"
	"gatehouse/fabric"
)

// Entry is a command in the log, and the State after it.
type Entry struct {
	Index, Term uint64
	Command     *fabric.Command
	State       *fabric.State
	Records     [][]byte // that it added to the audit trail
}

// Read is the State of a gateway that does not run, after all that is in its
// log.
func Read(cfg Config) (s *fabric.State, err error) {
	_, s, err = read(cfg, func(Entry) {})
	return s, err
}

// Replay tells of each command in the log of a gateway that does not run: of
// all there ever were, or, if the log does not reach back so far, of those
// after its newest snapshot. committed is up to where the log is known to be
// committed, at least: what follows may yet be replaced by the other gateways.
func Replay(cfg Config, each func(Entry)) (committed uint64, err error) {
	committed, _, err = read(cfg, each)
	return committed, err
}

func read(cfg Config, each func(Entry)) (committed uint64, after *fabric.State, err error) {
	s, err := store.Open(cfg.store())
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m := &machine{changed: func() {}}
	m.state.Store(&fabric.State{})
	first, err := s.FirstIndex()
	if err != nil {
		return 0, nil, err
	}
	snapshots, err := s.List()
	if err == nil && first != 1 && len(snapshots) > 0 {
		_, newest, openErr := s.Open(snapshots[0].ID)
		if err = openErr; err == nil {
			err = m.Restore(newest)
		}
	}
	if err != nil {
		return 0, nil, err
	}
	last, err := s.LastIndex()
	if err == nil {
		after, err = replay(s, m.state.Load(), last, each)
	}
	return s.Committed(), after, err
}

// ReadTrail is Read, with the records of what was decided.
func ReadTrail(cfg Config) (after *fabric.State, t *trail.Trail, err error) {
	s, err := store.Open(cfg.store())
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if t, err = cfg.openTrail(s); err != nil {
		return nil, nil, err
	}
	m := &machine{changed: func() {}, trail: t}
	m.state.Store(&fabric.State{})
	snapshots, err := s.List()
	if err == nil && len(snapshots) > 0 {
		_, newest, openErr := s.Open(snapshots[0].ID)
		if err = openErr; err == nil {
			err = m.Restore(newest)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	last, err := s.LastIndex()
	if err != nil {
		return nil, nil, err
	}
	before, failed := m.state.Load(), error(nil)
	after, err = replay(s, before, last, func(e Entry) {
		failed = errors.Join(failed, m.record(before, e.State, e.Command, e.Records))
		before = e.State
	})
	return after, t, errors.Join(err, failed)
}

// recall works out what was known to be committed when the process ended.
// Raft waits for a leader to say so again, and to recognise the leader takes
// the trust state. (Its own RestoreCommittedLogs forgets the members.)
func (c *Cluster) recall() error {
	s, err := replay(c.store, c.machine.state.Load(), c.store.Committed(), func(Entry) {})
	if err == nil {
		c.known.Store(s)
	}
	return err
}

// replay applies the commands that follow a State, up to an index of the log.
func replay(log *store.Store, s *fabric.State, last uint64, each func(Entry)) (*fabric.State, error) {
	first, err := log.FirstIndex()
	if err != nil {
		return nil, err
	}
	for i := max(first, s.Index+1); i <= last; i++ {
		var l raft.Log
		if err := log.GetLog(i, &l); err != nil {
			return nil, err
		}
		if l.Type != raft.LogCommand {
			continue
		}
		cmd, err := decodeCommand(l.Data)
		if err != nil {
			return nil, fmt.Errorf("log entry %d: %w", i, err)
		}
		var records [][]byte
		s, records, _ = fabric.Advance(s, i, cmd) // refused, it was refused then
		each(Entry{i, l.Term, cmd, s, records})
	}
	return s, nil
}
