package datamodel

import (
	"fmt"

	"gatehouse/commissioner/matter/interaction"
)

// GeneralCommissioning: the fail-safe around a commissioning.
const (
	GeneralCommissioning                               = interaction.ClusterID(0x0030)
	CommissioningBreadcrumb    interaction.AttributeID = 0
	CommissioningInfo          interaction.AttributeID = 1
	CommissioningRegulatory    interaction.AttributeID = 2
	CommissioningLocation      interaction.AttributeID = 3
	CommissioningConcurrent    interaction.AttributeID = 4
	ArmFailSafeID              interaction.CommandID   = 0
	ArmFailSafeResponseID      interaction.CommandID   = 1
	SetRegulatoryConfigID      interaction.CommandID   = 2
	SetRegulatoryResponseID    interaction.CommandID   = 3
	CommissioningCompleteID    interaction.CommandID   = 4
	CommissioningCompleteRspID interaction.CommandID   = 5
)

// BasicCommissioningInfo are the fail-safe's lengths, in seconds.
type BasicCommissioningInfo struct {
	FailSafe    uint16 `tlv:"0"` // proposed
	MaxFailSafe uint16 `tlv:"1"` // all extensions together
}

// RegulatoryLocation says where a radio is used.
type RegulatoryLocation uint8

const (
	Indoor RegulatoryLocation = iota
	Outdoor
	IndoorOutdoor
)

// ArmFailSafe arms the fail-safe, or ends it with 0 seconds: the node then
// rolls back what was not completed.
type ArmFailSafe struct {
	Seconds    uint16 `tlv:"0"`
	Breadcrumb uint64 `tlv:"1"`
}

// SetRegulatoryConfig says where the node is.
type SetRegulatoryConfig struct {
	Location   RegulatoryLocation `tlv:"0"`
	Country    string             `tlv:"1"` // ISO 3166-1 alpha-2, XX: unknown
	Breadcrumb uint64             `tlv:"2"`
}

// CommissioningError is a code of GeneralCommissioning.
type CommissioningError uint8

const (
	CommissioningOK CommissioningError = iota
	CommissioningValueOutsideRange
	CommissioningInvalidAuthentication
	CommissioningNoFailSafe
	CommissioningBusyWithOtherAdmin
	CommissioningTermsNotAccepted
)

func (e CommissioningError) String() string {
	names := [...]string{"ok", "value outside range", "invalid authentication", "no fail-safe", "busy with another administrator", "terms not accepted"}
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("error %d", uint8(e))
}

// CommissioningResponse answers each of the cluster's commands.
type CommissioningResponse struct {
	Code CommissioningError `tlv:"0"`
	Text string             `tlv:"1,omitempty"`
}

// AdministratorCommissioning: opening a node for further administrators. Its
// commands are timed.
const (
	AdministratorCommissioning                         = interaction.ClusterID(0x003C)
	WindowStatusAttribute      interaction.AttributeID = 0
	WindowAdminFabric          interaction.AttributeID = 1
	WindowAdminVendor          interaction.AttributeID = 2
	OpenCommissioningWindowID  interaction.CommandID   = 0
	OpenBasicWindowID          interaction.CommandID   = 1
	RevokeCommissioningID      interaction.CommandID   = 2
)

// WindowStatus says whether a commissioning window is open.
type WindowStatus uint8

const (
	WindowClosed WindowStatus = iota
	WindowEnhanced
	WindowBasic
)

// Status codes of AdministratorCommissioning.
const (
	WindowBusy           uint8 = 2
	WindowParameterError uint8 = 3
	WindowNotOpen        uint8 = 4
	MinWindow, MaxWindow       = 180, 900 // seconds
)

// OpenCommissioningWindow opens an enhanced window, with a passcode of ours.
type OpenCommissioningWindow struct {
	Timeout       uint16 `tlv:"0"` // s
	Verifier      []byte `tlv:"1"`
	Discriminator uint16 `tlv:"2"`
	Iterations    uint32 `tlv:"3"`
	Salt          []byte `tlv:"4"`
}

// OpenBasicWindow opens a window with the passcode printed on the node.
type OpenBasicWindow struct {
	Timeout uint16 `tlv:"0"` // s
}
