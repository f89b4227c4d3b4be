package found

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"gatehouse/cluster"
	"gatehouse/cluster/durable"
	"gatehouse/cluster/keyfile"
	"gatehouse/fabric/cert"
)

// Membership is what a gateway needs to know of a home until it has the trust
// state. Nothing in it is secret. Certificates are in TLV.
type Membership struct {
	Root  []byte `json:"root"`
	ICAC  []byte `json:"icac"`
	NOC   []byte `json:"noc"`
	Peers []Peer `json:"peers"`
}

// Peer is another gateway, and where it was reached last.
type Peer struct {
	Node  cert.NodeID      `json:"node"`
	Addrs []netip.AddrPort `json:"addrs"`
}

const (
	membershipFile = "membership.json"
	maxMembership  = 64 << 10
)

// Join makes a gateway, whose keys are in the directory, a member of a home:
// an empty log, which others fill, and the membership. Joining never makes a
// cluster: what is in the log comes from a leader. A crash leaves a gateway
// that can join again or has joined.
func Join(c Config, m Membership) error {
	keys, err := keyfile.Load(c.Dir, keyfile.Options{TPM: c.TPM})
	if err != nil {
		return err
	}
	if err := m.check(keys); err != nil {
		return err
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	path, log := filepath.Join(c.Dir, membershipFile), c.cluster(keys.Node)
	if cluster.Exists(log) {
		if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, data) {
			return ErrFounded
		}
		return nil // again, since the answer was lost
	}
	if err := durable.WriteFile(c.Cluster.Step, path, data); err != nil {
		return err
	}
	return cluster.Join(log)
}

// check refuses a membership that is not this gateway's.
func (m *Membership) check(keys keyfile.Keys) error {
	root, err := Root(m.Root)
	if err != nil {
		return err
	}
	node, err := root.Verify(m.NOC, m.ICAC, cert.AnyTime)
	switch {
	case err != nil:
		return fmt.Errorf("the membership's certificate: %w", err)
	case node.NodeID != keys.Node || node.PublicKey != keys.Operational.PublicKey():
		return errors.New("the membership is another gateway's")
	}
	return nil
}

// Root is the authority that a home rests on.
func Root(rcac []byte) (*cert.Authority, error) {
	c, err := cert.Parse(rcac)
	if err != nil {
		return nil, fmt.Errorf("the home's root: %w", err)
	}
	return cert.NewRoot(c)
}

// ReadMembership is the membership in a state directory; nil in that of the
// gateway that founded the home.
func ReadMembership(dir string) (*Membership, error) {
	b, err := os.ReadFile(filepath.Join(dir, membershipFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	m := new(Membership)
	if err == nil && len(b) > maxMembership {
		err = errors.New("it is too long")
	}
	if err == nil {
		err = json.Unmarshal(b, m)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, membershipFile), err)
	}
	return m, nil
}
