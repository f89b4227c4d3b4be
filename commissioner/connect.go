package commissioner

import (
	"context"
	"errors"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/securechannel"
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
	s, err := c.dial(ctx, node, known)
	if err == nil {
		c.Addresses.Set(node, s.Addr())
	}
	return s, err
}

// CompressedFabric is what the nodes of the home's fabric announce it by.
func (c *Commissioner) CompressedFabric() uint64 {
	return uint64(cert.CompressFabric(c.Identity().Root.Certificate().PublicKey, c.Identity().Fabric))
}

// instance is the name a node of our fabric announces itself by.
func (c *Commissioner) instance(node cert.NodeID) string {
	return radio.OperationalInstance(c.CompressedFabric(), uint64(node))
}

type attempt struct {
	session *exchange.Session
	err     error
}

// dial runs CASE at the known address and at those that discovery yields, each
// a head start after the one before.
func (c *Commissioner) dial(ctx context.Context, node cert.NodeID, known *securechannel.Peer) (*exchange.Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	peers := make(chan securechannel.Peer)
	resolved := make(chan error, 1)
	go func() { resolved <- c.candidates(ctx, node, known, peers) }()

	results := make(chan attempt)
	running, searching := 0, true
	var failed error
	for searching || running > 0 {
		select {
		case peer := <-peers:
			running++
			go func() {
				s, err := securechannel.CASE(ctx, c.Manager, peer, c.Identity(), node, &c.resumptions)
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
		c.Discovery.Doubt(c.instance(node))
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
func (c *Commissioner) candidates(ctx context.Context, node cert.NodeID, known *securechannel.Peer, peers chan<- securechannel.Peer) error {
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
	ad, err := c.Discovery.Resolve(ctx, c.instance(node))
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
