package cluster

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"gatehouse/cluster/trail"
	"gatehouse/fabric"
)

// machine is Raft's view of the trust state: a shim over fabric.Apply.
type machine struct {
	state   atomic.Pointer[fabric.State]
	changed func()
	fatal   func(error)
	// committed is told up to where the log is.
	committed func(index uint64)
	trail     *trail.Trail // nil: nobody keeps it
	refused   error        // why the last Restore failed; read once Raft has given up
}

// outcome is what Apply answers to who proposed.
type outcome struct {
	state *fabric.State
	err   error
}

// Apply takes a command that a quorum has on disk.
func (m *machine) Apply(l *raft.Log) any {
	c, err := decodeCommand(l.Data)
	if err == nil && c.Version > fabric.Version {
		err = fmt.Errorf("the command is of version %d, this release knows %d", c.Version, fabric.Version)
	}
	if err != nil {
		// Another release may well understand it. To refuse it here would
		// leave this gateway with a State of its own.
		err = fmt.Errorf("log entry %d cannot be applied: install the newest release: %w", l.Index, err)
		m.fatal(err)
		return outcome{nil, err}
	}
	before := m.state.Load()
	next, records, err := fabric.Advance(before, l.Index, c)
	if trailErr := m.record(before, next, c, records); trailErr != nil {
		return outcome{nil, trailErr}
	}
	m.state.Store(next)
	m.committed(l.Index)
	m.changed()
	return outcome{next, err}
}

// record keeps what was decided, until a snapshot in memory only.
func (m *machine) record(before, next *fabric.State, c *fabric.Command, records [][]byte) error {
	if m.trail == nil || len(records) == 0 {
		return nil
	}
	if next.TrailSize() != before.TrailSize()+uint64(len(records)) { // another life goes on with the trail of a backup
		if err := m.trail.Reset(c.Restore.State.Trail.Tree); err != nil {
			return err
		}
	}
	return m.trail.Append(records)
}

// Snapshot is the State as it is: it never changes.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) { return snapshot{m.state.Load(), m.trail}, nil }

// Restore replaces the State by that of a snapshot.
func (m *machine) Restore(r io.ReadCloser) error {
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	var s *fabric.State
	if err == nil {
		s, err = decodeState(b)
	}
	if err == nil {
		m.state.Store(s) // before a gap is noticed: it says whom to ask
		if m.trail != nil {
			err = m.trail.Reset(s.TrailTree())
		}
	}
	if m.refused = err; err != nil {
		return err
	}
	m.changed()
	return nil
}

type snapshot struct {
	state *fabric.State
	trail *trail.Trail
}

// Persist puts the records on the disk first: from the snapshot they do not
// follow.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	if err := s.trail.Flush(); err != nil {
		return err
	}
	b, err := encodeState(s.state)
	if err == nil {
		_, err = sink.Write(b)
	}
	return err // Raft closes or cancels the sink
}

func (snapshot) Release() {}
