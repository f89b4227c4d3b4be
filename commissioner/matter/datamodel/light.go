package datamodel

import (
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// OnOff: what can be switched.
const (
	OnOff                               = interaction.ClusterID(0x0006)
	OnOffState  interaction.AttributeID = 0
	OnOffOff    interaction.CommandID   = 0
	OnOffOn     interaction.CommandID   = 1
	OnOffToggle interaction.CommandID   = 2
)

// LevelControl: what can be dimmed.
const (
	LevelControl                         = interaction.ClusterID(0x0008)
	LevelCurrent interaction.AttributeID = 0
	LevelMoveTo  interaction.CommandID   = 0
)

// MoveToLevel dims.
type MoveToLevel struct {
	Level    uint8            `tlv:"0"`
	Time     tlv.Null[uint16] `tlv:"1"` // tenths of a second
	Mask     uint8            `tlv:"2"`
	Override uint8            `tlv:"3"`
}
