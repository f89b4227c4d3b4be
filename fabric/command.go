package fabric

import "gatehouse/fabric/cert"

// Command is one change of the trust state: exactly one of its pointers is
// set. Fields are only ever added, with new keys.
type Command struct {
	Version uint8 `cbor:"0,keyasint"` // the first that knows its kind
	Time    int64 `cbor:"1,keyasint"` // Unix ms, of the leader

	Found           *Found           `cbor:"2,keyasint,omitempty"`
	Reserve         *Reserve         `cbor:"3,keyasint,omitempty"`
	Issue           *Issue           `cbor:"4,keyasint,omitempty"`
	Admit           *Admit           `cbor:"5,keyasint,omitempty"`
	Abandon         *Abandon         `cbor:"6,keyasint,omitempty"`
	Remove          *Remove          `cbor:"7,keyasint,omitempty"`
	Rename          *Rename          `cbor:"8,keyasint,omitempty"`
	AddZone         *AddZone         `cbor:"9,keyasint,omitempty"`
	AddAnchors      *AddAnchors      `cbor:"10,keyasint,omitempty"`
	RemoveAnchor    *RemoveAnchor    `cbor:"11,keyasint,omitempty"`
	AddException    *Exception       `cbor:"12,keyasint,omitempty"`
	RemoveException *RemoveException `cbor:"13,keyasint,omitempty"`
	SetRevocations  *SetRevocations  `cbor:"14,keyasint,omitempty"`
	SetNetwork      *SetNetwork      `cbor:"15,keyasint,omitempty"`
	RemoveNetwork   *RemoveNetwork   `cbor:"16,keyasint,omitempty"`
	PreferNetwork   *PreferNetwork   `cbor:"17,keyasint,omitempty"`

	// Request tells a command that is sent again from a new one.
	Request []byte `cbor:"18,keyasint,omitempty"`

	DescribeGateway *DescribeGateway `cbor:"19,keyasint,omitempty"`
	ReserveGateway  *ReserveGateway  `cbor:"20,keyasint,omitempty"`
	RenewGateway    *RenewGateway    `cbor:"21,keyasint,omitempty"`
	IssueGateway    *IssueGateway    `cbor:"22,keyasint,omitempty"`
	EvictGateway    *EvictGateway    `cbor:"23,keyasint,omitempty"`
	SetSealKey      *SetSealKey      `cbor:"24,keyasint,omitempty"`
	Reseal          *Reseal          `cbor:"25,keyasint,omitempty"`
	TakeOver        *TakeOver        `cbor:"26,keyasint,omitempty"`
	SetAccess       *SetAccess       `cbor:"27,keyasint,omitempty"`
	Restore         *Restore         `cbor:"28,keyasint,omitempty"`
	Reroot          *Reroot          `cbor:"29,keyasint,omitempty"`
	ReserveMove     *ReserveMove     `cbor:"30,keyasint,omitempty"`
	IssueMove       *IssueMove       `cbor:"31,keyasint,omitempty"`
	AdmitMove       *AdmitMove       `cbor:"32,keyasint,omitempty"`
	AbandonMove     *AbandonMove     `cbor:"33,keyasint,omitempty"`
	LeftFormer      *LeftFormer      `cbor:"34,keyasint,omitempty"`
	EndReroot       *EndReroot       `cbor:"35,keyasint,omitempty"`
	RotateSealing   *RotateSealing   `cbor:"36,keyasint,omitempty"`

	SetFirmwarePolicy    *SetFirmwarePolicy    `cbor:"37,keyasint,omitempty"`
	AddFirmwareSource    *AddFirmwareSource    `cbor:"38,keyasint,omitempty"`
	RemoveFirmwareSource *RemoveFirmwareSource `cbor:"39,keyasint,omitempty"`
	SetFirmwareLedger    *SetFirmwareLedger    `cbor:"40,keyasint,omitempty"`
	Judge                *Judge                `cbor:"41,keyasint,omitempty"`
	Enforce              *Enforce              `cbor:"42,keyasint,omitempty"`
	BeginUpdate          *BeginUpdate          `cbor:"43,keyasint,omitempty"`
	FailUpdate           *FailUpdate           `cbor:"44,keyasint,omitempty"`
	BeginRollout         *BeginRollout         `cbor:"45,keyasint,omitempty"`
	StopRollout          *StopRollout          `cbor:"46,keyasint,omitempty"`
	TurnAway             *TurnAway             `cbor:"47,keyasint,omitempty"`

	SetPeople    *SetPeople    `cbor:"48,keyasint,omitempty"`
	SetPerson    *SetPerson    `cbor:"49,keyasint,omitempty"`
	RemovePerson *RemovePerson `cbor:"50,keyasint,omitempty"`
	AddPass      *AddPass      `cbor:"51,keyasint,omitempty"`
	EndPasses    *EndPasses    `cbor:"52,keyasint,omitempty"`
	SetApproval  *SetApproval  `cbor:"53,keyasint,omitempty"`
	SetRoom      *SetRoom      `cbor:"54,keyasint,omitempty"`
	SetHook      *SetHook      `cbor:"55,keyasint,omitempty"`
	RemoveHook   *RemoveHook   `cbor:"56,keyasint,omitempty"`

	Adopt *Adopt `cbor:"57,keyasint,omitempty"`

	SetCheckIn *SetCheckIn `cbor:"58,keyasint,omitempty"`

	// By is the gateway that proposes it, as the leader knows it; 0: not told.
	By cert.NodeID `cbor:"64,keyasint,omitempty"`
	// For is the person who asked that gateway for it, by name; empty: nobody
	// did, or whoever has the gateway's own socket.
	For string `cbor:"65,keyasint,omitempty"`
}

