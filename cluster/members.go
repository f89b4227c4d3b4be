package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	// An owner that has not heard of a leader for ownerLease gives up its
	// devices; the leader gives them to others after absentAfter, which is
	// longer, whatever else delays it.
	ownerLease  = time.Second
	absentAfter = 1200 * time.Millisecond

	membersEvery  = 500 * time.Millisecond // between looks at the members
	changeTimeout = 10 * time.Second       // for one change of them
)

// Member is a gateway in the Raft configuration.
type Member struct {
	Node   cert.NodeID `json:"node"`
	Voter  bool        `json:"voter"`
	Leader bool        `json:"leader"`
	// Away is how long the leader has not heard of it; 0 if it is there, or
	// on a gateway that does not lead.
	Away time.Duration `json:"away,omitempty"`
}

// Members are the gateways that replicate the trust state, by node id.
func (c *Cluster) Members() (members []Member) {
	leader := c.Leader()
	for _, s := range c.raft.GetConfiguration().Configuration().Servers {
		n := nodeOf(s.ID)
		members = append(members, Member{Node: n, Voter: s.Suffrage == raft.Voter, Leader: n == leader, Away: c.absent.since(n)})
	}
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.Node, b.Node) })
	return members
}

func nodeOf(id raft.ServerID) cert.NodeID {
	n, err := strconv.ParseUint(string(id), 16, 64)
	if err != nil {
		return 0
	}
	return cert.NodeID(n)
}

func serverOf(n cert.NodeID) raft.ServerID { return raft.ServerID(n.String()) }

// InTouch reports whether this gateway leads, or heard of the leader lately
// enough to own devices.
func (c *Cluster) InTouch() bool {
	return c.Leads() || c.Leader() != 0 && time.Since(c.raft.LastContact()) < ownerLease
}

// keep has the Raft configuration follow the trust state while this gateway
// leads, and takes devices over from gateways that are away.
func (c *Cluster) keep() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-c.closed; cancel() }()
	ticker := time.NewTicker(membersEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if s := c.State(); c.Leads() && s.Founded() {
			if err := c.follows(ctx, s); err != nil && ctx.Err() == nil {
				c.cfg.log().Info("the members do not follow the trust state yet", "err", err)
			}
			c.takeOver(ctx, s)
		}
	}
}

// follows makes one change of the Raft configuration, if one is due. A
// gateway is first a learner; it gets a vote when it has caught up and the
// secrets are sealed for it. The number
// of votes is odd: with two gateways, the loss of either would else stop both.
func (c *Cluster) follows(ctx context.Context, s *fabric.State) error {
	have := make(map[cert.NodeID]bool) // voter
	for _, m := range c.Members() {
		have[m.Node] = m.Voter
	}
	for n := range have {
		if g := s.Gateways[n]; g != nil && g.Member() {
			continue
		}
		if n == c.cfg.Node {
			return c.Transfer()
		}
		return c.change("remove", n, c.raft.RemoveServer(serverOf(n), 0, changeTimeout))
	}
	var voters, learners []cert.NodeID
	for _, g := range s.Members() {
		voter, there := have[g.Node]
		switch {
		case c.leaving.is(g.Node):
			if there {
				return c.change("remove", g.Node, c.raft.RemoveServer(serverOf(g.Node), 0, changeTimeout))
			}
		case !there:
			return c.change("add", g.Node, c.raft.AddNonvoter(serverOf(g.Node), raft.ServerAddress(g.Node.String()), 0, changeTimeout))
		case voter:
			voters = append(voters, g.Node)
		default:
			learners = append(learners, g.Node)
		}
	}
	want := max(1, (len(voters)+len(learners)+1)/2*2-1)
	switch {
	case len(voters) < want:
		return c.promote(ctx, s, learners)
	case len(voters) > want:
		return c.demote(voters)
	}
	return nil
}

