package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/qr"
)

type statusCmd struct{}

func (*statusCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", "status", nil, func(s portal.Status) {
		fmt.Printf("home %s, fabric %s, gateway %s, %d devices\n", s.Home, s.Fabric, s.Gateway, s.Devices)
		if s.Leader == "" {
			fmt.Println("no gateway leads the others now: nothing can be admitted")
		}
		switch r := s.Radio; {
		case r == nil:
			fmt.Println("no Bluetooth")
		case r.Up:
			fmt.Printf("Bluetooth adapter %s, begun anew %d times\n", r.Address, r.Restarts)
		default:
			fmt.Printf("Bluetooth is down: %s\n", r.Reason)
		}
		for _, name := range s.Proxies {
			fmt.Println("Bluetooth by way of", name)
		}
	})
}

// level is how old an answer may be.
type level struct {
	Level string `help:"local: what this gateway knows; linearizable: no older than the question, or a failure." default:"local" enum:"local,linearizable"`
}

func (l level) path(list string) string { return list + "?level=" + l.Level }

type devicesCmd struct{ level }

func (c *devicesCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", c.path("devices"), nil, func(list portal.Devices) {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "NAME\tNODE ID\tZONE\tSTATE\tPRODUCT\tSOFTWARE\tADDRESS")
		for _, d := range list.Devices {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s %s\t%s\t%s\n", d.Name, d.Node, d.Zone, stateOf(d), d.Facts.VendorName, d.Facts.ProductName, d.Facts.SoftwareString, d.Address)
		}
		w.Flush()
	})
}

// stateOf is how far a device is; of one that was taken over, on which terms.
func stateOf(d portal.Device) string {
	if d.Terms == "" {
		return d.Phase
	}
	return d.Phase + ", " + d.Terms
}

type deviceCmds struct {
	Show      deviceShowCmd      `cmd:"" help:"Show a device."`
	State     deviceStateCmd     `cmd:"" help:"Show what a device last said, without asking it."`
	Place     devicePlaceCmd     `cmd:"" help:"Say in which room a device is."`
	Read      deviceReadCmd      `cmd:"" help:"Read attributes or events."`
	Write     deviceWriteCmd     `cmd:"" help:"Write an attribute."`
	Invoke    deviceInvokeCmd    `cmd:"" help:"Invoke a command."`
	Subscribe deviceSubscribeCmd `cmd:"" help:"Print attributes and events whenever they change."`
	Share     deviceShareCmd     `cmd:"" help:"Let another controller pair the device, for a while."`
	Unshare   deviceUnshareCmd   `cmd:"" help:"End the sharing."`
	Network   deviceNetworkCmds  `cmd:"" help:"The networks the device was told of."`
	Rename    deviceRenameCmd    `cmd:"" help:"Give a device another name."`
	Remove    deviceRemoveCmd    `cmd:"" help:"Send a device away."`
}

// target is the device of a command.
type target struct {
	Device string `arg:"" help:"Name or node id (16 hex digits)."`
}

func (t *target) path(rest string) string { return "devices/" + url.PathEscape(t.Device) + rest }

type deviceShowCmd struct{ target }

func (c *deviceShowCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", c.path(""), nil, func(d portal.Device) {
		out, _ := json.MarshalIndent(d, "", "  ")
		fmt.Println(string(out))
	})
}

type deviceReadCmd struct {
	target
	Paths  []string `arg:"" help:"endpoint/cluster/attribute, numbers decimal or 0x…, * for all. Example: 1/6/0"`
	Events []string `help:"endpoint/cluster/event to read too." placeholder:"PATH"`
}

func (c *deviceReadCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path("/read"), portal.ReadRequest{Attributes: c.Paths, Events: c.Events}, show)
}

func show(r portal.Report) {
	for _, a := range r.Attributes {
		if a.Error != "" {
			fmt.Printf("%s\t%s\n", a.Path, a.Error)
		} else {
			fmt.Printf("%s\t%s\n", a.Path, a.Value)
		}
	}
	for _, e := range r.Events {
		fmt.Printf("event %s\t#%d\t%s%s\n", e.Path, e.Number, e.Value, e.Error)
	}
}

type deviceWriteCmd struct {
	target
	Path  string        `arg:"" help:"endpoint/cluster/attribute"`
	Value string        `arg:"" help:"JSON."`
	Type  string        `help:"TLV type where the JSON looks like another: INT, UINT, FLOAT, DOUBLE, BYTES (base64), STRING, ARRAY-UINT …"`
	Timed time.Duration `help:"Make the interaction a timed one."`
}

