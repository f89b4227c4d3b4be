package fabric

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"

	"gatehouse/fabric/cert"
)

// Import is where a home took its fabric over from.
type Import struct {
	// Controller is the node id of the controller of before, which devices'
	// access lists name until they are met.
	Controller cert.NodeID `cbor:"0,keyasint"`
	// Published says that devices have the identity protection key that is
	// printed in the Matter SDK's source, until they are met.
	Published bool `cbor:"1,keyasint,omitempty"`
}

// Inherited is a device as the controller of before knew it. Its key is empty
// if nobody knows it yet.
type Inherited struct {
	Node      cert.NodeID `cbor:"0,keyasint"`
	Name      string      `cbor:"1,keyasint"`
	Facts     Facts       `cbor:"2,keyasint"`
	Serial    []byte      `cbor:"3,keyasint"`
	NOCHash   []byte      `cbor:"4,keyasint"`
	PublicKey []byte      `cbor:"5,keyasint"`
}

// Terms are what a device that was taken over still has of before. Each names
// an identity by which it is reached, whatever becomes of the step to the next.
type Terms uint8

const (
	HomeTerms      Terms = iota // nothing
	ForeignTerms                // its access list names the controller of before, and nobody else for all that is known
	SharedTerms                 // its access list names the gateways too
	PublishedTerms              // its access list is the home's; its IPK is the published one
	RotatingTerms               // it goes by the published IPK and by the home's
)

func (t Terms) String() string {
	return [...]string{"home", "foreign", "shared", "published", "rotating"}[min(t, RotatingTerms)]
}

// Administered reports whether the gateways' rights on the device are their
// own: before, nothing is done with it but to settle that.
func (t Terms) Administered() bool { return t != ForeignTerms && t != SharedTerms }

// after are the terms that follow.
func (t Terms) after(published bool) Terms {
	switch {
	case t == ForeignTerms:
		return SharedTerms
	case t == SharedTerms && published:
		return PublishedTerms
	case t == PublishedTerms:
		return RotatingTerms
	}
	return HomeTerms
}

// Adopt says that a device that was taken over was seen on the terms that
// follow.
type Adopt struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"`
	Terms   Terms       `cbor:"2,keyasint"`
	// Serial, NOCHash and PublicKey are of the certificate it was met with, on
	// the way to SharedTerms.
	Serial    []byte `cbor:"3,keyasint,omitempty"`
	NOCHash   []byte `cbor:"4,keyasint,omitempty"`
	PublicKey []byte `cbor:"5,keyasint,omitempty"`
	// Access is the version of the gateways' CAT in its list, on the way from
	// SharedTerms.
	Access uint16 `cbor:"6,keyasint,omitempty"`
}

// takeIn begins a home with the devices of another controller.
func (s *State) takeIn(i *Import, devices []Inherited, gateway cert.NodeID) error {
	switch {
	case i == nil && len(devices) == 0:
		return nil
	case i == nil || !i.Controller.Operational() || i.Controller == gateway:
		return refuse(CodeInvalid, "the controller of before lacks its node id")
	case len(devices) > MaxDevices:
		return refuse(CodeFull, fmt.Sprintf("%d devices, at most %d", len(devices), MaxDevices))
	}
	origin := *i
	s.Import, s.Devices = &origin, make(map[cert.NodeID]*Device, len(devices))
	for _, d := range devices {
		known := len(d.PublicKey) == len(cert.PublicKey{}) && len(d.NOCHash) == sha256.Size
		switch {
		case !d.Node.Operational() || s.Used(d.Node):
			return refuse(CodeUsed, fmt.Sprintf("node id %v is none for a device, or given twice", d.Node))
		case !known && len(d.PublicKey)+len(d.NOCHash) > 0, len(d.Name) > MaxText, len(d.Serial) > MaxText:
			return refuse(CodeInvalid, fmt.Sprintf("device %v is not well formed", d.Node))
		}
		s.Devices[d.Node] = &Device{Node: d.Node, Phase: Admitted, Gateway: gateway, Zone: defaultZone, Serial: d.Serial, NOCHash: d.NOCHash, PublicKey: d.PublicKey,
			Name: d.Name, Facts: d.Facts.bounded(), AdmittedAt: s.Time, Untagged: true, Terms: ForeignTerms}
	}
	return nil
}

// Foreign reports whether some device may be reached as the controller of
// before alone.
func (s *State) Foreign() bool {
	return s.Import != nil && len(s.which(func(d *Device) bool { return d.Terms == ForeignTerms })) > 0
}

func (s *State) adopt(c *Adopt) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Admitted)
	switch {
	case err != nil:
		return err
	case s.Import == nil || d.Terms == HomeTerms || c.Terms != d.Terms.after(s.Import.Published):
		return refuse(CodePhase, fmt.Sprintf("device %v is on %s terms", d.Node, d.Terms))
	case s.OnFormer(d):
		return refuse(CodeRerooting, fmt.Sprintf("device %v is to be moved to the home's new root", d.Node))
	}
	if d.Terms == ForeignTerms {
		switch {
		case len(c.PublicKey) != len(cert.PublicKey{}) || len(c.NOCHash) != sha256.Size || len(c.Serial) == 0 || len(c.Serial) > MaxText:
			return refuse(CodeInvalid, "the certificate it was met with is missing")
		case len(d.PublicKey) > 0 && !bytes.Equal(d.PublicKey, c.PublicKey):
			return refuse(CodeInvalid, fmt.Sprintf("device %v is known by another key", d.Node))
		}
		d.Serial, d.NOCHash, d.PublicKey = c.Serial, c.NOCHash, c.PublicKey
	}
	if d.Terms == SharedTerms {
		if c.Access == 0 || c.Access > s.Home.GatewayCAT.Version() {
			return refuse(CodeInvalid, "there is no such version of the gateways' tag")
		}
		d.Access = c.Access
	}
	d.Terms = c.Terms
	s.putDevice(d)
	return nil
}

// usedBefore reports whether a node id was the controller's of before.
func (s *State) usedBefore(n cert.NodeID) bool { return s.Import != nil && s.Import.Controller == n }

// imported reports whether the State holds what only ImportVersion knows.
func (s *State) imported() bool { return s != nil && s.Import != nil }

// Inheriting is a State in which the node ids of devices, and of the controller
// of before, are given: for who draws another.
func Inheriting(i *Import, devices []Inherited) *State {
	s := &State{Import: i, Devices: map[cert.NodeID]*Device{}}
	for _, d := range devices {
		s.Devices[d.Node] = &Device{Node: d.Node}
	}
	return s
}

// importFlaw is what keeps a restored State's import from being one, else empty.
func (s *State) importFlaw() string {
	for d := range maps.Values(s.Devices) {
		if d.Terms > RotatingTerms || d.Terms != HomeTerms && (s.Import == nil || d.Phase != Admitted) {
			return "a device is on terms that there are not"
		}
	}
	if s.Import != nil && !s.Import.Controller.Operational() {
		return "the controller of before is not in order"
	}
	return ""
}
