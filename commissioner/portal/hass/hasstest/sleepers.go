package hasstest

import (
	"context"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric/cert"
)

// CheckInAfter is when a sleeper that is registered is heard next.
const CheckInAfter = time.Hour

// sleepers are the home's nodes that may sleep for long.
type sleepers Home

// sleeper is how one of them stands.
type sleeper struct {
	asleep, registered bool
	times              int // that it was registered
}

// AddSleeper adds a light that may sleep for long.
func (h *Home) AddSleeper() cert.NodeID {
	n := h.Add()
	for a, v := range map[interaction.AttributeID]any{0: uint32(3600), 1: uint32(300), 2: uint16(5000), 8: uint8(0), 0xfffc: uint32(1 | 1<<2), 0xfffd: uint16(3)} {
		h.Set(n, hass.Path{Cluster: 70, Attribute: a}, v)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sleepers[n] = new(sleeper)
	return n
}

// SetAsleep has a node sleep, or wake up.
func (h *Home) SetAsleep(n cert.NodeID, asleep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sleepers[n].asleep = asleep
}

// Registered is how often a node was registered with.
func (h *Home) Registered(n cert.NodeID) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sleepers[n].times
}

func (s *sleepers) Sleeper(n cert.NodeID) (now hass.Sleeper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.sleepers[n]; d != nil && d.registered {
		now = hass.Sleeper{Registered: true, Awake: !d.asleep, Expected: s.Now().Add(CheckInAfter)}
	}
	return now
}

func (s *sleepers) Register(_ context.Context, n cert.NodeID) error {
	return s.tell(n, false, func(d *sleeper) { d.times++; d.registered = true })
}

func (s *sleepers) Unregister(_ context.Context, n cert.NodeID, force bool) error {
	return s.tell(n, force, func(d *sleeper) { d.registered = false })
}

// tell has a node that is awake know of something; force: it need not be.
func (s *sleepers) tell(n cert.NodeID, force bool, what func(*sleeper)) error {
	s.mu.Lock()
	d := s.sleepers[n]
	switch {
	case d == nil:
		s.mu.Unlock()
		return nil
	case d.asleep && !force:
		s.mu.Unlock()
		return commissioner.Fail(commissioner.CodeAsleep, nil)
	}
	what(d)
	mode := uint8(0)
	if d.registered {
		mode = 1
	}
	s.mu.Unlock()
	(*Home)(s).Set(n, hass.Path{Cluster: 70, Attribute: 8}, mode)
	return nil
}
