package air

// Packet types of HCI (volume 4, part A).
const (
	packetCommand = 0x01
	packetACL     = 0x02
	packetEvent   = 0x04
)

// Status and reason codes (volume 1, part F).
const (
	statusOK            = 0x00
	statusUnknown       = 0x01 // command
	statusNoConnection  = 0x02
	statusTimeout       = 0x08 // of the connection
	statusConnected     = 0x0b // already, to the same device
	statusDisallowed    = 0x0c
	statusInvalid       = 0x12 // parameters
	statusLocalEnd      = 0x16 // of the connection, by this host
	statusUnestablished = 0x3e
)

// Events and LE meta subevents (volume 4, part E, section 7.7).
const (
	eventDisconnected     = 0x05
	eventRemoteVersion    = 0x0c
	eventCommandComplete  = 0x0e
	eventCommandStatus    = 0x0f
	eventCompletedPackets = 0x13
	eventMeta             = 0x3e

	metaConnected        = 0x01
	metaReport           = 0x02
	metaConnectionUpdate = 0x03
	metaRemoteFeatures   = 0x04

	defaultMetaMask = 0x1f
)

// Advertising event types of the report (section 7.7.65.2); those of the
// parameters (section 7.8.5) agree but for high and low duty directed.
const (
	Connectable    = 0x00 // ADV_IND
	Directed       = 0x01 // ADV_DIRECT_IND
	Scannable      = 0x02 // ADV_SCAN_IND
	NotConnectable = 0x03 // ADV_NONCONN_IND
	ScanResponse   = 0x04 // SCAN_RSP
)

const (
	maxAdvertising = 31 // bytes of legacy advertising data

	advertisingUnit = 625 // µs
	intervalUnit    = 1250
	timeoutUnit     = 10_000
)

// Link roles, as events tell them.
const (
	central    = 0x00
	peripheral = 0x01
)

// ACL packet boundary flags (section 5.4.2).
const (
	boundaryFirstFromHost = 0
	boundaryContinuing    = 1
	boundaryFirst         = 2
)
