package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
)

type pairCmd struct {
	Code    string `arg:"" help:"The setup code: a QR code's text (MT:…) or 11 or 21 digits. - reads it from standard input, where no process list shows it."`
	Name    string `help:"What the home calls the device."`
	Zone    string `help:"The zone it belongs to."`
	Network string `help:"Which of the home's networks a device is put on that is on none; see network list."`
	Ask     bool   `help:"Ask, on a terminal, for a network's credentials where they are missing or wrong, and whether a device shall come in that is quarantined for its software. With --json, answers are read from standard input, one a line." negatable:"" default:"true"`
}

func (c *pairCmd) Run(ctx context.Context, g *globals) error {
	code, err := readCode(c.Code)
	if err != nil {
		return err
	}
	bar := &progressBar{live: term.IsTerminal(int(os.Stdout.Fd()))}
	return g.call(ctx, "POST", "pair", portal.PairRequest{Code: code, Name: c.Name, Zone: c.Zone, Network: c.Network, Interactive: c.Ask && (g.JSON || term.IsTerminal(int(os.Stdin.Fd())))}, func(line json.RawMessage) error {
		if g.JSON {
			fmt.Println(string(line))
		}
		var v struct {
			commissioner.Progress
			portal.Asked
			Admitted *portal.Device
		}
		if err := json.Unmarshal(line, &v); err != nil {
			return err
		}
		if v.Question.ID != "" {
			bar.clear()
			return g.answer(ctx, v.Asked)
		}
		if g.JSON {
			return nil
		}
		if v.Admitted != nil {
			bar.clear()
			fmt.Printf("admitted %s as %s\n", v.Admitted.Name, v.Admitted.Node)
			return nil
		}
		bar.show(v.Progress)
		return nil
	})
}

// progressBar shows the steps of a pairing: as one line that changes on a
// terminal, else a line for each step that ended.
type progressBar struct{ live bool }

const barWidth = 24

func (b *progressBar) show(p commissioner.Progress) {
	switch {
	case p.State == commissioner.StepRetrying:
		b.clear()
		fmt.Println("once more:", p.Detail)
	case b.live:
		full := p.Step * barWidth / p.Of
		fmt.Printf("\r\x1b[K[%s%s] %d/%d %s", strings.Repeat("█", full), strings.Repeat("·", barWidth-full), p.Step, p.Of, p.Name)
		if p.State == commissioner.StepFailed {
			fmt.Println(" failed")
		}
	case p.State != commissioner.StepStarted:
		fmt.Printf("%2d/%d %-16s %-6s %4d ms\n", p.Step, p.Of, p.Name, p.State, p.MS)
	}
}

func (b *progressBar) clear() {
	if b.live {
		fmt.Print("\r\x1b[K")
	}
}
