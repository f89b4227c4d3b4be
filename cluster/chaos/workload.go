package chaos

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// Habits of the workload.
const (
	settleEvery = 5 * time.Second
	settleGrace = 15 * time.Second
	readKeys    = 12 // of which a read takes note
	networks    = 3
	callTime    = 25 * time.Second
	// maxDevices is where clients rather remove devices.
	maxDevices = 60
)

// Client does what people and pairings do, at one gateway after the other.
type Client struct {
	Trial *Trial
	ID    int
	Rand  *rand.Rand
	// Pick is a gateway that runs, or nil.
	Pick func(*rand.Rand) Gateway
	// Pause is the mean time between two things it does.
	Pause time.Duration
	// Early is a sabotage: the device gets its certificate before that is
	// committed.
	Early bool
	// Hasty is another: Settle goes by what the gateway happens to know.
	Hasty bool
}

// Run does one thing after the other until ctx ends.
func (c *Client) Run(ctx context.Context) {
	for {
		select {
		case <-time.After(time.Duration(c.Rand.ExpFloat64() * float64(c.Pause))):
		case <-ctx.Done():
			return
		}
		g := c.Pick(c.Rand)
		if g == nil {
			continue
		}
		switch n := c.Rand.IntN(100); {
		case n < 50 && len(g.State().Devices) < maxDevices:
			c.pair(g)
		case n < 70:
			c.read(g)
		case n < 80 || len(g.State().Devices) >= maxDevices:
			c.remove(g)
		case n < 86:
			c.rename(g)
		case n < 88:
			c.Propose(g, Op{Kind: AddZone}, fabric.Command{AddZone: &fabric.AddZone{Name: fmt.Sprintf("zone %d", c.Rand.IntN(20))}})
		case n < 93:
			c.setNetwork(g)
		default:
			c.getNetwork(g)
		}
	}
}

func (c *Client) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 3*time.Second+time.Duration(c.Rand.Int64N(int64(callTime-3*time.Second))))
}

func (c *Client) begin(g Gateway, o Op) Op {
	o.Client, o.Gateway = c.ID, g.Node()
	return c.Trial.Begin(o)
}

// Propose proposes a command and records what came of it.
func (c *Client) Propose(g Gateway, o Op, cmd fabric.Command) Outcome {
	ctx, cancel := c.context()
	defer cancel()
	o = c.begin(g, o)
	s, err := g.Propose(ctx, cmd)
	return c.Trial.End(o, s, err)
}

// evictTime bounds one attempt to evict a gateway.
const evictTime = 30 * time.Second

// Evict tries to evict a gateway, in a call that has begun, and records its end
// if that is certain. Secrets that changed meanwhile are a reason to try again.
func (c *Client) Evict(g Gateway, o Op, n cert.NodeID) bool {
	ctx, cancel := context.WithTimeout(context.Background(), evictTime)
	defer cancel()
	err := g.Evict(ctx, n)
	var refused *fabric.Refusal
	if err != nil && (!errors.As(err, &refused) || refused.Code == fabric.CodeSealing) {
		return false
	}
	c.Trial.End(o, nil, err)
	return true
}

// pair takes a device through the steps of a pairing. At every step the phone
// may be gone, the device out of reach or the gateway dead: then what is in
// doubt is for Settle.
func (c *Client) pair(g Gateway) {
	n := cert.NodeID(c.Rand.Uint64()>>16 | 1)
	key, err := issuer.GenerateKey(crand.Reader)
	if err != nil {
		panic(err) // the system has no randomness
	}
	d := c.Trial.Device(n, key.PublicKey())
	g.Pairings().Store(n, true)
	defer g.Pairings().Delete(n)
	name := fmt.Sprintf("device %d", c.Rand.IntN(1000))
	if c.Propose(g, Op{Kind: Reserve, Key: n.String(), Value: name}, fabric.Command{Reserve: &fabric.Reserve{Node: n, Gateway: g.Node(), Name: name,
		FailSafe: FailSafe.Milliseconds()}}) != Done || c.gone(g) {
		return
	}
	noc := c.sign(g, n, d.key)
	if noc == nil {
		c.Propose(g, Op{Kind: Abandon, Key: n.String()}, fabric.Command{Abandon: &fabric.Abandon{Node: n, Reason: "not signed", Gateway: g.Node()}})
		return
	}
	if c.gone(g) || c.Early && d.Take(noc) != nil {
		return
	}
	hash := sha256.Sum256(noc)
	if c.Propose(g, Op{Kind: Issue, Key: n.String(), Value: hashOf(noc)}, fabric.Command{Issue: &fabric.Issue{Node: n, NOCHash: hash[:], PublicKey: d.key[:],
		Gateway: g.Node()}}) != Done || c.gone(g) || d.Take(noc) != nil || c.gone(g) || d.Complete() != nil || c.gone(g) {
		return
	}
	c.Propose(g, Op{Kind: Admit, Key: n.String()}, fabric.Command{Admit: &fabric.Admit{Node: n, Gateway: g.Node(), Access: g.State().Home.GatewayCAT.Version()}})
}

// gone passes the time of a step, and reports whether the pairing ends here.
func (c *Client) gone(g Gateway) bool {
	pause := time.Duration(c.Rand.Int64N(int64(2 * time.Second)))
	if c.Rand.IntN(30) == 0 {
		pause *= 30 // a phone that sleeps
	}
	select {
	case <-g.Done():
		return true
	case <-time.After(pause):
		return c.Rand.IntN(40) == 0
	}
}

