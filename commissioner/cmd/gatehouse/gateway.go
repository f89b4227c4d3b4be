package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/member"
	"gatehouse/cluster/store"
	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// gateway is what a state directory holds, running.
type gateway struct {
	*member.Member
	log       *slog.Logger
	neighbors *neighbors
	identity  atomic.Pointer[securechannel.Identity]
	evicted   chan struct{}
}

// clusterConfig ends the process when the disk is not to be trusted any more:
// whoever supervises it starts it anew.
func clusterConfig(log *slog.Logger) cluster.Config {
	return cluster.Config{Log: log, Now: clock, Fatal: func(err error) {
		log.Error("the disk failed; stopping at once", "err", err)
		os.Exit(exitFailed)
	}}
}

var errNoHome = &commissioner.Failure{Code: "fabric-not-founded", Message: "there is no home here yet",
	Remedy: "found one with `gatehouse setup`, or become part of one with `gatehouse join`"}

var errEvicted = &commissioner.Failure{Code: "gateway-evicted", Message: "the other gateways have evicted this one",
	Remedy: "to let it in again, empty its state directory and run `gatehouse join`"}

// openGateway opens a state directory that setup or join made; tpm is as in
// keyfile.Options. Other gateways come in at listener, and are found by
// discovery.
func openGateway(dir, tpm string, listener net.Listener, discovery *dnssd.Conn, log *slog.Logger) (*gateway, error) {
	keys, err := loadKeys(dir, tpm)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	membership, err := found.ReadMembership(dir)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	g := &gateway{log: log, evicted: make(chan struct{}), neighbors: &neighbors{self: keys.Node, listener: listener.Addr(), discovery: discovery,
		membership: membership, book: commissioner.OpenAddressBook(filepath.Join(dir, "gateways.json"), log)}}
	g.Member, err = member.Open(member.Config{Dir: dir, Keys: keys, Listener: listener, Locate: g.neighbors.locate, Peers: g.neighbors.peers,
		Cluster: clusterConfig(log), Now: clock, Log: log})
	if errors.Is(err, store.ErrNone) {
		return nil, errNoHome
	} else if err != nil {
		return nil, err
	}
	return g, nil
}

func loadKeys(dir, tpm string) (keyfile.Keys, error) {
	keys, err := keyfile.Load(dir, keyfile.Options{TPM: tpm})
	switch {
	case errors.Is(err, keyfile.ErrNone):
		return keys, errNoHome
	case err != nil:
		return keys, &commissioner.Failure{Code: "gateway-keys-unusable", Message: err.Error(), Remedy: "if they are in a TPM that is not /dev/tpmrm0, name it with --tpm"}
	}
	return keys, nil
}

// announce makes the gateway known as a node of the home's fabric, as soon as
// it knows which that is. Devices find their administrator by this, and
// gateways each other.
func (g *gateway) announce(ctx context.Context, discovery *dnssd.Conn, port uint16) error {
	root := g.State().Home.Root
	if g.neighbors.membership != nil {
		root = g.neighbors.membership.Root
	} else if root == nil { // its setup was interrupted
		return errNoHome
	}
	ca, err := found.Root(root)
	if err != nil {
		return err
	}
	id, _ := ca.Certificate().Subject.Find(cert.AttrFabricID)
	compressed := uint64(cert.CompressFabric(ca.Certificate().PublicKey, cert.FabricID(id)))
	g.neighbors.compressed.Store(compressed)
	self := dnssd.OperationalService(radio.Advertisement{CompressedFabric: compressed, Node: uint64(g.Node)}, port)
	if _, err := discovery.Advertise(ctx, self); err != nil {
		return fmt.Errorf("advertise the gateway: %w", err)
	}
	return nil
}

// identifyEvery is between attempts to become who the gateway is.
const identifyEvery = 500 * time.Millisecond

// identify waits until the gateway can say who it is on its home's fabric: it
// has the trust state, and another gateway, if there are any, has helped it to
// open the identity protection key. Then it keeps the identity up to date.
// waiting is told why it takes longer.
func (g *gateway) identify(ctx context.Context, waiting func(error)) error {
	changed := g.Watch(ctx)
	for {
		err := g.reidentify(ctx)
		switch {
		case err == nil:
			go g.stayIdentified(ctx, changed)
			return nil
		case errors.Is(err, errEvicted):
			return err
		}
		waiting(err)
		select {
		case <-changed:
		case <-time.After(identifyEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (g *gateway) stayIdentified(ctx context.Context, changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		if err := g.reidentify(ctx); errors.Is(err, errEvicted) {
			close(g.evicted)
			return
		} else if err != nil {
			g.log.Warn("this gateway's certificate was renewed, and it cannot use it yet", "err", err)
		}
	}
}

// reidentify takes up the certificate that the trust state has now.
func (g *gateway) reidentify(ctx context.Context) error {
	s := g.State()
	self := s.Gateways[g.Node]
	switch {
	case !s.Founded():
		return errors.New("the home's trust state has not come from the other gateways yet")
	case self == nil && s.Tombstones[g.Node] != nil:
		return errEvicted
	case self == nil || !self.Member():
		return fmt.Errorf("gateway %v is not a member of this home", g.Node)
	}
	have := g.identity.Load()
	if have != nil && string(have.NOC) == string(self.NOC) {
		return nil
	}
	next, err := g.identityOf(ctx, s, self, have)
	if err == nil {
		g.identity.Store(next)
	}
	return err
}

func (g *gateway) identityOf(ctx context.Context, s *fabric.State, self *fabric.Gateway, have *securechannel.Identity) (*securechannel.Identity, error) {
	root, err := found.Root(s.Home.Root)
	if err != nil {
		return nil, err
	}
	// Validity of devices' certificates is watched by the gateways, not
	// enforced by the handshake: a device must stay reachable to be renewed.
	id := &securechannel.Identity{Index: 1, Fabric: s.Home.FabricID, Node: g.Node, Root: root, NOC: self.NOC, ICAC: s.Generation().ICAC,
		Key: g.Keys.Now().Operational, Valid: cert.AnyTime}
	if have != nil {
		id.IPK = have.IPK
		return id, nil
	}
	epoch, err := g.Vault.IPK(ctx, s)
	if err != nil {
		return nil, err
	}
	defer epoch.Erase()
	id.IPK = epoch.Operational(cert.CompressFabric(root.Certificate().PublicKey, s.Home.FabricID))
	return id, nil
}
