package datamodel

import "gatehouse/commissioner/matter/interaction"

// IcdManagement: devices that sleep (Matter Core 9.16).
const (
	ICDManagement = interaction.ClusterID(0x0046)

	ICDIdleModeDuration    interaction.AttributeID = 0 // s
	ICDActiveModeDuration  interaction.AttributeID = 1 // ms
	ICDActiveModeThreshold interaction.AttributeID = 2 // ms
	ICDRegisteredClients   interaction.AttributeID = 3
	ICDCounter             interaction.AttributeID = 4
	ICDClientsSupported    interaction.AttributeID = 5 // per fabric
	ICDOperatingMode       interaction.AttributeID = 8

	RegisterClientID         interaction.CommandID = 0
	RegisterClientResponseID interaction.CommandID = 1
	UnregisterClientID       interaction.CommandID = 2
	StayActiveRequestID      interaction.CommandID = 3
	StayActiveResponseID     interaction.CommandID = 4
)

// Features of IcdManagement.
const (
	ICDCheckIn  uint32 = 1 << 0 // it checks in
	ICDLongIdle uint32 = 1 << 2 // it may sleep for long
)

// ICDMode is how a device sleeps.
type ICDMode uint8

const (
	ShortIdle ICDMode = iota // it answers within 15 s
	LongIdle                 // it answers when it has woken up by itself
)

// Registration is somebody whom a device tells that it is awake, unless the
// subject is subscribed to it.
type Registration struct {
	CheckInNode uint64 `tlv:"1"`
	Subject     uint64 `tlv:"2"`   // a node id, or a tag as a subject
	ClientType  *uint8 `tlv:"4"`   // 0: permanent; before Matter 1.4: nil
	FabricIndex uint8  `tlv:"254"` // set by the device
}

// RegisterClient registers somebody, or gives who is registered another key.
type RegisterClient struct {
	CheckInNode  uint64 `tlv:"0"`
	Subject      uint64 `tlv:"1"`
	Key          []byte `tlv:"2"`           // 16 octets
	Verification []byte `tlv:"3,omitempty"` // the key of before, of who is no administrator
	ClientType   uint8  `tlv:"4"`
}

// RegisterClientResponse says where the device's counter is: what comes under
// the key is after that.
type RegisterClientResponse struct {
	Counter uint32 `tlv:"0"`
}

// UnregisterClient ends it.
type UnregisterClient struct {
	CheckInNode  uint64 `tlv:"0"`
	Verification []byte `tlv:"1,omitempty"`
}

// StayActiveRequest asks a device to stay awake, for a time in ms.
type StayActiveRequest struct {
	Duration uint32 `tlv:"0"`
}

// StayActiveResponse is how long it will, in ms.
type StayActiveResponse struct {
	Promised uint32 `tlv:"0"`
}
