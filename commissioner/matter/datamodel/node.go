package datamodel

import (
	"context"
	"maps"
	"slices"
	"sync"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// Node is a data model that an interaction.Engine serves: endpoints with
// clusters. Their attributes and commands are functions, so a cluster is
// described where its behaviour is.
type Node struct {
	// Grants says what the asker may do on a cluster of an endpoint.
	Grants func(*interaction.Request, interaction.EndpointID, interaction.ClusterID) Privilege
	// History gives the events from a number on, oldest first; nil: none.
	History func(min uint64) []interaction.Event

	mu        sync.RWMutex
	endpoints map[interaction.EndpointID]map[interaction.ClusterID]*Cluster
}

// Cluster is one cluster of an endpoint.
type Cluster struct {
	ID         interaction.ClusterID
	Revision   uint16
	Features   uint32
	Attributes map[interaction.AttributeID]AttributeServer
	Commands   map[interaction.CommandID]CommandServer

	version uint32 // guarded by Node.mu
}

// Part is an endpoint of one cluster, beside its descriptor.
type Part struct {
	Endpoint interaction.EndpointID
	Type     DeviceType
	Cluster  *Cluster
}

// AttributeServer is one attribute. Zero privileges are the common ones: View
// to read, Operate to write.
type AttributeServer struct {
	Read         func(*interaction.Request) any // as tlv.Marshal takes it
	ReadAccess   Privilege
	Write        func(r *interaction.Request, v tlv.Raw, appended bool) interaction.Status // nil: read-only
	WriteAccess  Privilege
	TimedWriting bool
}

// CommandServer is one command.
type CommandServer struct {
	Access Privilege // zero: Operate
	Timed  bool
	// Response is the command that answers; meaningful if Invoke returns one.
	Response interaction.CommandID
	Invoke   func(ctx context.Context, r *interaction.Request, fields tlv.Raw) (response any, s interaction.StatusIB)
}

// Value is an attribute that never changes.
func Value(v any) AttributeServer {
	return AttributeServer{Read: func(*interaction.Request) any { return v }}
}

// Add puts a cluster on an endpoint, with the attributes that every cluster
// has. version is where its data version starts; it should be random.
func (n *Node) Add(e interaction.EndpointID, c *Cluster, version uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.endpoints == nil {
		n.endpoints = make(map[interaction.EndpointID]map[interaction.ClusterID]*Cluster)
	}
	if n.endpoints[e] == nil {
		n.endpoints[e] = make(map[interaction.ClusterID]*Cluster)
	}
	c.version = version
	if c.Attributes == nil {
		c.Attributes = make(map[interaction.AttributeID]AttributeServer)
	}
	accepted := slices.Sorted(maps.Keys(c.Commands))
	generated := []interaction.CommandID{}
	for _, id := range accepted {
		if r := c.Commands[id].Response; r != 0 && !slices.Contains(generated, r) {
			generated = append(generated, r)
		}
	}
	c.Attributes[GeneratedCommandList] = Value(generated)
	c.Attributes[AcceptedCommandList] = Value(append([]interaction.CommandID{}, accepted...))
	c.Attributes[FeatureMap] = Value(c.Features)
	c.Attributes[ClusterRevision] = Value(c.Revision)
	c.Attributes[AttributeList] = Value(append(slices.Sorted(maps.Keys(c.Attributes)), AttributeList))
	n.endpoints[e][c.ID] = c
}

// Clusters are the clusters on an endpoint, for its descriptor.
func (n *Node) Clusters(e interaction.EndpointID) []interaction.ClusterID {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Sorted(maps.Keys(n.endpoints[e]))
}

// Touch makes a cluster's data version another, before Engine.Changed.
func (n *Node) Touch(e interaction.EndpointID, c interaction.ClusterID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if cluster := n.endpoints[e][c]; cluster != nil {
		cluster.version++
	}
}

// cluster finds a cluster, or says what there is not.
func (n *Node) cluster(e interaction.EndpointID, c interaction.ClusterID) (*Cluster, uint32, interaction.Status) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	clusters := n.endpoints[e]
	if clusters == nil {
		return nil, 0, interaction.UnsupportedEndpoint
	}
	cluster := clusters[c]
	if cluster == nil {
		return nil, 0, interaction.UnsupportedCluster
	}
	return cluster, cluster.version, interaction.Success
}

func (n *Node) granted(r *interaction.Request, e interaction.EndpointID, c interaction.ClusterID, want, otherwise Privilege) bool {
	if want == 0 {
		want = otherwise
	}
	return n.Grants(r, e, c) >= want
}

// readable is an attribute that the asker may read, or says why not.
func (n *Node) readable(r *interaction.Request, p interaction.AttributePath) (AttributeServer, uint32, interaction.Status) {
	c, version, s := n.cluster(*p.Endpoint, *p.Cluster)
	if s != interaction.Success {
		return AttributeServer{}, 0, s
	}
	a, ok := c.Attributes[*p.Attribute]
	switch {
	case !ok:
		return a, 0, interaction.UnsupportedAttribute
	case !n.granted(r, *p.Endpoint, *p.Cluster, a.ReadAccess, View):
		return a, 0, interaction.UnsupportedAccess
	}
	return a, version, interaction.Success
}

