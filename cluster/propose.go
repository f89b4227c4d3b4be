package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Propose has the cluster apply a command, whoever leads it, and returns once
// it is applied here and on a quorum's disks, with the State after it. It
// stamps the command, and sends it again under the same request id when the
// leader is lost: it is applied once. Who asked for it is who ctx says (For). If it is refused, the error is a
// *fabric.Refusal and the State is that which refused it. After any other
// error, that of ctx among them, it may yet come to be applied.
func (c *Cluster) Propose(ctx context.Context, cmd fabric.Command) (*fabric.State, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if c.State().Version >= requestVersion && c.cfg.Peers != nil {
		cmd.Request = make([]byte, fabric.RequestSize)
		if _, err := io.ReadFull(c.cfg.Random, cmd.Request); err != nil {
			return nil, err
		}
	}
	if name, ok := ctx.Value(person{}).(string); ok && cmd.For == "" {
		cmd.For = name
	}
	s, err := c.persist(ctx, len(cmd.Request) > 0, func() (*fabric.State, error) {
		if c.Leads() {
			return c.apply(ctx, cmd, c.cfg.Node)
		}
		return c.forward(ctx, cmd)
	})
	var refused *fabric.Refusal
	if err != nil && !errors.As(err, &refused) {
		return nil, fmt.Errorf("propose a change of the trust state: %w", err)
	}
	return s, err
}

// person is the key under which a context knows whom something is done for.
type person struct{}

// For says that what is done with ctx a person asked for, by name.
func For(ctx context.Context, name string) context.Context {
	return context.WithValue(ctx, person{}, name)
}

// requestVersion is the first version of the State that remembers requests.
const requestVersion = 2

// persist does something that needs a leader again and again until there is
// one, unless it must not be done twice.
func (c *Cluster) persist(ctx context.Context, again bool, do func() (*fabric.State, error)) (*fabric.State, error) {
	changed := c.watchers.add()
	defer c.watchers.remove(changed)
	for {
		s, err := do()
		select {
		case <-c.closed:
			return nil, ErrClosed
		default:
		}
		if err == nil || !again || !errors.Is(err, ErrNotLeader) && !errors.Is(err, errUnheard) {
			return s, err
		}
		t := time.NewTimer(leaderPoll)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(ctx.Err(), err)
		case <-c.closed:
			t.Stop()
			return nil, ErrClosed
		}
		t.Stop()
	}
}

// apply is Propose on the leader, by a gateway, whatever the command says of it.
func (c *Cluster) apply(ctx context.Context, cmd fabric.Command, by cert.NodeID) (*fabric.State, error) {
	c.absent.heard(by)
	cmd.By = 0
	if c.State().Version >= fabric.TrailVersion {
		cmd.By = by
	}
	if c.State().Version < fabric.PeopleVersion {
		cmd.For = ""
	}
	cmd.For = fabric.Cut(cmd.For)
	// The leader's clock alone goes into the log.
	cmd.Version, cmd.Time = cmd.Needs(), c.cfg.Now().UnixMilli()
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
		return nil, err
	}
	o := done.Response().(outcome)
	return o.state, o.err
}

// wait waits for what Raft promises. Raft leaves some of its promises open when
// it is shut down.
func (c *Cluster) wait(ctx context.Context, begin func() raft.Future) error {
	done := make(chan error, 1)
	c.asked.Add(1)
	go func() {
		defer c.asked.Add(-1)
		done <- begin().Error()
	}()
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
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore):
		return errUnheard
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
