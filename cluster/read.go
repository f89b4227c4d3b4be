package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"gatehouse/fabric"
)

// State is what this gateway knows to be committed. It may be behind. It must
// not be changed.
func (c *Cluster) State() *fabric.State {
	if known, s := c.known.Load(), c.machine.state.Load(); s.Index < known.Index {
		return known
	} else {
		return s
	}
}

// Current is a State no older than the call, whoever leads.
func (c *Cluster) Current(ctx context.Context) (*fabric.State, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s, err := c.persist(ctx, c.cfg.Peers != nil, func() (*fabric.State, error) {
		if c.Leads() {
			return c.current(ctx)
		}
		return c.follow(ctx)
	})
	if err != nil {
		return nil, fmt.Errorf("read the trust state: %w", err)
	}
	return s, nil
}

// current asks for the commit index first, then whether this gateway still
// leads: if it does, nobody had committed more when it was asked.
func (c *Cluster) current(ctx context.Context) (*fabric.State, error) {
	commit, term, err := c.settled(ctx)
	if err != nil {
		return nil, err
	}
	err = c.wait(ctx, c.raft.VerifyLeader)
	if errors.Is(err, errUnheard) || err == nil && c.raft.CurrentTerm() != term {
		err = ErrNotLeader
	}
	if err != nil {
		return nil, err
	}
	return c.applied(ctx, commit)
}

// settled is the commit index of a leader that knows all its predecessors
// committed: it does once an entry of its own term is committed.
func (c *Cluster) settled(ctx context.Context) (commit, term uint64, err error) {
	for {
		term, commit = c.raft.CurrentTerm(), c.raft.CommitIndex()
		if !c.Leads() {
			return 0, 0, ErrNotLeader
		}
		var l raft.Log
		err := c.store.GetLog(commit, &l)
		switch {
		case err == nil && l.Term == term:
			return commit, term, nil
		case err != nil && !errors.Is(err, raft.ErrLogNotFound):
			return 0, 0, err
		}
		if err := c.pause(ctx); err != nil {
			return 0, 0, err
		}
	}
}

// applied waits until every command up to a log index is applied.
func (c *Cluster) applied(ctx context.Context, index uint64) (*fabric.State, error) {
	last, err := c.lastCommand(index)
	if err != nil {
		return nil, err
	}
	return c.reached(ctx, last)
}

// reached waits until the command at a log index is applied here.
func (c *Cluster) reached(ctx context.Context, last uint64) (*fabric.State, error) {
	changed := c.watchers.add()
	defer c.watchers.remove(changed)
	for {
		if s := c.State(); s.Index >= last {
			return s, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-c.closed:
			return nil, ErrClosed
		}
	}
}

// lastCommand is the newest command not yet applied, up to a log index, or 0.
// Entries of Raft's own never reach the State.
func (c *Cluster) lastCommand(index uint64) (uint64, error) {
	for ; index > c.State().Index; index-- {
		var l raft.Log
		switch err := c.store.GetLog(index, &l); {
		case errors.Is(err, raft.ErrLogNotFound): // covered by a snapshot
			return 0, nil
		case err != nil:
			return 0, err
		case l.Type == raft.LogCommand:
			return index, nil
		}
	}
	return 0, nil
}
