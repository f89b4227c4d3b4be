package datamodel

import (
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// GroupKeyManagement: the keys of groups, and that of the fabric.
const (
	GroupKeyManagement                          = interaction.ClusterID(0x003F)
	KeySetWriteID         interaction.CommandID = 0
	KeySetReadID          interaction.CommandID = 1
	KeySetReadResponseID  interaction.CommandID = 2
	IdentityProtectionSet                       = uint16(0) // which holds the IPK
)

// KeySet holds up to three epoch keys of 16 octets, each with the time from
// which it is the present one, in µs since 2000; the times are in order, and
// none is 0. A node goes by all of them. When it is read, no key is shown.
type KeySet struct {
	ID     uint16           `tlv:"0"`
	Policy uint8            `tlv:"1"` // 0: the first that is known is trusted
	Key0   tlv.Null[[]byte] `tlv:"2"`
	Start0 tlv.Null[uint64] `tlv:"3"`
	Key1   tlv.Null[[]byte] `tlv:"4"`
	Start1 tlv.Null[uint64] `tlv:"5"`
	Key2   tlv.Null[[]byte] `tlv:"6"`
	Start2 tlv.Null[uint64] `tlv:"7"`
}

// KeySetWrite replaces a key set.
type KeySetWrite struct {
	Set KeySet `tlv:"0"`
}

// KeySetRead asks for a key set by its id.
type KeySetRead struct {
	ID uint16 `tlv:"0"`
}

// KeySetReadResponse is a key set without its keys.
type KeySetReadResponse struct {
	Set KeySet `tlv:"0"`
}
