package fabric

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"gatehouse/fabric/cert"
)

// rerootVersion is the first that knows of a change of the root.
const rerootVersion = 3

// Former is the fabric of before a change of the root: what it takes to reach
// the devices that have not been moved. It cannot issue: its key is gone.
type Former struct {
	Root       []byte   `cbor:"0,keyasint"` // RCAC, TLV
	ICAC       []byte   `cbor:"1,keyasint"` // of the gateways' NOCs, TLV
	Generation uint32   `cbor:"2,keyasint"` // the last one below that root
	GatewayCAT cert.CAT `cbor:"3,keyasint"` // in the gateways' NOCs
	IPK        []byte   `cbor:"4,keyasint"` // epoch key, sealed
	// NOCs are the gateways', in TLV. One that joined later has none.
	NOCs  map[cert.NodeID][]byte `cbor:"5,keyasint"`
	Since int64                  `cbor:"6,keyasint"` // Unix ms
}

// Credential is a certificate of a device.
type Credential struct {
	Generation uint32 `cbor:"0,keyasint"`
	Serial     []byte `cbor:"1,keyasint"`
	NOCHash    []byte `cbor:"2,keyasint"`
	PublicKey  []byte `cbor:"3,keyasint"`
}

// Move is the certificate below the present root that a device is about to
// get, or may have.
type Move struct {
	Credential Credential `cbor:"0,keyasint"`
	Phase      Phase      `cbor:"1,keyasint"` // Reserved or Issued
	Deadline   int64      `cbor:"2,keyasint"` // of the reservation, Unix ms
}

// Reroot gives the home another root, as after its authority's key was taken:
// root, generation, keys, recovery kit, and the certificates of all members,
// at once. The fabric keeps its id, and everybody his node id.
type Reroot struct {
	Root []byte `cbor:"0,keyasint"` // RCAC, TLV
	// NOCs are the members', in TLV, with the serial numbers of MemberSerial.
	NOCs map[cert.NodeID][]byte `cbor:"1,keyasint"`
	// Reseal seals the new keys, begins the generation, and names the new kit.
	Reseal Reseal `cbor:"2,keyasint"`
}

// ReserveMove sets a serial number aside for a device's certificate below the
// present root. Each attempt has its own.
type ReserveMove struct {
	Node     cert.NodeID `cbor:"0,keyasint"`
	Gateway  cert.NodeID `cbor:"1,keyasint"`
	FailSafe int64       `cbor:"2,keyasint"` // ms from now
}

// IssueMove records the certificate before the device gets it.
type IssueMove struct {
	Node      cert.NodeID `cbor:"0,keyasint"`
	Gateway   cert.NodeID `cbor:"1,keyasint"`
	Serial    []byte      `cbor:"2,keyasint"` // that was reserved
	NOCHash   []byte      `cbor:"3,keyasint"`
	PublicKey []byte      `cbor:"4,keyasint"`
}

// AdmitMove says that the device is on the present fabric for good. It has the
// one of before still.
type AdmitMove struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"`
	Serial  []byte      `cbor:"2,keyasint"`
	Access  uint16      `cbor:"3,keyasint"` // version of the gateways' CAT in its list
}

// AbandonMove gives up an attempt. Where the certificate was issued, whoever
// proposes it has seen that the device does not have it.
type AbandonMove struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"`
	Serial  []byte      `cbor:"2,keyasint"`
}

// LeftFormer says that the fabric of before was seen to be gone from a device.
type LeftFormer struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"`
}

// EndReroot forgets the fabric of before. A device that has not been moved is
// removed if it is given up by name, and keeps the home from forgetting else.
type EndReroot struct {
	GiveUp []cert.NodeID `cbor:"0,keyasint"`
}

// MemberSerial is the serial number of the nth member's certificate, from 0, in
// the order of State.Members, under a generation that Reroot begins. Log
// entries give numbers below that generation only from Reroot's own index on,
// which is greater than the number of members.
func MemberSerial(generation uint32, n int) []byte { return serial(generation, uint64(n)+1) }

// OnFormer reports whether the device's certificate is of before the change of
// the root.
func (s *State) OnFormer(d *Device) bool {
	return s.Former != nil && d.Generation <= s.Former.Generation
}

// Stragglers are the devices that have not been moved to the present root, by
// node id. Admitted or not: those that were being paired finish first.
func (s *State) Stragglers() (devices []*Device) {
	return s.which(s.OnFormer)
}

// Moved are the devices that are on the present fabric and are known to be on
// the one of before still.
func (s *State) Moved() (devices []*Device) {
	return s.which(func(d *Device) bool { return d.Before != nil })
}