// promote gives a learner that has caught up a vote, once it could lead too.
func (c *Cluster) promote(ctx context.Context, s *fabric.State, learners []cert.NodeID) error {
	for _, n := range learners {
		if !s.SealedFor(n) {
			continue
		}
		if v, err := c.askShortly(ctx, n); err == nil && v.Index >= s.Index {
			return c.change("give a vote to", n, c.raft.AddVoter(serverOf(n), raft.ServerAddress(n.String()), 0, changeTimeout))
		}
	}
	return nil
}

func (c *Cluster) askShortly(ctx context.Context, n cert.NodeID) (verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, ownerLease)
	defer cancel()
	return c.ask(ctx, n, http.MethodGet, pathApplied, nil)
}

// demote takes the vote of another gateway, of one that is away if it can.
func (c *Cluster) demote(voters []cert.NodeID) error {
	others := slices.DeleteFunc(slices.Clone(voters), func(n cert.NodeID) bool { return n == c.cfg.Node })
	slices.SortStableFunc(others, func(a, b cert.NodeID) int {
		return cmp.Compare(c.absent.since(b), c.absent.since(a))
	})
	return c.change("take the vote of", others[0], c.raft.DemoteVoter(serverOf(others[0]), 0, changeTimeout))
}

func (c *Cluster) change(what string, n cert.NodeID, f raft.IndexFuture) error {
	if err := f.Error(); err != nil {
		return fmt.Errorf("%s gateway %v: %w", what, n, named(err))
	}
	c.cfg.log().Info("changed the members: "+what, "gateway", n)
	c.watchers.notify()
	return nil
}

// Expel takes a gateway that is to be evicted out of the Raft configuration, on
// the leader, and waits until the votes of the others are settled: once its
// eviction is committed, it must neither lead nor be needed. Afterwards, call
// done: if it was not evicted it comes back.
func (c *Cluster) Expel(ctx context.Context, n cert.NodeID) (done func(), err error) {
	c.leaving.set(n)
	done = func() { c.leaving.set(0) }
	ticker := time.NewTicker(leaderPoll)
	defer ticker.Stop()
	for {
		voters, there := 0, false
		for _, m := range c.Members() {
			if m.Voter {
				voters++
			}
			there = there || m.Node == n
		}
		switch {
		case !c.Leads():
			done()
			return nil, ErrNotLeader
		case !there && voters%2 == 1:
			return done, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			done()
			return nil, fmt.Errorf("the gateways could not agree on going on without gateway %v: most of them must be up: %w", n, ctx.Err())
		}
	}
}

// leaving is the gateway that is about to be evicted.
type leaving struct{ node atomic.Uint64 }

func (l *leaving) set(n cert.NodeID)     { l.node.Store(uint64(n)) }
func (l *leaving) is(n cert.NodeID) bool { return n != 0 && l.node.Load() == uint64(n) }

// Transfer has another voter lead. It takes less than an election.
func (c *Cluster) Transfer() error {
	if err := c.raft.LeadershipTransfer().Error(); err != nil {
		return fmt.Errorf("hand the lead over: %w", err)
	}
	return nil
}

// takeOver gives the devices of gateways that are away to those that are not.
func (c *Cluster) takeOver(ctx context.Context, s *fabric.State) {
	away := make(map[cert.NodeID]bool)
	for _, m := range c.Members() {
		away[m.Node] = m.Away >= absentAfter
	}
	owners := make(map[cert.NodeID]bool)
	for _, d := range s.Devices {
		owners[d.Gateway] = true
	}
	var there []cert.NodeID
	for _, g := range s.Members() {
		if gone, known := away[g.Node]; known && !gone {
			there = append(there, g.Node)
		}
	}
	for _, from := range slices.Sorted(maps.Keys(owners)) {
		if !away[from] || len(there) == 0 {
			continue
		}
		_, err := c.Propose(ctx, fabric.Command{TakeOver: &fabric.TakeOver{From: from, To: there}})
		if err != nil {
			c.cfg.log().Info("the devices of a gateway that is away were not taken over", "gateway", from, "err", err)
			return
		}
		c.cfg.log().Info("took over the devices of a gateway that is away", "gateway", from)
	}
}
