package commissioner

import (
	"bytes"
	"context"
	"errors"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
)

// headStart is what the address tried first has before the next is tried
// beside it.
const headStart = 300 * time.Millisecond

// Connect opens a session with a device: at its last good address and, side
// by side, wherever it announces itself. The first that answers wins.
func (c *Commissioner) Connect(ctx context.Context, node cert.NodeID) (*exchange.Session, error) {
	var known *securechannel.Peer
	if addr, ok := c.Addresses.Get(node); ok {
		known = &securechannel.Peer{Link: c.Link, Addr: addr}
	}
	id, err := c.IdentityFor(ctx, c.Ledger.State().Devices[node])
	if err != nil {
		return nil, err
	}
	s, err := c.dial(ctx, id, node, known)
	if err == nil {
		c.Addresses.Set(node, s.Addr())
	}
	return s, err
}

// IdentityFor is who this gateway is on the fabric that a device is on, and on
// the terms it is on; nil is a device that is yet to come.
func (c *Commissioner) IdentityFor(ctx context.Context, d *fabric.Device) (*securechannel.Identity, error) {
	s := c.Ledger.State()
	root := s.Home.Root
	if d != nil && s.OnFormer(d) {
		root = s.Former.Root
	}
	for _, id := range c.identities() {
		if bytes.Equal(id.Root.Certificate().TLV(), root) {
			return c.onTerms(ctx, s, d, id)
		}
	}
	return nil, Fail(CodeOtherFabric, nil)
}

// identities are who this gateway is, on the present fabric first.
func (c *Commissioner) identities() []*securechannel.Identity {
	ids := []*securechannel.Identity{c.Identity()}
	if c.Former != nil {
		if former := c.Former(); former != nil {
			ids = append(ids, former)
		}
	}
	return ids
}

// CompressedFabric is what the nodes of the home's fabric announce it by.
func (c *Commissioner) CompressedFabric() uint64 { return compressed(c.Identity()) }

func compressed(id *securechannel.Identity) uint64 {
	return uint64(cert.CompressFabric(id.Root.Certificate().PublicKey, id.Fabric))
}

// instance is the name a node of a fabric of ours announces itself by.
func instance(id *securechannel.Identity, node cert.NodeID) string {
	return radio.OperationalInstance(compressed(id), uint64(node))
}

// Locate asks the network where a device is now.
func (c *Commissioner) Locate(ctx context.Context, node cert.NodeID) ([]radio.Addr, error) {
	id, err := c.IdentityFor(ctx, c.Ledger.State().Devices[node])
	if err != nil {
		return nil, err
	}
	ad, err := c.Discovery.Resolve(ctx, instance(id, node))
	return ad.Addrs, err
}

type attempt struct {
	session *exchange.Session
	err     error
}

// dial runs CASE at the known address and at those that discovery yields, each
// a head start after the one before.
func (c *Commissioner) dial(ctx context.Context, id *securechannel.Identity, node cert.NodeID, known *securechannel.Peer) (*exchange.Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := make(chan securechannel.Peer)
	resolved := make(chan error, 1)
	go func() { resolved <- c.candidates(ctx, instance(id, node), known, peers) }()

	results := make(chan attempt)
	running, searching := 0, true
	var failed error
	for searching || running > 0 {
		select {
		case peer := <-peers:
			running++
			go func() {
				s, err := securechannel.CASE(ctx, c.Manager, peer, id, node, &c.resumptions)
				results <- attempt{s, err}
			}()
		case err := <-resolved:
			searching = false
			failed = errors.Join(failed, err)
		case r := <-results:
			running--
			if r.err == nil {
				cancel()
				go c.discard(results, running)
				return r.session, nil
			}
			failed = errors.Join(failed, r.err)
		}
	}
	if silent(failed) { // what discovery knows led nowhere
		c.Discovery.Doubt(instance(id, node))
	}
	return nil, failed
}

// discard closes the sessions of attempts that came second.
func (c *Commissioner) discard(results <-chan attempt, running int) {
	for range running {
		if r := <-results; r.err == nil {
			securechannel.Close(c.Manager, r.session)
		}
	}
}

// candidates yields where a node may be, the known address first.
func (c *Commissioner) candidates(ctx context.Context, instance string, known *securechannel.Peer, peers chan<- securechannel.Peer) error {
	offer := func(p securechannel.Peer) bool {
		select {
		case peers <- p:
		case <-ctx.Done():
			return false
		}
		select {
		case <-time.After(headStart):
			return true
		case <-ctx.Done():
			return false
		}
	}
	if known != nil && !offer(*known) {
		return context.Cause(ctx)
	}
	ad, err := c.Discovery.Resolve(ctx, instance)
	if err != nil {
		return err
	}
	for _, addr := range ad.Addrs {
		if known != nil && addr == known.Addr {
			continue
		}
		if !offer(securechannel.Peer{Link: c.Link, Addr: addr, Params: params(ad.Session)}) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// Belongs reports whether a device was admitted and has not left.
func (c *Commissioner) Belongs(n cert.NodeID) bool {
	d := c.Ledger.State().Devices[n]
	return d != nil && d.Phase == fabric.Admitted
}
