package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/radio/button"
)

type modeCmds struct {
	Show   modeShowCmd   `cmd:"" help:"Show whether the gateway is in pairing mode."`
	Open   modeOpenCmd   `cmd:"" help:"Begin the pairing mode, as a press of the button does."`
	Cancel modeCancelCmd `cmd:"" help:"End it, and every pairing that is going on, as a long press does."`
}

func showMode(m portal.Mode) {
	switch {
	case m.Open:
		fmt.Printf("in pairing mode until %s, %d pairings going on\n", m.Until.Local().Format(time.TimeOnly), m.Pairings)
	case m.Required:
		fmt.Println("not in pairing mode: nothing is paired")
	default:
		fmt.Printf("not in pairing mode, which is not required, %d pairings going on\n", m.Pairings)
	}
}

type modeShowCmd struct{}

func (*modeShowCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "mode", nil, showMode)
}

type modeOpenCmd struct {
	For time.Duration `help:"How long, up to 15m." default:"3m"`
}

func (c *modeOpenCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", "mode", portal.OpenMode{Seconds: int(c.For.Seconds())}, showMode)
}

type modeCancelCmd struct{}

func (*modeCancelCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "DELETE", "mode", nil, showMode)
}

// front is the gateway's own button and light, as far as it has them.
type front struct {
	Button    string `help:"GPIO line of the pairing button. Example: gpiochip0:17:low" placeholder:"CHIP:LINE[:low]"`
	Light     string `help:"GPIO line of the light." placeholder:"CHIP:LINE[:low]"`
	MustPress bool   `help:"Pair nothing unless the button was pressed within the last minutes."`
}

// open takes the lines. release gives them back.
func (f *front) open(chip button.Chip) (_ *commissioner.Mode, release func(), err error) {
	mode := &commissioner.Mode{Required: f.MustPress, Now: clock}
	var opened []func() error
	closing := func() {
		for _, c := range opened {
			c()
		}
	}
	defer func() {
		if err != nil {
			closing()
		}
	}()
	if f.Light != "" {
		line, err := button.ParseLine(f.Light)
		if err != nil {
			return nil, nil, err
		}
		light, err := button.OpenLight(chip, line)
		if err != nil {
			return nil, nil, fmt.Errorf("the gateway's light: %w", err)
		}
		mode.Light, opened = light, append(opened, light.Close)
	}
	if f.Button == "" {
		if f.MustPress {
			return nil, nil, errors.New("--must-press needs --button")
		}
		return mode, closing, nil
	}
	line, err := button.ParseLine(f.Button)
	if err != nil {
		return nil, nil, err
	}
	b, err := button.Open(chip, button.Config{Line: line, Handle: mode.Press})
	if err != nil {
		return nil, nil, fmt.Errorf("the gateway's button: %w", err)
	}
	mode.Button = true
	opened = append(opened, b.Close)
	return mode, closing, nil
}
