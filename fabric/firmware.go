package fabric

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gatehouse/fabric/cert"
)

// FirmwareVersion is the first that knows of rules on devices' software.
const FirmwareVersion = 4

// Limits of ours.
const (
	MaxSources    = 8
	MaxRoot       = 64 << 10 // octets of a source's root of trust
	MaxReasons    = 16       // of a standing
	MaxGrace      = 366 * 24 * time.Hour
	MaxFirmware   = 512       // octets of a device's firmware information
	maxImage      = 256 << 20 // octets
	maxSourceName = 64
)

// Verdict is what is made of a device for its software.
type Verdict uint8

// The verdicts, the stricter the greater. 0 stands for a policy's default.
const (
	AdmitDevice Verdict = iota + 1
	QuarantineDevice
	RefuseDevice
)

var verdicts = names[Verdict]{"default", "admit", "quarantine", "refuse"}

func (v Verdict) String() string { return verdicts.of(v) }

// MarshalText writes the name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads the name.
func (v *Verdict) UnmarshalText(b []byte) (err error) {
	*v, err = verdicts.parse(string(b))
	return err
}

// names are what the values of a type are called, from 0.
type names[T ~uint8] []string

func (n names[T]) of(v T) string { return n[min(int(v), len(n)-1)] }

func (n names[T]) parse(s string) (T, error) {
	if i := slices.Index(n, s); i >= 0 {
		return T(i), nil
	}
	return 0, fmt.Errorf("%q is none of %s", s, strings.Join(n, ", "))
}

// FirmwarePolicy is what the home, or a zone, makes of what is known of a
// device's software. A zero field stands for the default that package firmware
// has.
type FirmwarePolicy struct {
	Unknown     Verdict `cbor:"0,keyasint,omitempty" json:"unknown"`     // product that nobody speaks of
	Recalled    Verdict `cbor:"1,keyasint,omitempty" json:"recalled"`    // version that must not run
	Outdated    Verdict `cbor:"2,keyasint,omitempty" json:"outdated"`    // one below the least that may run
	Uncertified Verdict `cbor:"3,keyasint,omitempty" json:"uncertified"` // one that the ledger knows, and not as certified
	Grace       int64   `cbor:"4,keyasint,omitempty" json:"grace_ms"`    // for which an admitted device may go on outdated
	Updates     Updates `cbor:"5,keyasint,omitempty" json:"updates"`     // which devices are updated without being told
}

// Firmware is what the home has settled about software.
type Firmware struct {
	Policy  FirmwarePolicy             `cbor:"0,keyasint"`
	Sources map[string]*FirmwareSource `cbor:"1,keyasint"`           // by name; of two that speak of a product, the name that comes first is believed first
	Ledger  string                     `cbor:"2,keyasint,omitempty"` // address of the compliance ledger's node that may be asked; empty: none
	// Rollouts are the images on their way to devices, by SHA-256 in hex.
	Rollouts map[string]*Rollout `cbor:"3,keyasint,omitempty"`
}

// FirmwareSource is a repository of signed statements.
type FirmwareSource struct {
	Name    string `cbor:"0,keyasint"`
	Where   string `cbor:"1,keyasint"` // https address, or a directory on the gateway that has it
	Root    []byte `cbor:"2,keyasint"` // root.json, as it was given
	AddedAt int64  `cbor:"3,keyasint"` // Unix ms
}

// Standing is what was decided of a device for its software, and why.
type Standing struct {
	Verdict  Verdict          `cbor:"0,keyasint"` // AdmitDevice or QuarantineDevice
	Since    int64            `cbor:"1,keyasint"` // Unix ms, of the verdict
	Version  uint32           `cbor:"2,keyasint"` // that it rests on
	Attested bool             `cbor:"3,keyasint"` // by the device's attestation; else the device says so
	Reasons  []FirmwareReason `cbor:"4,keyasint,omitempty"`
	Update   *FirmwareImage   `cbor:"5,keyasint,omitempty"` // that it is to have next; nil: none is known
	Deadline int64            `cbor:"6,keyasint,omitempty"` // Unix ms, by which it must have it; 0: none
	// Enforced says that the device was seen to be as the verdict has it.
	Enforced bool `cbor:"7,keyasint,omitempty"`
	// Evidence is whose word was heard.
	Evidence []Evidence `cbor:"8,keyasint,omitempty"`
}

// Evidence is one thing that a decision on a device's software rests on.
type Evidence struct {
	From   string `cbor:"0,keyasint" json:"from"`                       // source, or the ledger
	At     int64  `cbor:"1,keyasint" json:"at"`                         // Unix ms: when it was signed, or the ledger was asked
	SHA256 []byte `cbor:"2,keyasint,omitempty" json:"sha256,omitempty"` // of what was signed
}

