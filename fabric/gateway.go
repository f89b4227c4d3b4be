package fabric

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"gatehouse/fabric/cert"
)

// Gateway is a member of the gateway cluster, or is about to be.
type Gateway struct {
	Node      cert.NodeID `cbor:"0,keyasint"`
	Name      string      `cbor:"1,keyasint"`
	NOC       []byte      `cbor:"2,keyasint"`           // TLV; empty until it is a member
	SealKey   []byte      `cbor:"3,keyasint"`           // public key for envelopes
	Serial    []byte      `cbor:"4,keyasint,omitempty"` // of its NOC; the first one's is its founder's
	Reserved  []byte      `cbor:"5,keyasint,omitempty"` // serial number of the next NOC
	PublicKey []byte      `cbor:"6,keyasint,omitempty"` // operational; the first one's is in its NOC
	CAT       uint16      `cbor:"7,keyasint,omitempty"` // version of the gateways' CAT in its NOC; 0 stands for 1
	Version   uint8       `cbor:"8,keyasint,omitempty"` // newest version it knows; 0 stands for 1
	Storage   string      `cbor:"9,keyasint,omitempty"` // where its own keys are
}

// Member reports whether the gateway has its certificate.
func (g *Gateway) Member() bool { return len(g.NOC) > 0 }

// CATVersion is the version of the gateways' CAT in its certificate.
func (g *Gateway) CATVersion() uint16 { return max(g.CAT, 1) }

// Members are the gateways that have their certificates, by node id.
func (s *State) Members() (members []*Gateway) {
	for _, n := range slices.Sorted(maps.Keys(s.Gateways)) {
		if g := s.Gateways[n]; g.Member() {
			members = append(members, g)
		}
	}
	return members
}

// lowest is the newest version that all gateways know.
func (s *State) lowest() uint8 {
	lowest := uint8(Version)
	for _, g := range s.Gateways {
		lowest = min(lowest, max(g.Version, 1))
	}
	return lowest
}

// DescribeGateway says what a gateway is since its release, or the place of
// its keys, changed.
type DescribeGateway struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Version uint8       `cbor:"1,keyasint"`
	Storage string      `cbor:"2,keyasint"`
}

// ReserveGateway sets a serial number aside for a gateway that is about to
// join. The node id is of its own choice.
type ReserveGateway struct {
	Node      cert.NodeID `cbor:"0,keyasint"`
	Name      string      `cbor:"1,keyasint"`
	PublicKey []byte      `cbor:"2,keyasint"`
	SealKey   []byte      `cbor:"3,keyasint"`
	Version   uint8       `cbor:"4,keyasint"`
	Storage   string      `cbor:"5,keyasint"`
}

// RenewGateway sets a serial number aside for a member's next certificate.
type RenewGateway struct {
	Node cert.NodeID `cbor:"0,keyasint"`
}

// IssueGateway gives a gateway its certificate, before it has it: from now on
// it is a member.
type IssueGateway struct {
	Node cert.NodeID `cbor:"0,keyasint"`
	NOC  []byte      `cbor:"1,keyasint"`
	CAT  uint16      `cbor:"2,keyasint"` // version of the gateways' CAT in it
}

// EvictGateway ends a gateway's membership for ever. The gateways' CAT gets a
// new version, and what the gateway owned goes to the others.
type EvictGateway struct {
	Node   cert.NodeID `cbor:"0,keyasint"`
	Reason string      `cbor:"1,keyasint"`
	// Reseal seals the home's secrets for those who stay. Without it the
	// leader has to be able to open them afterwards.
	Reseal *Reseal `cbor:"2,keyasint,omitempty"`
}

// TakeOver spreads a gateway's devices over others.
type TakeOver struct {
	From cert.NodeID   `cbor:"0,keyasint"`
	To   []cert.NodeID `cbor:"1,keyasint"`
}

// SetAccess records which version of the gateways' CAT devices' access control
// lists name, after it was read back.
type SetAccess struct {
	Nodes   []cert.NodeID `cbor:"0,keyasint"`
	Version uint16        `cbor:"1,keyasint"`
}

