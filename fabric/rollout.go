package fabric

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"time"

	"gatehouse/fabric/cert"
)

// RolloutVersion is the first that knows of roll-outs.
const RolloutVersion = 5

// Limits of ours.
const (
	MaxTries    = 3              // of a device, before a roll-out stops
	MaxRollouts = 64             // at once
	firstLimit  = 24 * time.Hour // for which one device keeps the others waiting
)

// Updates is which devices the gateways update without being told.
type Updates uint8

// The default is UpdateRequired.
const (
	UpdateNone     Updates = iota + 1
	UpdateRequired         // those in quarantine, and those that have a deadline
	UpdateAll              // all that there is something newer for
)

var updateNames = names[Updates]{"default", "none", "required", "all"}

func (u Updates) String() string               { return updateNames.of(u) }
func (u Updates) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
func (u *Updates) UnmarshalText(b []byte) (err error) {
	*u, err = updateNames.parse(string(b))
	return err
}

// Rollout is the way of an image to all devices that are to have it: to one
// first, and once that runs it, to the rest.
type Rollout struct {
	Vendor  uint16        `cbor:"0,keyasint"`
	Product uint16        `cbor:"1,keyasint"`
	Image   FirmwareImage `cbor:"2,keyasint"`
	Since   int64         `cbor:"3,keyasint"`           // Unix ms
	First   cert.NodeID   `cbor:"4,keyasint,omitempty"` // that tries it alone; 0: nobody does yet, or one has it
	Passed  bool          `cbor:"5,keyasint,omitempty"` // one has it
	Stopped string        `cbor:"6,keyasint,omitempty"` // why no device begins with it any more; empty: they do
	All     bool          `cbor:"7,keyasint,omitempty"` // a person began it: also for devices that need not have it
}

// Attempt is a device's way to the image that its standing names.
type Attempt struct {
	SHA256  []byte `cbor:"0,keyasint"` // of the image
	Version uint32 `cbor:"1,keyasint"` // that it has then
	Tries   uint8  `cbor:"2,keyasint"`
	Since   int64  `cbor:"3,keyasint"`           // Unix ms, of the last try
	Failure string `cbor:"4,keyasint,omitempty"` // of the last try; empty: it is under way
	Asked   bool   `cbor:"5,keyasint,omitempty"` // a person asked for it: it is part of no roll-out
}

// BeginUpdate begins a try. Until then, the device is offered nothing.
type BeginUpdate struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"` // its owner
	SHA256  []byte      `cbor:"2,keyasint"`
	Asked   bool        `cbor:"3,keyasint,omitempty"` // by a person, for this device
}

// FailUpdate says that a try came to nothing. That one succeeded, Judge says.
type FailUpdate struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"` // its owner
	SHA256  []byte      `cbor:"2,keyasint"`
	Failure string      `cbor:"3,keyasint"`
	Stop    bool        `cbor:"4,keyasint,omitempty"` // no other is to follow it
}

// BeginRollout gives an image to all devices that are to have it, or goes on
// with it where it stopped: every device has all its tries again.
type BeginRollout struct {
	SHA256 []byte `cbor:"0,keyasint"`
}

// StopRollout has no further device begin with an image.
type StopRollout struct {
	SHA256 []byte `cbor:"0,keyasint"`
	Reason string `cbor:"1,keyasint"`
}

// Rollout is the roll-out of an image; nil: there is none.
func (s *State) Rollout(image []byte) *Rollout {
	if s.Firmware == nil {
		return nil
	}
	return s.Firmware.Rollouts[hex.EncodeToString(image)]
}

// Update is the image that a device of the home is to have; nil: there is none.
func (d *Device) Update() *FirmwareImage {
	if d.Phase != Admitted || d.Standing == nil {
		return nil
	}
	return d.Standing.Update
}

// Wants reports whether a device is to have an image.
func (d *Device) Wants(image []byte) bool {
	u := d.Update()
	return u != nil && bytes.Equal(u.SHA256, image)
}