func (c *Client) sign(g Gateway, n cert.NodeID, key cert.PublicKey) []byte {
	ctx, cancel := c.context()
	defer cancel()
	o := c.begin(g, Op{Kind: Sign, Key: n.String()})
	noc, err := g.Sign(ctx, n, key)
	if err != nil {
		return nil
	}
	c.Trial.Signed(noc)
	c.Trial.End(o, nil, nil)
	return noc
}

func (c *Client) current(g Gateway, o Op) (*fabric.State, Op, error) {
	ctx, cancel := c.context()
	defer cancel()
	o = c.begin(g, o)
	s, err := g.Current(ctx)
	return s, o, err
}

func (c *Client) read(g Gateway) {
	s, o, err := c.current(g, Op{Kind: Read})
	if err != nil {
		return
	}
	nodes := make([]cert.NodeID, 0, readKeys)
	all := c.Trial.Devices()
	for len(all) > 0 && len(nodes) < readKeys {
		nodes = append(nodes, all[c.Rand.IntN(len(all))].node)
	}
	nodes = slices.AppendSeq(nodes, maps.Keys(s.Gateways))
	slices.Sort(nodes)
	c.Trial.Saw(o, s, slices.Compact(nodes))
	c.Trial.Observe(g.Node(), s)
}

// some is a device in a phase, as the gateway knows it.
func (c *Client) some(g Gateway, phase fabric.Phase) *fabric.Device {
	s := g.State()
	all := slices.DeleteFunc(slices.Sorted(maps.Keys(s.Devices)), func(n cert.NodeID) bool { return s.Devices[n].Phase != phase })
	if len(all) == 0 {
		return nil
	}
	return s.Devices[all[c.Rand.IntN(len(all))]]
}

func (c *Client) remove(g Gateway) {
	if d := c.some(g, fabric.Admitted); d != nil {
		c.Propose(g, Op{Kind: Remove, Key: d.Node.String()}, fabric.Command{Remove: &fabric.Remove{Node: d.Node, Reason: "no longer wanted"}})
	}
}

func (c *Client) rename(g Gateway) {
	if d := c.some(g, fabric.Admitted); d != nil {
		name := fmt.Sprintf("renamed %d", c.Rand.IntN(1000))
		c.Propose(g, Op{Kind: Rename, Key: d.Node.String(), Value: name}, fabric.Command{Rename: &fabric.Rename{Node: d.Node, Name: name}})
	}
}

func (c *Client) setNetwork(g Gateway) {
	ctx, cancel := c.context()
	defer cancel()
	name := fmt.Sprintf("network %d", c.Rand.IntN(networks))
	o := c.begin(g, Op{Kind: SetNetwork, Key: name, Value: fmt.Sprintf("password %d", c.Rand.Uint64())})
	s, err := g.SetNetwork(ctx, name, o.Value)
	c.Trial.End(o, s, err)
}

// getNetwork reads credentials. That no helper could be reached is no answer.
func (c *Client) getNetwork(g Gateway) {
	name := fmt.Sprintf("network %d", c.Rand.IntN(networks))
	s, o, err := c.current(g, Op{Kind: GetNetwork, Key: name})
	if err != nil {
		return
	}
	if s.Networks[name] != nil {
		ctx, cancel := c.context()
		defer cancel()
		if o.Value, err = g.OpenNetwork(ctx, s, name); err != nil {
			return
		}
	}
	c.Trial.End(o, s, nil)
}

// Settle ends the pairings that nobody is at any more, as a gateway does for
// the devices it looks after: what has no certificate is abandoned; what has
// one is admitted if the device can be met, and abandoned once it has surely
// rolled back.
func (c *Client) Settle(g Gateway) {
	since := make(map[cert.NodeID]time.Time)
	for {
		select {
		case <-time.After(settleEvery):
		case <-g.Done():
			return
		}
		s := g.State()
		if !c.Hasty {
			// A gateway that was off may not know yet that it issued a
			// certificate before, and would abandon a device that has it.
			if s = c.doubts(g); s == nil {
				continue
			}
		}
		before := since
		since = make(map[cert.NodeID]time.Time)
		for _, n := range slices.Sorted(maps.Keys(s.Devices)) {
			d := s.Devices[n]
			if _, active := g.Pairings().Load(n); active || d.Phase == fabric.Admitted || d.Gateway != g.Node() {
				continue
			}
			if since[n] = before[n]; since[n].IsZero() {
				since[n] = c.Trial.Now()
			}
			c.settle(g, d, c.Trial.Now().Sub(since[n]))
		}
	}
}

// doubts is the State as it is now, if there is something to settle; else nil.
func (c *Client) doubts(g Gateway) *fabric.State {
	for _, d := range g.State().Devices {
		if d.Phase != fabric.Admitted && d.Gateway == g.Node() {
			ctx, cancel := c.context()
			defer cancel()
			s, err := g.Current(ctx)
			if err != nil {
				return nil
			}
			return s
		}
	}
	return nil
}

func (c *Client) settle(g Gateway, d *fabric.Device, waited time.Duration) {
	key := d.Node.String()
	switch {
	case d.Phase == fabric.Issued && c.Trial.Find(d.Node).Complete() == nil:
		c.Propose(g, Op{Kind: Admit, Key: key}, fabric.Command{Admit: &fabric.Admit{Node: d.Node, Gateway: g.Node(), Access: g.State().Home.GatewayCAT.Version()}})
	case d.Phase == fabric.Reserved || waited > FailSafe+settleGrace:
		c.Propose(g, Op{Kind: Abandon, Key: key}, fabric.Command{Abandon: &fabric.Abandon{Node: d.Node, Reason: "interrupted", Gateway: g.Node()}})
	}
}
