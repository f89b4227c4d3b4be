package virtual

import (
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// hardwareVersion is the only one there is.
const hardwareVersion uint16 = 1

func (d *Device) descriptor(e interaction.EndpointID, types []datamodel.DeviceType, clients []interaction.ClusterID, parts []interaction.EndpointID) *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.Descriptor, Revision: 2, Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
		datamodel.DescriptorDeviceTypes: datamodel.Value(types),
		datamodel.DescriptorServers:     {Read: func(*interaction.Request) any { return d.node.Clusters(e) }},
		datamodel.DescriptorClients:     datamodel.Value(clients),
		datamodel.DescriptorParts:       datamodel.Value(parts),
	}}
}

func (d *Device) basicInformation() *datamodel.Cluster {
	c := d.cfg
	label := datamodel.AttributeServer{
		Read: func(*interaction.Request) any { d.mu.Lock(); defer d.mu.Unlock(); return d.label },
		Write: func(_ *interaction.Request, v tlv.Raw, _ bool) interaction.Status {
			var s string
			if tlv.Unmarshal(v, &s) != nil {
				return interaction.InvalidDataType
			}
			if len(s) > 32 {
				return interaction.ConstraintError
			}
			d.mu.Lock()
			d.label = s
			d.mu.Unlock()
			d.changed(0, datamodel.BasicInformation, datamodel.BasicNodeLabel)
			return interaction.Success
		}, WriteAccess: datamodel.Manage}
	return &datamodel.Cluster{ID: datamodel.BasicInformation, Revision: 4, Attributes: c.Hostile.basic(map[interaction.AttributeID]datamodel.AttributeServer{
		datamodel.BasicDataModelRevision:     datamodel.Value(uint16(18)),
		datamodel.BasicVendorName:            datamodel.Value("Gatehouse"),
		datamodel.BasicVendorID:              datamodel.Value(c.Code.VendorID),
		datamodel.BasicProductName:           datamodel.Value(c.Name),
		datamodel.BasicProductID:             datamodel.Value(c.Code.ProductID),
		datamodel.BasicNodeLabel:             label,
		datamodel.BasicLocation:              datamodel.Value("XX"),
		datamodel.BasicHardwareVersion:       datamodel.Value(hardwareVersion),
		datamodel.BasicHardwareVersionString: datamodel.Value("virtual"),
		datamodel.BasicSoftwareVersion:       {Read: func(*interaction.Request) any { version, _ := d.Software(); return version }},
		datamodel.BasicSoftwareVersionString: {Read: func(*interaction.Request) any { _, text := d.Software(); return text }},
		datamodel.BasicSerialNumber:          datamodel.Value(c.SerialNumber),
		datamodel.BasicUniqueID:              datamodel.Value(d.uniqueID()),
		datamodel.BasicCapabilityMinima:      datamodel.Value(datamodel.CapabilityMinima{CASESessions: 3, Subscriptions: 3}),
		datamodel.BasicSpecificationVersion:  datamodel.Value(uint32(0x01040200)),
		datamodel.BasicMaxPathsPerInvoke:     datamodel.Value(uint16(9)),
	})}
}

func (d *Device) generalDiagnostics() *datamodel.Cluster {
	started := d.cfg.Now()
	return &datamodel.Cluster{ID: 0x0033, Revision: 2, Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
		0: datamodel.Value([]bool{}),                                                                    // NetworkInterfaces
		1: datamodel.Value(uint16(1)),                                                                   // RebootCount
		2: {Read: func(*interaction.Request) any { return uint64(d.cfg.Now().Sub(started).Seconds()) }}, // UpTime
		8: datamodel.Value(false),                                                                       // TestEventTriggersEnabled
	}}
}
