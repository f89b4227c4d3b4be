// Package datamodel gives the clusters that Gatehouse itself uses their names
// and types (Matter Core chapters 9 and 11, Application Clusters). One file is
// one cluster, or a family of small ones. Every other cluster works by numeric
// path, its values rendered by type.
//
// It promises that a struct's fields are those of the specification, in its
// order. It knows no session and decides nothing.
package datamodel

import "gatehouse/commissioner/matter/interaction"

// Attributes that every cluster has.
const (
	GeneratedCommandList interaction.AttributeID = 0xFFF8
	AcceptedCommandList  interaction.AttributeID = 0xFFF9
	AttributeList        interaction.AttributeID = 0xFFFB
	FeatureMap           interaction.AttributeID = 0xFFFC
	ClusterRevision      interaction.AttributeID = 0xFFFD
)

// RootEndpoint carries what is true of the whole node.
const RootEndpoint interaction.EndpointID = 0
