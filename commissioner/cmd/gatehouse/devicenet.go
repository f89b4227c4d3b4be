package main

import (
	"context"
	"fmt"
	"os"
	"text/tabwriter"

	"gatehouse/commissioner/portal"
)

type deviceNetworkCmds struct {
	List   deviceNetworkListCmd   `cmd:"" help:"List them, in the order the device tries them."`
	Add    deviceNetworkAddCmd    `cmd:"" help:"Tell the device one more of the home's networks."`
	Remove deviceNetworkRemoveCmd `cmd:"" help:"Let the device forget a network it is not on."`
	Move   deviceNetworkMoveCmd   `cmd:"" help:"Give a network another place in the device's order."`
}

func showDeviceNetworks(list portal.DeviceNetworks) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PLACE\tKIND\tSSID OR PAN ID\tCONNECTED")
	for _, n := range list.Networks {
		fmt.Fprintf(w, "%d\t%s\t%s\t%v\n", n.Place, n.Kind, n.ID, n.Connected)
	}
	w.Flush()
}

type deviceNetworkListCmd struct{ target }

func (c *deviceNetworkListCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "GET", c.path("/networks"), nil, showDeviceNetworks)
}

type deviceNetworkAddCmd struct {
	target
	Network string `arg:"" help:"What the home calls it."`
}

func (c *deviceNetworkAddCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path("/networks"), portal.ChangeNetworks{Add: c.Network}, showDeviceNetworks)
}

type deviceNetworkRemoveCmd struct {
	target
	ID string `arg:"" help:"SSID, or extended PAN id in hex."`
}

func (c *deviceNetworkRemoveCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path("/networks"), portal.ChangeNetworks{Remove: c.ID}, showDeviceNetworks)
}

type deviceNetworkMoveCmd struct {
	target
	ID    string `arg:"" help:"SSID, or extended PAN id in hex."`
	Place int    `arg:"" help:"From 1."`
}

func (c *deviceNetworkMoveCmd) Run(ctx context.Context, g *globals) error {
	return ask(ctx, g, "POST", c.path("/networks"), portal.ChangeNetworks{Move: c.ID, Place: c.Place}, showDeviceNetworks)
}
