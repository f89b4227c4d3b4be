package steward

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"gatehouse/cluster/found"
	"gatehouse/fabric"
)

// Enroll commits a gateway as a member and gives what it needs to know. It
// does what is left to do: for a gateway that was enrolled and does not know,
// nothing.
func (s *Steward) Enroll(ctx context.Context, c fabric.ReserveGateway) (found.Membership, error) {
	if a := s.Authority; !s.Cluster.Leads() && a.Others != nil {
		return a.Others.Enroll(ctx, s.Cluster.Leader(), c)
	}
	return s.enroll(ctx, c)
}

func (s *Steward) enroll(ctx context.Context, c fabric.ReserveGateway) (found.Membership, error) {
	state, err := s.Cluster.Current(ctx)
	if err != nil {
		return found.Membership{}, err
	}
	have := state.Gateways[c.Node]
	switch {
	case have != nil && !(bytes.Equal(have.PublicKey, c.PublicKey) && bytes.Equal(have.SealKey, c.SealKey)):
		return found.Membership{}, fmt.Errorf("gateway %v is a member with other keys", c.Node)
	case have == nil:
		if state, err = s.propose(ctx, fabric.Command{ReserveGateway: &c}); err != nil {
			return found.Membership{}, err
		}
	}
	if !state.Gateways[c.Node].Member() {
		if state, err = s.certify(ctx, c.Node); err != nil {
			return found.Membership{}, err
		}
	}
	g := state.Gateways[c.Node]
	if g == nil {
		return found.Membership{}, errors.New("the gateway was evicted meanwhile")
	}
	return found.Membership{Root: state.Home.Root, ICAC: state.Generation().ICAC, NOC: g.NOC, Peers: s.Peers(state)}, nil
}
