package keeper

import (
	"bytes"
	"context"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
)

// DeviceFabric is one that a device is on: somebody who administers it.
type DeviceFabric struct {
	Index  uint8  `json:"fabric_index"`
	Fabric uint64 `json:"fabric_id"`
	Vendor uint16 `json:"vendor_id"` // of its administrator
	Label  string `json:"label"`
	Ours   bool   `json:"ours"`
}

// Fabrics are those a device is on.
func (k *Keeper) Fabrics(ctx context.Context, n cert.NodeID) (list []DeviceFabric, err error) {
	path := interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, datamodel.CredentialsFabrics)
	// Unfiltered: a filtered list shows only the fabric that is asked on.
	report, err := k.Read(ctx, n, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}})
	if err != nil {
		return nil, err
	}
	var fabrics []datamodel.FabricDescriptor
	if err := report.Decode(path, &fabrics); err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeProtocol)
	}
	list = []DeviceFabric{}
	for _, f := range fabrics {
		ours := false
		if id, err := k.c.IdentityFor(ctx, k.c.Ledger.State().Devices[n]); err == nil {
			key := id.Root.Certificate().PublicKey
			ours = bytes.Equal(f.RootPublicKey, key[:]) && f.FabricID == uint64(id.Fabric)
		}
		list = append(list, DeviceFabric{f.FabricIndex, f.FabricID, f.VendorID, f.Label, ours})
	}
	return list, nil
}
