package button

import (
	"fmt"
	"sync"
	"time"
)

// Pattern is what the light says.
type Pattern uint8

const (
	Idle    Pattern = iota // off
	Pairing                // slow blink: it admits devices, or wants to be admitted
	Busy                   // fast blink
	Success                // on for 3 s, then what it was
	Failure                // three blinks, then what it was
)

type phase struct {
	lit  bool
	last time.Duration
}

const (
	slow = 500 * time.Millisecond
	fast = 100 * time.Millisecond
	beat = 200 * time.Millisecond
)

// patterns repeat, except those that pass.
var patterns = map[Pattern]struct {
	phases []phase
	passes bool
}{
	Idle:    {},
	Pairing: {[]phase{{true, slow}, {false, slow}}, false},
	Busy:    {[]phase{{true, fast}, {false, fast}}, false},
	Success: {[]phase{{true, 3 * time.Second}}, true},
	Failure: {[]phase{{true, beat}, {false, beat}, {true, beat}, {false, beat}, {true, beat}, {false, 3 * beat}}, true},
}

// Light shows one Pattern after another.
type Light struct {
	output Output
	line   Line

	mu      sync.Mutex
	timer   *time.Timer
	lasting Pattern // to come back to
	now     Pattern
	next    int // phase of now
	err     error
	closed  bool
}

// OpenLight takes a line for a light, which is off.
func OpenLight(chip Chip, line Line) (*Light, error) {
	output, err := chip.Output(line)
	if err != nil {
		return nil, fmt.Errorf("light at %v: %w", line, err)
	}
	l := &Light{output: output, line: line}
	l.timer = time.AfterFunc(time.Hour, l.step)
	l.timer.Stop()
	return l, nil
}

// Show begins a pattern. Success and Failure are shown at once, and to their
// end; another pattern comes after them. The error is the first that the line
// has had.
func (l *Light) Show(p Pattern) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	passing := patterns[l.now].passes
	switch {
	case l.closed:
		return l.err
	case patterns[p].passes:
		l.start(p)
	case passing:
		l.lasting = p
	case p != l.now: // blinking on without a stumble otherwise
		l.lasting = p
		l.start(p)
	}
	return l.err
}

// start begins p. Call it locked.
func (l *Light) start(p Pattern) {
	l.now, l.next = p, 0
	l.advance()
}

func (l *Light) step() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.advance()
	}
}

// advance shows the next phase. Call it locked.
func (l *Light) advance() {
	p := patterns[l.now]
	if l.next == len(p.phases) {
		l.next = 0
		if p.passes {
			l.now = l.lasting
			p = patterns[l.now]
		}
	}
	if len(p.phases) == 0 {
		l.timer.Stop()
		l.set(false)
		return
	}
	phase := p.phases[l.next]
	l.next++
	l.set(phase.lit)
	l.timer.Reset(phase.last)
}

func (l *Light) set(lit bool) {
	if err := l.output.Set(lit); err != nil && l.err == nil {
		l.err = fmt.Errorf("light at %v: %w", l.line, err)
	}
}

// Close switches the light off and gives the line back.
func (l *Light) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	l.timer.Stop()
	l.set(false)
	return l.output.Close()
}
