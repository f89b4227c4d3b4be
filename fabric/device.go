package fabric

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"strings"

	"gatehouse/fabric/cert"
)

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

func (s *State) setRoom(c *SetRoom) error {
	d, err := s.device(c.Node, Reserved, Issued, Admitted)
	switch {
	case err != nil:
		return err
	case len(c.Room) > MaxText:
		return refuse(CodeInvalid, "the room's name is too long")
	}
	d.Room = c.Room
	s.putDevice(d)
	return nil
}
