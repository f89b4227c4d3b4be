// Package fabric is the home's trust as a value: State says whom the home
// trusts, a Command is one change to it, and Apply is the only way from one
// State to the next.
//
// It promises that Apply is pure, total and deterministic: the same commands
// in the same order give the same State on every gateway, of this release or
// the one before. It has no network, no clock, no disk and no randomness:
// times and ids come in with the command. It holds no secret but as
// ciphertext.
package fabric

import (
	"encoding/binary"
	"time"

	"gatehouse/fabric/cert"
)

// Version is the newest version of State and Commands that this release knows.
// It writes what all gateways of the home know: State.Version.
const Version = 6

// Limits of ours. They bound what a snapshot can grow to.
const (
	MaxDevices     = 2000
	MaxGateways    = 8
	MaxZones       = 64
	MaxAnchors     = 1000
	MaxExceptions  = 64
	MaxText        = 256 // octets of any name or reason
	MaxBlob        = 4096
	MaxTombstones  = 20000
	defaultZone    = "home"
	serialPrefix   = 0x47 // keeps a certificate's serial number positive and 13 octets long
	millisecond    = int64(time.Millisecond)
	MaxReservation = 15 * time.Minute // how long a pairing may take
)

// Phase is how far a device has come.
type Phase uint8

const (
	Reserved Phase = iota + 1 // a node id is set aside; no certificate exists
	Issued                    // its NOC exists and may have reached the device
	Admitted                  // the device belongs
)

func (p Phase) String() string {
	return [...]string{"none", "reserved", "issued", "admitted"}[min(p, Admitted)]
}

// State is everything that says whom the home trusts. A State is never
// changed once made: Apply returns another that shares what stayed the same.
type State struct {
	Version     uint8                      `cbor:"0,keyasint"`
	Index       uint64                     `cbor:"1,keyasint"` // log index applied last
	Time        int64                      `cbor:"2,keyasint"` // ledger time, Unix ms; never runs backwards
	Home        Home                       `cbor:"3,keyasint"`
	Generations []Generation               `cbor:"4,keyasint"`
	Gateways    map[cert.NodeID]*Gateway   `cbor:"5,keyasint"`
	Devices     map[cert.NodeID]*Device    `cbor:"6,keyasint"`
	Tombstones  map[cert.NodeID]*Tombstone `cbor:"7,keyasint"`
	Zones       map[string]*Zone           `cbor:"8,keyasint"`
	Anchors     map[string]*Anchor         `cbor:"9,keyasint"`            // by SHA-256 in hex
	Exceptions  map[string]*Exception      `cbor:"10,keyasint"`           // by name
	Revocations []byte                     `cbor:"11,keyasint"`           // revocation set, JSON as published
	Networks    map[string]*Network        `cbor:"12,keyasint,omitempty"` // by name
	Keyring     *Keyring                   `cbor:"13,keyasint,omitempty"` // nil in a home of version 1
	Recent      []Outcome                  `cbor:"14,keyasint,omitempty"` // of requests, oldest first
	Restores    uint8                      `cbor:"15,keyasint,omitempty"` // how often the home was restored from a backup
	Former      *Former                    `cbor:"16,keyasint,omitempty"` // nil but while devices are moved to another root
	Suite       uint8                      `cbor:"17,keyasint,omitempty"` // what secrets are sealed with (seal.Suite); 0 stands for 1
	Firmware    *Firmware                  `cbor:"18,keyasint,omitempty"` // nil: nothing is settled
	Trail       *Trail                     `cbor:"20,keyasint,omitempty"` // nil: some gateway keeps none
	People      *People                    `cbor:"21,keyasint,omitempty"` // nil: nobody is known yet
	Import      *Import                    `cbor:"22,keyasint,omitempty"` // nil: the fabric was minted here
}

// Home is what the fabric rests on.
type Home struct {
	Name     string        `cbor:"0,keyasint"`
	FabricID cert.FabricID `cbor:"1,keyasint"`
	Root     []byte        `cbor:"2,keyasint"` // RCAC, TLV
	Birth    int64         `cbor:"3,keyasint"` // Unix ms; every certificate's NotBefore
	VendorID uint16        `cbor:"4,keyasint"` // administrator's, told to devices
	// GatewayCAT is what devices' ACLs name as their administrators. Its
	// version grows with each eviction.
	GatewayCAT cert.CAT `cbor:"5,keyasint"`
	IPK        []byte   `cbor:"6,keyasint"`           // epoch key, sealed
	Recovery   []byte   `cbor:"7,keyasint,omitempty"` // the recovery kit's public sealing key
}

// Founded reports whether there is a fabric at all.
func (s *State) Founded() bool { return len(s.Home.Root) > 0 }

// Generation is one intermediate authority. The last one issues.
type Generation struct {
	Number uint32 `cbor:"0,keyasint"`
	ICAC   []byte `cbor:"1,keyasint"` // TLV
	Key    []byte `cbor:"2,keyasint"` // its private key, sealed
	// DataKeys is version 1's Keyring: one key for all, wrapped to the only
	// gateway.
	DataKeys map[cert.NodeID][]byte `cbor:"3,keyasint"`
}

// Generation is the one that issues now, or nil.
func (s *State) Generation() *Generation {
	if len(s.Generations) == 0 {
		return nil
	}
	return &s.Generations[len(s.Generations)-1]
}

