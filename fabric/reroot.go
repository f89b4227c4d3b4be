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

// renewalVersion is the first that knows of another certificate below the same
// root.
const renewalVersion = 5

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

// Move is the certificate that a device is about to get, or may have: below the
// present root while it is on the former fabric, or in the place of the one it
// has.
type Move struct {
	Credential Credential `cbor:"0,keyasint"`
	Phase      Phase      `cbor:"1,keyasint"` // Reserved or Issued
	Deadline   int64      `cbor:"2,keyasint"` // of the reservation, Unix ms
	Renewal    bool       `cbor:"3,keyasint,omitempty"`
	Untagged   bool       `cbor:"4,keyasint,omitempty"` // it lacks the zone's tag
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
// present root, or for its renewal. Each attempt has its own.
type ReserveMove struct {
	Node     cert.NodeID `cbor:"0,keyasint"`
	Gateway  cert.NodeID `cbor:"1,keyasint"`
	FailSafe int64       `cbor:"2,keyasint"` // ms from now
	Renewal  bool        `cbor:"3,keyasint,omitempty"`
}

// IssueMove records the certificate before the device gets it.
type IssueMove struct {
	Node      cert.NodeID `cbor:"0,keyasint"`
	Gateway   cert.NodeID `cbor:"1,keyasint"`
	Serial    []byte      `cbor:"2,keyasint"` // that was reserved
	NOCHash   []byte      `cbor:"3,keyasint"`
	PublicKey []byte      `cbor:"4,keyasint"`
}

// AdmitMove says that the device has the certificate for good: it is on the
// present fabric, and on the one of before still, or was renewed.
type AdmitMove struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"`
	Serial  []byte      `cbor:"2,keyasint"`
	Access  uint16      `cbor:"3,keyasint"` // version of the gateways' CAT in its list; 0 in a renewal, which leaves it
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
	case s.Foreign():
		return refuse(CodeForeign, "devices that were taken over have not been met: nobody could move them")
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

// moving is a copy of a device that a gateway moves or renews, to be changed
// and put back.
func (s *State) moving(n, by cert.NodeID, renewal bool) (*Device, error) {
	d, err := s.ownDevice(n, by, Admitted)
	switch {
	case err != nil || renewal:
	case s.Former == nil:
		err = refuse(CodeNoReroot, "the root is not being changed")
	case !s.OnFormer(d):
		err = refuse(CodePhase, fmt.Sprintf("device %v was moved already", n))
	}
	return d, err
}

// renewing reports whether a device's attempt is a renewal.
func (s *State) renewing(n cert.NodeID) bool {
	d := s.Devices[n]
	return d != nil && d.Next != nil && d.Next.Renewal
}

// RenewalDue reports whether a device's certificate is not what its standing
// asks for: one in quarantine has not the zone's tag.
func (s *State) RenewalDue(d *Device) bool {
	return s.Version >= renewalVersion && d.Phase == Admitted && !s.OnFormer(d) && d.Terms.Administered() && d.Untagged != d.Quarantined()
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
	d, err := s.moving(c.Node, c.Gateway, c.Renewal)
	switch {
	case err != nil:
		return err
	case c.Renewal && !s.RenewalDue(d):
		return refuse(CodePhase, fmt.Sprintf("the certificate of device %v is as it should be", c.Node))
	case d.Next != nil && d.Next.Phase != Reserved:
		return refuse(CodePhase, fmt.Sprintf("device %v may have the certificate of another attempt", c.Node))
	case c.FailSafe <= 0 || c.FailSafe > int64(MaxReservation)/millisecond:
		return refuse(CodeInvalid, "the fail-safe is missing, or longer than a move may take")
	}
	d.Next = &Move{Phase: Reserved, Deadline: s.Time + c.FailSafe, Credential: Credential{Generation: s.Generation().Number, Serial: s.nextSerial()},
		Renewal: c.Renewal, Untagged: s.Version >= renewalVersion && d.Quarantined()}
	s.putDevice(d)
	return nil
}

func (s *State) issueMove(c *IssueMove) error {
	d, err := s.moving(c.Node, c.Gateway, s.renewing(c.Node))
	var m *Move
	if err == nil {
		m, err = d.attempt(c.Serial, Reserved)
	}
	switch {
	case err != nil:
		return err
	case m.Credential.Generation != s.Generation().Number:
		return refuse(CodeRerooting, fmt.Sprintf("the certificate of %v is of the home's former root", c.Node))
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
	d, err := s.moving(c.Node, c.Gateway, s.renewing(c.Node))
	var m *Move
	if err == nil {
		m, err = d.attempt(c.Serial, Issued)
	}
	switch {
	case err != nil:
		return err
	case c.Access == 0 != m.Renewal || c.Access > s.Home.GatewayCAT.Version():
		return refuse(CodeInvalid, "there is no such version of the gateways' tag")
	case !m.Renewal:
		d.Terms = HomeTerms // which AddNOC gave it all of
		d.Before, d.Access = &Credential{d.Generation, d.Serial, d.NOCHash, d.PublicKey}, c.Access
		d.CheckIn = d.CheckIn.moved(s.Index)
	}
	d.Generation, d.Serial, d.NOCHash, d.PublicKey = m.Credential.Generation, m.Credential.Serial, m.Credential.NOCHash, m.Credential.PublicKey
	d.Untagged, d.Next = m.Untagged, nil
	s.putDevice(d)
	return nil
}

func (s *State) abandonMove(c *AbandonMove) error {
	d, err := s.moving(c.Node, c.Gateway, s.renewing(c.Node))
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

// Knows reports whether a node may have an operational key: the one that the
// trust state knows it by, on the present fabric or on the one of before. One
// that is being renewed may have either of two. Of a node that it knows no key
// of, it has nothing to say.
func (s *State) Knows(n cert.NodeID, key cert.PublicKey, former bool) bool {
	var keys [][]byte
	if g := s.Gateways[n]; g != nil && g.Member() {
		if own, err := g.Key(); err == nil {
			keys = append(keys, own[:])
		}
	} else if d := s.Devices[n]; d != nil {
		keys = d.keys(former, s.OnFormer(d))
	}
	known := false
	for _, k := range keys {
		if len(k) == len(key) {
			if known = true; bytes.Equal(k, key[:]) {
				return true
			}
		}
	}
	return !known
}

// keys are those that a device may have on one fabric, where it is on the
// former or the present one.
func (d *Device) keys(former, onFormer bool) (keys [][]byte) {
	here := former == onFormer
	switch {
	case here:
		keys = append(keys, d.PublicKey)
	case former && d.Before != nil:
		keys = append(keys, d.Before.PublicKey)
	}
	if d.Next != nil && d.Next.Renewal == here {
		keys = append(keys, d.Next.Credential.PublicKey)
	}
	return keys
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
