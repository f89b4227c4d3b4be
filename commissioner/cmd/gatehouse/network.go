package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
)

type networkCmds struct {
	List   networkListCmd   `cmd:"" help:"List the networks that devices are put on."`
	WiFi   networkWiFiCmd   `cmd:"" name:"wifi" help:"Add a Wi-Fi network, or change its password."`
	Thread networkThreadCmd `cmd:"" help:"Add a Thread network, or change its dataset."`
	Prefer networkPreferCmd `cmd:"" help:"Put devices on this network when nobody says otherwise."`
	Check  networkCheckCmd  `cmd:"" help:"Look for what keeps a Thread network's devices from being reached."`
	Remove networkRemoveCmd `cmd:"" help:"Forget a network. Devices that are on it stay there."`
}

// namedNetwork is the network of a command.
type namedNetwork struct {
	Name string `arg:"" help:"What the home calls the network."`
}

func (n *namedNetwork) path(rest string) string { return "networks/" + url.PathEscape(n.Name) + rest }

func (n *namedNetwork) put(ctx context.Context, g *globals, c portal.Credentials) error {
	return ask(ctx, g, "PUT", n.path(""), c, func(v portal.Network) { fmt.Printf("%s: %s network %s\n", v.Name, v.Kind, v.ID) })
}

type networkListCmd struct{}

func (*networkListCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "networks", nil, func(list portal.Networks) {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tKIND\tSSID OR PAN ID\tPREFERRED\tSET")
		for _, n := range list.Networks {
			fmt.Fprintf(w, "%s\t%s\t%s\t%v\t%s\n", n.Name, n.Kind, n.ID, n.Preferred, n.SetAt.Local().Format(time.DateOnly))
		}
		w.Flush()
	})
}

type networkWiFiCmd struct {
	namedNetwork
	SSID string `help:"The network's own name; the home's name for it unless given."`
	Open bool   `help:"It has no password."`
}

func (c *networkWiFiCmd) Run(ctx context.Context, g *globals) error {
	if c.SSID == "" {
		c.SSID = c.Name
	}
	credentials := portal.Credentials{SSID: c.SSID, Open: c.Open}
	if !c.Open {
		var err error
		if credentials.Password, err = secretLine(fmt.Sprintf("password of %s: ", c.SSID)); err != nil {
			return err
		}
	}
	return c.put(ctx, g, credentials)
}

type networkThreadCmd struct {
	namedNetwork
	BorderRouter string `help:"Take the dataset from a border router's REST interface." placeholder:"http://ADDRESS:8081"`
	New          bool   `help:"Make a new network: for the border router, if it has none, or for those that will be told of it."`
}

func (c *networkThreadCmd) Run(ctx context.Context, g *globals) error {
	credentials := portal.Credentials{BorderRouter: c.BorderRouter, New: c.New}
	if c.BorderRouter == "" && !c.New {
		var err error
		if credentials.Dataset, err = secretLine("operational dataset in hex: "); err != nil {
			return err
		}
	}
	return c.put(ctx, g, credentials)
}

type networkPreferCmd struct{ namedNetwork }

func (c *networkPreferCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path("/prefer"), nil, func(n portal.Network) { fmt.Println(n.Name, "is preferred") })
}

type networkRemoveCmd struct{ namedNetwork }

func (c *networkRemoveCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "DELETE", c.path(""), nil, func(r portal.Removed) { fmt.Println("removed", r.Removed) })
}

type networkCheckCmd struct{ namedNetwork }

func (c *networkCheckCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", c.path("/health"), nil, func(h portal.Health) {
		for _, f := range h.Findings {
			fmt.Printf("%s\n  what to do: %s\n  code: %s\n", f.Message, f.Remedy, f.Code)
		}
		if len(h.Findings) == 0 {
			fmt.Println("nothing is wrong with it, as far as can be seen from here")
		}
	})
}

// input is standard input, of which lines may be left.
var input = bufio.NewReader(os.Stdin)

// secretLine reads a secret: without an echo from a terminal, else as a line
// of standard input. It is never an argument, which others could see.
func secretLine(prompt string) (string, error) {
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		fmt.Fprint(os.Stderr, prompt)
		b, err := term.ReadPassword(fd)
		fmt.Fprintln(os.Stderr)
		return string(b), err
	}
	line, err := input.ReadString('\n')
	if line == "" && err != nil {
		return "", commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("no secret came on standard input"))
	}
	return strings.TrimRight(line, "\r\n"), nil
}
