// Package steward does the standing duties of a gateway towards the home's
// trust, over and over, so that a crash in the middle of one is made good by
// whoever comes next:
//
//   - every gateway says which release it runs, and renews its sealing key
//     when that key opens an envelope which no helper guards, or is for an
//     algorithm that the home has left behind;
//   - the leader gives members certificates with the present version of the
//     gateways' CAT, and seals the home's secrets anew whenever they are not
//     sealed for exactly the members.
//
// It also signs for devices (Authority) and enrols new gateways (Enroll). It
// promises that no certificate is signed before its serial number is
// committed, and that none reaches anybody before the certificate is.
package steward

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/durable"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// Limits of ours.
const (
	dutyPause = 10 * time.Second // between looks when nothing changes
	failPause = 500 * time.Millisecond
	dutyTime  = 30 * time.Second // for all duties of one look
)

// sealVersion is the first version of the State whose secrets are sealed for
// several gateways.
const sealVersion = 2

// Steward is one gateway's.
type Steward struct {
	Cluster   Cluster
	Authority *Authority
	Vault     *vault.Vault
	Keys      *Keys
	// Peers are where the members can be reached, for a new one.
	Peers func(*fabric.State) []found.Peer
	Log   *slog.Logger
}

// Cluster is the gateways' one memory, and who they are.
type Cluster interface {
	Ledger
	Propose(ctx context.Context, c fabric.Command) (*fabric.State, error)
	Watch(ctx context.Context) <-chan struct{}
	Expel(ctx context.Context, n cert.NodeID) (done func(), err error)
	Transfer() error
	Members() []cluster.Member
}

// Keys are the gateway's own, which get renewed.
type Keys struct {
	Dir    string
	Random io.Reader
	Step   durable.Step

	now atomic.Pointer[keyfile.Keys]
}

// NewKeys holds the keys in a directory.
func NewKeys(dir string, k keyfile.Keys, random io.Reader, step durable.Step) *Keys {
	keys := &Keys{Dir: dir, Random: random, Step: step}
	keys.now.Store(&k)
	return keys
}

// Now are the keys as they are.
func (k *Keys) Now() keyfile.Keys { return *k.now.Load() }

// Sealing are the sealing keys, the newest first.
func (k *Keys) Sealing() []seal.SealingKey { return k.Now().Sealing }

func (k *Keys) change(next keyfile.Keys, err error) error {
	if err == nil {
		k.now.Store(&next)
	}
	return err
}

func (k *Keys) renew(a seal.Algorithm) error {
	return k.change(keyfile.Renew(k.Dir, k.Now(), a, k.Random, k.Step))
}

func (k *Keys) settle(current []byte) error {
	return k.change(keyfile.Settle(k.Dir, k.Now(), current, k.Random, k.Step))
}

// Run does the duties until ctx ends.
func (s *Steward) Run(ctx context.Context) {
	changed := s.Cluster.Watch(ctx)
	ticker := time.NewTicker(dutyPause)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.Log.Info("a duty of this gateway is not done yet", "err", err)
			select { // not at once again
			case <-time.After(failPause):
			case <-ctx.Done():
			}
		}
		select {
		case <-changed:
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// look does what the trust state asks for. Each duty done changes it, so that
// there is another look.
func (s *Steward) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dutyTime)
	defer cancel()
	state := s.Cluster.State()
	if !state.Founded() || state.Gateways[s.Vault.Node] == nil {
		return nil
	}
	if err := s.own(ctx, state); err != nil || !s.Cluster.Leads() {
		return err
	}
	return s.lead(ctx)
}

func (s *Steward) propose(ctx context.Context, c fabric.Command) (*fabric.State, error) {
	return s.Cluster.Propose(ctx, c)
}

// own are a gateway's duties about itself.
func (s *Steward) own(ctx context.Context, state *fabric.State) error {
	me, keys := state.Gateways[s.Vault.Node], s.Keys.Now()
	if me.Version != fabric.Version || me.Storage != string(keys.Storage) {
		_, err := s.propose(ctx, fabric.Command{DescribeGateway: &fabric.DescribeGateway{Node: me.Node, Version: fabric.Version, Storage: string(keys.Storage)}})
		return err
	}
	if state.Version < sealVersion {
		return nil // the others are still of the first release
	}
	if newest := keys.Sealing[0].Public(); !bytes.Equal(newest, me.SealKey) {
		_, err := s.propose(ctx, fabric.Command{SetSealKey: &fabric.SetSealKey{Node: me.Node, SealKey: newest}})
		return err
	}
	if len(keys.Sealing) > 1 {
		// Nothing is wrapped to the older one any more if all is sealed right,
		// or was for this gateway alone with the newer one.
		if !state.SealedRight() && !state.OpensAlone(me.Node) {
			return nil
		}
		if err := s.Keys.settle(me.SealKey); err != nil {
			return err
		}
		keys = s.Keys.Now()
	}
	algorithm := seal.Suite(state.SealSuite()).Envelopes()
	if state.OpensAlone(me.Node) || keys.Sealing[0].Algorithm() != algorithm {
		if err := s.Keys.renew(algorithm); err != nil {
			return fmt.Errorf("renew this gateway's sealing key: %w", err)
		}
		s.Log.Info("renewed the sealing key", "algorithm", algorithm)
		return s.own(ctx, state)
	}
	return nil
}

// lead are the leader's duties.
func (s *Steward) lead(ctx context.Context) error {
	state, err := s.Cluster.Current(ctx)
	if err != nil || state.Version < sealVersion {
		return err
	}
	for _, g := range state.Members() {
		if state.OpensAlone(g.Node) {
			return nil // it renews its key first
		}
	}
	if !state.SealedRight() {
		c, err := s.Vault.Reseal(ctx, state)
		if err == nil {
			state, err = s.propose(ctx, fabric.Command{Reseal: c})
		}
		if err != nil {
			return err
		}
		s.Log.Info("sealed the home's secrets anew", "number", state.DataKey(), "gateways", len(state.Members()))
	}
	for _, g := range state.Members() {
		if g.CATVersion() < state.Home.GatewayCAT.Version() {
			if _, err := s.certify(ctx, g.Node); err != nil {
				return fmt.Errorf("renew the certificate of gateway %v: %w", g.Node, err)
			}
			s.Log.Info("renewed a gateway's certificate", "gateway", g.Node)
		}
	}
	return s.endReroot(ctx, state)
}

// certify reserves a serial number for a gateway unless one is reserved, signs
// its certificate, and commits it.
func (s *Steward) certify(ctx context.Context, n cert.NodeID) (*fabric.State, error) {
	state, err := s.Cluster.Current(ctx)
	if err == nil && state.Gateways[n] != nil && state.Gateways[n].Reserved == nil {
		state, err = s.propose(ctx, fabric.Command{RenewGateway: &fabric.RenewGateway{Node: n}})
	}
	if err != nil {
		return nil, err
	}
	g := state.Gateways[n]
	if g == nil {
		return nil, fmt.Errorf("gateway %v: %w", n, ErrNotReserved)
	}
	key, err := g.Key()
	if err != nil {
		return nil, err
	}
	cat := state.Home.GatewayCAT
	noc, _, err := s.Authority.issue(ctx, state, issuer.Reservation{Node: n, Serial: g.Reserved, CATs: []cert.CAT{cat}, PublicKey: key})
	if err != nil {
		return nil, err
	}
	return s.propose(ctx, fabric.Command{IssueGateway: &fabric.IssueGateway{Node: n, NOC: noc, CAT: cat.Version()}})
}