func (s *State) gateway(n cert.NodeID) (*Gateway, error) {
	g := s.Gateways[n]
	if g == nil {
		return nil, refuse(CodeNotAMember, fmt.Sprintf("gateway %v is not a member", n))
	}
	changed := *g
	return &changed, nil
}

func (s *State) putGateway(g *Gateway) {
	s.Gateways = maps.Clone(s.Gateways)
	s.Gateways[g.Node] = g
}

func (s *State) describeGateway(c *DescribeGateway) error {
	g, err := s.gateway(c.Node)
	switch {
	case err != nil:
		return err
	case c.Version == 0 || len(c.Storage) > MaxText:
		return refuse(CodeInvalid, "the gateway's description lacks its version, or is too long")
	case s.Trail != nil && c.Version < TrailVersion: // nobody ends the trail
		return refuse(CodeOldMember, fmt.Sprintf("the gateway would know version %d, the home needs %d", c.Version, TrailVersion))
	case s.peopled() && c.Version < PeopleVersion: // nor loses people
		return refuse(CodeOldMember, fmt.Sprintf("the gateway would know version %d, the home needs %d", c.Version, PeopleVersion))
	}
	g.Version, g.Storage = c.Version, c.Storage
	s.putGateway(g)
	return nil
}

func (s *State) reserveGateway(c *ReserveGateway) error {
	switch {
	case !c.Node.Operational() || len(c.PublicKey) != len(cert.PublicKey{}) || len(c.SealKey) == 0 || len(c.SealKey) > MaxBlob:
		return refuse(CodeInvalid, "the gateway lacks its node id or a key")
	case len(c.Name) > MaxText || len(c.Storage) > MaxText:
		return refuse(CodeInvalid, "the gateway's name is too long")
	case s.Used(c.Node):
		return refuse(CodeUsed, fmt.Sprintf("node id %v was given before", c.Node))
	case s.Former != nil: // it could not reach the devices that have not moved
		return refuse(CodeRerooting, "the home's root is being changed: let the gateway in afterwards")
	case len(s.Gateways) >= MaxGateways || len(s.Tombstones) >= MaxTombstones:
		return refuse(CodeFull, fmt.Sprintf("the home has %d gateways", len(s.Gateways)))
	case c.Version < s.lowest():
		// What the others wrote already, it could not read.
		return refuse(CodeOldMember, fmt.Sprintf("the gateway knows version %d, the home needs %d", c.Version, s.lowest()))
	}
	s.putGateway(&Gateway{Node: c.Node, Name: c.Name, PublicKey: c.PublicKey, SealKey: c.SealKey, Version: c.Version, Storage: c.Storage,
		Reserved: s.nextSerial()})
	return nil
}

func (s *State) nextSerial() []byte { return serial(s.Generation().Number, s.Index) }

func (s *State) renewGateway(c *RenewGateway) error {
	g, err := s.gateway(c.Node)
	if err != nil {
		return err
	}
	g.Reserved = s.nextSerial()
	s.putGateway(g)
	return nil
}

func (s *State) issueGateway(c *IssueGateway) error {
	g, err := s.gateway(c.Node)
	switch {
	case err != nil:
		return err
	case s.Former != nil && !g.Member():
		return refuse(CodeRerooting, "the home's root is being changed: let the gateway in afterwards")
	case g.Reserved == nil:
		return refuse(CodeSerial, fmt.Sprintf("no serial number is reserved for gateway %v", c.Node))
	case len(c.NOC) == 0 || len(c.NOC) > cert.MaxTLV || c.CAT != s.Home.GatewayCAT.Version():
		return refuse(CodeInvalid, "the certificate is missing, or names another version of the gateways' tag")
	}
	g.NOC, g.CAT, g.Serial, g.Reserved = c.NOC, c.CAT, g.Reserved, nil
	s.putGateway(g)
	return nil
}

