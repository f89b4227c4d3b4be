package commissioner

import (
	"fmt"
	"io"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// Vault opens what the trust state holds as ciphertext.
type Vault interface {
	IssuerKey(s *fabric.State) (issuer.PrivateKey, error)
	IPK(s *fabric.State) (cert.EpochKey, error)
	OpenNetwork(s *fabric.State, n *fabric.Network) (seal.Secret, error)
	SealNetwork(random io.Reader, s *fabric.State, n *fabric.Network, credentials seal.Secret) error
}

// Signer is the Authority that signs with the trust state's own keys.
type Signer struct {
	Ledger Ledger
	Vault  Vault
	Random io.Reader
}

// Issue makes the certificate of a device whose reservation is committed. The
// issuing key is in memory only meanwhile.
func (a *Signer) Issue(d *fabric.Device, key cert.PublicKey, cats []cert.CAT) (noc, icac []byte, err error) {
	s := a.Ledger.State()
	if have := s.Devices[d.Node]; have == nil || have.Phase != fabric.Reserved {
		return nil, nil, fmt.Errorf("node %v is not reserved", d.Node)
	}
	generation := s.Generation()
	if generation.Number != d.Generation {
		return nil, nil, fmt.Errorf("node %v was reserved under generation %d", d.Node, d.Generation)
	}
	private, err := a.Vault.IssuerKey(s)
	if err != nil {
		return nil, nil, err
	}
	defer private.Erase()
	noc, err = issuer.Issue(generation.ICAC, private, issuer.Reservation{Node: d.Node, Fabric: s.Home.FabricID, Serial: d.Serial,
		CATs: cats, PublicKey: key, NotBefore: time.UnixMilli(s.Home.Birth)})
	return noc, generation.ICAC, err
}

// IPK is the epoch key that devices are given.
func (a *Signer) IPK() (cert.EpochKey, error) { return a.Vault.IPK(a.Ledger.State()) }

// OpenNetwork opens the credentials of a network.
func (a *Signer) OpenNetwork(n *fabric.Network) (seal.Secret, error) {
	return a.Vault.OpenNetwork(a.Ledger.State(), n)
}

// SealNetwork seals credentials for the trust state.
func (a *Signer) SealNetwork(n *fabric.Network, credentials seal.Secret) error {
	return a.Vault.SealNetwork(a.Random, a.Ledger.State(), n, credentials)
}
