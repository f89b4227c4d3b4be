package hass

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"time"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/setup"
	"gatehouse/commissioner/webrtc"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
	"gatehouse/radio/thread/otbr"
)

// Home is the home as a Server needs it. What its methods give is shared and
// must not be changed. An error may be an *Error, which says how a client is
// told; of others, those of commissioner and interaction are understood.
type Home interface {
	Identity() Identity
	// Nodes are the devices that belong to the home, as last seen.
	Nodes() []*Node
	// Count is how many Nodes there are, about: it must cost little.
	Count() int
	// Node is one of them; nil: there is none.
	Node(n cert.NodeID) *Node
	// Watch has every change told, one at a time and after Nodes shows it, until
	// stop returns. see must not wait for anything. A new endpoint is told
	// after the change that Updated the node, and before those of its attributes.
	Watch(see func(Change)) (stop func())

	Read(ctx context.Context, n cert.NodeID, req interaction.ReadRequest) (*interaction.Report, error)
	// Write gives each write's error, in order.
	Write(ctx context.Context, n cert.NodeID, timed time.Duration, writes ...interaction.Write) ([]error, error)
	Invoke(ctx context.Context, n cert.NodeID, timed time.Duration, c interaction.Invocation) (interaction.CommandResult, error)
	// Interview reads all there is of a node anew.
	Interview(ctx context.Context, n cert.NodeID) error
	// Remove takes a node's certificates away, if it can be reached, and forgets
	// it in any case.
	Remove(ctx context.Context, n cert.NodeID) error
	// Addresses are those where the node was met, or is found now, if fresh.
	Addresses(ctx context.Context, n cert.NodeID, fresh bool) ([]netip.Addr, error)
	// Ping says of each address whether the node answers there.
	Ping(ctx context.Context, n cert.NodeID, attempts int) (map[netip.Addr]bool, error)
}

// Identity is who the home's controller is. All but Bluetooth must be the same
// from every gateway, for ever: clients know devices by it.
type Identity struct {
	Fabric     cert.FabricID
	Compressed cert.CompressedFabricID
	Index      uint8 // on this gateway's own fabric table
	Node       cert.NodeID
	// Administrator is the subject of the entry that every access control list
	// must have.
	Administrator             cert.NodeID
	Bluetooth, BluetoothProxy bool
}

// Node is a device as it was last seen.
type Node struct {
	ID           cert.NodeID
	Commissioned time.Time
	Interviewed  time.Time // when it was last read in full
	Available    bool
	Attributes   []Attribute // all that are known, of clusters all together
}

// Attribute is an attribute's value.
type Attribute struct {
	Path  Path
	Value tlv.Raw
}

// Path is the path of one attribute.
type Path struct {
	Endpoint  interaction.EndpointID
	Cluster   interaction.ClusterID
	Attribute interaction.AttributeID
}

func (p Path) String() string { return fmt.Sprintf("%d/%d/%d", p.Endpoint, p.Cluster, p.Attribute) }

// value is a node's attribute; nil: it is not known.
func (n *Node) value(e interaction.EndpointID, c interaction.ClusterID, a interaction.AttributeID) tlv.Raw {
	for _, x := range n.Attributes {
		if x.Path == (Path{e, c, a}) {
			return x.Value
		}
	}
	return nil
}

// ChangeKind is what changed.
type ChangeKind uint8

const (
	Added            ChangeKind = iota + 1 // a node
	Updated                                // a node: whether it is available, or its structure, or all of it
	Removed                                // a node
	EndpointAdded                          // Endpoint
	EndpointRemoved                        // Endpoint
	AttributeChanged                       // Path, to Value
	Happened                               // Event
)

// Change is a change of the home.
type Change struct {
	Kind     ChangeKind
	Node     cert.NodeID
	Endpoint interaction.EndpointID
	Path     Path
	Value    tlv.Raw
	Event    *interaction.Event // its path has no wildcard
}

