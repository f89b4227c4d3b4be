package steward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// ErrRoot says that a new root is of no use to this home.
var ErrRoot = errors.New("the new root does not fit this home")

// Reroot gives the home another root, in one command. To ask again for the
// same one is no harm. The root's own key is not here, and never was.
func (s *Steward) Reroot(ctx context.Context, r *found.NewRoot) error {
	return s.insist(ctx, func() error {
		if a := s.Authority; !s.Cluster.Leads() && a.Others != nil {
			return a.Others.Reroot(ctx, s.Cluster.Leader(), r)
		}
		return s.reroot(ctx, r)
	})
}

// reroot is the leader's.
func (s *Steward) reroot(ctx context.Context, r *found.NewRoot) error {
	state, err := s.Cluster.Current(ctx)
	if err != nil {
		return err
	}
	if bytes.Equal(state.Home.Root, r.Root) {
		return nil // it was, and the answer was lost
	}
	if state.Former != nil || len(state.Moved()) > 0 {
		return &fabric.Refusal{Code: fabric.CodeRerooting, Reason: "the change of the root before this one is not over"}
	}
	nocs, err := certificates(state, r)
	if err != nil {
		return err
	}
	secrets, err := s.Vault.Open(ctx, state)
	if err != nil {
		return err
	}
	defer secrets.Erase()
	// What was the present fabric's becomes the former's.
	former := secrets.IPK
	secrets.IssuerKey.Erase()
	secrets.IssuerKey, secrets.IPK, secrets.Former = seal.NewSecret(r.IssuerKey), seal.NewSecret(r.IPK), &former
	after := *state
	after.Home.Recovery = r.Recovery
	sealed, err := s.Vault.Seal(&after, state.DataKey()+1, secrets)
	if err != nil {
		return err
	}
	sealed.ICAC, sealed.Recovery = r.ICAC, r.Recovery
	if state, err = s.propose(ctx, fabric.Command{Reroot: &fabric.Reroot{Root: r.Root, NOCs: nocs, Reseal: *sealed}}); err != nil {
		return err
	}
	s.Log.Warn("the home has another root; its devices are moved to it", "generation", state.Generation().Number, "devices", len(state.Stragglers()))
	return nil
}

// certificates are the members' below a new root, which is tried by that.
func certificates(s *fabric.State, r *found.NewRoot) (map[cert.NodeID][]byte, error) {
	root, err := found.Root(r.Root)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRoot, err)
	}
	if len(r.IPK) != cert.GroupKeyLength || len(r.Recovery) == 0 {
		return nil, fmt.Errorf("%w: a key is missing", ErrRoot)
	}
	key, err := issuer.ParsePrivateKey(r.IssuerKey)
	if err != nil {
		return nil, fmt.Errorf("%w: its issuing key is none", ErrRoot)
	}
	defer key.Erase()
	nocs := make(map[cert.NodeID][]byte)
	for i, g := range s.Members() {
		public, err := g.Key()
		if err != nil {
			return nil, err
		}
		noc, err := issuer.Issue(r.ICAC, key, issuer.Reservation{Node: g.Node, Fabric: s.Home.FabricID, CATs: []cert.CAT{s.Home.GatewayCAT}, PublicKey: public,
			Serial: fabric.MemberSerial(s.Generation().Number+1, i), NotBefore: time.UnixMilli(s.Home.Birth)})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRoot, err)
		}
		// Whoever could not verify this one could not verify any device either.
		if n, err := root.Verify(noc, r.ICAC, cert.AnyTime); err != nil || n.FabricID != s.Home.FabricID {
			return nil, fmt.Errorf("%w: its authority is another's, or of another generation", ErrRoot)
		}
		nocs[g.Node] = noc
	}
	icac, err := cert.Parse(r.ICAC)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRoot, err)
	}
	if n, _ := icac.Subject.Find(cert.AttrICAC); n != uint64(s.Generation().Number)+1 {
		return nil, fmt.Errorf("%w: it begins generation %d, and %d is next", ErrRoot, n, s.Generation().Number+1)
	}
	return nocs, nil
}

// EndReroot forgets the fabric of before, and with it those devices that were
// not moved to the present one: exactly these.
func (s *Steward) EndReroot(ctx context.Context, giveUp []cert.NodeID) error {
	_, err := s.propose(ctx, fabric.Command{EndReroot: &fabric.EndReroot{GiveUp: giveUp}})
	return err
}

// endReroot ends the change of the root when nobody needs the former fabric any
// more: no device, and no gateway that is away, which would look for the
// others by it.
func (s *Steward) endReroot(ctx context.Context, state *fabric.State) error {
	away := slices.ContainsFunc(s.Cluster.Members(), func(m cluster.Member) bool { return m.Away > 0 })
	if state.Former == nil || away || len(state.Stragglers())+len(state.Moved()) > 0 {
		return nil
	}
	if err := s.EndReroot(ctx, nil); err != nil {
		return fmt.Errorf("end the change of the root: %w", err)
	}
	s.Log.Info("all devices are below the home's new root; the former one is forgotten")
	return nil
}

// insist does what needs a leader, and secrets that do not change meanwhile,
// again and again.
func (s *Steward) insist(ctx context.Context, do func() error) (err error) {
	for range tries {
		err = do()
		var refused *fabric.Refusal
		if !errors.Is(err, cluster.ErrNotLeader) && !(errors.As(err, &refused) && refused.Code == fabric.CodeSealing) {
			return err
		}
		select {
		case <-time.After(triesPause):
		case <-ctx.Done():
			return err
		}
	}
	return err
}