// Found begins the fabric, with its first gateway and generation.
type Found struct {
	Home       Home       `cbor:"0,keyasint"`
	Generation Generation `cbor:"1,keyasint"`
	Gateway    Gateway    `cbor:"2,keyasint"`
	Keyring    *Keyring   `cbor:"3,keyasint,omitempty"`
	// Import and Devices are of the controller that the fabric is taken over
	// from; nil if it is a new one.
	Import  *Import     `cbor:"4,keyasint,omitempty"`
	Devices []Inherited `cbor:"5,keyasint,omitempty"`
}

// Reserve sets a node id and a serial number aside for a device that is about
// to be paired.
type Reserve struct {
	Node     cert.NodeID `cbor:"0,keyasint"`
	Gateway  cert.NodeID `cbor:"1,keyasint"`
	Zone     string      `cbor:"2,keyasint"` // empty: the home's default
	Deadline int64       `cbor:"3,keyasint"` // Unix ms; unless FailSafe is given
	Facts    Facts       `cbor:"4,keyasint"`
	Attested Attested    `cbor:"5,keyasint"`
	Name     string      `cbor:"6,keyasint"`
	FailSafe int64       `cbor:"7,keyasint,omitempty"` // ms from now
	Standing *Standing   `cbor:"8,keyasint,omitempty"` // nil: nothing was decided
}

// Issue records the certificate of a reservation before any device gets it.
type Issue struct {
	Node      cert.NodeID `cbor:"0,keyasint"`
	NOCHash   []byte      `cbor:"1,keyasint"`
	PublicKey []byte      `cbor:"2,keyasint"`
	Gateway   cert.NodeID `cbor:"3,keyasint,omitempty"` // who proposes; 0: not told
}

// Admit says that the device belongs.
type Admit struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Gateway cert.NodeID `cbor:"1,keyasint,omitempty"` // who proposes; 0: not told
	Access  uint16      `cbor:"2,keyasint,omitempty"` // version of the gateways' CAT in its list
}

// Abandon ends a pairing that will not be finished.
type Abandon struct {
	Node    cert.NodeID `cbor:"0,keyasint"`
	Reason  string      `cbor:"1,keyasint"`
	Gateway cert.NodeID `cbor:"2,keyasint,omitempty"` // who proposes; 0: not told
	Phase   Phase       `cbor:"3,keyasint,omitempty"` // that the pairing is believed to be in; 0: any
}

// Remove ends an admitted device's belonging.
type Remove struct {
	Node   cert.NodeID `cbor:"0,keyasint"`
	Reason string      `cbor:"1,keyasint"`
}

// Rename gives a device another name.
type Rename struct {
	Node cert.NodeID `cbor:"0,keyasint"`
	Name string      `cbor:"1,keyasint"`
}

// SetRoom says in which room a device is; empty: in none.
type SetRoom struct {
	Node cert.NodeID `cbor:"0,keyasint"`
	Room string      `cbor:"1,keyasint"`
}

// AddZone adds a part of the home.
type AddZone struct {
	Name string `cbor:"0,keyasint"`
}

// AddAnchors adds certificates to the trust store; one already there is left.
type AddAnchors struct {
	Anchors []Anchor `cbor:"0,keyasint"`
}

// RemoveAnchor takes a certificate out of the trust store.
type RemoveAnchor struct {
	ID string `cbor:"0,keyasint"`
}

// RemoveException ends an exception before its time.
type RemoveException struct {
	Name string `cbor:"0,keyasint"`
}

// SetRevocations replaces the revocation set.
type SetRevocations struct {
	JSON []byte `cbor:"0,keyasint"`
}

// Code is the stable code of a refused command.
type Code string

const (
	CodeInvalid      Code = "command-invalid"
	CodeNotFounded   Code = "fabric-not-founded"
	CodeFounded      Code = "fabric-already-founded"
	CodeUsed         Code = "node-id-used"
	CodeUnknown      Code = "device-unknown"
	CodeNoSource     Code = "firmware-source-unknown"
	CodeNoUpdate     Code = "update-unknown"
	CodeNoRollout    Code = "no-roll-out"
	CodeStopped      Code = "roll-out-stopped"
	CodeFirst        Code = "another-device-first"
	CodeNotAsked     Code = "update-not-asked-for"
	CodePhase        Code = "device-in-other-phase"
	CodeDeadline     Code = "reservation-expired"
	CodeFull         Code = "trust-state-full"
	CodeZone         Code = "zone-unknown"
	CodeExists       Code = "name-taken"
	CodeNoAnchor     Code = "anchor-unknown"
	CodeNoException  Code = "exception-unknown"
	CodeNoNetwork    Code = "network-unknown"
	CodeNotAMember   Code = "gateway-not-a-member"
	CodeOwner        Code = "device-of-another-gateway"
	CodeSerial       Code = "serial-not-reserved"
	CodeLastGateway  Code = "last-gateway"
	CodeSealing      Code = "sealing-changed-meanwhile"
	CodeRerooting    Code = "reroot-in-progress"
	CodeNoReroot     Code = "no-reroot-in-progress"
	CodeStragglers   Code = "devices-not-moved"
	CodeForeign      Code = "devices-not-met"
	CodeNoPerson     Code = "person-unknown"
	CodeNoHook       Code = "hook-unknown"
	CodeChanged      Code = "person-changed-meanwhile"
	CodeOldMember    Code = "gateway-of-an-older-release"
	CodeUnknownKind  Code = "command-of-a-newer-release"
	CodeStateVersion Code = "state-of-another-release"

	CodeLastAdministrator Code = "last-administrator"
)

// Refusal is why a command changed nothing.
type Refusal struct {
	Code   Code
	Reason string
}

func (r *Refusal) Error() string { return r.Reason }

func refuse(code Code, reason string) error { return &Refusal{code, reason} }
