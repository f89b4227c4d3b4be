//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// assisted is what Home Assistant is told of a home: where it is, by what it
// knows it, and a token.
type assisted struct {
	url, fingerprint, address string
}

// assist has a home with a web page let Home Assistant in.
func assist(t *testing.T, ctx context.Context, g *lab.Gateway) (a assisted) {
	t.Helper()
	var invited struct {
		Addresses   []string
		Fingerprint string
	}
	var token struct{ Secret string }
	for {
		line, err := g.Run(ctx, "people", "first") // until the page has a certificate
		check(t, err)
		check(t, json.Unmarshal(line, &invited))
		if invited.Fingerprint != "" {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	line, err := g.Run(ctx, "people", "token", "Administrator", "Home Assistant", "--role", "administrator")
	check(t, err)
	check(t, json.Unmarshal(line, &token))
	const name = "https://gatehouse.local:8443"
	if len(invited.Addresses) < 2 || invited.Addresses[0] != name {
		t.Fatalf("the page is at %q", invited.Addresses)
	}
	return assisted{"wss://home:" + token.Secret + "@gatehouse.local:8443/ws", invited.Fingerprint, invited.Addresses[1]}
}

// TestGatewayHomeAssistant has Home Assistant's client give all commands to a
// gateway, with a matter.js light.
func TestGatewayHomeAssistant(t *testing.T) {
	t.Parallel()
	python := homeAssistant(t)
	ctx := within(t, limit)
	n := network(t)
	g, err := host(t, n, "gate").ServeWith("--https", ":8443").Gateway(ctx, gatehouseBin)
	check(t, err)
	lights, err := host(t, n, "light").Lights(ctx, lab.LightConfig{Name: "light", Count: 1, Discriminator: 3840, Sleepy: true})
	check(t, err)
	a := assist(t, ctx, g)
	dir, err := lab.Dir()
	check(t, err)
	client, err := host(t, n, "assistant").Start(nil, python, filepath.Join(dir, "homeassistant", "client.py"), "-", lights[0].Manual, "hasty")
	check(t, err)
	here := strings.Replace(a.url, "gatehouse.local:8443", strings.TrimPrefix(a.address, "https://"), 1)
	for _, line := range []string{here, a.fingerprint, a.address} {
		check(t, client.Say(line))
	}
	steps := 0
	err = client.Event(ctx, func(line json.RawMessage) bool {
		var e struct {
			Step, Want string
			MS         int
			IDs        json.RawMessage
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		switch {
		case e.Want == "shutdown":
			check(t, g.Proc.Stop())
			check(t, client.Say("done"))
		case e.Want != "": // only a home in memory does it
			check(t, client.Say("skip"))
		case e.Step != "":
			t.Logf("%s: %d ms", e.Step, e.MS)
			steps++
		}
		return e.IDs != nil
	})
	const all = 19
	if err != nil || steps != all {
		t.Errorf("of %d steps %d were taken: %v\n%s", all, steps, err, client.Log())
	}
}

// TestHomeAssistantLosesGateway has Home Assistant's client pair a matter.js
// light by the home's name, and loses the gateway that it talks to: it comes
// back by the same name to another one, and finds the same ids.
func TestHomeAssistantLosesGateway(t *testing.T) {
	t.Parallel()
	python := homeAssistant(t)
	ctx := within(t, limit)
	n := network(t)
	web := []string{"--https", ":8443"}
	first, err := host(t, n, "gate1").ServeWith(web...).Gateway(ctx, gatehouseBin)
	check(t, err)
	for _, name := range []string{"gate2", "gate3"} {
		_, err := host(t, n, name).ServeWith(web...).Join(ctx, first)
		check(t, err)
	}
	check(t, voters(ctx, first, 3))
	lights, err := host(t, n, "light").Lights(ctx, lab.LightConfig{Name: "light", Count: 1, Discriminator: 3840})
	check(t, err)
	a := assist(t, ctx, first)
	dir, err := lab.Dir()
	check(t, err)
	client, err := host(t, n, "assistant").Start(nil, python, filepath.Join(dir, "homeassistant", "failover.py"), lights[0].Manual, a.fingerprint, a.address)
	check(t, err)
	check(t, client.Say(a.url)) // it holds a token
	var steps []string
	check(t, client.Event(ctx, func(line json.RawMessage) bool {
		var e struct {
			Step, Want string
			MS         int
			IDs        json.RawMessage
		}
		if err := json.Unmarshal(line, &e); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		switch {
		case e.Want == "lose":
			first.Proc.Kill()
			check(t, client.Say("done"))
		case e.Step != "":
			t.Logf("%s after %d ms", e.Step, e.MS)
			steps = append(steps, e.Step)
		case e.IDs != nil:
			t.Logf("%s", e.IDs)
		}
		return e.IDs != nil
	}))
	if !slices.Equal(steps, []string{"paired", "noticed", "back", "switched"}) {
		t.Errorf("%q\n%s", steps, client.Log())
	}
}
