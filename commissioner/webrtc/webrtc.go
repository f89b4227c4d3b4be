// Package webrtc takes what cameras say of the streams that this gateway asked
// them for: a WebRTC Transport Requestor on the gateway's own node (Matter
// Application Clusters 11.6).
//
// It promises that a device is heard only about a session that it was asked for
// on this gateway and that has not ended, and that sessions are few and do not
// live for ever. It knows no WebRTC: what a camera says is for the client that
// asked, and neither kept nor logged.
//
// Devices must want these commands over TCP, both ways, whatever their size
// (11.5.6, 11.6.5). This gateway speaks UDP alone: it takes and sends what fits
// into one message, and refuses nobody for the transport.
package webrtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Endpoint is where the requestor is on the gateway's node.
const Endpoint interaction.EndpointID = 2

// Limits of ours.
const (
	maxSessions   = 64              // of all cameras; the oldest is forgotten for another
	maxOfCamera   = 8               // of these, of one
	sessionLife   = 12 * time.Hour  // since it was asked for, or its camera said something of it
	askPatience   = 5 * time.Second // of a camera that is sooner with its word than with the session's id
	maxCandidates = 64              // of one command: more than a message has room for
)

// Session is a stream's session.
type Session struct {
	Node     cert.NodeID
	Endpoint interaction.EndpointID // of the camera
	ID       uint16                 // that the camera gave it

	listed datamodel.WebRTCSession
	used   time.Time
}

// Kind is a kind of Callback.
type Kind uint8

const (
	Offer Kind = iota + 1
	Answer
	Candidates
	End
)

// Callback is what a camera says of a session.
type Callback struct {
	Session
	Kind       Kind
	SDP        string                   // of Offer and Answer
	Servers    []datamodel.ICEServer    // of Offer
	Transport  string                   // of Offer: which candidates may be used; empty: the camera says nothing
	Candidates []datamodel.ICECandidate // of Candidates
	Reason     datamodel.WebRTCEndReason
}

// Requestor has the sessions that one gateway asked for.
type Requestor struct {
	// Belongs reports whether a device is the home's. Node ids are never given
	// twice, so that it says all there is to say of a session's device.
	Belongs func(cert.NodeID) bool
	Now     func() time.Time
	Log     *slog.Logger

	mu       sync.Mutex
	sessions []*Session // the one used last is the last
	asking   map[cert.NodeID]*asking
	watchers map[int]func(Callback)
	watched  int
}

// asking is a camera being asked, perhaps for several sessions at once.
type asking struct {
	count   int
	changed chan struct{} // closed when there is one less
}

// Watch has every callback told, from several goroutines, until stop returns.
// see must not wait for anything.
func (r *Requestor) Watch(see func(Callback)) (stop func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.watchers == nil {
		r.watchers = make(map[int]func(Callback))
	}
	r.watched++
	id := r.watched
	r.watchers[id] = see
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, id)
	}
}

func (r *Requestor) tell(c Callback) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, see := range r.watchers {
		see(c)
	}
}

// Ask asks a camera for a session: c is SolicitOffer or ProvideOffer, fields
// name Endpoint, and invoke invokes it over a session of this gateway's. From
// then on the camera is heard.
func (r *Requestor) Ask(n cert.NodeID, e interaction.EndpointID, c interaction.CommandID, fields tlv.Raw, invoke func() (interaction.CommandResult, error)) (interaction.CommandResult, error) {
	defer r.expect(n)()
	result, err := invoke()
	if err != nil || result.Err != nil {
		return result, err
	}
	listed, err := describe(c, fields, &result)
	if err != nil {
		return result, fmt.Errorf("webrtc: the camera's answer names no session: %w", err)
	}
	listed.PeerNode, listed.Peer = uint64(n), e
	r.keep(&Session{Node: n, Endpoint: e, ID: listed.ID, listed: listed})
	return result, nil
}

// expect has what a camera says of a session that is not known yet wait.
func (r *Requestor) expect(n cert.NodeID) (asked func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asking == nil {
		r.asking = make(map[cert.NodeID]*asking)
	}
	if r.asking[n] == nil {
		r.asking[n] = &asking{changed: make(chan struct{})}
	}
	r.asking[n].count++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		a := r.asking[n]
		close(a.changed)
		a.changed = make(chan struct{})
		if a.count--; a.count == 0 {
			delete(r.asking, n)
		}
	}
}

