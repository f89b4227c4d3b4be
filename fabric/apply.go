package fabric

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"

	"gatehouse/fabric/cert"
)

// Apply is the State after the command at a log index. A command that is
// refused with a *Refusal changes nothing but Index and Time, and what the trail
// says of refusals. s is left as it was.
func Apply(s *State, index uint64, c *Command) (*State, error) {
	next, _, err := Advance(s, index, c)
	return next, err
}

// advance is Apply but for the trail. again says that the command is one that
// was applied before.
func advance(s *State, index uint64, c *Command) (after *State, again bool, err error) {
	before := *s
	before.Index = index
	before.Time = max(s.Time, c.Time)
	if len(c.Request) > 0 {
		if o := s.outcome(c.Request); o != nil {
			return &before, true, o.err()
		}
	}
	next := before
	err = next.apply(c)
	if err != nil {
		next = before
	}
	next.Version = next.lowest()
	if len(c.Request) > 0 {
		next.remember(c.Request, err)
	}
	return &next, false, err
}

// Needs is the first version that knows a command of this kind, and all of its
// fields that are set. No command is taken that some gateway of the home would
// not understand.
func (c *Command) Needs() uint8 {
	switch {
	case c.ReserveMove != nil && c.ReserveMove.Renewal, c.Restore != nil && c.Restore.State.renewed():
		return renewalVersion
	case c.BeginUpdate != nil, c.FailUpdate != nil, c.BeginRollout != nil, c.StopRollout != nil, c.Restore != nil && c.Restore.State.rolledOut(),
		c.SetFirmwarePolicy != nil && c.SetFirmwarePolicy.Policy != nil && c.SetFirmwarePolicy.Policy.Updates != 0,
		c.Reserve != nil && (c.Reserve.Standing.detailed() || c.Reserve.Facts.Firmware != nil),
		c.Judge != nil && (c.Judge.Standing.detailed() || c.Judge.Facts != nil && c.Judge.Facts.Firmware != nil):
		return RolloutVersion
	case c.By != 0, c.TurnAway != nil, c.Restore != nil && c.Restore.State != nil && c.Restore.State.Trail != nil:
		return TrailVersion
	case c.SetFirmwarePolicy != nil, c.AddFirmwareSource != nil, c.RemoveFirmwareSource != nil, c.SetFirmwareLedger != nil, c.Judge != nil, c.Enforce != nil,
		c.Reserve != nil && c.Reserve.Standing != nil, c.Restore != nil && c.Restore.State.judged():
		return FirmwareVersion
	case c.RotateSealing != nil, c.Reroot != nil, c.ReserveMove != nil, c.IssueMove != nil, c.AdmitMove != nil, c.AbandonMove != nil,
		c.LeftFormer != nil, c.EndReroot != nil, c.Reseal.newer(), c.EvictGateway != nil && c.EvictGateway.Reseal.newer(),
		c.Restore != nil && (c.Restore.State.rerooted() || c.Restore.Reseal.newer()):
		return rerootVersion
	case len(c.Request) > 0, c.ReserveGateway != nil, c.RenewGateway != nil, c.IssueGateway != nil, c.EvictGateway != nil,
		c.SetSealKey != nil, c.Reseal != nil, c.TakeOver != nil, c.SetAccess != nil, c.DescribeGateway != nil, c.Restore != nil,
		c.Found != nil && c.Found.Keyring != nil, c.Reserve != nil && c.Reserve.FailSafe != 0, c.Issue != nil && c.Issue.Gateway != 0,
		c.Admit != nil && (c.Admit.Gateway != 0 || c.Admit.Access != 0), c.Abandon != nil && (c.Abandon.Gateway != 0 || c.Abandon.Phase != 0):
		return 2
	}
	return 1
}