func (s *State) which(is func(*Device) bool) (devices []*Device) {
	for _, n := range slices.Sorted(maps.Keys(s.Devices)) {
		if d := s.Devices[n]; is(d) {
			devices = append(devices, d)
		}
	}
	return devices
}

// reroot changes all that rests on the root. What fits together is checked by
// who proposes it; what must not be lost is checked here.
func (s *State) reroot(c *Reroot) error {
	members := s.Members()
	switch {
	case s.Former != nil || len(s.Moved()) > 0:
		return refuse(CodeRerooting, "the change of the root before this one is not over")
	case len(c.Root) == 0 || len(c.Root) > cert.MaxTLV || len(c.Reseal.ICAC) == 0 || len(c.Reseal.Recovery) == 0 ||
		len(c.Reseal.Former) == 0 || len(c.Reseal.Former) > MaxBlob || bytes.Equal(c.Root, s.Home.Root):
		return refuse(CodeInvalid, "the root, its authority, its kit or the key of before is missing, or the root is the same")
	case s.Generation().Number == ^uint32(0) || uint64(len(members)) >= s.Index:
		return refuse(CodeFull, "there are no numbers left for a generation")
	case len(c.NOCs) != len(members):
		return refuse(CodeSealing, "the home's gateways have changed meanwhile")
	}
	next, former := *s, &Former{Root: s.Home.Root, ICAC: s.Generation().ICAC, Generation: s.Generation().Number, GatewayCAT: s.Home.GatewayCAT,
		IPK: c.Reseal.Former, NOCs: make(map[cert.NodeID][]byte), Since: s.Time}
	seal := c.Reseal
	seal.Former = nil
	if err := next.reseal(&seal); err != nil {
		return err
	}
	next.Home.Root, next.Former = c.Root, former
	for i := range next.Generations[:len(next.Generations)-1] {
		next.Generations[i].Key, next.Generations[i].DataKeys = nil, nil
	}
	next.Gateways = maps.Clone(s.Gateways)
	for n, g := range s.Gateways { // what is reserved would be signed below the other root
		unreserved := *g
		unreserved.Reserved = nil
		next.Gateways[n] = &unreserved
	}
	for i, g := range members {
		noc := c.NOCs[g.Node]
		switch {
		case len(noc) == 0 || len(noc) > cert.MaxTLV:
			return refuse(CodeSealing, fmt.Sprintf("there is no certificate for gateway %v", g.Node))
		case g.CATVersion() != s.Home.GatewayCAT.Version():
			// Below the root of before it could never get the newer tag.
			return refuse(CodeSealing, fmt.Sprintf("gateway %v is about to get another certificate", g.Node))
		}
		former.NOCs[g.Node] = g.NOC
		next.Gateways[g.Node].NOC, next.Gateways[g.Node].Serial = noc, MemberSerial(next.Generation().Number, i)
	}
	*s = next
	return nil
}

// moving is a copy of a device that a gateway moves, to be changed and put
// back.
func (s *State) moving(n, by cert.NodeID) (*Device, error) {
	if s.Former == nil {
		return nil, refuse(CodeNoReroot, "the root is not being changed")
	}
	d, err := s.ownDevice(n, by, Admitted)
	if err == nil && !s.OnFormer(d) {
		err = refuse(CodePhase, fmt.Sprintf("device %v was moved already", n))
	}
	return d, err
}

// attempt is a moving device's certificate of a serial number.
func (d *Device) attempt(serial []byte, phases ...Phase) (*Move, error) {
	if d.Next == nil || !bytes.Equal(d.Next.Credential.Serial, serial) || !slices.Contains(phases, d.Next.Phase) {
		return nil, refuse(CodePhase, fmt.Sprintf("device %v is at another attempt to move", d.Node))
	}
	m := *d.Next
	return &m, nil
}

func (s *State) reserveMove(c *ReserveMove) error {
	d, err := s.moving(c.Node, c.Gateway)
	switch {
	case err != nil:
		return err
	case d.Next != nil && d.Next.Phase != Reserved:
		return refuse(CodePhase, fmt.Sprintf("device %v may have the certificate of another attempt", c.Node))
	case c.FailSafe <= 0 || c.FailSafe > int64(MaxReservation)/millisecond:
		return refuse(CodeInvalid, "the fail-safe is missing, or longer than a move may take")
	}
	d.Next = &Move{Phase: Reserved, Deadline: s.Time + c.FailSafe, Credential: Credential{Generation: s.Generation().Number, Serial: s.nextSerial()}}
	s.putDevice(d)
	return nil
}

