package webrtc

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// begin is a requestor; gone are the devices that left.
func begin(gone map[cert.NodeID]bool) *Requestor {
	return &Requestor{Belongs: func(n cert.NodeID) bool { return !gone[n] }, Now: time.Now, Log: slog.New(slog.DiscardHandler)}
}

// ask has a camera give an id to a session, after a while.
func (r *Requestor) ask(n cert.NodeID, id uint16, after time.Duration) {
	fields, err := tlv.Marshal(&datamodel.WebRTCSolicitOffer{Usage: 3})
	if err != nil {
		panic(err)
	}
	r.Ask(n, 1, datamodel.WebRTCSolicitOfferID, fields, func() (interaction.CommandResult, error) {
		time.Sleep(after)
		answer, err := tlv.Marshal(&datamodel.WebRTCSolicitOfferResponse{Session: id})
		return interaction.CommandResult{Fields: answer}, err
	})
}

func (r *Requestor) knows(n cert.NodeID, id uint16) bool {
	return r.find(context.Background(), n, id) != nil
}

// TestBounds asks for more sessions than are remembered.
func TestBounds(t *testing.T) {
	r := begin(nil)
	check := func(n cert.NodeID, id uint16, want bool) {
		t.Helper()
		if r.knows(n, id) != want {
			t.Errorf("camera %d, session %d: known %v", n, id, !want)
		}
	}
	for id := range uint16(maxOfCamera) {
		r.ask(1, id, 0)
	}
	check(1, 0, true) // and so it is not the oldest
	r.ask(1, 100, 0)
	check(1, 0, true)
	check(1, 1, false)
	check(1, 100, true)
	check(2, 100, false)
	for n := range cert.NodeID(2 * maxSessions) {
		r.ask(1000+n, 0, 0)
	}
	if len(r.sessions) != maxSessions {
		t.Errorf("%d sessions are remembered", len(r.sessions))
	}
	check(1, 100, false)
	check(1000+2*maxSessions-1, 0, true)
	r.ask(1000+2*maxSessions-1, 0, 0) // the same again
	if len(r.sessions) != maxSessions {
		t.Errorf("%d sessions are remembered", len(r.sessions))
	}
}

// TestForgotten has sessions grow old, and devices leave.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := map[cert.NodeID]bool{}
		r := begin(gone)
		r.ask(1, 1, 0)
		r.ask(2, 1, 0)
		time.Sleep(sessionLife)
		if !r.knows(1, 1) {
			t.Error("forgotten too early")
		}
		time.Sleep(time.Second)
		if !r.knows(1, 1) || r.knows(2, 1) {
			t.Error("what was used last counts")
		}
		gone[1] = true
		if r.knows(1, 1) {
			t.Error("a device that left is heard")
		}
		gone[1] = false
		if r.knows(1, 1) || len(r.sessions) > 0 {
			t.Error("its sessions come back with it")
		}
		for name, err := range map[string]error{"refused": &interaction.StatusError{Status: interaction.Busy}, "unreachable": errors.New("no")} {
			_, got := r.Ask(3, 1, datamodel.WebRTCSolicitOfferID, nil, func() (interaction.CommandResult, error) { return interaction.CommandResult{}, err })
			if !errors.Is(got, err) || len(r.sessions)+len(r.asking) > 0 {
				t.Errorf("%s: %v, %d sessions", name, got, len(r.sessions))
			}
		}
		refusal := &interaction.StatusError{Status: interaction.InvalidTransportType}
		if result, err := r.Ask(3, 1, datamodel.WebRTCSolicitOfferID, nil, func() (interaction.CommandResult, error) { return interaction.CommandResult{Err: refusal}, nil }); err != nil || result.Err != refusal {
			t.Errorf("what the camera says is lost: %v, %v", result, err)
		}
		if _, err := r.Ask(3, 1, datamodel.WebRTCSolicitOfferID, nil, func() (interaction.CommandResult, error) { return interaction.CommandResult{}, nil }); err == nil {
			t.Error("a camera that names no session has one")
		}
	})
}

// TestSooner has a camera speak before its answer with the session's id is here.
func TestSooner(t *testing.T) {
	for name, c := range map[string]struct {
		id   uint16
		late time.Duration
		want bool
	}{
		"before the answer":          {1, time.Second, true},
		"of another session":         {2, time.Second, false},
		"long before the answer":     {1, time.Minute, false},
		"of another, long before":    {2, time.Minute, false},
		"at the last moment":         {1, askPatience - 1, true},
		"a camera that is not asked": {1, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := begin(nil)
				if c.late > 0 {
					go r.ask(1, 1, c.late)
					go r.ask(1, 9, c.late/2) // another answer says nothing of it
				}
				synctest.Wait()
				began := time.Now()
				if got := r.knows(1, c.id); got != c.want {
					t.Errorf("known: %v", got)
				}
				if took := time.Since(began); took > askPatience {
					t.Errorf("it waited for %v", took)
				}
				time.Sleep(time.Hour)
				r.mu.Lock()
				defer r.mu.Unlock()
				if len(r.asking) > 0 {
					t.Error("asked for ever")
				}
			})
		})
	}
}

// TestStreams describes a session by its request and its answer.
func TestStreams(t *testing.T) {
	one := func(v uint16) *tlv.Null[uint16] { n := tlv.Some(v); return &n }
	for name, c := range map[string]struct {
		asked, got *tlv.Null[uint16]
		list       []uint16
		first      int // -1: none
		count      int
	}{
		"none":                    {nil, nil, nil, -1, 0},
		"asked for":               {one(3), one(4), nil, 3, 1},
		"chosen by the camera":    {new(tlv.Null[uint16]), one(4), nil, 4, 1},
		"chosen and not told yet": {new(tlv.Null[uint16]), new(tlv.Null[uint16]), nil, -1, 0},
		"a list":                  {nil, nil, []uint16{5, 6}, 5, 2},
		"too long a list":         {nil, nil, make([]uint16, 100), 0, 16},
	} {
		first, all := streams(c.asked, c.got, c.list)
		if first.Valid != (c.first >= 0) || first.Valid && int(first.Value) != c.first || len(all) != c.count {
			t.Errorf("%s: %v, %v", name, first, all)
		}
	}
}