// Updating reports whether a device is on its way to an image.
func (d *Device) Updating(image []byte) bool {
	return d.Wants(image) && d.Attempt != nil && bytes.Equal(d.Attempt.SHA256, image) && d.Attempt.Failure == ""
}

// Required reports whether a device must have the update that there is for it.
func (d *Device) Required() bool {
	return d.Quarantined() || d.Standing != nil && d.Standing.Deadline != 0
}

// MayUpdate reports whether a device may begin with its update by itself; nil
// is yes.
func (s *State) MayUpdate(d *Device) error {
	if d.Standing == nil || d.Standing.Update == nil {
		return refuse(CodeNoUpdate, fmt.Sprintf("there is no update for device %v", d.Node))
	}
	image := d.Standing.Update.SHA256
	r, policy := s.Rollout(image), s.FirmwarePolicy(d.Zone).Updates
	switch {
	case s.Version < RolloutVersion:
		return refuse(CodeOldMember, "a gateway of an older release knows of no roll-outs")
	case r != nil && r.Stopped != "":
		return refuse(CodeStopped, "the roll-out has stopped: "+r.Stopped)
	case (r == nil || !r.All) && (policy == UpdateNone || policy != UpdateAll && !d.Required()):
		return refuse(CodeNotAsked, "nobody asked for it, and the policy does not")
	case d.Updating(image):
		return refuse(CodePhase, fmt.Sprintf("device %v is being updated", d.Node))
	case r == nil:
		return nil
	}
	if first := s.Devices[r.First]; !r.Passed && r.First != d.Node && first != nil && first.Attempt != nil && s.Time < first.Attempt.Since+firstLimit.Milliseconds() {
		return refuse(CodeFirst, fmt.Sprintf("device %v tries it first", r.First))
	}
	return nil
}

func (s *State) beginUpdate(c *BeginUpdate) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Admitted)
	switch {
	case err != nil:
		return err
	case !d.Wants(c.SHA256):
		return refuse(CodeNoUpdate, fmt.Sprintf("device %v is not to have this image", c.Node))
	}
	a := Attempt{SHA256: c.SHA256, Version: d.Standing.Update.Version, Since: s.Time, Asked: c.Asked, Tries: 1}
	if !c.Asked {
		if err := s.MayUpdate(d); err != nil {
			return err
		}
		if had := d.Attempt; had != nil && !had.Asked && bytes.Equal(had.SHA256, c.SHA256) {
			a.Tries = had.Tries + 1
		}
		if err := s.enlist(d); err != nil {
			return err
		}
	}
	d.Attempt = &a
	s.putDevice(d)
	return nil
}

// enlist notes in its roll-out that a device begins.
func (s *State) enlist(d *Device) error {
	r := s.Rollout(d.Standing.Update.SHA256)
	switch {
	case r == nil && len(s.firmware().Rollouts) >= MaxRollouts:
		return refuse(CodeFull, fmt.Sprintf("%d images are being rolled out", MaxRollouts))
	case r == nil:
		r = &Rollout{Vendor: d.Facts.VendorID, Product: d.Facts.ProductID, Image: *d.Standing.Update, Since: s.Time}
	}
	next := *r
	if !next.Passed {
		next.First = d.Node
	}
	s.putRollout(&next)
	return nil
}

func (s *State) putRollout(r *Rollout) {
	f := s.firmware()
	f.Rollouts = maps.Clone(f.Rollouts)
	if f.Rollouts == nil {
		f.Rollouts = make(map[string]*Rollout)
	}
	f.Rollouts[hex.EncodeToString(r.Image.SHA256)] = r
	s.Firmware = f
}

func (s *State) failUpdate(c *FailUpdate) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Admitted)
	switch {
	case err != nil:
		return err
	case c.Failure == "" || len(c.Failure) > MaxText:
		return refuse(CodeInvalid, "why it failed is missing, or too long")
	case !d.Updating(c.SHA256):
		return refuse(CodePhase, fmt.Sprintf("device %v is not being updated to this image", c.Node))
	}
	a := *d.Attempt
	a.Failure, d.Attempt = c.Failure, &a
	s.putDevice(d)
	if r := s.Rollout(c.SHA256); r != nil && (c.Stop || a.Tries >= MaxTries) {
		next := *r
		next.Stopped = Cut(fmt.Sprintf("device %v failed %d times: it %s", c.Node, a.Tries, c.Failure))
		s.putRollout(&next)
	}
	return nil
}