func (c *deviceWriteCmd) Run(ctx context.Context, g *globals) error {
	req := portal.WriteRequest{Path: c.Path, Value: json.RawMessage(c.Value), Type: c.Type, TimedMS: c.Timed.Milliseconds()}
	return ask(ctx, g, "POST", c.path("/write"), req, func(w portal.Written) { fmt.Println("written", w.Path) })
}

type deviceInvokeCmd struct {
	target
	Path   string        `arg:"" help:"endpoint/cluster/command. Example: 1/6/2 toggles a light"`
	Fields string        `arg:"" optional:"" help:"JSON object keyed by tag number, a type behind a colon where need be: {\"0\":128,\"1:UINT\":0}"`
	Timed  time.Duration `help:"Make the interaction a timed one."`
}

func (c *deviceInvokeCmd) Run(ctx context.Context, g *globals) error {
	req := portal.InvokeRequest{Path: c.Path, Fields: json.RawMessage(c.Fields), TimedMS: c.Timed.Milliseconds()}
	return ask(ctx, g, "POST", c.path("/invoke"), req, func(i portal.Invoked) { fmt.Println("done", i.Path, string(i.Response)) })
}

type deviceSubscribeCmd struct {
	target
	Paths  []string `arg:"" help:"endpoint/cluster/attribute"`
	Events []string `help:"endpoint/cluster/event" placeholder:"PATH"`
	Min    uint16   `help:"Seconds between two reports at the least."`
	Max    uint16   `help:"Seconds of silence at the most." default:"60"`
}

func (c *deviceSubscribeCmd) Run(ctx context.Context, g *globals) error {
	req := portal.SubscribeRequest{ReadRequest: portal.ReadRequest{Attributes: c.Paths, Events: c.Events}, Min: c.Min, Max: c.Max}
	err := ask(ctx, g, "POST", c.path("/subscribe"), req, show)
	if ctx.Err() != nil { // interrupted: that is how it ends
		return nil
	}
	return err
}

type deviceShareCmd struct {
	target
	For time.Duration `help:"How long, 3m to 15m." default:"15m"`
}

func (c *deviceShareCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path("/window"), portal.WindowRequest{Seconds: int(c.For.Seconds())}, func(s keeper.Share) {
		drawQR(s.QR)
		fmt.Printf("QR code      %s\nmanual code  %s\nuntil        %s\n", s.QR, s.Manual, s.Expires.Local().Format(time.TimeOnly))
	})
}

// drawQR draws a QR code, if it can be drawn.
func drawQR(text string) {
	if drawn, err := qr.Terminal(text); err == nil {
		fmt.Print(drawn)
	}
}

type deviceUnshareCmd struct{ target }

func (c *deviceUnshareCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "DELETE", c.path("/window"), nil, func(portal.Closed) { fmt.Println("closed") })
}

type deviceRenameCmd struct {
	target
	Name string `arg:"" help:"The new name."`
}

func (c *deviceRenameCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "PATCH", c.path(""), portal.Rename{Name: &c.Name}, func(d portal.Device) { fmt.Println("renamed to", d.Name) })
}

type deviceStateCmd struct{ target }

func (c *deviceStateCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", c.path("/state"), nil, func(s portal.DeviceState) {
		switch {
		case s.Since == nil:
			fmt.Println("it has not said anything yet")
		case s.Available:
			fmt.Println("it answers, since", s.Since.Local().Format(time.DateTime))
		default:
			fmt.Println("it does not answer, since", s.Since.Local().Format(time.DateTime))
		}
		for _, path := range slices.Sorted(maps.Keys(s.Values)) {
			fmt.Printf("%s\t%s\n", path, s.Values[path])
		}
	})
}

type devicePlaceCmd struct {
	target
	Room string `arg:"" help:"The room; empty: none."`
}

func (c *devicePlaceCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "PATCH", c.path(""), portal.Rename{Room: &c.Room}, func(d portal.Device) { fmt.Printf("%s is in %q\n", d.Name, d.Room) })
}

type deviceRemoveCmd struct {
	target
	Force bool `help:"Forget the device even if it cannot be reached."`
}

func (c *deviceRemoveCmd) Run(ctx context.Context, g *globals) error {
	path := c.path("")
	if c.Force {
		path += "?force=true"
	}
	return ask(ctx, g, "DELETE", path, nil, func(r portal.Removed) { fmt.Println("removed", r.Removed) })
}
