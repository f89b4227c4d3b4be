package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
)

type gatewaysCmds struct {
	List     gatewaysListCmd     `cmd:"" default:"withargs" help:"List them, with who leads and what keeps their keys."`
	Add      gatewaysAddCmd      `cmd:"" help:"Let a new gateway in, by the code that its gatehouse join shows."`
	Evict    gatewaysEvictCmd    `cmd:"" help:"Send a gateway away for ever: lost, stolen or worn out."`
	Transfer gatewaysTransferCmd `cmd:"" help:"Have another gateway lead."`
}

type gatewaysListCmd struct{ level }

func (c *gatewaysListCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", c.path("gateways"), nil, func(list portal.Gateways) {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tNODE ID\tROLE\tKEYS IN\tDEVICES\tNOTE")
		for _, v := range list.Gateways {
			var notes []string
			if v.Self {
				notes = append(notes, "this one")
			}
			if v.Leader {
				notes = append(notes, "leads")
			}
			if v.AwaySeconds > 0 {
				notes = append(notes, fmt.Sprintf("away for %.0f s", v.AwaySeconds))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", v.Name, v.Node, v.Role, v.Keys, v.Devices, strings.Join(notes, ", "))
		}
		w.Flush()
		for _, d := range list.Trusting {
			fmt.Printf("%s (%s) still trusts an evicted gateway: it is told as soon as it can be reached\n", d.Name, d.Node)
		}
		for _, n := range list.Exposed {
			fmt.Printf("an evicted gateway knew the credentials of network %q: change them there, then here with `gatehouse network`\n", n)
		}
	})
}

type gatewaysAddCmd struct {
	Code string `arg:"" help:"The setup code: a QR code's text (MT:…) or 11 digits. - reads it from standard input, where no process list shows it."`
}

func (c *gatewaysAddCmd) Run(ctx context.Context, g *globals) error {
	code, err := readCode(c.Code)
	if err != nil {
		return err
	}
	bar := &progressBar{live: term.IsTerminal(int(os.Stdout.Fd()))}
	return g.call(ctx, "POST", "gateways", portal.AddGateway{Code: code}, func(line json.RawMessage) error {
		if g.JSON {
			fmt.Println(string(line))
			return nil
		}
		var v struct {
			commissioner.Progress
			portal.Enrolled
		}
		if err := json.Unmarshal(line, &v); err != nil {
			return err
		}
		if v.Gateway == "" {
			bar.show(v.Progress)
			return nil
		}
		bar.clear()
		fmt.Printf("enrolled gateway %s; it follows as soon as `gatehouse serve` runs on it\n", v.Gateway)
		return nil
	})
}

// readCode is a setup code, from standard input if it is "-".
func readCode(code string) (string, error) {
	if code != "-" {
		return code, nil
	}
	line, err := input.ReadString('\n')
	if line == "" && err != nil {
		return "", commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("no code came on standard input"))
	}
	return strings.TrimSpace(line), nil
}

type gatewaysEvictCmd struct {
	Gateway string `arg:"" help:"Name or node id (16 hex digits)."`
	Reason  string `help:"Why, for the record."`
	Yes     bool   `help:"Do not ask."`
}

func (c *gatewaysEvictCmd) Run(ctx context.Context, g *globals) error {
	if !c.Yes && !sure(fmt.Sprintf("Evict %s for ever? Type its name: ", c.Gateway), c.Gateway) {
		return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("not confirmed; --yes does not ask"))
	}
	path := "gateways/" + url.PathEscape(c.Gateway) + "?reason=" + url.QueryEscape(c.Reason)
	return ask(ctx, g, "DELETE", path, nil, func(e portal.Evicted) {
		fmt.Printf("evicted gateway %s; `gatehouse gateways` lists the devices that are still to be told\n", e.Gateway)
	})
}

// sure asks a person at the terminal to type a word.
func sure(question, word string) bool {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return false
	}
	fmt.Fprint(os.Stderr, question)
	line, _ := input.ReadString('\n')
	return strings.TrimSpace(line) == word
}

type gatewaysTransferCmd struct{}

func (*gatewaysTransferCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", "gateways/transfer", nil, func(t portal.Transferred) { fmt.Println("gateway", t.Leader, "leads") })
}
