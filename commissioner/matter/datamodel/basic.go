package datamodel

import "gatehouse/commissioner/matter/interaction"

// Descriptor: what an endpoint is and has.
const (
	Descriptor                                    = interaction.ClusterID(0x001D)
	DescriptorDeviceTypes interaction.AttributeID = 0
	DescriptorServers     interaction.AttributeID = 1
	DescriptorClients     interaction.AttributeID = 2
	DescriptorParts       interaction.AttributeID = 3
	DeviceTypeRootNode    uint32                  = 0x0016
	DeviceTypeOnOffLight  uint32                  = 0x0100
)

// DeviceType is a kind of device and its revision.
type DeviceType struct {
	Type     uint32 `tlv:"0"`
	Revision uint16 `tlv:"1"`
}

// BasicInformation: what a node says of itself.
const (
	BasicInformation                                   = interaction.ClusterID(0x0028)
	BasicDataModelRevision     interaction.AttributeID = 0x00
	BasicVendorName            interaction.AttributeID = 0x01
	BasicVendorID              interaction.AttributeID = 0x02
	BasicProductName           interaction.AttributeID = 0x03
	BasicProductID             interaction.AttributeID = 0x04
	BasicNodeLabel             interaction.AttributeID = 0x05
	BasicLocation              interaction.AttributeID = 0x06
	BasicHardwareVersion       interaction.AttributeID = 0x07
	BasicHardwareVersionString interaction.AttributeID = 0x08
	BasicSoftwareVersion       interaction.AttributeID = 0x09
	BasicSoftwareVersionString interaction.AttributeID = 0x0A
	BasicSerialNumber          interaction.AttributeID = 0x0F
	BasicUniqueID              interaction.AttributeID = 0x12
	BasicCapabilityMinima      interaction.AttributeID = 0x13
	BasicSpecificationVersion  interaction.AttributeID = 0x15
	BasicMaxPathsPerInvoke     interaction.AttributeID = 0x16
)

// CapabilityMinima is what a node has room for, per fabric.
type CapabilityMinima struct {
	CASESessions  uint16 `tlv:"0"`
	Subscriptions uint16 `tlv:"1"`
}

// TimeSynchronization: clocks of nodes that have one.
const (
	TimeSynchronization                                 = interaction.ClusterID(0x0038)
	TimeSynchronizationSetUTCTime interaction.CommandID = 0
	GranularitySeconds            uint8                 = 2
)

// SetUTCTime tells the time, in µs since 2000-01-01.
type SetUTCTime struct {
	Time        uint64 `tlv:"0"`
	Granularity uint8  `tlv:"1"`
	Source      *uint8 `tlv:"2"`
}
