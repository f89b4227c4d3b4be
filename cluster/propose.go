package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/fabric"
)

// State is what this gateway has applied. It may be behind. It must not be
// changed.
func (c *Cluster) State() *fabric.State { return c.machine.state.Load() }

// Propose has the cluster apply a command, and returns once it is applied here
// and on a quorum's disks, with the State after it. If it is refused, the error
// is a *fabric.Refusal and the State is that which refused it. After
// ErrNotLeader it was not tried. After any other error, that of ctx among
// them, it may yet come to be applied.
func (c *Cluster) Propose(ctx context.Context, cmd fabric.Command) (*fabric.State, error) {
	if cmd.Version != fabric.Version {
		return c.State(), &fabric.Refusal{Code: fabric.CodeUnknownKind, Reason: fmt.Sprintf("the command is of version %d, this release writes %d", cmd.Version, fabric.Version)}
	}
	data, err := encodeCommand(&cmd)
	if err != nil {
		return c.State(), &fabric.Refusal{Code: fabric.CodeInvalid, Reason: err.Error()}
	}
	var done raft.ApplyFuture
	err = c.wait(ctx, func() raft.Future {
		done = c.raft.Apply(data, 0)
		return done
	})
	if err != nil {
		return nil, fmt.Errorf("propose a change of the trust state: %w", err)
	}
	o := done.Response().(outcome)
	return o.state, o.err
}

// Current is a State no older than the call.
func (c *Cluster) Current(ctx context.Context) (*fabric.State, error) {
	s, err := c.current(ctx)
	if err == nil {
		return s, nil
	}
	select {
	case <-c.closed:
		err = ErrClosed
	default:
	}
	return nil, fmt.Errorf("read the trust state: %w", err)
}

// current asks for the commit index first, then whether this gateway still
// leads: if it does, nobody had committed more when it was asked.
func (c *Cluster) current(ctx context.Context) (*fabric.State, error) {
	commit, term, err := c.settled(ctx)
	if err != nil {
		return nil, err
	}
	err = c.wait(ctx, c.raft.VerifyLeader)
	if errors.Is(err, raft.ErrLeadershipLost) || err == nil && c.raft.CurrentTerm() != term {
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

// wait waits for what Raft promises. Raft leaves some of its promises open when
// it is shut down.
func (c *Cluster) wait(ctx context.Context, begin func() raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- begin().Error() }()
	select {
	case err := <-done:
		return named(err)
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return ErrClosed
	}
}

// named gives the errors of Raft that callers branch on our names.
func named(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrClosed
	}
	return err
}

func (c *Cluster) pause(ctx context.Context) error {
	t := time.NewTimer(pollEvery)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return ErrClosed
	}
}
