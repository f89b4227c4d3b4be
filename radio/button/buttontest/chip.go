// Package buttontest is an in-memory GPIO chip: a test presses its buttons and
// looks at its lights.
//
// Production code never imports it.
package buttontest

import (
	"errors"
	"fmt"
	"sync"

	"gatehouse/radio/button"
)

// ErrBroken is what a broken line fails with.
var ErrBroken = errors.New("the line is broken")

// Chip is a button.Chip. The zero value has every line there is, inactive.
type Chip struct {
	mu    sync.Mutex
	lines map[button.Line]*pin
}

type pin struct {
	chip    *Chip
	line    button.Line
	active  bool
	broken  bool
	taken   bool
	changed func() // nil for an output
}

func (c *Chip) pin(l button.Line) *pin {
	if c.lines == nil {
		c.lines = map[button.Line]*pin{}
	}
	if c.lines[l] == nil {
		c.lines[l] = &pin{chip: c, line: l}
	}
	return c.lines[l]
}

func (c *Chip) take(l button.Line, changed func()) (*pin, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.pin(l)
	switch {
	case p.broken:
		return nil, ErrBroken
	case p.taken:
		return nil, fmt.Errorf("%v is taken", l)
	}
	p.taken, p.changed = true, changed
	return p, nil
}

// Input implements button.Chip.
func (c *Chip) Input(l button.Line, changed func()) (button.Input, error) {
	p, err := c.take(l, changed)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Output implements button.Chip.
func (c *Chip) Output(l button.Line) (button.Output, error) {
	p, err := c.take(l, nil)
	if err != nil {
		return nil, err
	}
	return p, p.Set(false)
}

// Press makes a line active or inactive, and tells who watches it.
func (c *Chip) Press(l button.Line, active bool) {
	c.mu.Lock()
	p := c.pin(l)
	p.active = active
	changed := p.changed
	c.mu.Unlock()
	if changed != nil {
		changed()
	}
}

// Break makes every use of a line fail, or work again.
func (c *Chip) Break(l button.Line, broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pin(l).broken = broken
}

// Lit says whether a line is active.
func (c *Chip) Lit(l button.Line) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pin(l).active
}

// Taken says whether somebody has a line.
func (c *Chip) Taken(l button.Line) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pin(l).taken
}

func (p *pin) Active() (bool, error) {
	p.chip.mu.Lock()
	defer p.chip.mu.Unlock()
	if p.broken {
		return false, ErrBroken
	}
	return p.active, nil
}

func (p *pin) Set(active bool) error {
	p.chip.mu.Lock()
	defer p.chip.mu.Unlock()
	if p.broken {
		return ErrBroken
	}
	p.active = active
	return nil
}

func (p *pin) Close() error {
	p.chip.mu.Lock()
	defer p.chip.mu.Unlock()
	p.taken, p.changed = false, nil
	return nil
}
