package virtual

import (
	"context"
	"fmt"
	"slices"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
)

// cameraEndpoint is where a device's camera is, if it has one.
const cameraEndpoint interaction.EndpointID = 2

// maxStreams are at once: the next is refused.
const maxStreams = 100

// What the camera says to whoever asks: it shows nothing, and takes part in the
// signalling alone. Unlike a real camera it does so over UDP.
const (
	cameraSDP       = "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"
	cameraCandidate = "candidate:1 1 udp 2130706431 fd00::b 50000 typ host"
)

// stream is a session that somebody asked for.
type stream struct {
	listed datamodel.WebRTCSession
	id     *securechannel.Identity
	at     radio.Addr // of the peer
}

// addCamera puts the camera on its endpoint.
func (d *Device) addCamera() error {
	if !d.cfg.Camera {
		return nil
	}
	return d.add(cameraEndpoint, d.descriptor(cameraEndpoint, []datamodel.DeviceType{{Type: datamodel.DeviceTypeCamera, Revision: 1}},
		[]interaction.ClusterID{datamodel.WebRTCRequestor}, []interaction.EndpointID{}), d.webRTCProvider())
}

func (d *Device) webRTCProvider() *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.WebRTCProvider, Revision: 2,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.WebRTCProviderSessions: {Read: d.readStreams, ReadAccess: datamodel.Manage},
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.WebRTCSolicitOfferID:         {Response: datamodel.WebRTCSolicitOfferResponseID, Invoke: d.solicitOffer},
			datamodel.WebRTCProvideOfferID:         {Response: datamodel.WebRTCProvideOfferResponseID, Invoke: d.provideOffer},
			datamodel.WebRTCProvideAnswerID:        {Invoke: d.provided},
			datamodel.WebRTCProvideICECandidatesID: {Invoke: d.provided},
			datamodel.WebRTCEndSessionID:           {Invoke: d.endSession},
		}}
}

func (d *Device) readStreams(r *interaction.Request) any {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := []datamodel.WebRTCSession{}
	for _, s := range d.streams {
		if s.listed.FabricIndex == r.Session.Fabric() {
			list = append(list, s.listed)
		}
	}
	return list
}

// beginStream is a new stream of the asker's; nil: there is no room.
func (d *Device) beginStream(r *interaction.Request, listed datamodel.WebRTCSession) *stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fabrics[r.Session.Fabric()]
	if f == nil || len(d.streams) >= maxStreams {
		return nil
	}
	d.lastStream++
	listed.ID, listed.PeerNode, listed.FabricIndex = d.lastStream, r.Session.PeerNode(), r.Session.Fabric()
	s := &stream{listed: listed, id: f.identity, at: r.Session.Addr()}
	d.streams = append(d.streams, s)
	return s
}

// streamOf is a stream of the asker's.
func (d *Device) streamOf(r *interaction.Request, id uint16) *stream {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.streams {
		if s.listed.ID == id && s.listed.PeerNode == r.Session.PeerNode() && s.listed.FabricIndex == r.Session.Fabric() {
			return s
		}
	}
	return nil
}

func (d *Device) solicitOffer(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var q datamodel.WebRTCSolicitOffer
	if tlv.Unmarshal(fields, &q) != nil {
		return invalid()
	}
	s := d.beginStream(r, datamodel.WebRTCSession{Peer: q.Endpoint, Usage: q.Usage, Videos: q.Videos, Audios: q.Audios})
	if s == nil {
		return nil, interaction.StatusIB{Status: interaction.ResourceExhausted}
	}
	go d.signal(s, datamodel.WebRTCOfferID, &datamodel.WebRTCOffer{Session: s.listed.ID, SDP: cameraSDP})
	return &datamodel.WebRTCSolicitOfferResponse{Session: s.listed.ID, Video: q.Video, Audio: q.Audio}, interaction.StatusIB{}
}

func (d *Device) provideOffer(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var q datamodel.WebRTCProvideOffer
	if tlv.Unmarshal(fields, &q) != nil || !q.Session.Valid && (q.Usage == nil || q.Endpoint == nil) {
		return invalid()
	}
	var s *stream
	switch {
	case q.Session.Valid:
		if s = d.streamOf(r, q.Session.Value); s == nil {
			return nil, interaction.StatusIB{Status: interaction.NotFound}
		}
	default:
		if s = d.beginStream(r, datamodel.WebRTCSession{Peer: *q.Endpoint, Usage: *q.Usage, Videos: q.Videos, Audios: q.Audios}); s == nil {
			return nil, interaction.StatusIB{Status: interaction.ResourceExhausted}
		}
	}
	go func() {
		d.signal(s, datamodel.WebRTCAnswerID, &datamodel.WebRTCAnswer{Session: s.listed.ID, SDP: cameraSDP})
		d.signal(s, datamodel.WebRTCICECandidatesID, &datamodel.WebRTCICECandidates{Session: s.listed.ID,
			Candidates: []datamodel.ICECandidate{{Candidate: cameraCandidate, Media: tlv.Some("0"), Line: tlv.Some(uint16(0))}, {Candidate: ""}}})
	}()
	return &datamodel.WebRTCProvideOfferResponse{Session: s.listed.ID, Video: q.Video, Audio: q.Audio}, interaction.StatusIB{}
}

// provided takes what a peer says of its stream: nothing comes of it.
func (d *Device) provided(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var q struct {
		Session uint16 `tlv:"0"`
	}
	if tlv.Unmarshal(fields, &q) != nil {
		return invalid()
	}
	if d.streamOf(r, q.Session) == nil {
		return nil, interaction.StatusIB{Status: interaction.NotFound}
	}
	return nil, interaction.StatusIB{}
}

func (d *Device) endSession(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var q datamodel.WebRTCEnd
	if tlv.Unmarshal(fields, &q) != nil {
		return invalid()
	}
	s := d.streamOf(r, q.Session)
	if s == nil {
		return nil, interaction.StatusIB{Status: interaction.NotFound}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams = slices.DeleteFunc(d.streams, func(other *stream) bool { return other == s })
	return nil, interaction.StatusIB{}
}

func (d *Device) signal(s *stream, id interaction.CommandID, fields any) {
	if err := d.tellPeer(d.ctx, s, id, fields); err != nil {
		d.cfg.Log.Info("the peer of a stream was not told", "err", err)
	}
}

func (d *Device) tellPeer(ctx context.Context, s *stream, id interaction.CommandID, fields any) error {
	session, err := securechannel.CASE(ctx, d.manager, securechannel.Peer{Link: d.cfg.Link, Addr: s.at}, s.id, cert.NodeID(s.listed.PeerNode), &d.resumptions)
	if err != nil {
		return err
	}
	defer securechannel.Close(d.manager, session)
	return d.engine.InvokeCommand(ctx, session, 0, interaction.Command(s.listed.Peer, datamodel.WebRTCRequestor, id), fields, nil)
}

// Streams are the sessions that were asked for and have not ended.
func (d *Device) Streams() (ids []uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.streams {
		ids = append(ids, s.listed.ID)
	}
	return ids
}

// Signal has the camera say something to the peer of one of its streams,
// whatever it is about.
func (d *Device) Signal(ctx context.Context, of uint16, id interaction.CommandID, fields any) error {
	d.mu.Lock()
	i := slices.IndexFunc(d.streams, func(s *stream) bool { return s.listed.ID == of })
	if i < 0 {
		d.mu.Unlock()
		return fmt.Errorf("virtual: there is no stream %d", of)
	}
	s := d.streams[i]
	d.mu.Unlock()
	return d.tellPeer(ctx, s, id, fields)
}