func (s *State) apply(c *Command) error {
	switch {
	case c.Version != c.Needs():
		return refuse(CodeUnknownKind, fmt.Sprintf("the command says version %d and needs %d", c.Version, c.Needs()))
	case c.Found != nil:
		return s.found(c.Found)
	case c.Restore != nil:
		return s.restore(c.Restore)
	case c.DescribeGateway == nil && c.Version > s.lowest(): // which is how a gateway says that it was updated
		return refuse(CodeOldMember, fmt.Sprintf("a gateway knows version %d only, this takes %d", s.lowest(), c.Version))
	case len(c.Request) != 0 && len(c.Request) != RequestSize:
		return refuse(CodeInvalid, "a request's id has a wrong length")
	}
	if !s.Founded() {
		return refuse(CodeNotFounded, "this gateway has no fabric yet")
	}
	switch {
	case c.Reserve != nil:
		return s.reserve(c.Reserve)
	case c.Issue != nil:
		return s.issue(c.Issue)
	case c.Admit != nil:
		return s.admit(c.Admit)
	case c.Abandon != nil:
		return s.abandon(c.Abandon)
	case c.Remove != nil:
		return s.remove(c.Remove)
	case c.Rename != nil:
		return s.rename(c.Rename)
	case c.AddZone != nil:
		return s.addZone(c.AddZone)
	case c.AddAnchors != nil:
		return s.addAnchors(c.AddAnchors)
	case c.RemoveAnchor != nil:
		return s.removeAnchor(c.RemoveAnchor)
	case c.AddException != nil:
		return s.addException(c.AddException)
	case c.RemoveException != nil:
		return s.removeException(c.RemoveException)
	case c.SetRevocations != nil:
		s.Revocations = bytes.Clone(c.SetRevocations.JSON)
		return nil
	case c.SetNetwork != nil:
		return s.setNetwork(c.SetNetwork)
	case c.RemoveNetwork != nil:
		return s.removeNetwork(c.RemoveNetwork)
	case c.PreferNetwork != nil:
		return s.preferNetwork(c.PreferNetwork)
	case c.DescribeGateway != nil:
		return s.describeGateway(c.DescribeGateway)
	case c.ReserveGateway != nil:
		return s.reserveGateway(c.ReserveGateway)
	case c.RenewGateway != nil:
		return s.renewGateway(c.RenewGateway)
	case c.IssueGateway != nil:
		return s.issueGateway(c.IssueGateway)
	case c.EvictGateway != nil:
		return s.evictGateway(c.EvictGateway)
	case c.SetSealKey != nil:
		return s.setSealKey(c.SetSealKey)
	case c.Reseal != nil:
		return s.reseal(c.Reseal)
	case c.TakeOver != nil:
		return s.takeOver(c.TakeOver)
	case c.SetAccess != nil:
		return s.setAccess(c.SetAccess)
	case c.RotateSealing != nil:
		return s.rotateSealing(c.RotateSealing)
	case c.Reroot != nil:
		return s.reroot(c.Reroot)
	case c.ReserveMove != nil:
		return s.reserveMove(c.ReserveMove)
	case c.IssueMove != nil:
		return s.issueMove(c.IssueMove)
	case c.AdmitMove != nil:
		return s.admitMove(c.AdmitMove)
	case c.AbandonMove != nil:
		return s.abandonMove(c.AbandonMove)
	case c.LeftFormer != nil:
		return s.leftFormer(c.LeftFormer)
	case c.EndReroot != nil:
		return s.endReroot(c.EndReroot)
	case c.SetFirmwarePolicy != nil:
		return s.setFirmwarePolicy(c.SetFirmwarePolicy)
	case c.AddFirmwareSource != nil:
		return s.addFirmwareSource(c.AddFirmwareSource)
	case c.RemoveFirmwareSource != nil:
		return s.removeFirmwareSource(c.RemoveFirmwareSource)
	case c.SetFirmwareLedger != nil:
		return s.setFirmwareLedger(c.SetFirmwareLedger)
	case c.Judge != nil:
		return s.judge(c.Judge)
	case c.Enforce != nil:
		return s.enforce(c.Enforce)
	case c.BeginUpdate != nil:
		return s.beginUpdate(c.BeginUpdate)
	case c.FailUpdate != nil:
		return s.failUpdate(c.FailUpdate)
	case c.BeginRollout != nil:
		return s.beginRollout(c.BeginRollout)
	case c.StopRollout != nil:
		return s.stopRollout(c.StopRollout)
	case c.TurnAway != nil:
		return s.turnAway(c.TurnAway)
	}
	return refuse(CodeUnknownKind, "the command is of a kind this release does not know")
}

func (s *State) found(f *Found) error {
	switch {
	case s.Founded():
		return refuse(CodeFounded, "this home already has a fabric")
	case len(f.Home.Root) == 0 || !f.Home.FabricID.Valid() || !f.Home.GatewayCAT.Valid() || len(f.Home.Name) > MaxText:
		return refuse(CodeInvalid, "the home lacks its root, fabric id or gateways' tag")
	case f.Generation.Number == 0 || len(f.Generation.ICAC) == 0:
		return refuse(CodeInvalid, "the first generation lacks its number or certificate")
	case !f.Gateway.Node.Operational() || len(f.Gateway.NOC) == 0:
		return refuse(CodeInvalid, "the first gateway lacks its node id or certificate")
	}
	gateway := f.Gateway
	s.Home, s.Keyring = f.Home, f.Keyring
	s.Generations = []Generation{f.Generation}
	s.Gateways = map[cert.NodeID]*Gateway{gateway.Node: &gateway}
	s.Devices = map[cert.NodeID]*Device{}
	s.Tombstones = map[cert.NodeID]*Tombstone{}
	s.Anchors = map[string]*Anchor{}
	s.Exceptions = map[string]*Exception{}
	s.Zones = map[string]*Zone{}
	if s.Keyring != nil && !s.SealedRight() {
		return refuse(CodeInvalid, "the keyring is not for the first gateway")
	}
	return s.addZone(&AddZone{defaultZone})
}