// Pairing lets devices in, and others at them.
type Pairing interface {
	// Pair returns once the device belongs to the home.
	Pair(ctx context.Context, req PairRequest) (cert.NodeID, error)
	// Nearby are the devices that wait to be paired, after a look of a few
	// seconds.
	Nearby(ctx context.Context) ([]Commissionable, error)
	// OpenWindow opens a commissioning window with a passcode of its own. It
	// closes one that stands open already.
	OpenWindow(ctx context.Context, n cert.NodeID, req WindowRequest) (*Window, error)
}

// PairRequest says which device to pair.
type PairRequest struct {
	Code setup.Payload // all that is known; without Discriminated, not that
	// Discriminated says that the code has a discriminator.
	Discriminated bool
	NetworkOnly   bool       // not over Bluetooth
	Address       netip.Addr // where it is; the zero Addr: it is searched for
	DeviceType    uint32     // that it announces; 0: any
	WiFi, Thread  string     // ids of the networks that it may be put on
}

// Commissionable is a device that waits to be paired.
type Commissionable struct {
	Instance      string       `json:"instance_name,omitempty"`
	Host          string       `json:"host_name,omitempty"`
	Port          uint16       `json:"port,omitempty"`
	Discriminator uint16       `json:"long_discriminator"`
	Vendor        uint16       `json:"vendor_id,omitempty"`
	Product       uint16       `json:"product_id,omitempty"`
	Mode          uint8        `json:"commissioning_mode"`
	DeviceType    uint32       `json:"device_type,omitempty"`
	Name          string       `json:"device_name,omitempty"`
	Instruction   string       `json:"pairing_instruction,omitempty"`
	Hint          uint32       `json:"pairing_hint,omitempty"`
	Idle          int64        `json:"mrp_retry_interval_idle,omitempty"`   // ms
	Active        int64        `json:"mrp_retry_interval_active,omitempty"` // ms
	TCP           bool         `json:"supports_tcp"`
	Addresses     []netip.Addr `json:"addresses"`
	RotatingID    string       `json:"rotating_id,omitempty"` // hex
}

// WindowRequest says how to open a window.
type WindowRequest struct {
	Duration      time.Duration
	Iterations    int     // of PBKDF2 that the client wishes; at most a hint
	Discriminator *uint16 // nil: any
}

// Window is an open commissioning window.
type Window struct {
	Passcode setup.Passcode
	Manual   string
	QR       string
	Expires  time.Time
}

// defaultNetwork is the id of the networks that devices are put on if nobody
// says which.
const defaultNetwork = "default"

// Networks are the networks that devices can be put on. Their secrets go in
// and never come out.
type Networks interface {
	List() []Network
	// SetWiFi keeps a password under an id.
	SetWiFi(ctx context.Context, id, ssid, password string) error
	// SetThread keeps an operational dataset under an id.
	SetThread(ctx context.Context, id string, dataset []byte) error
	// Remove forgets what is kept under an id; nothing may be.
	Remove(ctx context.Context, id string, thread bool) error
}

// Network is a network without its secret.
type Network struct {
	ID            string
	Thread        bool   // else Wi-Fi
	SSID          string // of Wi-Fi
	Name          string // of Thread
	ExtendedPANID uint64 // of Thread
}

// Updates are newer software for devices.
type Updates interface {
	// Check is the software that a node could have; nil: none that is newer.
	Check(ctx context.Context, n cert.NodeID) (*SoftwareVersion, error)
	// Begin begins to update a node to a version; nil: it has it.
	Begin(ctx context.Context, n cert.NodeID, version uint32) (*SoftwareVersion, error)
	// Store takes an image with its OTA header.
	Store(ctx context.Context, image io.Reader) (*SoftwareVersion, error)
}

// Where software comes from.
const (
	FromLedger     = "main-net-dcl"
	FromTestLedger = "test-net-dcl"
	FromHere       = "local"
)