// Attributes implements interaction.Provider.
func (n *Node) Attributes(r *interaction.Request, p interaction.AttributePath) ([]interaction.AttributePath, interaction.Status) {
	if p.Concrete() {
		_, _, s := n.readable(r, p)
		if s != interaction.Success {
			return nil, s
		}
		return []interaction.AttributePath{p}, s
	}
	var found []interaction.AttributePath
	n.mu.RLock()
	for _, e := range slices.Sorted(maps.Keys(n.endpoints)) {
		for _, c := range slices.Sorted(maps.Keys(n.endpoints[e])) {
			for _, a := range slices.Sorted(maps.Keys(n.endpoints[e][c].Attributes)) {
				if matches(p.Endpoint, e) && matches(p.Cluster, c) && matches(p.Attribute, a) {
					found = append(found, interaction.Attribute(e, c, a))
				}
			}
		}
	}
	n.mu.RUnlock()
	return slices.DeleteFunc(found, func(p interaction.AttributePath) bool {
		_, _, s := n.readable(r, p)
		return s != interaction.Success
	}), interaction.Success
}

func matches[T comparable](want *T, have T) bool { return want == nil || *want == have }

// Read implements interaction.Provider.
func (n *Node) Read(r *interaction.Request, p interaction.AttributePath) (any, uint32, interaction.Status) {
	a, version, s := n.readable(r, p)
	if s != interaction.Success {
		return nil, 0, s
	}
	return a.Read(r), version, s
}

// Write implements interaction.Provider.
func (n *Node) Write(_ context.Context, r *interaction.Request, p interaction.AttributePath, v tlv.Raw, version *uint32) interaction.StatusIB {
	status := func(s interaction.Status) interaction.StatusIB { return interaction.StatusIB{Status: s} }
	if !p.Concrete() {
		return status(interaction.InvalidAction)
	}
	c, have, s := n.cluster(*p.Endpoint, *p.Cluster)
	if s != interaction.Success {
		return status(s)
	}
	a, ok := c.Attributes[*p.Attribute]
	switch {
	case !ok:
		return status(interaction.UnsupportedAttribute)
	case a.Write == nil:
		return status(interaction.UnsupportedWrite)
	case !n.granted(r, *p.Endpoint, *p.Cluster, a.WriteAccess, Operate):
		return status(interaction.UnsupportedAccess)
	case a.TimedWriting && !r.Timed:
		return status(interaction.NeedsTimedInteraction)
	case version != nil && *version != have:
		return status(interaction.DataVersionMismatch)
	case p.ListIndex != nil && p.ListIndex.Valid:
		return status(interaction.UnsupportedWrite) // items are replaced by nobody
	}
	return status(a.Write(r, v, p.ListIndex != nil))
}

// Commands implements interaction.Provider.
func (n *Node) Commands(r *interaction.Request, p interaction.CommandPath) ([]interaction.CommandPath, interaction.Status) {
	if p.Endpoint != nil {
		c, _, s := n.cluster(*p.Endpoint, p.Cluster)
		if s == interaction.Success {
			s = n.invokable(r, *p.Endpoint, c, p.Command)
		}
		if s != interaction.Success {
			return nil, s
		}
		return []interaction.CommandPath{p}, s
	}
	var found []interaction.CommandPath
	n.mu.RLock()
	endpoints := slices.Sorted(maps.Keys(n.endpoints))
	n.mu.RUnlock()
	for _, e := range endpoints {
		if c, _, s := n.cluster(e, p.Cluster); s == interaction.Success && n.invokable(r, e, c, p.Command) == interaction.Success {
			found = append(found, interaction.Command(e, p.Cluster, p.Command))
		}
	}
	return found, interaction.Success
}

func (n *Node) invokable(r *interaction.Request, e interaction.EndpointID, c *Cluster, id interaction.CommandID) interaction.Status {
	command, ok := c.Commands[id]
	switch {
	case !ok:
		return interaction.UnsupportedCommand
	case !n.granted(r, e, c.ID, command.Access, Operate):
		return interaction.UnsupportedAccess
	case command.Timed && !r.Timed:
		return interaction.NeedsTimedInteraction
	}
	return interaction.Success
}

// Invoke implements interaction.Provider.
func (n *Node) Invoke(ctx context.Context, r *interaction.Request, p interaction.CommandPath, fields tlv.Raw) (interaction.CommandID, any, interaction.StatusIB) {
	c, _, s := n.cluster(*p.Endpoint, p.Cluster)
	if s != interaction.Success {
		return 0, nil, interaction.StatusIB{Status: s}
	}
	command := c.Commands[p.Command]
	response, status := command.Invoke(ctx, r, fields)
	return command.Response, response, status
}

// Events implements interaction.Provider.
func (n *Node) Events(r *interaction.Request, paths []interaction.EventPath, min uint64) []interaction.Event {
	if n.History == nil {
		return nil
	}
	return slices.DeleteFunc(n.History(min), func(e interaction.Event) bool {
		return !n.granted(r, *e.Path.Endpoint, *e.Path.Cluster, View, View) || !slices.ContainsFunc(paths, func(p interaction.EventPath) bool {
			return matches(p.Endpoint, *e.Path.Endpoint) && matches(p.Cluster, *e.Path.Cluster) && matches(p.Event, *e.Path.Event)
		})
	})
}
