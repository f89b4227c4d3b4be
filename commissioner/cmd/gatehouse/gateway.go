package main

import (
	"bytes"
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
	"gatehouse/radio/dnssd"
)

// gateway is what a state directory holds, running.
type gateway struct {
	*member.Member
	log       *slog.Logger
	neighbors *neighbors
	identity  atomic.Pointer[securechannel.Identity]
	former    atomic.Pointer[securechannel.Identity] // nil but while the home's root is changed
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
	g.Member, err = member.Open(member.Config{Dir: dir, Keys: keys, Listener: listener, Locate: g.neighbors.locate, Doubt: g.neighbors.doubt,
		Peers: g.neighbors.peers, Cluster: clusterConfig(log), Now: clock, Log: log})
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
		again := (<-chan time.Time)(nil)
		if err := g.reidentify(ctx); errors.Is(err, errEvicted) {
			close(g.evicted)
			return
		} else if err != nil {
			g.log.Warn("this gateway's certificate was renewed, and it cannot use it yet", "err", err)
			again = time.After(identifyEvery)
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// reidentify takes up the certificates that the trust state has now.
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
	have, former := g.identity.Load(), g.former.Load()
	if s.Former == nil {
		g.former.Store(nil)
	} else if noc := s.Former.NOCs[g.Node]; former == nil && noc != nil {
		if have != nil && string(have.NOC) == string(noc) {
			former = have // until now
		} else {
			epoch, err := g.Vault.FormerIPK(ctx, s)
			if err != nil {
				return err
			}
			if former, err = g.identityOf(s.Former.Root, s.Former.ICAC, noc, s, epoch); err != nil {
				return err
			}
			former.Index = formerIndex
		}
		g.former.Store(former)
	}
	if have != nil && string(have.NOC) == string(self.NOC) {
		return nil
	}
	next, err := g.presentIdentity(ctx, s, self, have)
	if err == nil {
		g.identity.Store(next)
	}
	return err
}

// Numbers of our fabrics. Sessions that can be resumed are remembered by them,
// so that one which follows another has another one.
const (
	formerIndex  = 1 // of one that is there when the gateway starts
	firstIndex   = 2
	maxFabricIdx = 254
)

func (g *gateway) presentIdentity(ctx context.Context, s *fabric.State, self *fabric.Gateway, have *securechannel.Identity) (*securechannel.Identity, error) {
	if have != nil && bytes.Equal(have.Root.Certificate().TLV(), s.Home.Root) { // renewed
		id := *have
		id.NOC, id.ICAC = self.NOC, s.Generation().ICAC
		return &id, nil
	}
	epoch, err := g.Vault.IPK(ctx, s)
	if err != nil {
		return nil, err
	}
	id, err := g.identityOf(s.Home.Root, s.Generation().ICAC, self.NOC, s, epoch)
	if err != nil {
		return nil, err
	}
	if id.Index = firstIndex; have != nil {
		id.Index = have.Index%maxFabricIdx + 1
	}
	return id, nil
}

// identityOf is the gateway on one of the home's fabrics. It erases the epoch
// key.
func (g *gateway) identityOf(rcac, icac, noc []byte, s *fabric.State, epoch cert.EpochKey) (*securechannel.Identity, error) {
	defer epoch.Erase()
	root, err := found.Root(rcac)
	if err != nil {
		return nil, err
	}
	// Validity of devices' certificates is watched by the gateways, not
	// enforced by the handshake: a device must stay reachable to be renewed.
	return &securechannel.Identity{Fabric: s.Home.FabricID, Node: g.Node, Root: root, NOC: noc, ICAC: icac, Key: g.Keys.Now().Operational,
		IPK: epoch.Operational(cert.CompressFabric(root.Certificate().PublicKey, s.Home.FabricID)), Valid: cert.AnyTime,
		Knows: func(n cert.NodeID, key cert.PublicKey) bool {
			now := g.State()
			return now.Knows(n, key, now.Former != nil && bytes.Equal(now.Former.Root, rcac))
		}}, nil
}

// identities are who the gateway is, on each of the home's fabrics. Devices that
// were taken over may still go by the key of before.
func (g *gateway) identities() []*securechannel.Identity {
	ids := []*securechannel.Identity{g.identity.Load()}
	if i := g.State().Import; i != nil && i.Published {
		ids = append(ids, commissioner.Published(ids[0]))
	}
	if former := g.former.Load(); former != nil {
		ids = append(ids, former)
	}
	return ids
}
