// Package button is the one button and the one light that a gateway has: short
// and long presses, and patterns that say what it is doing.
//
// It promises that a bouncing contact is one press, that a press which is
// older than the program opens nothing, and that an event is never kept for
// later: who presses wants something now. It reads no clock, but counts with
// timers.
package button

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Limits of ours.
const (
	// bounce is how long a contact has to be quiet to be believed.
	bounce = 30 * time.Millisecond
	// LongPress is how long a long press lasts, when nothing else is said.
	LongPress = 5 * time.Second

	maxOffset = 1023
	lowSuffix = "low"
)

// Line is one pin of a GPIO chip.
type Line struct {
	Chip      string // its name under /dev
	Offset    int
	ActiveLow bool // pressed, or lit, when the pin is at ground
}

// ParseLine reads CHIP:OFFSET, such as gpiochip0:17, with :low behind it for a
// pin that is active when at ground. What `gpioinfo` lists says which there are.
func ParseLine(s string) (l Line, err error) {
	fail := func(format string, args ...any) (Line, error) {
		return Line{}, fmt.Errorf("GPIO line %q: %s, it should be like gpiochip0:17 or gpiochip0:17:low", s, fmt.Sprintf(format, args...))
	}
	parts := strings.Split(s, ":")
	switch {
	case len(parts) < 2:
		return fail("there is no offset")
	case len(parts) > 3:
		return fail("there is too much")
	case parts[0] == "":
		return fail("there is no chip")
	case strings.ContainsFunc(parts[0], func(r rune) bool { return !strings.ContainsRune(chipRunes, r) }):
		return fail("%q is no chip's name", parts[0])
	}
	l.Chip = parts[0]
	offset, err := strconv.ParseUint(parts[1], 10, 16)
	if err != nil || offset > maxOffset {
		return fail("%q is no offset from 0 to %d", parts[1], maxOffset)
	}
	l.Offset = int(offset)
	if len(parts) == 3 {
		if parts[2] != lowSuffix {
			return fail("%q is not %q", parts[2], lowSuffix)
		}
		l.ActiveLow = true
	}
	return l, nil
}

const chipRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// String is the inverse of ParseLine.
func (l Line) String() string {
	s := l.Chip + ":" + strconv.Itoa(l.Offset)
	if l.ActiveLow {
		s += ":" + lowSuffix
	}
	return s
}

// Chip gives lines. Active is pressed or lit, whatever the line's polarity.
type Chip interface {
	// Input calls changed at every edge, from any goroutine, until the Input
	// is closed.
	Input(l Line, changed func()) (Input, error)
	// Output begins inactive.
	Output(l Line) (Output, error)
}

// Input is a line that is read.
type Input interface {
	Active() (bool, error)
	Close() error
}

// Output is a line that is driven.
type Output interface {
	Set(active bool) error
	Close() error
}

// Event is what a person did.
type Event uint8

const (
	Pressed     Event = iota + 1 // and let go of, before it was long
	LongPressed                  // still held
)

// Config of a Button.
type Config struct {
	Line   Line
	Long   time.Duration // of a long press; 0 means 5 s
	Handle func(Event)   // called from a goroutine of its own, one at a time
}

// Button is a debounced push button.
type Button struct {
	cfg   Config
	input Input

	handling sync.Mutex

	mu     sync.Mutex
	settle *time.Timer // until the contact is quiet
	long   *time.Timer
	armed  bool // it was seen released
	held   bool // a press has begun, and is not long yet
	closed bool
}

// Open begins to watch a button. One that is held already is stuck, or was
// held by somebody who switched the power on: it does nothing until it is let
// go of.
func Open(chip Chip, cfg Config) (*Button, error) {
	if cfg.Long == 0 {
		cfg.Long = LongPress
	}
	b := &Button{cfg: cfg}
	b.mu.Lock()
	defer b.mu.Unlock()
	input, err := chip.Input(cfg.Line, b.changed)
	if err != nil {
		return nil, fmt.Errorf("button at %v: %w", cfg.Line, err)
	}
	b.input = input
	b.settle = time.AfterFunc(bounce, b.settled)
	b.long = time.AfterFunc(cfg.Long, b.longPress)
	b.long.Stop()
	return b, nil
}

// changed waits for the contact to come to rest.
func (b *Button) changed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.settle.Reset(bounce)
	}
}

// settled looks at a contact that has been quiet.
func (b *Button) settled() {
	// Not under the lock: the chip may wait for changed to return.
	active, err := b.input.Active()
	b.mu.Lock()
	pressed := false
	switch {
	case b.closed:
	case err != nil:
		b.armed, b.held = false, false
		b.long.Stop()
	case active && b.armed:
		b.armed, b.held = false, true
		b.long.Reset(b.cfg.Long - bounce) // so long it has been down already
	case !active:
		pressed = b.held
		b.armed, b.held = true, false
		b.long.Stop()
	}
	b.mu.Unlock()
	if pressed {
		b.handle(Pressed)
	}
}

func (b *Button) longPress() {
	b.mu.Lock()
	long := b.held && !b.closed
	b.held = false
	b.mu.Unlock()
	if long {
		b.handle(LongPressed)
	}
}

func (b *Button) handle(e Event) {
	b.handling.Lock()
	defer b.handling.Unlock()
	b.cfg.Handle(e)
}

// Close stops watching. A Handle that runs already is not waited for.
func (b *Button) Close() error {
	b.mu.Lock()
	b.closed = true
	b.settle.Stop()
	b.long.Stop()
	b.mu.Unlock()
	return b.input.Close()
}
