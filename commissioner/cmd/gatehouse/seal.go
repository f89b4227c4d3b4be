package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"gatehouse/commissioner/portal"
)

type sealCmds struct {
	Status sealStatusCmd `cmd:"" default:"1" help:"Show what the home's secrets are sealed with."`
	Rotate sealRotateCmd `cmd:"" help:"Seal them with the newest algorithms. Gateways of older releases then cannot join any more."`
}

type sealStatusCmd struct{}

func (*sealStatusCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "seal", nil, showSealing)
}

type sealRotateCmd struct{}

func (*sealRotateCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", "seal/rotate", nil, showSealing)
}

func showSealing(s portal.Sealing) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "suite\t%d of %d\n", s.Suite, s.Newest)
	fmt.Fprintf(w, "secrets\t%s\n", s.Secrets)
	for _, v := range s.Gateways {
		fmt.Fprintf(w, "key of %s\t%s\n", v.Name, v.Algorithm)
	}
	if s.Kit != "" {
		fmt.Fprintf(w, "recovery kit\t%s\n", s.Kit)
	}
	w.Flush()
	if !s.Done {
		fmt.Println("not all is sealed with this suite yet: each gateway renews its key as soon as it is up")
	}
}
