package virtual

import (
	"context"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// groupKeyManagement knows the key set of the IPK alone: the light takes no
// group commands.
func (d *Device) groupKeyManagement() *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.GroupKeyManagement, Revision: 2,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			0: datamodel.Value([]bool{}),  // GroupKeyMap
			1: datamodel.Value([]bool{}),  // GroupTable
			2: datamodel.Value(uint16(0)), // MaxGroupsPerFabric
			3: datamodel.Value(uint16(1)), // MaxGroupKeysPerFabric
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.KeySetWriteID: {Access: datamodel.Administer, Invoke: d.writeKeySet},
			datamodel.KeySetReadID:  {Access: datamodel.Administer, Response: datamodel.KeySetReadResponseID, Invoke: d.readKeySet},
		}}
}

// writeKeySet replaces the keys that the device goes by on the asker's fabric.
func (d *Device) writeKeySet(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.KeySetWrite
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	set := req.Set
	if set.ID != datamodel.IdentityProtectionSet {
		return nil, interaction.StatusIB{Status: interaction.ResourceExhausted}
	}
	var keys []cert.EpochKey
	last, ended := uint64(0), false
	for _, k := range []struct {
		key   tlv.Null[[]byte]
		start tlv.Null[uint64]
	}{{set.Key0, set.Start0}, {set.Key1, set.Start1}, {set.Key2, set.Start2}} {
		switch {
		case !k.key.Valid && !k.start.Valid && len(keys) > 0:
			ended = true
			continue
		case ended || !k.key.Valid || !k.start.Valid || len(k.key.Value) != cert.GroupKeyLength || k.start.Value <= last:
			return invalid()
		}
		last = k.start.Value
		keys = append(keys, cert.NewEpochKey([cert.GroupKeyLength]byte(k.key.Value)))
	}
	if d.cfg.Hostile == KeepIPK {
		return nil, interaction.StatusIB{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fabrics[r.Session.Fabric()]
	if f == nil {
		return nil, interaction.StatusIB{Status: interaction.UnsupportedAccess}
	}
	identity := *f.identity
	f.ipk, f.moreIPKs = keys[0], keys[1:]
	identity.IPK = f.ipk.Operational(f.compressed)
	f.identity = &identity
	return nil, interaction.StatusIB{}
}

// readKeySet shows when the keys begin, and none of them.
func (d *Device) readKeySet(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.KeySetRead
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	if req.ID != datamodel.IdentityProtectionSet {
		return nil, interaction.StatusIB{Status: interaction.NotFound}
	}
	return &datamodel.KeySetReadResponse{Set: datamodel.KeySet{Start0: tlv.Some(uint64(1))}}, interaction.StatusIB{}
}

// IPKs are the keys that the device goes by on its first fabric.
func (d *Device) IPKs() (keys []cert.EpochKey) {
	for _, f := range d.visible(&interaction.Request{}) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return append([]cert.EpochKey{f.ipk}, f.moreIPKs...)
	}
	return nil
}
