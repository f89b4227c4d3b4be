package fabric

import (
	"fmt"

	"gatehouse/fabric/cert"
)

// CheckInNode is the node id that devices which sleep long check in at: the same
// in every home, whichever gateway takes it in. No device and no gateway gets it;
// it is out of the range that node ids are drawn from.
const CheckInNode cert.NodeID = 0x4761_7465_4865_6C64

// CheckInPhase is how far a registration is.
type CheckInPhase uint8

const (
	NoCheckIn     CheckInPhase = iota // there is none
	CheckInDue                        // the device may have been given the key
	CheckInKept                       // the device has it
	CheckInEnding                     // the device may have it still
)

func (p CheckInPhase) String() string {
	return [...]string{"none", "due", "kept", "ending"}[min(p, CheckInEnding)]
}

// CheckIn is a device's registration of the home as one that it checks in with
// when it wakes up. The key is not in it: it follows from the people's secret,
// the node id and the epoch.
type CheckIn struct {
	Phase CheckInPhase `cbor:"0,keyasint"`
	Epoch uint64       `cbor:"1,keyasint"` // of the key: the log index that set it aside
	// Counter is what the device's stood at when it got the key.
	Counter uint32 `cbor:"2,keyasint,omitempty"`
	// Idle is how long the device sleeps at most, in s, as it said then.
	Idle uint32 `cbor:"3,keyasint,omitempty"`
	// Before and BeforeCounter are of the key that the device may have instead,
	// while it is not seen to have this one; 0: none.
	Before        uint64 `cbor:"4,keyasint,omitempty"`
	BeforeCounter uint32 `cbor:"5,keyasint,omitempty"`
}

// CheckInKey names the key that a device has for check-ins.
type CheckInKey struct {
	Node  cert.NodeID
	Epoch uint64
}

// SetCheckIn takes a device's registration to another phase. What a device is
// given is committed before it gets it.
type SetCheckIn struct {
	Node  cert.NodeID  `cbor:"0,keyasint"`
	Phase CheckInPhase `cbor:"1,keyasint"`
	// Epoch, Counter and Idle are of a key that the device has.
	Epoch   uint64 `cbor:"2,keyasint,omitempty"`
	Counter uint32 `cbor:"3,keyasint,omitempty"`
	Idle    uint32 `cbor:"4,keyasint,omitempty"`
}

func (s *State) setCheckIn(c *SetCheckIn) error {
	d, err := s.device(c.Node, Admitted)
	if err != nil {
		return err
	}
	was := d.CheckIn
	switch c.Phase {
	case NoCheckIn:
		d.CheckIn = nil
	case CheckInDue:
		switch {
		case s.People == nil:
			return refuse(CodeInvalid, "the home has no secret yet that keys for check-ins come of")
		case !d.Terms.Administered() || s.OnFormer(d):
			return refuse(CodePhase, fmt.Sprintf("device %v is not on the home's own terms", c.Node))
		case was != nil && was.Phase == CheckInDue:
			return nil // the same key again: the device may have it
		}
		d.CheckIn = was.anew(s.Index)
	case CheckInKept:
		if was == nil || was.Phase != CheckInDue || was.Epoch != c.Epoch {
			return refuse(CodeChanged, fmt.Sprintf("what device %v was to be given has changed meanwhile", c.Node))
		}
		d.CheckIn = &CheckIn{Phase: CheckInKept, Epoch: c.Epoch, Counter: c.Counter, Idle: c.Idle}
	case CheckInEnding:
		if was == nil {
			return refuse(CodePhase, fmt.Sprintf("device %v does not check in", c.Node))
		}
		next := *was
		next.Phase = CheckInEnding
		d.CheckIn = &next
	default:
		return refuse(CodeInvalid, "there is no such phase")
	}
	s.putDevice(d)
	return nil
}

// anew is a registration with another key.
func (c *CheckIn) anew(epoch uint64) *CheckIn {
	next := &CheckIn{Phase: CheckInDue, Epoch: epoch}
	if c != nil {
		next.Before, next.BeforeCounter, next.Idle = c.Epoch, c.Counter, c.Idle
	}
	return next
}

// moved is what becomes of it when the device is on another fabric.
func (c *CheckIn) moved(epoch uint64) *CheckIn {
	if c == nil || c.Phase == CheckInEnding {
		return nil
	}
	return c.anew(epoch)
}

// CheckInsIn reports whether some device may check in.
func (s *State) CheckInsIn() bool {
	for _, d := range s.Devices {
		if d.CheckIn != nil {
			return true
		}
	}
	return false
}

// checkInFlaw is what keeps a restored State's registrations from being some,
// else empty.
func (s *State) checkInFlaw() string {
	for _, d := range s.Devices {
		if c := d.CheckIn; c != nil && (c.Phase == NoCheckIn || c.Phase > CheckInEnding || c.Epoch == 0 || d.Phase != Admitted || s.People == nil) {
			return "a device's registration for check-ins is not in order"
		}
	}
	return ""
}
