package steward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// ErrNeedsKit says that the home's secrets cannot be opened without the
// gateway that is to be evicted.
var ErrNeedsKit = errors.New("without that gateway nobody helps to open the home's keys: the recovery kit is needed")

// Evict ends a gateway's membership. It no longer replicates before its
// eviction is committed, and the secrets are opened before and sealed for those
// who stay, in the one command: nothing half-done stays.
// One that leads hands the lead over first.
func (s *Steward) Evict(ctx context.Context, n cert.NodeID, reason string) error {
	return s.insist(ctx, func() error {
		if a := s.Authority; !s.Cluster.Leads() && a.Others != nil {
			return a.Others.Evict(ctx, s.Cluster.Leader(), n, reason)
		}
		return s.evict(ctx, n, reason)
	})
}

// Limits of ours.
const (
	tries      = 8
	triesPause = 500 * time.Millisecond
)

func (s *Steward) evict(ctx context.Context, n cert.NodeID, reason string) error {
	state, err := s.Cluster.Current(ctx)
	if err != nil {
		return err
	}
	if state.Tombstones[n] != nil && state.Gateways[n] == nil {
		return nil // it was, and the answer was lost
	}
	after, err := without(state, n, reason)
	if err != nil {
		return err
	}
	if n == s.Vault.Node {
		return errors.Join(cluster.ErrNotLeader, s.Cluster.Transfer())
	}
	c := fabric.EvictGateway{Node: n, Reason: reason}
	if state.Gateways[n].Member() {
		// It may be the only helper: the secrets are opened while it still is.
		secrets, err := s.Vault.Open(ctx, state)
		if errors.Is(err, vault.ErrNoHelper) {
			err = fmt.Errorf("%w (%w)", ErrNeedsKit, err)
		}
		if err != nil {
			return err
		}
		defer secrets.Erase()
		done, err := s.Cluster.Expel(ctx, n)
		if err != nil {
			return err
		}
		defer done()
		now, err := s.Cluster.Current(ctx)
		if err == nil && !bytes.Equal(now.Sealed(), state.Sealed()) {
			err = &fabric.Refusal{Code: fabric.CodeSealing, Reason: "the home's secrets have changed meanwhile"}
		}
		if err == nil {
			after, err = without(now, n, reason)
		}
		if err == nil {
			c.Reseal, err = s.Vault.Seal(after, after.DataKey()+1, secrets)
		}
		if err != nil {
			return err
		}
	}
	_, err = s.propose(ctx, fabric.Command{EvictGateway: &c})
	return err
}

// without is the State as it would be without a gateway.
func without(s *fabric.State, n cert.NodeID, reason string) (*fabric.State, error) {
	trial := fabric.Command{EvictGateway: &fabric.EvictGateway{Node: n, Reason: reason}}
	trial.Version = trial.Needs()
	return fabric.Apply(s, s.Index+1, &trial)
}
