package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"gatehouse/commissioner/portal"
)

type rolloutCmds struct {
	List  rolloutListCmd  `cmd:"" default:"1" help:"Show the images on their way, and how far they are."`
	Begin rolloutBeginCmd `cmd:"" help:"Give an image to all devices it is for, one first; or go on where it stopped."`
	Stop  rolloutStopCmd  `cmd:"" help:"Have no further device begin with an image."`
}

type rolloutListCmd struct{}

func (*rolloutListCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "firmware/rollouts", nil, showRollouts)
}

// rolledOut is which image is meant.
type rolledOut struct {
	Image string `arg:"" help:"Beginning of its digest, or its product, as FFF1/8001."`
}

func (i rolledOut) path() string {
	return "firmware/rollouts/" + url.PathEscape(strings.ReplaceAll(i.Image, "/", "-"))
}

type rolloutBeginCmd struct{ rolledOut }

func (c *rolloutBeginCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path(), nil, showRollouts)
}

type rolloutStopCmd struct {
	rolledOut
	Reason string `arg:"" help:"Why, for who looks at it later."`
}

func (c *rolloutStopCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "DELETE", c.path(), portal.StopRollout{Reason: c.Reason}, showRollouts)
}

func showRollouts(r portal.Rollouts) {
	if len(r.Rollouts) == 0 {
		fmt.Println("every device runs what it is to run")
	}
	for _, v := range r.Rollouts {
		fmt.Printf("%s version %s, image %.12s: %s; %d have it, %d are to have it\n", v.Product, v.Name, v.Image, stageText[v.Stage], v.Done, len(v.Devices))
		if v.Why != "" {
			fmt.Println("  " + v.Why)
		}
		for _, d := range v.Devices {
			fmt.Printf("  %s (%s)", d.Name, d.Node)
			switch {
			case d.Why != "":
				fmt.Printf(": try %d failed: it %s", d.Tries, d.Why)
			case d.Octet > 0:
				fmt.Printf(": %s, %d of %d octets", d.State, d.Octet, d.Size)
			case d.Tries > 0:
				fmt.Printf(": try %d, %s", d.Tries, d.State)
			}
			fmt.Println()
		}
	}
}

var stageText = map[string]string{"waiting": "nobody has begun", "first": "one device first", "rest": "one has it, the rest follow", "stopped": "stopped"}