// Device is one that is being admitted or has been.
type Device struct {
	Node       cert.NodeID `cbor:"0,keyasint"`
	Phase      Phase       `cbor:"1,keyasint"`
	Gateway    cert.NodeID `cbor:"2,keyasint"` // its owner: who pairs it and then looks after it
	Zone       string      `cbor:"3,keyasint"`
	Deadline   int64       `cbor:"4,keyasint"` // of the reservation, Unix ms
	Generation uint32      `cbor:"5,keyasint"`
	Serial     []byte      `cbor:"6,keyasint"` // of its NOC
	NOCHash    []byte      `cbor:"7,keyasint"` // SHA-256 of the NOC's TLV
	PublicKey  []byte      `cbor:"8,keyasint"`
	Name       string      `cbor:"9,keyasint"`
	Facts      Facts       `cbor:"10,keyasint"`
	Attested   Attested    `cbor:"11,keyasint"`
	AdmittedAt int64       `cbor:"12,keyasint"` // Unix ms
	// FailSafe is how long the device may hold what it was given in a pairing
	// that nobody finishes, in ms. It is measured, not compared to clocks.
	FailSafe int64 `cbor:"13,keyasint,omitempty"`
	// Access is the version of the gateways' CAT that its access control list
	// names, read back; 0 stands for 1.
	Access uint16 `cbor:"14,keyasint,omitempty"`
	// Next is its certificate below the present root, while it is moved there, or
	// the one that is to take the place of what it has.
	Next *Move `cbor:"15,keyasint,omitempty"`
	// Before is its certificate of before it was moved, until it was seen that
	// it has left that fabric.
	Before *Credential `cbor:"16,keyasint,omitempty"`
	// Standing is what was decided of it for its software; nil: nothing yet.
	Standing *Standing `cbor:"17,keyasint,omitempty"`
	// Untagged says that its certificate lacks the zone's tag.
	Untagged bool `cbor:"18,keyasint,omitempty"`
	// Attempt is its way to the update that its standing names; nil: none yet.
	Attempt *Attempt `cbor:"19,keyasint,omitempty"`
	// Room is where people look for it. It decides nothing: zones do.
	Room string `cbor:"20,keyasint,omitempty"`
	// Terms are what it still has of before it was taken over.
	Terms Terms `cbor:"21,keyasint,omitempty"`
	// CheckIn is how the home hears that it wakes up; nil: it does not tell.
	CheckIn *CheckIn `cbor:"22,keyasint,omitempty"`
}

// Facts are what the device says of itself.
type Facts struct {
	VendorID        uint16 `cbor:"0,keyasint" json:"vendor_id"`
	ProductID       uint16 `cbor:"1,keyasint" json:"product_id"`
	VendorName      string `cbor:"2,keyasint" json:"vendor_name"`
	ProductName     string `cbor:"3,keyasint" json:"product_name"`
	SerialNumber    string `cbor:"4,keyasint" json:"serial_number,omitempty"`
	UniqueID        string `cbor:"5,keyasint" json:"unique_id,omitempty"`
	HardwareVersion uint16 `cbor:"6,keyasint" json:"hardware_version"`
	SoftwareVersion uint32 `cbor:"7,keyasint" json:"software_version"`
	SoftwareString  string `cbor:"8,keyasint" json:"software_version_string"`
	// Firmware is the firmware information of its attestation.
	Firmware []byte `cbor:"9,keyasint,omitempty" json:"firmware_information,omitempty"`
}

// Attested is why its attestation was believed.
type Attested struct {
	PAA       string `cbor:"0,keyasint" json:"paa"`                 // subject key id, hex
	Exception string `cbor:"1,keyasint" json:"exception,omitempty"` // name of the exception that let it pass
}

// Tombstone keeps a node id, and the serial number of its certificate, from
// ever being given again.
type Tombstone struct {
	Serial  []byte `cbor:"0,keyasint"`
	NOCHash []byte `cbor:"1,keyasint"`
	At      int64  `cbor:"2,keyasint"` // Unix ms
	Reason  string `cbor:"3,keyasint"`
}

// Zone is a part of the home.
type Zone struct {
	Name string   `cbor:"0,keyasint"`
	CAT  cert.CAT `cbor:"1,keyasint"` // in the NOCs of the zone's devices
	// Firmware is the zone's own policy; nil: the home's.
	Firmware *FirmwarePolicy `cbor:"2,keyasint,omitempty"`
}

// AnchorKind says what an Anchor is trusted for.
type AnchorKind uint8

const (
	PAA      AnchorKind = iota + 1 // root of device attestation
	CDSigner                       // signer of certification declarations
)

// Anchor is a certificate that device attestation rests on.
type Anchor struct {
	Kind    AnchorKind `cbor:"0,keyasint"`
	DER     []byte     `cbor:"1,keyasint"`
	Test    bool       `cbor:"2,keyasint"` // vouches for test devices only
	Source  string     `cbor:"3,keyasint"` // file it came from
	AddedAt int64      `cbor:"4,keyasint"` // Unix ms
}

// Exception accepts, for a while, devices whose attestation rests on a test
// root.
type Exception struct {
	Name      string `cbor:"0,keyasint"`
	VendorID  uint16 `cbor:"1,keyasint"` // 0: any
	ProductID uint16 `cbor:"2,keyasint"` // 0: any
	Expires   int64  `cbor:"3,keyasint"` // Unix ms
}

// serial is the serial number of the certificate that log entry index issues.
// No two entries have the same index, no two generations the same number.
func serial(generation uint32, index uint64) []byte {
	b := binary.BigEndian.AppendUint32([]byte{serialPrefix}, generation)
	return binary.BigEndian.AppendUint64(b, index)
}

// Used reports whether a node id was ever given.
func (s *State) Used(n cert.NodeID) bool {
	return n == CheckInNode || s.Gateways[n] != nil || s.Devices[n] != nil || s.Tombstones[n] != nil || s.usedBefore(n)
}