func (s *State) reserve(r *Reserve) error {
	zone := r.Zone
	if zone == "" {
		zone = defaultZone
	}
	deadline := r.Deadline
	if r.FailSafe != 0 { // no gateway's clock has a say
		deadline = s.Time + r.FailSafe
	}
	switch {
	case !r.Node.Operational():
		return refuse(CodeInvalid, "the node id is not an operational one")
	case s.Used(r.Node) || s.Restores > 0 && uint64(r.Node)>>lifeShift != uint64(s.Restores):
		return refuse(CodeUsed, fmt.Sprintf("node id %v was given before, or may have been in an earlier life of this home", r.Node))
	case s.Gateways[r.Gateway] == nil || !s.Gateways[r.Gateway].Member():
		return refuse(CodeNotAMember, fmt.Sprintf("gateway %v is not a member", r.Gateway))
	case s.Zones[zone] == nil:
		return refuse(CodeZone, fmt.Sprintf("there is no zone %q", zone))
	case len(s.Devices) >= MaxDevices || len(s.Tombstones) >= MaxTombstones:
		return refuse(CodeFull, fmt.Sprintf("the home has %d devices and %d former ones", len(s.Devices), len(s.Tombstones)))
	case deadline <= s.Time || deadline > s.Time+int64(MaxReservation)/millisecond:
		return refuse(CodeInvalid, "the deadline is past, or further off than a pairing may take")
	case len(r.Name) > MaxText:
		return refuse(CodeInvalid, "the name is too long")
	}
	d := &Device{Node: r.Node, Phase: Reserved, Gateway: r.Gateway, Zone: zone, Deadline: deadline, FailSafe: r.FailSafe,
		Generation: s.Generation().Number, Serial: s.nextSerial(), Name: r.Name, Facts: r.Facts.bounded(), Attested: r.Attested}
	if r.Standing != nil {
		if err := r.Standing.check(); err != nil {
			return err
		}
		standing := *r.Standing
		standing.Since, standing.Enforced = s.Time, false
		d.Standing = &standing
		d.Untagged = s.Version >= renewalVersion && d.Quarantined()
	}
	s.putDevice(d)
	return nil
}

// bounded cuts the texts a device told of itself to what we keep.
func (f Facts) bounded() Facts {
	for _, t := range []*string{&f.VendorName, &f.ProductName, &f.SerialNumber, &f.UniqueID, &f.SoftwareString} {
		*t = Cut(*t)
	}
	if len(f.Firmware) > MaxFirmware { // it is compared as a whole
		f.Firmware = nil
	}
	return f
}

// Cut bounds a text to MaxText octets, at the end of a character: a State must stay UTF-8.
func Cut(t string) string {
	if len(t) <= MaxText {
		return t
	}
	return strings.ToValidUTF8(t[:MaxText], "")
}

// device is a copy of a device in a phase, to be changed and put back.
func (s *State) device(n cert.NodeID, phases ...Phase) (*Device, error) {
	d := s.Devices[n]
	if d == nil {
		return nil, refuse(CodeUnknown, fmt.Sprintf("there is no device %v", n))
	}
	for _, p := range phases {
		if d.Phase == p {
			d := *d
			return &d, nil
		}
	}
	return nil, refuse(CodePhase, fmt.Sprintf("device %v is %v", n, d.Phase))
}

// ownDevice is device, of a gateway that proposes something for its own.
func (s *State) ownDevice(n, by cert.NodeID, phases ...Phase) (*Device, error) {
	d, err := s.device(n, phases...)
	if err == nil {
		err = d.owned(by)
	}
	return d, err
}

func (s *State) putDevice(d *Device) {
	s.Devices = maps.Clone(s.Devices)
	s.Devices[d.Node] = d
}

func (s *State) issue(c *Issue) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Reserved)
	switch {
	case err != nil:
		return err
	case s.Time > d.Deadline:
		return refuse(CodeDeadline, fmt.Sprintf("the reservation of %v has expired", c.Node))
	case s.OnFormer(d):
		return refuse(CodeRerooting, fmt.Sprintf("the certificate of %v is of the home's former root", c.Node))
	case len(c.NOCHash) != sha256.Size || len(c.PublicKey) != len(cert.PublicKey{}):
		return refuse(CodeInvalid, "the certificate's hash or public key has a wrong length")
	}
	d.Phase, d.NOCHash, d.PublicKey = Issued, c.NOCHash, c.PublicKey
	s.putDevice(d)
	return nil
}

