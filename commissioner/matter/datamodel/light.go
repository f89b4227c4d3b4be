package datamodel

import "gatehouse/commissioner/matter/interaction"

// OnOff: what can be switched.
const (
	OnOff                               = interaction.ClusterID(0x0006)
	OnOffState  interaction.AttributeID = 0
	OnOffOff    interaction.CommandID   = 0
	OnOffOn     interaction.CommandID   = 1
	OnOffToggle interaction.CommandID   = 2
)
