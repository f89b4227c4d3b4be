package main

import (
	"context"
	"fmt"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// announceAgain is after an announcement failed.
const announceAgain = 5 * time.Second

// announce makes the gateway known as a node of the home's fabric, as soon as
// it knows which that is, and of the former one as long as there is one.
// Devices find their administrator by this, and gateways each other. The one
// that leads is also the node that devices check in with.
func (g *gateway) announce(ctx context.Context, discovery *dnssd.Conn, port uint16) error {
	changed, announced := g.Watch(ctx), make(map[announcement]*dnssd.Registration)
	if err := g.announceOn(ctx, discovery, port, announced); err != nil {
		return err
	}
	go func() {
		again := (<-chan time.Time)(nil)
		for {
			select {
			case <-changed:
			case <-again:
			case <-ctx.Done():
				return
			}
			again = nil
			if err := g.announceOn(ctx, discovery, port, announced); err != nil && ctx.Err() == nil {
				g.log.Warn("this gateway is not announced on the home's fabric", "err", err)
				again = time.After(announceAgain)
			}
		}
	}()
	return nil
}

// announcement is a node on a compressed fabric.
type announcement struct {
	fabric uint64
	node   cert.NodeID
}

// announceOn brings what is announced in line with the home's fabrics.
func (g *gateway) announceOn(ctx context.Context, discovery *dnssd.Conn, port uint16, announced map[announcement]*dnssd.Registration) error {
	fabrics, err := g.fabrics()
	if err != nil {
		return err
	}
	g.neighbors.fabrics.Store(&fabrics)
	nodes := []cert.NodeID{g.Node}
	if g.Leads() && g.State().CheckInsIn() {
		nodes = append(nodes, fabric.CheckInNode)
	}
	present := make(map[announcement]bool)
	for _, f := range fabrics {
		for _, n := range nodes {
			a := announcement{f, n}
			if present[a] = true; announced[a] != nil {
				continue
			}
			service := dnssd.OperationalService(radio.Advertisement{CompressedFabric: f, Node: uint64(n)}, port)
			if announced[a], err = discovery.Advertise(ctx, service); err != nil {
				delete(announced, a)
				return fmt.Errorf("advertise the gateway: %w", err)
			}
		}
	}
	for a, ad := range announced {
		if !present[a] {
			ad.Close()
			delete(announced, a)
		}
	}
	return nil
}

// fabrics are the home's, compressed, the present one first.
func (g *gateway) fabrics() (compressed []uint64, err error) {
	for _, root := range g.roots(g.State()) {
		ca, err := found.Root(root)
		if err != nil {
			return nil, err
		}
		id, _ := ca.Certificate().Subject.Find(cert.AttrFabricID)
		compressed = append(compressed, uint64(cert.CompressFabric(ca.Certificate().PublicKey, cert.FabricID(id))))
	}
	if len(compressed) == 0 { // its setup was interrupted
		return nil, errNoHome
	}
	return compressed, nil
}

// roots are those that this gateway knows the home to have. One that has just
// joined goes by what it was told then.
func (g *gateway) roots(s *fabric.State) (roots [][]byte) {
	switch {
	case s.Former != nil:
		return [][]byte{s.Home.Root, s.Former.Root}
	case s.Founded():
		return [][]byte{s.Home.Root}
	case g.neighbors.membership != nil:
		return [][]byte{g.neighbors.membership.Root}
	}
	return nil
}