func (s *State) admit(c *Admit) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Issued)
	if err != nil {
		return err
	}
	d.Phase, d.AdmittedAt, d.Access = Admitted, s.Time, c.Access
	if d.Standing != nil { // its list was written by that, and read back
		standing := *d.Standing
		standing.Enforced = true
		d.Standing = &standing
	}
	s.putDevice(d)
	return nil
}

func (s *State) abandon(c *Abandon) error {
	phases := []Phase{Reserved, Issued}
	if c.Phase != 0 {
		phases = []Phase{min(c.Phase, Issued)}
	}
	d, err := s.ownDevice(c.Node, c.Gateway, phases...)
	if err != nil {
		return err
	}
	return s.bury(d, c.Reason)
}

func (s *State) remove(c *Remove) error {
	d, err := s.device(c.Node, Admitted)
	if err != nil {
		return err
	}
	return s.bury(d, c.Reason)
}

func (s *State) bury(d *Device, reason string) error {
	s.Devices = maps.Clone(s.Devices)
	delete(s.Devices, d.Node)
	s.Tombstones = maps.Clone(s.Tombstones)
	serial, hash := d.given()
	s.Tombstones[d.Node] = &Tombstone{Serial: serial, NOCHash: hash, At: s.Time, Reason: Cut(reason)}
	s.prune()
	return nil
}

func (s *State) rename(c *Rename) error {
	d, err := s.device(c.Node, Reserved, Issued, Admitted)
	if err != nil {
		return err
	}
	if len(c.Name) > MaxText {
		return refuse(CodeInvalid, "the name is too long")
	}
	d.Name = c.Name
	s.putDevice(d)
	return nil
}

func (s *State) addZone(c *AddZone) error {
	switch {
	case c.Name == "" || len(c.Name) > MaxText:
		return refuse(CodeInvalid, "a zone needs a name of at most 256 octets")
	case s.Zones[c.Name] != nil:
		return refuse(CodeExists, fmt.Sprintf("there is a zone %q already", c.Name))
	case len(s.Zones) >= MaxZones:
		return refuse(CodeFull, fmt.Sprintf("the home has %d zones", len(s.Zones)))
	}
	s.Zones = maps.Clone(s.Zones)
	s.Zones[c.Name] = &Zone{Name: c.Name, CAT: cert.NewCAT(zoneCATBase+uint16(len(s.Zones)), 1)}
	return nil
}

// zoneCATBase is the first zone's CAT identifier; the gateways' is below it,
// and 0xFFFE and 0xFFFF belong to joint fabrics.
const zoneCATBase = 0x1000

func (s *State) addAnchors(c *AddAnchors) error {
	anchors := maps.Clone(s.Anchors)
	for _, a := range c.Anchors {
		if a.Kind != PAA && a.Kind != CDSigner || len(a.DER) == 0 || len(a.DER) > MaxBlob || len(a.Source) > MaxText {
			return refuse(CodeInvalid, "a certificate has no kind or no contents, or is too long")
		}
		id := AnchorID(a.DER)
		if anchors[id] == nil {
			a.AddedAt = s.Time
			anchors[id] = &a
		}
	}
	if len(anchors) > MaxAnchors {
		return refuse(CodeFull, fmt.Sprintf("the trust store holds at most %d certificates", MaxAnchors))
	}
	s.Anchors = anchors
	return nil
}

// AnchorID names a certificate in the trust store.
func AnchorID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func (s *State) removeAnchor(c *RemoveAnchor) error {
	if s.Anchors[c.ID] == nil {
		return refuse(CodeNoAnchor, fmt.Sprintf("the trust store has no certificate %s", c.ID))
	}
	s.Anchors = maps.Clone(s.Anchors)
	delete(s.Anchors, c.ID)
	return nil
}

func (s *State) addException(e *Exception) error {
	switch {
	case e.Name == "" || len(e.Name) > MaxText:
		return refuse(CodeInvalid, "an exception needs a name of at most 256 octets")
	case s.Exceptions[e.Name] != nil:
		return refuse(CodeExists, fmt.Sprintf("there is an exception %q already", e.Name))
	case e.Expires <= s.Time:
		return refuse(CodeInvalid, "the exception would have expired already")
	case len(s.Exceptions) >= MaxExceptions:
		return refuse(CodeFull, fmt.Sprintf("there are %d exceptions", len(s.Exceptions)))
	}
	exception := *e
	s.Exceptions = maps.Clone(s.Exceptions)
	s.Exceptions[e.Name] = &exception
	return nil
}

func (s *State) removeException(c *RemoveException) error {
	if s.Exceptions[c.Name] == nil {
		return refuse(CodeNoException, fmt.Sprintf("there is no exception %q", c.Name))
	}
	s.Exceptions = maps.Clone(s.Exceptions)
	delete(s.Exceptions, c.Name)
	return nil
}