// SoftwareVersion is a version of a product's software.
type SoftwareVersion struct {
	Vendor        uint16 `json:"vid"`
	Product       uint16 `json:"pid"`
	Version       uint32 `json:"software_version"`
	Name          string `json:"software_version_string"`
	Information   string `json:"firmware_information,omitempty"`
	MinApplicable uint32 `json:"min_applicable_software_version"`
	MaxApplicable uint32 `json:"max_applicable_software_version"`
	ReleaseNotes  string `json:"release_notes_url,omitempty"`
	Source        string `json:"update_source"`
}

// Cameras asks cameras for streams. What they say of those is for whoever asked.
type Cameras interface {
	// Endpoint is that of the gateway's node where cameras say it.
	Endpoint() interaction.EndpointID
	// Ask invokes SolicitOffer or ProvideOffer, whose originating endpoint is
	// Endpoint, from this gateway and no other.
	Ask(ctx context.Context, n cert.NodeID, e interaction.EndpointID, c interaction.CommandID, fields tlv.Raw) (interaction.CommandResult, error)
	// Ended says that a client ended a session.
	Ended(n cert.NodeID, id uint16)
	// Watch has all that cameras say told, until stop returns. see must not wait
	// for anything.
	Watch(see func(webrtc.Callback)) (stop func())
}

// Mesh knows the Thread networks around.
type Mesh interface {
	BorderRouters() []BorderRouter
	// Diagnostics are what the nodes of the network with an extended PAN id say;
	// nil: nothing is known of it.
	Diagnostics(ctx context.Context, extendedPANID uint64, force bool) (*Diagnostics, error)
	// KnownDiagnostics are those of all networks as they are known at once. Newer
	// ones are asked for, all of them if force, and published.
	KnownDiagnostics(force bool) []*Diagnostics
}

// BorderRouter is a Thread border router; all its hex is in capitals.
type BorderRouter struct {
	ExtendedAddress string   `json:"extAddressHex"`
	ExtendedPANID   string   `json:"extendedPanIdHex,omitempty"`
	NetworkName     string   `json:"networkName,omitempty"`
	Vendor          string   `json:"vendorName,omitempty"`
	Model           string   `json:"modelName,omitempty"`
	Host            string   `json:"hostname,omitempty"`
	Addresses       []string `json:"addresses"`
	Port            uint16   `json:"meshcopPort,omitempty"`
	ThreadVersion   string   `json:"threadVersion,omitempty"`
	State           string   `json:"stateBitmapHex,omitempty"`
	ActiveTimestamp string   `json:"activeTimestampHex,omitempty"`
	Partition       string   `json:"partitionIdHex,omitempty"`
	Sources         []string `json:"sources"`
	LastSeen        int64    `json:"lastSeen"` // Unix ms
}

// Diagnostics are those of one Thread network.
type Diagnostics struct {
	ExtendedPANID string      `json:"extPanIdHex"`
	NetworkName   string      `json:"networkName"`
	Collected     int64       `json:"collectedAt"` // Unix ms
	Source        string      `json:"source"`
	Nodes         []otbr.Node `json:"nodes"`
	Partial       string      `json:"partialReason,omitempty"`
}

// Sleepers are the devices that may sleep for long: they tell those that are
// registered when they wake up.
type Sleepers interface {
	// Sleeper costs little, and asks nobody.
	Sleeper(n cert.NodeID) Sleeper
	// Register registers the home, or anew. A Failure that the device sleeps says
	// that it is done when it wakes up.
	Register(ctx context.Context, n cert.NodeID) error
	// Unregister ends it; force: even if the device cannot be told.
	Unregister(ctx context.Context, n cert.NodeID, force bool) error
}

// Sleeper is how a device stands with the home.
type Sleeper struct {
	Registered bool
	Awake      bool
	Expected   time.Time // when it is heard next, at the latest; zero: not known
}

// Labels is what the home's fabric is called on devices.
type Labels interface {
	Label() string
	// SetLabel takes 1 to 32 octets; empty: what the home is called anyway.
	SetLabel(ctx context.Context, label string) error
}