// FirmwareReason is one thing that speaks against a device's software.
type FirmwareReason struct {
	Code string `cbor:"0,keyasint" json:"code"`
	From string `cbor:"1,keyasint" json:"from,omitempty"` // source, or the ledger
	Text string `cbor:"2,keyasint" json:"text"`
}

// FirmwareImage is an image.
type FirmwareImage struct {
	From    string `cbor:"0,keyasint"` // source
	Version uint32 `cbor:"1,keyasint"`
	Name    string `cbor:"2,keyasint"` // its version string
	SHA256  []byte `cbor:"3,keyasint"` // of the whole file
	Size    int64  `cbor:"4,keyasint"` // octets
}

// Quarantined reports whether a device is, or is to be, in quarantine.
func (d *Device) Quarantined() bool {
	return d.Standing != nil && d.Standing.Verdict == QuarantineDevice
}

// FirmwarePolicy is what holds in a zone; empty is the default one.
func (s *State) FirmwarePolicy(zone string) FirmwarePolicy {
	if zone == "" {
		zone = defaultZone
	}
	switch z := s.Zones[zone]; {
	case z != nil && z.Firmware != nil:
		return *z.Firmware
	case s.Firmware != nil:
		return s.Firmware.Policy
	}
	return FirmwarePolicy{}
}

// SetFirmwarePolicy sets the home's policy, or a zone's.
type SetFirmwarePolicy struct {
	Zone   string          `cbor:"0,keyasint,omitempty"` // empty: the home's
	Policy *FirmwarePolicy `cbor:"1,keyasint,omitempty"` // nil: the default, or for a zone, the home's
}

// AddFirmwareSource trusts a repository, or gives it another address.
type AddFirmwareSource struct {
	Name  string `cbor:"0,keyasint"`
	Where string `cbor:"1,keyasint"`
	Root  []byte `cbor:"2,keyasint"`
}

// RemoveFirmwareSource no longer trusts it.
type RemoveFirmwareSource struct {
	Name string `cbor:"0,keyasint"`
}

// SetFirmwareLedger says which node of the compliance ledger may be asked.
type SetFirmwareLedger struct {
	URL string `cbor:"0,keyasint"` // empty: none
}

// Judge records what was decided of a device that belongs, and what it says of
// itself now.
type Judge struct {
	Node     cert.NodeID `cbor:"0,keyasint"`
	Gateway  cert.NodeID `cbor:"1,keyasint"` // its owner
	Standing Standing    `cbor:"2,keyasint"`
	Facts    *Facts      `cbor:"3,keyasint,omitempty"` // nil: as before
}

// Enforce says that a device was seen to be as its standing has it.
type Enforce struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint"` // its owner
	Verdict Verdict     `cbor:"2,keyasint"`
}

// TurnAway records why a device was not let in: for what it is, or for its
// software. It changes nothing.
type TurnAway struct {
	Gateway  cert.NodeID      `cbor:"0,keyasint"`           // that was to pair it
	Zone     string           `cbor:"1,keyasint,omitempty"` // empty: the default
	Facts    Facts            `cbor:"2,keyasint"`
	Reasons  []FirmwareReason `cbor:"3,keyasint"`
	Evidence []Evidence       `cbor:"4,keyasint,omitempty"`
}

func (s *State) turnAway(c *TurnAway) error {
	switch {
	case s.Gateways[c.Gateway] == nil || !s.Gateways[c.Gateway].Member():
		return refuse(CodeNotAMember, fmt.Sprintf("gateway %v is not a member", c.Gateway))
	case len(c.Zone) > MaxText || len(c.Reasons) == 0:
		return refuse(CodeInvalid, "why it was turned away is missing, or its zone too long")
	}
	why := Standing{Verdict: QuarantineDevice, Reasons: c.Reasons, Evidence: c.Evidence}
	return why.check()
}

func (s *State) setFirmwarePolicy(c *SetFirmwarePolicy) error {
	if p := c.Policy; p != nil && (max(p.Unknown, p.Recalled, p.Outdated, p.Uncertified) > RefuseDevice || p.Updates > UpdateAll || p.Grace < 0 || p.Grace > MaxGrace.Milliseconds()) {
		return refuse(CodeInvalid, "the policy has an unknown verdict, or a grace of more than a year")
	}
	if c.Zone == "" {
		f := s.firmware()
		f.Policy = FirmwarePolicy{}
		if c.Policy != nil {
			f.Policy = *c.Policy
		}
		s.Firmware = f
		return nil
	}
	z := s.Zones[c.Zone]
	if z == nil {
		return refuse(CodeZone, fmt.Sprintf("there is no zone %q", c.Zone))
	}
	zone := *z
	zone.Firmware = c.Policy
	s.Zones = maps.Clone(s.Zones)
	s.Zones[c.Zone] = &zone
	return nil
}

