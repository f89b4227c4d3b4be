package hass

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of ours on images that clients bring.
const (
	maxImage     = 64 << 20 // octets
	maxUploads   = 5        // that are allowed or under way
	ticketLife   = time.Minute
	uploadLimit  = 10 * time.Minute // for the octets of one
	ticketOctets = 16
)

func (s *Server) checkUpdate(ctx context.Context, c *call) (result, error) {
	var args nodeArgs
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Node != nil && s.tests.get(*args.Node) != nil {
		return null, nil
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	if s.Updates == nil {
		return nil, fail(UpdateCheck, "this gateway updates no devices")
	}
	v, err := s.Updates.Check(ctx, n.ID)
	if err != nil {
		return nil, err
	}
	return object(v), nil
}

func (s *Server) update(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Version json.RawMessage `json:"software_version"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	version, err := strconv.ParseUint(strings.Trim(string(args.Version), `"`), 10, 32)
	switch {
	case err != nil:
		return nil, fail(InvalidArguments, "software_version is no number of 32 bits")
	case s.Updates == nil:
		return nil, fail(UpdateFailed, "this gateway updates no devices")
	case !n.Available:
		return nil, fail(UpdateFailed, "Node %d is not available. Retry later", uint64(n.ID))
	}
	v, err := s.Updates.Begin(ctx, n.ID, uint32(version))
	if err != nil {
		return nil, err
	}
	return object(v), nil
}

// uploads are the uploads that are allowed.
type uploads struct {
	mu      sync.Mutex
	tickets map[string]*ticket
}

// ticket allows one upload, to whoever asked for it.
type ticket struct {
	peer, host string
	expires    time.Time
	used       bool
}

func (s *Server) initiateUpload(_ context.Context, c *call) (result, error) {
	if s.Updates == nil {
		return nil, fail(UploadFailed, "this gateway updates no devices")
	}
	id := make([]byte, ticketOctets)
	if _, err := io.ReadFull(s.Random, id); err != nil {
		return nil, err
	}
	u, now, name := &s.uploads, s.Now(), hex.EncodeToString(id)
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, t := range u.tickets {
		if !t.used && !now.Before(t.expires) {
			delete(u.tickets, id)
		}
	}
	if len(u.tickets) >= maxUploads {
		return nil, fail(UploadFailed, "%d uploads are allowed already: retry when one is through", maxUploads)
	}
	if u.tickets == nil {
		u.tickets = make(map[string]*ticket)
	}
	u.tickets[name] = &ticket{peer: c.peer.Name, host: c.host, expires: now.Add(ticketLife)}
	return object(map[string]any{"upload_id": name, "expires_in": int(ticketLife / time.Second), "max_size": maxImage}), nil
}

// claim uses a ticket.
func (u *uploads) claim(id string, peer Peer, host string, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	t := u.tickets[id]
	switch {
	case t == nil:
		return fail(UploadFailed, "Unknown OTA upload id")
	case t.used:
		return fail(UploadFailed, "OTA upload id has already been used")
	case !now.Before(t.expires):
		delete(u.tickets, id)
		return fail(UploadFailed, "OTA upload id expired before the upload started")
	case subtle.ConstantTimeCompare([]byte(t.peer), []byte(peer.Name)) == 0 || t.host != host:
		return fail(UploadFailed, "OTA upload id was issued to a different client")
	}
	t.used = true
	return nil
}

func (u *uploads) release(id string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.tickets, id)
}

// uploadError is how an upload's failure is told.
type uploadError struct {
	Code    Code   `json:"error_code"`
	Message string `json:"message"`
}

// upload takes the octets of an image.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, peer Peer) {
	id, ok := strings.CutPrefix(r.URL.Path, "/ota-upload/")
	raw, err := hex.DecodeString(id)
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "an image is posted", http.StatusMethodNotAllowed)
		return
	case closing:
		http.Error(w, "the server shuts down", http.StatusServiceUnavailable)
		return
	case !ok || err != nil || len(raw) != ticketOctets || id != strings.ToLower(id):
		http.Error(w, "there is no such upload", http.StatusNotFound)
		return
	}
	v, err := s.store(w, r, id, peer)
	if err == nil {
		reply(w, http.StatusOK, v)
		return
	}
	status := http.StatusBadRequest
	if errors.As(err, new(*http.MaxBytesError)) {
		w.Header().Set("Connection", "close")
		status, err = http.StatusRequestEntityTooLarge, fail(UploadFailed, "an image has at most %d MiB", maxImage>>20)
	}
	e := explain(err, UploadFailed)
	reply(w, status, uploadError{e.Code, e.Details})
}

// store hands an image on. Its ticket is given back before the answer goes out,
// so that the client may try again at once.
func (s *Server) store(w http.ResponseWriter, r *http.Request, id string, peer Peer) (*SoftwareVersion, error) {
	if err := s.uploads.claim(id, peer, host(r), s.Now()); err != nil {
		return nil, err
	}
	defer s.uploads.release(id)
	if peer.Scope < Administer {
		return nil, beyond(peer.Scope, "to upload an image", Administer)
	}
	if r.ContentLength > maxImage {
		return nil, &http.MaxBytesError{Limit: maxImage}
	}
	// A body that trickles is cut off by a deadline that is over.
	cut := time.AfterFunc(uploadLimit, func() { http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0)) })
	defer cut.Stop()
	v, err := s.Updates.Store(r.Context(), http.MaxBytesReader(w, r.Body, maxImage))
	if err != nil {
		return nil, err
	}
	stored := *v
	stored.Source = FromHere
	return &stored, nil
}
