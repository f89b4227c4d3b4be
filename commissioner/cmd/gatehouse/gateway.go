package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/store"
	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric/cert"
)

// gateway is what a state directory holds.
type gateway struct {
	ledger   *cluster.Cluster
	vault    *keyfile.Vault
	identity *securechannel.Identity
}

// clusterConfig ends the process when the disk is not to be trusted any more:
// whoever supervises it starts it anew.
func clusterConfig(log *slog.Logger) cluster.Config {
	return cluster.Config{Log: log, Fatal: func(err error) {
		log.Error("the disk failed; stopping at once", "err", err)
		os.Exit(exitFailed)
	}}
}

var errNoHome = &commissioner.Failure{Code: "fabric-not-founded", Message: "there is no home here yet", Remedy: "found one with `gatehouse setup`"}

// openGateway opens a state directory that setup made; tpm is as in
// keyfile.Options.
func openGateway(dir, tpm string, log *slog.Logger) (*gateway, error) {
	keys, err := keyfile.Load(dir, keyfile.Options{TPM: tpm})
	if errors.Is(err, keyfile.ErrNone) {
		return nil, errNoHome
	} else if err != nil {
		return nil, &commissioner.Failure{Code: "gateway-keys-unusable", Message: err.Error(), Remedy: "if they are in a TPM that is not /dev/tpmrm0, name it with --tpm"}
	}
	cfg := clusterConfig(log)
	cfg.Dir, cfg.Node = found.LogDir(dir), keys.Node
	ledger, err := cluster.Open(cfg)
	if errors.Is(err, store.ErrNone) {
		return nil, errNoHome
	} else if err != nil {
		return nil, err
	}
	g := &gateway{ledger: ledger, vault: &keyfile.Vault{Keys: keys}}
	if g.identity, err = g.identify(keys); err != nil {
		return nil, errors.Join(err, ledger.Close())
	}
	return g, nil
}

// identify is who the gateway is on its home's fabric.
func (g *gateway) identify(keys keyfile.Keys) (*securechannel.Identity, error) {
	s := g.ledger.State()
	if !s.Founded() {
		return nil, errNoHome
	}
	self := s.Gateways[keys.Node]
	if self == nil {
		return nil, fmt.Errorf("gateway %v is not a member of this home", keys.Node)
	}
	rcac, err := cert.Parse(s.Home.Root)
	if err != nil {
		return nil, err
	}
	root, err := cert.NewRoot(rcac)
	if err != nil {
		return nil, err
	}
	epoch, err := g.vault.IPK(s)
	if err != nil {
		return nil, err
	}
	defer epoch.Erase()
	compressed := cert.CompressFabric(rcac.PublicKey, s.Home.FabricID)
	// Validity of devices' certificates is watched by the gateways, not
	// enforced by the handshake: a device must stay reachable to be renewed.
	return &securechannel.Identity{Index: 1, Fabric: s.Home.FabricID, Node: keys.Node, Root: root, NOC: self.NOC, ICAC: s.Generation().ICAC,
		Key: keys.Operational, IPK: epoch.Operational(compressed), Valid: cert.AnyTime}, nil
}
