package virtual

import (
	"slices"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Room in the access control list, per fabric: the least that devices have.
const (
	aclEntries  = 4
	aclSubjects = 4
	aclTargets  = 3
)

// grants is the greatest privilege the list gives the asker on a cluster.
func (d *Device) grants(r *interaction.Request, e interaction.EndpointID, c interaction.ClusterID) (p datamodel.Privilege) {
	if r.Session.Kind() == exchange.PASE {
		return datamodel.Administer // whoever knows the passcode, during pairing
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fabrics[r.Session.Fabric()]
	if f == nil {
		return 0
	}
	for _, entry := range f.acl {
		if entry.AuthMode == datamodel.AuthCASE && named(entry.Subjects, r.Session) && targeted(entry.Targets, e, c) {
			p = max(p, entry.Privilege)
		}
	}
	return p
}

func named(subjects tlv.Null[[]uint64], s *exchange.Session) bool {
	if !subjects.Valid || len(subjects.Value) == 0 {
		return true
	}
	return slices.ContainsFunc(subjects.Value, func(subject uint64) bool {
		if subject == s.PeerNode() {
			return true
		}
		want, ok := cert.NodeID(subject).CAT()
		return ok && slices.ContainsFunc(s.CATs(), func(have uint32) bool { return cert.CAT(have).Satisfies(want) })
	})
}

func targeted(targets tlv.Null[[]datamodel.ACLTarget], e interaction.EndpointID, c interaction.ClusterID) bool {
	if !targets.Valid || len(targets.Value) == 0 {
		return true
	}
	return slices.ContainsFunc(targets.Value, func(t datamodel.ACLTarget) bool {
		return (!t.Cluster.Valid || t.Cluster.Value == c) && (!t.Endpoint.Valid || t.Endpoint.Value == e) && !t.DeviceType.Valid
	})
}

func (d *Device) accessControl() *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.AccessControl, Revision: 2,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.AccessControlACL:      {Read: d.readACL, Write: d.writeACL, ReadAccess: datamodel.Administer, WriteAccess: datamodel.Administer},
			datamodel.AccessControlSubjects: datamodel.Value(uint16(aclSubjects)),
			datamodel.AccessControlTargets:  datamodel.Value(uint16(aclTargets)),
			datamodel.AccessControlEntries:  datamodel.Value(uint16(aclEntries)),
		}}
}

func (d *Device) readACL(r *interaction.Request) any {
	list := []datamodel.ACLEntry{}
	for _, f := range d.visible(r) {
		d.mu.Lock()
		list = append(list, f.acl...)
		d.mu.Unlock()
	}
	return list
}

func (d *Device) writeACL(r *interaction.Request, v tlv.Raw, appended bool) interaction.Status {
	var entries []datamodel.ACLEntry
	if appended {
		entries = make([]datamodel.ACLEntry, 1)
		if tlv.Unmarshal(v, &entries[0]) != nil {
			return interaction.InvalidDataType
		}
	} else if tlv.Unmarshal(v, &entries) != nil {
		return interaction.InvalidDataType
	}
	if d.cfg.Hostile == ForgetACL {
		return interaction.Success
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fabrics[r.Session.Fabric()]
	if f == nil {
		return interaction.UnsupportedAccess
	}
	if appended {
		entries = append(slices.Clone(f.acl), entries...)
	}
	if len(entries) > aclEntries {
		return interaction.ResourceExhausted
	}
	for i, e := range entries {
		if !valid(e) {
			return interaction.ConstraintError
		}
		entries[i].FabricIndex = f.index
	}
	f.acl = entries
	go d.changed(0, datamodel.AccessControl, datamodel.AccessControlACL)
	return interaction.Success
}

func valid(e datamodel.ACLEntry) bool {
	return e.Privilege >= datamodel.View && e.Privilege <= datamodel.Administer &&
		(e.AuthMode == datamodel.AuthCASE || e.AuthMode == datamodel.AuthGroup && e.Privilege != datamodel.Administer) &&
		len(e.Subjects.Value) <= aclSubjects && len(e.Targets.Value) <= aclTargets
}
