package steward

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/policy"
	"gatehouse/fabric/seal"
)

// Ledger is the replicated trust state, as cluster.Cluster has it.
type Ledger interface {
	State() *fabric.State
	Current(ctx context.Context) (*fabric.State, error)
	Leads() bool
	Leader() cert.NodeID
}

// Vault opens what the trust state holds as ciphertext.
type Vault interface {
	IssuerKey(ctx context.Context, s *fabric.State) (issuer.PrivateKey, error)
	IPK(ctx context.Context, s *fabric.State) (cert.EpochKey, error)
	OpenNetwork(ctx context.Context, s *fabric.State, n *fabric.Network) (seal.Secret, error)
	SealNetwork(ctx context.Context, s *fabric.State, n *fabric.Network, credentials seal.Secret) error
	OpenPeople(ctx context.Context, s *fabric.State) (seal.Secret, error)
}

// Authority signs for the fabric: here, if this gateway leads, else by asking
// the one that does. The issuing key is in memory only while it signs.
type Authority struct {
	Ledger Ledger
	Vault  Vault
	Others Others // nil for a gateway alone
}

// Others asks another gateway, which leads.
type Others interface {
	Issue(ctx context.Context, leader, node cert.NodeID, key cert.PublicKey) (noc, icac []byte, err error)
	Enroll(ctx context.Context, leader cert.NodeID, c fabric.ReserveGateway) (found.Membership, error)
	Evict(ctx context.Context, leader, node cert.NodeID, reason string) error
	Reroot(ctx context.Context, leader cert.NodeID, r *found.NewRoot) error
}

// ErrNotReserved says that a certificate was asked for without a reservation
// that a quorum has on disk.
var ErrNotReserved = errors.New("no certificate is due to it")

// Issue makes the NOC of a device whose reservation is committed, and gives
// its ICAC, both in TLV.
func (a *Authority) Issue(ctx context.Context, node cert.NodeID, key cert.PublicKey) (noc, icac []byte, err error) {
	if a.Ledger.Leads() || a.Others == nil {
		return a.sign(ctx, node, key)
	}
	return a.Others.Issue(ctx, a.Ledger.Leader(), node, key)
}

// sign reads the trust state as it is on a quorum's disks: a leader that was
// replaced without noticing must not sign.
func (a *Authority) sign(ctx context.Context, node cert.NodeID, key cert.PublicKey) (noc, icac []byte, err error) {
	s, err := a.Ledger.Current(ctx)
	if err != nil {
		return nil, nil, err
	}
	if s.Import != nil && node == s.Import.Controller {
		return a.stand(ctx, s, key)
	}
	d := s.Devices[node]
	due, tagged, ok := reserved(d)
	switch {
	case !ok:
		return nil, nil, fmt.Errorf("node %v: %w", node, ErrNotReserved)
	case s.Generation().Number != due.Generation:
		return nil, nil, fmt.Errorf("node %v was reserved under generation %d: %w", node, due.Generation, ErrNotReserved)
	}
	r := issuer.Reservation{Node: node, Serial: due.Serial, PublicKey: key}
	if tagged {
		r.CATs = policy.DeviceCATs(s.Zones[d.Zone].CAT)
	}
	return a.issue(ctx, s, r)
}

// standInSerial begins the serial number of a certificate by which a gateway
// stands in for the controller of before; the gateway's node id follows.
const standInSerial = 'C'

// stand makes the certificate by which a member stands in for the controller
// whose fabric the home took over, while there are devices that name nobody
// else. It is for the member's own key: nobody else has a use for it.
func (a *Authority) stand(ctx context.Context, s *fabric.State, key cert.PublicKey) (noc, icac []byte, err error) {
	for _, g := range s.Members() {
		if own, err := g.Key(); err == nil && own == key && s.Foreign() {
			serial := binary.BigEndian.AppendUint64([]byte{standInSerial}, uint64(g.Node))
			return a.issue(ctx, s, issuer.Reservation{Node: s.Import.Controller, Serial: serial, PublicKey: key})
		}
	}
	return nil, nil, fmt.Errorf("the controller of before: %w", ErrNotReserved)
}

// reserved is the certificate that is due to a device, and whether it has the
// zone's tag: its first, its first below another root, or a renewal.
func reserved(d *fabric.Device) (due fabric.Credential, tagged, ok bool) {
	switch {
	case d == nil:
		return due, false, false
	case d.Phase == fabric.Reserved:
		return fabric.Credential{Generation: d.Generation, Serial: d.Serial}, !d.Quarantined(), true
	case d.Next != nil && d.Next.Phase == fabric.Reserved:
		return d.Next.Credential, !d.Next.Untagged && (d.Next.Renewal || !d.Quarantined()), true
	}
	return due, false, false
}

// issue fills in what is the same in all certificates, and signs.
func (a *Authority) issue(ctx context.Context, s *fabric.State, r issuer.Reservation) (noc, icac []byte, err error) {
	key, err := a.Vault.IssuerKey(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	defer key.Erase()
	r.Fabric, r.NotBefore = s.Home.FabricID, time.UnixMilli(s.Home.Birth)
	icac = s.Generation().ICAC
	noc, err = issuer.Issue(icac, key, r)
	return noc, icac, err
}

// IPK is the epoch key that devices are given.
func (a *Authority) IPK(ctx context.Context) (cert.EpochKey, error) {
	return a.Vault.IPK(ctx, a.Ledger.State())
}

// OpenNetwork opens the credentials of a network. Erase them.
func (a *Authority) OpenNetwork(ctx context.Context, n *fabric.Network) (seal.Secret, error) {
	return a.Vault.OpenNetwork(ctx, a.Ledger.State(), n)
}

// SealNetwork seals credentials for the trust state.
func (a *Authority) SealNetwork(ctx context.Context, n *fabric.Network, credentials seal.Secret) error {
	return a.Vault.SealNetwork(ctx, a.Ledger.State(), n, credentials)
}

// checkInPurpose tells this derivation from every other one of the people's
// secret. It stays as it is: devices have the keys that come of it.
const checkInPurpose = "gatehouse check-in key v1, node %v, epoch %d"

// checkInKeySize is that of the keys, in octets.
const checkInKeySize = 16

// CheckInKeys derives the keys that devices check in with, always the same of
// the same. Erase them.
func (a *Authority) CheckInKeys(ctx context.Context, names []fabric.CheckInKey) (keys []seal.Secret, err error) {
	secret, err := a.Vault.OpenPeople(ctx, a.Ledger.State())
	if err != nil {
		return nil, err
	}
	defer secret.Erase()
	raw := secret.Reveal()
	defer clear(raw)
	for _, n := range names {
		key, err := hkdf.Key(sha256.New, raw, nil, fmt.Sprintf(checkInPurpose, n.Node, n.Epoch), checkInKeySize)
		if err != nil {
			return nil, fmt.Errorf("derive a key for check-ins: %w", err)
		}
		keys = append(keys, seal.NewSecret(key))
		clear(key)
	}
	return keys, nil
}
