package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"gatehouse/commissioner/portal"
)

type scanCmd struct {
	For time.Duration `help:"How long to look, up to 5m." default:"5s"`
}

func (c *scanCmd) Run(ctx context.Context, g *globals) error {
	const row = "%-10s %-14v %-7s %-7s %-10s %-24s %s\n"
	if !g.JSON {
		fmt.Printf(row, "VIA", "DISCRIMINATOR", "VENDOR", "PRODUCT", "SIGNAL", "NAME", "ADDRESS")
	}
	query := url.Values{"for": {c.For.String()}}
	return g.call(ctx, "GET", "scan?"+query.Encode(), nil, func(line json.RawMessage) error {
		if g.JSON {
			fmt.Println(string(line))
			return nil
		}
		var v struct {
			portal.Nearby
			portal.Scanned
		}
		if err := json.Unmarshal(line, &v); err != nil {
			return err
		}
		if v.Via == "" {
			fmt.Printf("%d found\n", v.Scanned.Scanned.Found)
			if why := v.Scanned.Scanned.Bluetooth; why != "" {
				fmt.Println("on the network only:", why)
			}
			return nil
		}
		signal := ""
		if v.Signal != 0 {
			signal = fmt.Sprintf("%d dBm", v.Signal)
		}
		fmt.Printf(row, v.Via, v.Discriminator, fmt.Sprintf("%#04x", v.VendorID), fmt.Sprintf("%#04x", v.ProductID), signal, v.Name, v.Address)
		return nil
	})
}
