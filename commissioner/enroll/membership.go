package enroll

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Limits of a membership, on both sides.
const (
	maxMembership = 8192 // octets in TLV
	maxAddrs      = 8    // of one peer; more are left out
)

// membership is a found.Membership as it travels.
type membership struct {
	Root  []byte `tlv:"0"`
	ICAC  []byte `tlv:"1"` // empty: the root issued the NOC
	NOC   []byte `tlv:"2"`
	Peers []peer `tlv:"3"`
}

type peer struct {
	Node  cert.NodeID `tlv:"0"`
	Addrs [][]byte    `tlv:"1"` // IPv4 or IPv6, then the port, big-endian
}

// encodeMembership leaves the zones of addresses out: they mean nothing to
// another box.
func encodeMembership(m *found.Membership) ([]byte, error) {
	out := membership{Root: m.Root, ICAC: m.ICAC, NOC: m.NOC}
	for _, p := range m.Peers {
		to := peer{Node: p.Node}
		for _, a := range p.Addrs[:min(len(p.Addrs), maxAddrs)] {
			to.Addrs = append(to.Addrs, binary.BigEndian.AppendUint16(a.Addr().Unmap().AsSlice(), a.Port()))
		}
		out.Peers = append(out.Peers, to)
	}
	b, err := tlv.Marshal(&out)
	if err == nil && (len(b) > maxMembership || len(out.Peers) > fabric.MaxGateways) {
		err = fmt.Errorf("membership of %d octets and %d peers", len(b), len(out.Peers))
	}
	return b, err
}

// decodeMembership gives link-local addresses the zone that the box hears the
// member in; without one, they are of no use and left out.
func decodeMembership(b []byte, zone string) (m found.Membership, err error) {
	var in membership
	if len(b) > maxMembership {
		return m, fmt.Errorf("membership of %d octets, at most %d", len(b), maxMembership)
	}
	if err := tlv.Unmarshal(b, &in); err != nil {
		return m, fmt.Errorf("membership: %w", err)
	}
	m = found.Membership{Root: in.Root, ICAC: in.ICAC, NOC: in.NOC}
	if len(in.Peers) > fabric.MaxGateways {
		return m, fmt.Errorf("membership: %d peers", len(in.Peers))
	}
	for _, p := range in.Peers {
		if len(p.Addrs) > maxAddrs || !p.Node.Operational() {
			return m, fmt.Errorf("membership: peer %v with %d addresses", p.Node, len(p.Addrs))
		}
		to := found.Peer{Node: p.Node}
		for _, raw := range p.Addrs {
			a, ok := netip.AddrFromSlice(raw[:max(0, len(raw)-2)])
			if !ok {
				return m, errors.New("membership: malformed address")
			}
			if a = a.Unmap(); a.Is6() && a.IsLinkLocalUnicast() {
				if zone == "" {
					continue
				}
				a = a.WithZone(zone)
			}
			to.Addrs = append(to.Addrs, netip.AddrPortFrom(a, binary.BigEndian.Uint16(raw[len(raw)-2:])))
		}
		m.Peers = append(m.Peers, to)
	}
	return m, nil
}

// verifyMembership refuses a membership that is not for these keys, or whose
// chain does not hold. That its root is to be trusted, the passcode said.
func verifyMembership(m *found.Membership, keys *keyfile.Keys) error {
	c, err := cert.Parse(m.Root)
	if err != nil {
		return fmt.Errorf("membership: root: %w", err)
	}
	root, err := cert.NewRoot(c)
	if err != nil {
		return fmt.Errorf("membership: %w", err)
	}
	node, err := root.Verify(m.NOC, m.ICAC, cert.AnyTime)
	switch {
	case err != nil:
		return fmt.Errorf("membership: %w", err)
	case node.NodeID != keys.Node || node.PublicKey != keys.Operational.PublicKey():
		return errors.New("membership: it is another gateway's")
	}
	return nil
}

// sameMembership reports whether two memberships are one: peers and their
// addresses come and go.
func sameMembership(a, b *found.Membership) bool {
	return bytes.Equal(a.Root, b.Root) && bytes.Equal(a.ICAC, b.ICAC) && bytes.Equal(a.NOC, b.NOC)
}
