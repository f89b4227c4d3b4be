//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// airHome is a gateway with Bluetooth, on a new host.
func airHome(t *testing.T, ctx context.Context, n *lab.Net) (*lab.Gateway, *lab.Air) {
	t.Helper()
	a, err := n.Air(ctx, airBin)
	check(t, err)
	return homeOn(t, ctx, host(t, n, "gate"), a), a
}

// TestBluetoothLights pairs fresh matter.js lights over Bluetooth, one after
// the other, puts them on a network and meets them there.
func TestBluetoothLights(t *testing.T) {
	t.Parallel()
	count := 3
	if long {
		count = 50
	}
	ctx := within(t, 4*limit)
	net := network(t)
	g, a := airHome(t, ctx, net)
	check(t, g.AddNetwork(ctx, "wifi", lab.SSID, lab.Password))
	var times []time.Duration
	for i := range count {
		name := fmt.Sprintf("light%d", i)
		light, err := net.BluetoothLight(ctx, a, name, i, "")
		check(t, err)
		began := time.Now()
		if _, err := g.Pair(ctx, light.QR, name); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			times = append(times, time.Since(began))
			_, err := g.Run(ctx, "device", "invoke", name, "1/6/1")
			check(t, err)
			check(t, light.Switched(ctx, true))
		}
		light.Kill() // a process with Bluetooth is for one session
	}
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	t.Logf("%d of %d lights are admitted: from %v to %v, median %v", len(times), count, times[0], times[len(times)-1], times[len(times)/2])
}

// TestWrongPassword answers the question for a network's password wrongly,
// then rightly, inside one pairing.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	g, a := airHome(t, ctx, net)
	check(t, g.AddNetwork(ctx, "wifi", lab.SSID, "wrong horse"))
	light, err := net.BluetoothLight(ctx, a, "light", 1234, "")
	check(t, err)
	pairing, err := g.Stream("pair", light.QR)
	check(t, err)
	check(t, pairing.Event(ctx, asked("network-password-wrong")))
	check(t, pairing.Say(fmt.Sprintf(`{"ssid":%q,"password":"also wrong"}`, lab.SSID)))
	check(t, pairing.Event(ctx, asked("network-password-wrong")))
	check(t, pairing.Say(fmt.Sprintf(`{"ssid":%q,"password":%q,"save_as":%[1]q}`, lab.SSID, lab.Password)))
	check(t, pairing.Event(ctx, func(line json.RawMessage) bool {
		var e struct{ Admitted *lab.Device }
		return json.Unmarshal(line, &e) == nil && e.Admitted != nil
	}))
	second, err := net.BluetoothLight(ctx, a, "second", 1235, "") // with the password that was kept
	check(t, err)
	_, err = g.Pair(ctx, second.QR, "second")
	check(t, err)
}

// asked is a line with a question, for a reason.
func asked(code string) func(json.RawMessage) bool {
	return func(line json.RawMessage) bool {
		var e struct {
			Question struct {
				Failure struct{ Code string }
				Seen    []struct{ Name string }
			}
		}
		return json.Unmarshal(line, &e) == nil && e.Question.Failure.Code == code && len(e.Question.Seen) == 1 && e.Question.Seen[0].Name == lab.SSID
	}
}

// TestBumble pairs lights over somebody else's controllers: a virtual one and
// one of matter.js.
func TestBumble(t *testing.T) {
	t.Parallel()
	if err := lab.CheckBumble(); err != nil {
		t.Skip(err)
	}
	lights := map[string]func(context.Context, *lab.Net, *lab.Air, *lab.Gateway) (*lab.Light, error){
		"virtual": func(ctx context.Context, n *lab.Net, a *lab.Air, g *lab.Gateway) (*lab.Light, error) {
			h := host(t, n, "light")
			light, err := h.VirtualOn(ctx, a, virtualBin, 2)
			if err == nil {
				err = g.TrustVirtual(ctx, h)
			}
			return light, err
		},
		"matter.js": func(ctx context.Context, n *lab.Net, a *lab.Air, _ *lab.Gateway) (*lab.Light, error) {
			return n.BluetoothLight(ctx, a, "light", 3, "")
		},
	}
	for name, start := range lights {
		t.Run(name, func(t *testing.T) {
			ctx := within(t, limit)
			net := network(t)
			a, err := net.Bumble(ctx, airBin)
			check(t, err)
			g := homeOn(t, ctx, host(t, net, "gate"), a)
			check(t, g.AddNetwork(ctx, "wifi", lab.SSID, lab.Password))
			light, err := start(ctx, net, a, g)
			check(t, err)
			began := time.Now()
			_, err = g.Pair(ctx, light.QR, "light")
			check(t, err)
			t.Logf("admitted in %v", time.Since(began))
			r, err := g.Radio(ctx)
			if err != nil || r.Restarts != 0 {
				t.Errorf("the radio: %+v, %v", r, err)
			}
		})
	}
}
