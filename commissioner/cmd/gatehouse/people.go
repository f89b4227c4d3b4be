package main

import (
	"context"
	"fmt"
	"html/template"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/qr"
)

type peopleCmds struct {
	List   peopleListCmd   `cmd:"" default:"1" help:"List who may use the home."`
	First  peopleFirstCmd  `cmd:"" help:"Show the code that makes whoever scans it the home's first administrator."`
	Invite peopleInviteCmd `cmd:"" help:"Invite somebody, or anew who cannot log in any more."`
	Role   peopleRoleCmd   `cmd:"" help:"Say what somebody may do."`
	Remove peopleRemoveCmd `cmd:"" help:"Take somebody out, and end their sessions and tokens."`
	Token  peopleTokenCmd  `cmd:"" help:"Give a program, such as Home Assistant, a token for somebody."`
	May    peopleMayCmd    `cmd:"" help:"Say who may let devices in beside administrators."`
}

type peopleListCmd struct{}

func (*peopleListCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "people", nil, func(list portal.People) {
		t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tROLE\tSINCE\tSESSIONS\tTOKENS\tID")
		for _, p := range list.People {
			tokens := 0
			for _, pass := range p.Passes {
				if pass.Token {
					tokens++
				}
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n", p.Name, p.Role, p.Since.Local().Format(time.DateOnly), len(p.Passes)-tokens, tokens, p.ID)
		}
		t.Flush()
		if list.Exposed {
			fmt.Println("A gateway that is gone could read what people log in by: have all choose new passwords.")
		}
	})
}

// invitation shows what somebody is invited with.
type invitation struct {
	Sheet string `help:"Write a page to print, with the code on it." placeholder:"FILE.html" type:"path"`
}

type peopleFirstCmd struct {
	invitation
}

// firstName is what the first administrator is called until they say otherwise.
const firstName = "Administrator"

func (c *peopleFirstCmd) Run(ctx context.Context, g *globals) error {
	return c.ask(ctx, g, "people", portal.PersonRequest{Name: firstName, Role: "administrator", First: true})
}

type peopleInviteCmd struct {
	Name string `arg:"" help:"Who: by name, or the id of somebody who is there already."`
	Role string `help:"What they may do." enum:"guest,resident,auditor,administrator" default:"resident"`
	invitation
}

func (c *peopleInviteCmd) Run(ctx context.Context, g *globals) error {
	id, err := personID(ctx, g, c.Name)
	if err != nil {
		return err
	}
	if id != "" {
		return c.ask(ctx, g, "people/"+id+"/invitation", struct{}{})
	}
	return c.ask(ctx, g, "people", portal.PersonRequest{Name: c.Name, Role: c.Role})
}

// personID is the id of somebody by name or id; empty: nobody's.
func personID(ctx context.Context, g *globals, who string) (id string, err error) {
	plain := *g
	plain.JSON = false
	err = ask(ctx, &plain, "GET", "people", nil, func(list portal.People) {
		for _, p := range list.People {
			if p.ID == who || strings.EqualFold(p.Name, who) {
				id = p.ID
			}
		}
	})
	return id, err
}

func (c *invitation) ask(ctx context.Context, g *globals, path string, body any) error {
	var failed error
	err := ask(ctx, g, "POST", path, body, func(i portal.Invitation) { failed = c.show(i) })
	if err == nil {
		err = failed
	}
	return err
}

func (c *invitation) show(i portal.Invitation) error {
	at := i.Link // what follows # is sent to nobody: it stays in the browser until it is used
	if at == "" {
		return &commissioner.Failure{Code: "web-not-served", Message: "this gateway serves no web page", Remedy: "start it with `gatehouse serve --https :443`, and invite again"}
	}
	fmt.Printf("Scan this with a phone on the home's network, until %s. It is good once.\n", i.Ends.Local().Format("Monday 15:04"))
	drawQR(at)
	fmt.Println(at)
	for _, other := range i.Addresses[1:] {
		fmt.Println("or         ", other)
	}
	if i.Fingerprint != "" {
		fmt.Println("fingerprint", i.Fingerprint)
	}
	if c.Sheet == "" {
		return nil
	}
	return writeSheet(c.Sheet, i, at)
}