// firmware is a copy of what is settled, to be changed and put back.
func (s *State) firmware() *Firmware {
	if s.Firmware == nil {
		return &Firmware{Sources: map[string]*FirmwareSource{}}
	}
	f := *s.Firmware
	return &f
}

func (s *State) addFirmwareSource(c *AddFirmwareSource) error {
	f := s.firmware()
	switch {
	case c.Name == "" || len(c.Name) > maxSourceName || c.Where == "" || len(c.Where) > MaxText || len(c.Root) == 0 || len(c.Root) > MaxRoot:
		return refuse(CodeInvalid, "a source of firmware needs a name, an address and a root of trust")
	case f.Sources[c.Name] == nil && len(f.Sources) >= MaxSources:
		return refuse(CodeFull, fmt.Sprintf("the home has %d sources of firmware", len(f.Sources)))
	}
	f.Sources = maps.Clone(f.Sources)
	f.Sources[c.Name] = &FirmwareSource{c.Name, c.Where, c.Root, s.Time}
	s.Firmware = f
	return nil
}

func (s *State) removeFirmwareSource(c *RemoveFirmwareSource) error {
	f := s.firmware()
	if f.Sources[c.Name] == nil {
		return refuse(CodeNoSource, fmt.Sprintf("there is no source of firmware %q", c.Name))
	}
	f.Sources = maps.Clone(f.Sources)
	delete(f.Sources, c.Name)
	s.Firmware = f
	return nil
}

func (s *State) setFirmwareLedger(c *SetFirmwareLedger) error {
	if len(c.URL) > MaxText {
		return refuse(CodeInvalid, "the ledger's address is too long")
	}
	f := s.firmware()
	f.Ledger = c.URL
	s.Firmware = f
	return nil
}

// judge keeps since when a verdict holds, and that it was enforced, for as
// long as it stays the same.
func (s *State) judge(c *Judge) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Admitted)
	if err == nil {
		err = c.Standing.check()
	}
	if err != nil {
		return err
	}
	next := c.Standing
	next.Since, next.Enforced = s.Time, false
	if had := d.Standing; had != nil && had.Verdict == next.Verdict {
		next.Since, next.Enforced = had.Since, had.Enforced
	} else if had == nil && next.Verdict == AdmitDevice {
		next.Enforced = true // as every device was before there were verdicts
	}
	if d.Standing = &next; c.Facts != nil {
		d.Facts = c.Facts.bounded()
	}
	s.arrive(d)
	s.putDevice(d)
	s.prune()
	return nil
}

// check bounds what a snapshot can grow to.
func (st *Standing) check() error {
	if st.Verdict != AdmitDevice && st.Verdict != QuarantineDevice || len(st.Reasons) > MaxReasons || len(st.Evidence) > MaxSources+1 {
		return refuse(CodeInvalid, "a standing is to admit or to quarantine, for a few reasons")
	}
	for _, e := range st.Evidence {
		if len(e.From) > MaxText || len(e.SHA256) > sha256.Size {
			return refuse(CodeInvalid, "a piece of evidence is too long")
		}
	}
	for _, r := range st.Reasons {
		if max(len(r.Code), len(r.From), len(r.Text)) > MaxText {
			return refuse(CodeInvalid, "a reason is too long")
		}
	}
	return st.Update.check()
}

// check bounds an image's description; none is right.
func (i *FirmwareImage) check() error {
	if i != nil && (len(i.SHA256) != sha256.Size || i.Size <= 0 || i.Size > maxImage || max(len(i.From), len(i.Name)) > MaxText) {
		return refuse(CodeInvalid, "the image to update to is not described right")
	}
	return nil
}

func (s *State) enforce(c *Enforce) error {
	d, err := s.ownDevice(c.Node, c.Gateway, Admitted)
	switch {
	case err != nil:
		return err
	case d.Standing == nil || d.Standing.Verdict != c.Verdict:
		return refuse(CodePhase, fmt.Sprintf("of device %v it was decided anew meanwhile", c.Node))
	}
	standing := *d.Standing
	standing.Enforced = true
	d.Standing = &standing
	s.putDevice(d)
	return nil
}

// detailed reports whether something in it came with evidence.
func (st *Standing) detailed() bool { return st != nil && len(st.Evidence) > 0 }

// judged reports whether a State has anything of this in it.
func (s *State) judged() bool {
	if s == nil {
		return false
	}
	for _, z := range s.Zones {
		if z != nil && z.Firmware != nil {
			return true
		}
	}
	return s.Firmware != nil || len(s.which(func(d *Device) bool { return d != nil && d.Standing != nil })) > 0
}