func (s *State) evictGateway(c *EvictGateway) error {
	g, err := s.gateway(c.Node)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(s.Members(), func(m *Gateway) bool { return m.Node == c.Node })
	if len(rest) == 0 {
		return refuse(CodeLastGateway, "the last gateway cannot be evicted")
	}
	hash := sha256.Sum256(g.NOC)
	s.Gateways = maps.Clone(s.Gateways)
	delete(s.Gateways, c.Node)
	s.Tombstones = maps.Clone(s.Tombstones)
	s.Tombstones[c.Node] = &Tombstone{Serial: g.Serial, NOCHash: hash[:], At: s.Time, Reason: Cut(c.Reason)}
	if !g.Member() {
		return nil // it never had anything
	}
	s.Home.GatewayCAT = cert.NewCAT(s.Home.GatewayCAT.Group(), s.Home.GatewayCAT.Version()+1)
	if s.Former != nil {
		former := *s.Former
		former.NOCs = maps.Clone(former.NOCs)
		delete(former.NOCs, c.Node)
		s.Former = &former
	}
	s.exposePeople()
	for name, n := range s.Networks {
		exposed := *n
		exposed.Exposed = true
		s.Networks = maps.Clone(s.Networks)
		s.Networks[name] = &exposed
	}
	to := make([]cert.NodeID, len(rest))
	for i, m := range rest {
		to[i] = m.Node
	}
	s.spread(c.Node, to)
	if c.Reseal != nil {
		return s.reseal(c.Reseal)
	}
	return nil
}

func (s *State) takeOver(c *TakeOver) error {
	if len(c.To) == 0 {
		return refuse(CodeInvalid, "nobody is to take the devices over")
	}
	for _, n := range c.To {
		if g := s.Gateways[n]; g == nil || !g.Member() || n == c.From {
			return refuse(CodeNotAMember, fmt.Sprintf("gateway %v is not another member", n))
		}
	}
	s.spread(c.From, c.To)
	return nil
}

// spread gives each of a gateway's devices to the one that then has the fewest.
func (s *State) spread(from cert.NodeID, to []cert.NodeID) {
	load := make(map[cert.NodeID]int)
	var moved []cert.NodeID
	for n, d := range s.Devices {
		load[d.Gateway]++
		if d.Gateway == from {
			moved = append(moved, n)
		}
	}
	if len(moved) == 0 {
		return
	}
	slices.Sort(moved)
	to = slices.Sorted(slices.Values(to))
	s.Devices = maps.Clone(s.Devices)
	for _, n := range moved {
		d := *s.Devices[n]
		d.Gateway = slices.MinFunc(to, func(a, b cert.NodeID) int { return load[a] - load[b] })
		load[d.Gateway]++
		s.Devices[n] = &d
	}
}

func (s *State) setAccess(c *SetAccess) error {
	if c.Version == 0 || c.Version > s.Home.GatewayCAT.Version() {
		return refuse(CodeInvalid, "there is no such version of the gateways' tag")
	}
	s.Devices = maps.Clone(s.Devices)
	for _, n := range c.Nodes {
		if d := s.Devices[n]; d != nil { // else it has left meanwhile
			changed := *d
			changed.Access = c.Version
			s.Devices[n] = &changed
		}
	}
	return nil
}

// AccessVersion is the version of the gateways' CAT that the device's access
// control list names.
func (d *Device) AccessVersion() uint16 { return max(d.Access, 1) }

// TrustingEvicted are the admitted devices whose access control lists still
// let evicted gateways in, by node id.
func (s *State) TrustingEvicted() (devices []*Device) {
	for _, n := range slices.Sorted(maps.Keys(s.Devices)) {
		if d := s.Devices[n]; d.Phase == Admitted && d.AccessVersion() < s.Home.GatewayCAT.Version() {
			devices = append(devices, d)
		}
	}
	return devices
}

// owned refuses a command of a gateway that lost the device to another.
func (d *Device) owned(by cert.NodeID) error {
	if by != 0 && by != d.Gateway {
		return refuse(CodeOwner, fmt.Sprintf("device %v is looked after by gateway %v", d.Node, d.Gateway))
	}
	return nil
}

// sameOctets reports whether two keys are the same.
func sameOctets(a, b []byte) bool { return len(a) > 0 && bytes.Equal(a, b) }