// describe is a session as the request and its answer describe it.
func describe(c interaction.CommandID, fields tlv.Raw, result *interaction.CommandResult) (s datamodel.WebRTCSession, err error) {
	var usage *uint8
	var metadata *bool
	var video, audio, gotVideo, gotAudio *tlv.Null[uint16]
	switch c {
	case datamodel.WebRTCSolicitOfferID:
		var q datamodel.WebRTCSolicitOffer
		var a datamodel.WebRTCSolicitOfferResponse
		err = errors.Join(tlv.Unmarshal(fields, &q), result.Decode(&a))
		s.ID, usage, metadata, s.Videos, s.Audios, video, audio = a.Session, &q.Usage, q.Metadata, q.Videos, q.Audios, q.Video, q.Audio
		gotVideo, gotAudio = a.Video, a.Audio
	case datamodel.WebRTCProvideOfferID:
		var q datamodel.WebRTCProvideOffer
		var a datamodel.WebRTCProvideOfferResponse
		err = errors.Join(tlv.Unmarshal(fields, &q), result.Decode(&a))
		s.ID, usage, metadata, s.Videos, s.Audios, video, audio = a.Session, q.Usage, q.Metadata, q.Videos, q.Audios, q.Video, q.Audio
		gotVideo, gotAudio = a.Video, a.Audio
	default:
		err = fmt.Errorf("command %d asks for none", c)
	}
	if usage != nil {
		s.Usage = *usage
	}
	s.Metadata = metadata != nil && *metadata
	s.Video, s.Videos = streams(video, gotVideo, s.Videos)
	s.Audio, s.Audios = streams(audio, gotAudio, s.Audios)
	return s, err
}

// streams are those of one kind: the ones asked for, or the one that the camera
// chose.
func streams(asked, got *tlv.Null[uint16], list []uint16) (first tlv.Null[uint16], all []uint16) {
	list = list[:min(len(list), datamodel.MaxStreams)]
	for _, one := range []*tlv.Null[uint16]{asked, got} {
		if len(list) == 0 && one != nil && one.Valid {
			list = []uint16{one.Value}
		}
	}
	if len(list) > 0 {
		first = tlv.Some(list[0])
	}
	return first, list
}

// keep remembers a session; one with its id is renewed by it.
func (r *Requestor) keep(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(s.Node, s.ID)
	r.sweep()
	s.used = r.Now()
	of := func(other *Session) bool { return other.Node == s.Node }
	count := 0
	for _, other := range r.sessions {
		if of(other) {
			count++
		}
	}
	switch {
	case count >= maxOfCamera:
		i := slices.IndexFunc(r.sessions, of)
		r.sessions = slices.Delete(r.sessions, i, i+1)
	case len(r.sessions) >= maxSessions:
		r.sessions = slices.Delete(r.sessions, 0, 1)
	}
	r.sessions = append(r.sessions, s)
}

// sweep forgets the sessions that are too old and those of devices that left.
// Call it with the lock.
func (r *Requestor) sweep() {
	r.sessions = slices.DeleteFunc(r.sessions, func(s *Session) bool { return r.Now().Sub(s.used) > sessionLife || !r.Belongs(s.Node) })
}

// forget is called with the lock.
func (r *Requestor) forget(n cert.NodeID, id uint16) {
	r.sessions = slices.DeleteFunc(r.sessions, func(s *Session) bool { return s.Node == n && s.ID == id })
}

// Ended forgets a session that a client ended.
func (r *Requestor) Ended(n cert.NodeID, id uint16) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(n, id)
}

// find is a camera's session; nil: it was never asked for it. It waits for the
// answer of a camera that is being asked.
func (r *Requestor) find(ctx context.Context, n cert.NodeID, id uint16) *Session {
	ctx, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	for {
		s, changed := r.look(n, id)
		if s != nil || changed == nil {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Requestor) look(n cert.NodeID, id uint16) (*Session, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep()
	i := slices.IndexFunc(r.sessions, func(s *Session) bool { return s.Node == n && s.ID == id })
	if i >= 0 {
		s := r.sessions[i]
		s.used = r.Now()
		r.sessions = append(slices.Delete(r.sessions, i, i+1), s)
		copied := *s
		return &copied, nil
	}
	if a := r.asking[n]; a != nil {
		return nil, a.changed
	}
	return nil, nil
}
