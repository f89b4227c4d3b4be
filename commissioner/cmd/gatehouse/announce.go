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
// Devices find their administrator by this, and gateways each other.
func (g *gateway) announce(ctx context.Context, discovery *dnssd.Conn, port uint16) error {
	changed, announced := g.Watch(ctx), make(map[uint64]*dnssd.Registration)
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

// announceOn brings what is announced in line with the home's fabrics.
func (g *gateway) announceOn(ctx context.Context, discovery *dnssd.Conn, port uint16, announced map[uint64]*dnssd.Registration) error {
	fabrics, err := g.fabrics()
	if err != nil {
		return err
	}
	g.neighbors.fabrics.Store(&fabrics)
	present := make(map[uint64]bool)
	for _, f := range fabrics {
		if present[f] = true; announced[f] != nil {
			continue
		}
		self := dnssd.OperationalService(radio.Advertisement{CompressedFabric: f, Node: uint64(g.Node)}, port)
		if announced[f], err = discovery.Advertise(ctx, self); err != nil {
			delete(announced, f)
			return fmt.Errorf("advertise the gateway: %w", err)
		}
	}
	for f, ad := range announced {
		if !present[f] {
			ad.Close()
			delete(announced, f)
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
