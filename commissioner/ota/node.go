package ota

import (
	"encoding/binary"
	"io"
	"slices"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
)

// Node is the gateway as devices see it: a root node, the provider, and other
// parts. Devices of the home may look at it and ask its parts; there is nothing
// else.
func (p *Provider) Node(software uint32, softwareText string, random io.Reader, others ...datamodel.Part) (*datamodel.Node, error) {
	parts := append([]datamodel.Part{{Endpoint: Endpoint, Type: datamodel.DeviceType{Type: datamodel.DeviceTypeOTAProvider, Revision: 1}, Cluster: p.Cluster()}}, others...)
	n := &datamodel.Node{Grants: func(r *interaction.Request, e interaction.EndpointID, c interaction.ClusterID) datamodel.Privilege {
		switch {
		case r.Session.Kind() != exchange.CASE:
			return 0
		case slices.ContainsFunc(parts, func(p datamodel.Part) bool { return p.Endpoint == e && p.Cluster.ID == c }):
			return datamodel.Operate
		}
		return datamodel.View
	}}
	var endpoints []interaction.EndpointID
	for _, part := range parts {
		endpoints = append(endpoints, part.Endpoint)
		if err := add(n, random, part.Endpoint, descriptor(n, part.Endpoint, part.Type), part.Cluster); err != nil {
			return nil, err
		}
	}
	return n, add(n, random, datamodel.RootEndpoint,
		descriptor(n, datamodel.RootEndpoint, datamodel.DeviceType{Type: datamodel.DeviceTypeRootNode, Revision: 3}, endpoints...), basic(software, softwareText))
}

func add(n *datamodel.Node, random io.Reader, e interaction.EndpointID, clusters ...*datamodel.Cluster) error {
	for _, c := range clusters {
		var version [4]byte
		if _, err := io.ReadFull(random, version[:]); err != nil {
			return err
		}
		n.Add(e, c, binary.LittleEndian.Uint32(version[:]))
	}
	return nil
}

func descriptor(n *datamodel.Node, e interaction.EndpointID, t datamodel.DeviceType, parts ...interaction.EndpointID) *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.Descriptor, Revision: 2, Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
		datamodel.DescriptorDeviceTypes: datamodel.Value([]datamodel.DeviceType{t}),
		datamodel.DescriptorServers:     {Read: func(*interaction.Request) any { return n.Clusters(e) }},
		datamodel.DescriptorClients:     datamodel.Value([]interaction.ClusterID{}),
		datamodel.DescriptorParts:       datamodel.Value(append([]interaction.EndpointID{}, parts...)),
	}}
}

// basic says as little as a node must.
func basic(software uint32, text string) *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.BasicInformation, Revision: 4, Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
		datamodel.BasicDataModelRevision:     datamodel.Value(uint16(18)),
		datamodel.BasicVendorName:            datamodel.Value("Gatehouse"),
		datamodel.BasicProductName:           datamodel.Value("Gatehouse"),
		datamodel.BasicSoftwareVersion:       datamodel.Value(software),
		datamodel.BasicSoftwareVersionString: datamodel.Value(text),
		datamodel.BasicSpecificationVersion:  datamodel.Value(uint32(0x01040200)),
		datamodel.BasicMaxPathsPerInvoke:     datamodel.Value(uint16(1)),
	}}
}