var sheet = template.Must(template.New("sheet").Parse(`<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>Gatehouse</title>
<style>body{font:16px/1.5 sans-serif;max-width:36em;margin:2em auto;text-align:center}svg{width:16em}code{overflow-wrap:anywhere}</style>
<h1>Gatehouse</h1>
<p>For {{.Person.Name}}. Scan this with a phone on the home's network. It is good once, until {{.Ends.Format "2006-01-02 15:04 MST"}}.</p>
{{.Picture}}
<p><code>{{.Address}}</code></p>
<p>The phone says at first that it does not know who made the page's certificate. Its fingerprint is<br><code>{{.Fingerprint}}</code></p>
</html>
`))

// writeSheet writes a page for the printer, for its owner alone to read.
func writeSheet(path string, i portal.Invitation, at string) error {
	picture, err := qr.SVG(at, "the code to scan")
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = sheet.Execute(f, struct {
		portal.Invitation
		Picture template.HTML
		Address string
	}{i, template.HTML(picture), at})
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// who is somebody given by name or id.
type who struct {
	Name string `arg:"" help:"Who: by name or id."`
}

func (c *who) path(ctx context.Context, g *globals) (string, error) {
	id, err := personID(ctx, g, c.Name)
	if err == nil && id == "" {
		err = &commissioner.Failure{Code: "person-unknown", Message: fmt.Sprintf("nobody is called %q", c.Name), Remedy: "see `gatehouse people`"}
	}
	return "people/" + id, err
}

type peopleRoleCmd struct {
	who
	Role string `arg:"" enum:"guest,resident,auditor,administrator" help:"guest, resident, auditor or administrator."`
}

func (c *peopleRoleCmd) Run(ctx context.Context, g *globals) error {
	path, err := c.path(ctx, g)
	if err != nil {
		return err
	}
	return ask(ctx, g, "PATCH", path, portal.PersonRequest{Role: c.Role}, func(p portal.Person) { fmt.Printf("%s is %s now\n", p.Name, p.Role) })
}

type peopleRemoveCmd struct{ who }

func (c *peopleRemoveCmd) Run(ctx context.Context, g *globals) error {
	path, err := c.path(ctx, g)
	if err != nil {
		return err
	}
	return ask(ctx, g, "DELETE", path, nil, func(portal.Done) { fmt.Println("removed", c.Name) })
}

type peopleMayCmd struct {
	Role string `arg:"" enum:"guest,resident,administrator" help:"guest, resident or administrator: those, and whoever may do more."`
}

func (c *peopleMayCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "PUT", "approval", portal.Approval{Role: c.Role}, func(a portal.Approval) { fmt.Printf("devices are let in by: %s\n", a.Role) })
}

type peopleTokenCmd struct {
	who
	Program string `arg:"" help:"What the program is called."`
	Role    string `help:"What the program may do at most." enum:"guest,resident,auditor,administrator" default:"resident"`
	Days    int    `help:"How long it holds; 0: until it is taken back."`
}

func (c *peopleTokenCmd) Run(ctx context.Context, g *globals) error {
	path, err := c.path(ctx, g)
	if err != nil {
		return err
	}
	return ask(ctx, g, "POST", path+"/tokens", portal.TokenRequest{Name: c.Program, Role: c.Role, Days: c.Days}, func(t portal.NewToken) {
		fmt.Println("It is shown once:", t.Secret)
		fmt.Printf("Home Assistant's Matter integration takes the address wss://gatehouse:%s@gatehouse.local/ws\n", t.Secret)
	})
}