func (s *State) issueMove(c *IssueMove) error {
	d, err := s.moving(c.Node, c.Gateway)
	var m *Move
	if err == nil {
		m, err = d.attempt(c.Serial, Reserved)
	}
	switch {
	case err != nil:
		return err
	case s.Time > m.Deadline:
		return refuse(CodeDeadline, fmt.Sprintf("the reservation of %v has expired", c.Node))
	case len(c.NOCHash) != sha256.Size || len(c.PublicKey) != len(cert.PublicKey{}):
		return refuse(CodeInvalid, "the certificate's hash or public key has a wrong length")
	}
	m.Phase, m.Credential.NOCHash, m.Credential.PublicKey = Issued, c.NOCHash, c.PublicKey
	d.Next = m
	s.putDevice(d)
	return nil
}

func (s *State) admitMove(c *AdmitMove) error {
	d, err := s.moving(c.Node, c.Gateway)
	var m *Move
	if err == nil {
		m, err = d.attempt(c.Serial, Issued)
	}
	switch {
	case err != nil:
		return err
	case c.Access == 0 || c.Access > s.Home.GatewayCAT.Version():
		return refuse(CodeInvalid, "there is no such version of the gateways' tag")
	}
	d.Before = &Credential{d.Generation, d.Serial, d.NOCHash, d.PublicKey}
	d.Generation, d.Serial, d.NOCHash, d.PublicKey = m.Credential.Generation, m.Credential.Serial, m.Credential.NOCHash, m.Credential.PublicKey
	d.Access, d.Next = c.Access, nil
	s.putDevice(d)
	return nil
}

func (s *State) abandonMove(c *AbandonMove) error {
	d, err := s.moving(c.Node, c.Gateway)
	if err == nil {
		_, err = d.attempt(c.Serial, Reserved, Issued)
	}
	if err != nil {
		return err
	}
	d.Next = nil
	s.putDevice(d)
	return nil
}

func (s *State) leftFormer(c *LeftFormer) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Admitted)
	switch {
	case err != nil:
		return err
	case d.Before == nil:
		return refuse(CodePhase, fmt.Sprintf("device %v is not known to be on another fabric of the home", c.Node))
	}
	d.Before = nil
	s.putDevice(d)
	return nil
}

func (s *State) endReroot(c *EndReroot) error {
	if s.Former == nil {
		return refuse(CodeNoReroot, "the root is not being changed")
	}
	next := *s
	for _, d := range s.Stragglers() {
		if !slices.Contains(c.GiveUp, d.Node) {
			return refuse(CodeStragglers, fmt.Sprintf("device %v has not been moved", d.Node))
		}
		if err := next.bury(d, "it was not moved to the home's new root"); err != nil {
			return err
		}
	}
	next.Former = nil
	*s = next
	return nil
}

// given is the newest certificate that a device may have.
func (d *Device) given() (serial, hash []byte) {
	if d.Next != nil && d.Next.Phase == Issued {
		return d.Next.Credential.Serial, d.Next.Credential.NOCHash
	}
	return d.Serial, d.NOCHash
}

// Key is the operational key that the trust state knows a node by: on the
// present fabric, or on the one of before.
func (s *State) Key(n cert.NodeID, former bool) (key cert.PublicKey, ok bool) {
	var raw []byte
	if g := s.Gateways[n]; g != nil && g.Member() {
		key, err := g.Key()
		return key, err == nil
	}
	d := s.Devices[n]
	switch {
	case d == nil:
	case former && s.OnFormer(d), !former && !s.OnFormer(d):
		raw = d.PublicKey
	case former && d.Before != nil:
		raw = d.Before.PublicKey
	case !former && d.Next != nil:
		raw = d.Next.Credential.PublicKey
	}
	if len(raw) != len(key) {
		return key, false
	}
	return cert.PublicKey(raw), true
}

// Key is the gateway's operational key. The founder's is in its NOC only.
func (g *Gateway) Key() (key cert.PublicKey, err error) {
	if len(g.PublicKey) == len(key) {
		return cert.PublicKey(g.PublicKey), nil
	}
	c, err := cert.Parse(g.NOC)
	if err != nil {
		return key, err
	}
	return c.PublicKey, nil
}

// flaw is what keeps it from being a Former, else empty.
func (f *Former) flaw(s *State) string {
	switch {
	case f == nil:
	case len(f.Root) == 0 || len(f.IPK) == 0 || !f.GatewayCAT.Valid() || f.Generation >= s.Generation().Number || len(f.NOCs) > MaxGateways:
		return "the fabric of before is not in order"
	}
	return ""
}
