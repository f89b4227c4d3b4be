package datamodel

import (
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// OTASoftwareUpdateProvider: who has images for others.
const (
	OTAProvider                                    = interaction.ClusterID(0x0029)
	OTAProviderQueryImage    interaction.CommandID = 0
	OTAProviderQueryResponse interaction.CommandID = 1
	OTAProviderApplyRequest  interaction.CommandID = 2
	OTAProviderApplyResponse interaction.CommandID = 3
	OTAProviderNotifyApplied interaction.CommandID = 4
	DeviceTypeOTAProvider    uint32                = 0x0014
	DeviceTypeOTARequestor   uint32                = 0x0012
	MinUpdateToken                                 = 8   // octets
	MaxUpdateToken                                 = 32  // octets
	MinOTADelay              uint32                = 120 // s, the least that a requestor waits before it asks again
)

// DownloadProtocol is a way to fetch an image.
type DownloadProtocol uint8

const (
	BDXSynchronous DownloadProtocol = iota
	BDXAsynchronous
	DownloadHTTPS
	DownloadVendorSpecific
)

// QueryImage asks for an image to update to.
type QueryImage struct {
	VendorID            uint16             `tlv:"0"`
	ProductID           uint16             `tlv:"1"`
	SoftwareVersion     uint32             `tlv:"2"`
	Protocols           []DownloadProtocol `tlv:"3"`
	HardwareVersion     *uint16            `tlv:"4"`
	Location            *string            `tlv:"5"`
	CanConsent          *bool              `tlv:"6"`
	MetadataForProvider []byte             `tlv:"7,omitempty"`
}

// OTAStatus answers QueryImage.
type OTAStatus uint8

const (
	UpdateAvailable OTAStatus = iota
	OTABusy
	UpdateNotAvailable
	DownloadProtocolNotSupported
)

// QueryImageResponse says where the image is, or why there is none.
type QueryImageResponse struct {
	Status                OTAStatus `tlv:"0"`
	DelayedActionTime     *uint32   `tlv:"1"` // s
	ImageURI              *string   `tlv:"2"`
	SoftwareVersion       *uint32   `tlv:"3"`
	SoftwareVersionString *string   `tlv:"4"`
	UpdateToken           []byte    `tlv:"5,omitempty"`
	UserConsentNeeded     *bool     `tlv:"6"`
	MetadataForRequestor  []byte    `tlv:"7,omitempty"`
}

// ApplyUpdateRequest asks whether an image that was fetched may be installed.
type ApplyUpdateRequest struct {
	UpdateToken []byte `tlv:"0"`
	NewVersion  uint32 `tlv:"1"`
}

// ApplyAction answers ApplyUpdateRequest.
type ApplyAction uint8

const (
	ApplyProceed ApplyAction = iota
	ApplyAwait
	ApplyDiscontinue
)

// ApplyUpdateResponse says whether and when to install.
type ApplyUpdateResponse struct {
	Action            ApplyAction `tlv:"0"`
	DelayedActionTime uint32      `tlv:"1"` // s
}

// NotifyUpdateApplied says that the device runs the new version.
type NotifyUpdateApplied struct {
	UpdateToken     []byte `tlv:"0"`
	SoftwareVersion uint32 `tlv:"1"`
}

// OTASoftwareUpdateRequestor: who fetches images.
const (
	OTARequestor                                      = interaction.ClusterID(0x002A)
	OTARequestorProviders     interaction.AttributeID = 0 // DefaultOTAProviders
	OTARequestorPossible      interaction.AttributeID = 1 // UpdatePossible
	OTARequestorState         interaction.AttributeID = 2 // UpdateState
	OTARequestorProgress      interaction.AttributeID = 3 // UpdateStateProgress
	OTARequestorAnnounce      interaction.CommandID   = 0 // AnnounceOTAProvider
	OTARequestorTransition    interaction.EventID     = 0 // StateTransition
	OTARequestorApplied       interaction.EventID     = 1 // VersionApplied
	OTARequestorDownloadError interaction.EventID     = 2 // DownloadError
)

// ProviderLocation is where a requestor of a fabric asks.
type ProviderLocation struct {
	Node        uint64                 `tlv:"1"`
	Endpoint    interaction.EndpointID `tlv:"2"`
	FabricIndex uint8                  `tlv:"254,omitempty"`
}

// AnnounceReason is why a provider is announced.
type AnnounceReason uint8

const (
	AnnounceSimple AnnounceReason = iota
	AnnounceUpdate
	AnnounceUrgentUpdate
)

// AnnounceOTAProvider tells a requestor of a provider.
type AnnounceOTAProvider struct {
	Node            uint64                 `tlv:"0"`
	VendorID        uint16                 `tlv:"1"`
	Reason          AnnounceReason         `tlv:"2"`
	MetadataForNode []byte                 `tlv:"3,omitempty"`
	Endpoint        interaction.EndpointID `tlv:"4"`
}

// UpdateState is what a requestor is at.
type UpdateState uint8

const (
	UpdateUnknown UpdateState = iota
	UpdateIdle
	UpdateQuerying
	UpdateDelayedOnQuery
	UpdateDownloading
	UpdateApplying
	UpdateDelayedOnApply
	UpdateRollingBack
	UpdateDelayedOnConsent
)

var updateStates = [...]string{"unknown", "idle", "querying", "delayed", "downloading", "applying", "about to apply", "rolling back", "waiting for consent"}

func (s UpdateState) String() string { return updateStates[min(int(s), len(updateStates)-1)] }

// ChangeReason is why a requestor is at something else.
type ChangeReason uint8

const (
	ChangeUnknown ChangeReason = iota
	ChangeSuccess
	ChangeFailure
	ChangeTimeOut
	ChangeDelayByProvider
)

// StateTransition is the event of another UpdateState.
type StateTransition struct {
	Previous UpdateState      `tlv:"0"`
	New      UpdateState      `tlv:"1"`
	Reason   ChangeReason     `tlv:"2"`
	Target   tlv.Null[uint32] `tlv:"3"` // version, while one is downloaded or applied
}

// DownloadError is the event of a download that failed.
type DownloadError struct {
	SoftwareVersion uint32          `tlv:"0"`
	Octets          uint64          `tlv:"1"` // that came
	Percent         tlv.Null[uint8] `tlv:"2"`
	PlatformCode    tlv.Null[int64] `tlv:"3"`
}

// VersionApplied is the event of the first start of a new version.
type VersionApplied struct {
	SoftwareVersion uint32 `tlv:"0"`
	ProductID       uint16 `tlv:"1"`
}
