package datamodel

import (
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// AccessControl: who may do what on a node.
const (
	AccessControl                                 = interaction.ClusterID(0x001F)
	AccessControlACL      interaction.AttributeID = 0
	AccessControlSubjects interaction.AttributeID = 2
	AccessControlTargets  interaction.AttributeID = 3
	AccessControlEntries  interaction.AttributeID = 4
)

// Privilege is what an access control entry grants.
type Privilege uint8

const (
	View Privilege = iota + 1
	ProxyView
	Operate
	Manage
	Administer
)

// AuthMode is the kind of session an entry is for.
type AuthMode uint8

const (
	AuthPASE AuthMode = iota + 1
	AuthCASE
	AuthGroup
)

// ACLEntry grants subjects a privilege on targets. Null targets are all, null
// subjects everybody with the mode.
type ACLEntry struct {
	Privilege   Privilege             `tlv:"1"`
	AuthMode    AuthMode              `tlv:"2"`
	Subjects    tlv.Null[[]uint64]    `tlv:"3"`
	Targets     tlv.Null[[]ACLTarget] `tlv:"4"`
	FabricIndex uint8                 `tlv:"254,omitempty"`
}

// ACLTarget is a cluster, an endpoint, a device type, or a combination.
type ACLTarget struct {
	Cluster    tlv.Null[interaction.ClusterID]  `tlv:"0"`
	Endpoint   tlv.Null[interaction.EndpointID] `tlv:"1"`
	DeviceType tlv.Null[uint32]                 `tlv:"2"`
}
