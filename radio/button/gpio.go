package button

import "github.com/warthog618/go-gpiocdev"

// consumer is what `gpioinfo` says of a line that is taken.
const consumer = "gatehouse"

// GPIO is the Chip of Linux's GPIO character devices (Linux 5.5 or later).
type GPIO struct{}

// Input implements Chip. The line is pulled away from active.
func (GPIO) Input(l Line, changed func()) (Input, error) {
	level, pull := gpiocdev.AsActiveHigh, gpiocdev.WithPullDown
	if l.ActiveLow {
		level, pull = gpiocdev.AsActiveLow, gpiocdev.WithPullUp
	}
	line, err := gpiocdev.RequestLine(l.Chip, l.Offset, gpiocdev.WithConsumer(consumer), gpiocdev.AsInput, level, pull,
		gpiocdev.WithBothEdges, gpiocdev.WithEventHandler(func(gpiocdev.LineEvent) { changed() }))
	if err != nil {
		return nil, err
	}
	return pin{line}, nil
}

// Output implements Chip.
func (GPIO) Output(l Line) (Output, error) {
	level := gpiocdev.AsActiveHigh
	if l.ActiveLow {
		level = gpiocdev.AsActiveLow
	}
	line, err := gpiocdev.RequestLine(l.Chip, l.Offset, gpiocdev.WithConsumer(consumer), level, gpiocdev.AsOutput(0))
	if err != nil {
		return nil, err
	}
	return pin{line}, nil
}

type pin struct{ *gpiocdev.Line }

func (p pin) Active() (bool, error) {
	v, err := p.Value()
	return v != 0, err
}

func (p pin) Set(active bool) error {
	v := 0
	if active {
		v = 1
	}
	return p.SetValue(v)
}
