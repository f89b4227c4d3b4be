package webrtc

import (
	"context"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Part is the requestor's part of the gateway's node.
func (r *Requestor) Part() datamodel.Part {
	return datamodel.Part{Endpoint: Endpoint, Type: datamodel.DeviceType{Type: datamodel.DeviceTypeCameraController, Revision: 1}, Cluster: r.cluster()}
}

func (r *Requestor) cluster() *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.WebRTCRequestor, Revision: 2,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.WebRTCRequestorSessions: {Read: r.list, ReadAccess: datamodel.Administer},
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.WebRTCOfferID:         {Invoke: r.offer},
			datamodel.WebRTCAnswerID:        {Invoke: r.answer},
			datamodel.WebRTCICECandidatesID: {Invoke: r.candidates},
			datamodel.WebRTCEndID:           {Invoke: r.end},
		}}
}

func (r *Requestor) list(q *interaction.Request) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	list := []datamodel.WebRTCSession{}
	for _, s := range r.sessions {
		listed := s.listed
		listed.FabricIndex = q.Session.Fabric()
		list = append(list, listed)
	}
	return list
}

func status(s interaction.Status) (any, interaction.StatusIB) {
	return nil, interaction.StatusIB{Status: s}
}

func (r *Requestor) offer(ctx context.Context, q *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var o datamodel.WebRTCOffer
	if tlv.Unmarshal(fields, &o) != nil {
		return status(interaction.InvalidCommand)
	}
	c := Callback{Kind: Offer, SDP: o.SDP, Servers: o.Servers}
	if o.Transport != nil {
		c.Transport = *o.Transport
	}
	if len(o.Servers) > datamodel.MaxICEServers || len(c.Transport) > datamodel.MaxICETransportPolicy {
		return status(interaction.ConstraintError)
	}
	return r.take(ctx, q, o.Session, c)
}

func (r *Requestor) answer(ctx context.Context, q *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var a datamodel.WebRTCAnswer
	if tlv.Unmarshal(fields, &a) != nil {
		return status(interaction.InvalidCommand)
	}
	return r.take(ctx, q, a.Session, Callback{Kind: Answer, SDP: a.SDP})
}

func (r *Requestor) candidates(ctx context.Context, q *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var c datamodel.WebRTCICECandidates
	if tlv.Unmarshal(fields, &c) != nil {
		return status(interaction.InvalidCommand)
	}
	if len(c.Candidates) == 0 || len(c.Candidates) > maxCandidates {
		return status(interaction.ConstraintError)
	}
	for _, one := range c.Candidates {
		if one.Media.Valid && one.Media.Value == "" {
			return status(interaction.ConstraintError)
		}
	}
	return r.take(ctx, q, c.Session, Callback{Kind: Candidates, Candidates: c.Candidates})
}

func (r *Requestor) end(ctx context.Context, q *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var e datamodel.WebRTCEnd
	if tlv.Unmarshal(fields, &e) != nil {
		return status(interaction.InvalidCommand)
	}
	if e.Reason > datamodel.WebRTCUnknownReason {
		return status(interaction.ConstraintError)
	}
	return r.take(ctx, q, e.Session, Callback{Kind: End, Reason: e.Reason})
}

// take tells of a callback, if there is such a session of the device.
func (r *Requestor) take(ctx context.Context, q *interaction.Request, id uint16, c Callback) (any, interaction.StatusIB) {
	n := cert.NodeID(q.Session.PeerNode())
	s := r.find(ctx, n, id)
	if s == nil {
		r.Log.Debug("a device speaks of a stream that it was not asked for", "device", n)
		return status(interaction.NotFound)
	}
	if c.Session = *s; c.Kind == End {
		r.Ended(n, id)
	}
	r.tell(c)
	return status(interaction.Success)
}
