package steward

import (
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

// Evict ends a gateway's membership. The secrets are opened before and sealed
// for those who stay, in one command: nothing half-done stays.
// One that leads hands the lead over first.
func (s *Steward) Evict(ctx context.Context, n cert.NodeID, reason string) (err error) {
	for range evictTries {
		if a := s.Authority; !s.Cluster.Leads() && a.Others != nil {
			err = a.Others.Evict(ctx, s.Cluster.Leader(), n, reason)
		} else {
			err = s.evict(ctx, n, reason)
		}
		var refused *fabric.Refusal
		if !errors.Is(err, cluster.ErrNotLeader) && !(errors.As(err, &refused) && refused.Code == fabric.CodeSealing) {
			return err
		}
		select {
		case <-time.After(evictPause):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// Limits of ours.
const (
	evictTries = 8
	evictPause = 500 * time.Millisecond
)

func (s *Steward) evict(ctx context.Context, n cert.NodeID, reason string) error {
	state, err := s.Cluster.Current(ctx)
	if err != nil {
		return err
	}
	if n == s.Vault.Node && state.Gateways[n] != nil && len(state.Members()) > 1 {
		return errors.Join(cluster.ErrNotLeader, s.Cluster.Transfer())
	}
	c := fabric.EvictGateway{Node: n, Reason: reason}
	trial := fabric.Command{EvictGateway: &c}
	trial.Version = trial.Needs()
	after, err := fabric.Apply(state, state.Index+1, &trial)
	if err != nil {
		return err
	}
	if !after.SealedRight() {
		secrets, err := s.Vault.Open(ctx, state)
		if errors.Is(err, vault.ErrNoHelper) {
			err = fmt.Errorf("%w (%w)", ErrNeedsKit, err)
		}
		if err != nil {
			return err
		}
		defer secrets.Erase()
		if c.Reseal, err = s.Vault.Seal(after, state.DataKey()+1, secrets); err != nil {
			return err
		}
	}
	if _, err = s.propose(ctx, fabric.Command{EvictGateway: &c}); err != nil {
		return err
	}
	return s.followed(ctx, n)
}

// followed waits until the gateways that replicate are those that are left:
// whoever switches the evicted one off at once must not take a vote with it
// that is still needed.
func (s *Steward) followed(ctx context.Context, evicted cert.NodeID) error {
	changed := s.Cluster.Watch(ctx)
	ticker := time.NewTicker(evictPause)
	defer ticker.Stop()
	for {
		voters, there := 0, false
		for _, m := range s.Cluster.Members() {
			if m.Voter {
				voters++
			}
			there = there || m.Node == evicted
		}
		if !there && voters%2 == 1 {
			return nil
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("the gateway is evicted, but still replicates; leave the others switched on: %w", ctx.Err())
		}
	}
}
