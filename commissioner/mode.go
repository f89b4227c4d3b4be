package commissioner

import (
	"context"
	"errors"
	"sync"
	"time"

	"gatehouse/radio/button"
)

// Limits of how long the pairing mode lasts.
const (
	DefaultMode = 3 * time.Minute
	MaxMode     = 15 * time.Minute
)

// Light shows a person what the gateway does.
type Light interface {
	Show(button.Pattern) error
}

// Mode is the gateway's pairing mode: for a while after somebody pressed the
// gateway's button, or gave the command, it admits devices. Whoever has the
// gateway itself in reach can cancel what is going on. The zero value is
// closed.
type Mode struct {
	// Required refuses pairings while the mode is not open: who asks for one
	// must have pressed the button. Otherwise the mode is for the light only.
	Required bool
	Button   bool  // there is one
	Light    Light // nil: there is none
	Now      func() time.Time

	mu      sync.Mutex
	until   time.Time // zero: closed
	timer   *time.Timer
	running map[*context.CancelFunc]bool // pairings
	presses map[chan struct{}]bool       // who waits for one
}

// Open begins the mode, or makes it last from now on.
func (m *Mode) Open(length time.Duration) (until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.close()
	m.until = m.Now().Add(length)
	var timer *time.Timer
	timer = time.AfterFunc(length, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.timer == timer {
			m.close()
			m.show()
		}
	})
	m.timer = timer
	m.show()
	return m.until
}

// close ends the mode. Call it with the lock.
func (m *Mode) close() {
	if m.timer != nil {
		m.timer.Stop()
	}
	m.timer, m.until = nil, time.Time{}
}

// Cancel ends the mode and the pairings that are going on.
func (m *Mode) Cancel() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.close()
	for cancel := range m.running {
		(*cancel)()
	}
	m.show()
}

// State is until when the mode is open, and how many pairings are going on.
func (m *Mode) State() (until time.Time, pairings int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.until, len(m.running)
}

// Presses tells of presses of the gateway's button, until stop.
func (m *Mode) Presses() (pressed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.presses == nil {
		m.presses = make(map[chan struct{}]bool)
	}
	m.presses[c] = true
	return c, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.presses, c)
	}
}

// pressed tells those who wait for a press of one.
func (m *Mode) pressed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.presses {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Press is what the gateway's button does.
func (m *Mode) Press(e button.Event) {
	m.pressed()
	switch e {
	case button.Pressed:
		m.Open(DefaultMode)
	case button.LongPressed:
		m.Cancel()
	}
}

// show brings the light in line. Call it with the lock.
func (m *Mode) show() {
	pattern := button.Idle
	switch {
	case len(m.running) > 0:
		pattern = button.Busy
	case !m.until.IsZero():
		pattern = button.Pairing
	}
	m.light(pattern)
}

func (m *Mode) light(p button.Pattern) {
	if m.Light != nil {
		m.Light.Show(p) // one that is broken changes nothing
	}
}

// enter begins a pairing, unless the mode forbids it. leave ends it and shows
// how it went.
func (m *Mode) enter(ctx context.Context) (_ context.Context, leave func(error), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.Required && m.until.IsZero() {
		return nil, nil, Fail(CodeModeClosed, nil)
	}
	ctx, cancel := context.WithCancel(ctx)
	if m.running == nil {
		m.running = make(map[*context.CancelFunc]bool)
	}
	m.running[&cancel] = true
	m.show()
	return ctx, func(err error) {
		cancel()
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.running, &cancel)
		switch {
		case err == nil:
			m.light(button.Success)
		case !errors.Is(err, context.Canceled):
			m.light(button.Failure)
		}
		m.show()
	}, nil
}