// arrive ends a device's attempt by what was decided of it now: it has the
// image, or is not to have it any more.
func (s *State) arrive(d *Device) {
	if a := d.Attempt; a != nil {
		if r := s.Rollout(a.SHA256); r != nil && d.Standing.Version == a.Version {
			next := *r
			next.Passed, next.First = true, 0
			s.putRollout(&next)
		}
		if d.Standing.Version >= a.Version || d.Standing.Update == nil || !bytes.Equal(d.Standing.Update.SHA256, a.SHA256) {
			d.Attempt = nil
		}
	}
}

// prune ends the roll-outs that nobody is left for.
func (s *State) prune() {
	if s.Firmware == nil || len(s.Firmware.Rollouts) == 0 {
		return
	}
	wanted := make(map[string]bool)
	for _, d := range s.Devices {
		if u := d.Update(); u != nil {
			wanted[hex.EncodeToString(u.SHA256)] = true
		}
	}
	f := s.firmware()
	f.Rollouts = maps.Clone(f.Rollouts)
	maps.DeleteFunc(f.Rollouts, func(image string, _ *Rollout) bool { return !wanted[image] })
	s.Firmware = f
}

func (s *State) beginRollout(c *BeginRollout) error {
	wanting := s.which(func(d *Device) bool { return d.Wants(c.SHA256) })
	if len(wanting) == 0 {
		return refuse(CodeNoUpdate, "no device is to have this image")
	}
	d := wanting[0]
	next := Rollout{Vendor: d.Facts.VendorID, Product: d.Facts.ProductID, Image: *d.Standing.Update, Since: s.Time}
	switch r := s.Rollout(c.SHA256); {
	case r != nil:
		next = *r
	case len(s.firmware().Rollouts) >= MaxRollouts:
		return refuse(CodeFull, fmt.Sprintf("%d images are being rolled out", MaxRollouts))
	}
	next.Stopped, next.All = "", true
	s.putRollout(&next)
	for _, d := range wanting {
		if d.Attempt != nil && d.Attempt.Failure != "" && bytes.Equal(d.Attempt.SHA256, c.SHA256) {
			anew := *d
			anew.Attempt = nil
			s.putDevice(&anew)
		}
	}
	return nil
}

func (s *State) stopRollout(c *StopRollout) error {
	r := s.Rollout(c.SHA256)
	switch {
	case r == nil:
		return refuse(CodeNoRollout, "this image is not being rolled out")
	case c.Reason == "" || len(c.Reason) > MaxText:
		return refuse(CodeInvalid, "why it is to stop is missing, or too long")
	}
	next := *r
	next.Stopped = c.Reason
	s.putRollout(&next)
	return nil
}

// rolledOut reports whether something in a State came with roll-outs, or with
// this version else.
func (s *State) rolledOut() bool {
	if s == nil {
		return false
	}
	for _, z := range s.Zones {
		if z != nil && z.Firmware != nil && z.Firmware.Updates != 0 {
			return true
		}
	}
	return s.Firmware != nil && (len(s.Firmware.Rollouts) > 0 || s.Firmware.Policy.Updates != 0) ||
		len(s.which(func(d *Device) bool {
			return d != nil && (d.Attempt != nil || d.Standing.detailed() || d.Facts.Firmware != nil)
		})) > 0
}

// flaw is what keeps it from being a Rollout of an image, else empty.
func (r *Rollout) flaw(image string) string {
	if r == nil || hex.EncodeToString(r.Image.SHA256) != image || r.Image.check() != nil || len(r.Stopped) > MaxText {
		return "a roll-out is not in order"
	}
	return ""
}
