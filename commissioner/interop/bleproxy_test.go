//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// proxies asks how many Bluetooth proxies the gateway has.
func proxies(t *testing.T, ctx context.Context, g *lab.Gateway) int {
	t.Helper()
	var v struct {
		Proxies []string `json:"bluetooth_proxies"`
	}
	line, err := g.Run(ctx, "status")
	check(t, err)
	check(t, json.Unmarshal(line, &v))
	return len(v.Proxies)
}

// TestBLEProxy pairs lights by a gateway that has no Bluetooth, through the
// proxy that Home Assistant runs; and again after another has taken its place
// in the middle.
func TestBLEProxy(t *testing.T) {
	t.Parallel()
	if err := lab.CheckBLEProxy(); err != nil {
		t.Skip(err)
	}
	ctx := within(t, limit)
	net := network(t)
	air, err := net.Air(ctx, airBin)
	check(t, err)
	g := home(t, ctx, host(t, net, "gate"))
	check(t, g.AddNetwork(ctx, "wifi", lab.SSID, lab.Password))
	first, err := net.BLEProxy(ctx, air, g, "first")
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log("the proxy's log:\n" + first.Log())
		}
	})
	if n := proxies(t, ctx, g); n != 1 {
		t.Fatalf("%d proxies", n)
	}

	light, err := net.BluetoothLight(ctx, air, "matterjs", 3, "")
	check(t, err)
	began := time.Now()
	_, err = g.Pair(ctx, light.QR, "matterjs")
	check(t, err)
	t.Logf("matter.js's light is admitted in %v", time.Since(began))
	light.Kill()

	h := host(t, net, "virtual")
	light, err = h.VirtualOn(ctx, air, virtualBin, 2)
	check(t, err)
	check(t, g.TrustVirtual(ctx, h))
	pairing, err := g.Stream("pair", light.QR)
	check(t, err)
	check(t, pairing.Event(ctx, func(line json.RawMessage) bool {
		var e struct{ Name string }
		return json.Unmarshal(line, &e) == nil && e.Name == "read-information"
	}))
	first.Kill()
	_, err = net.BLEProxy(ctx, air, g, "second")
	check(t, err)
	began = time.Now()
	check(t, pairing.Event(ctx, func(line json.RawMessage) bool {
		var e struct{ Admitted *lab.Device }
		return json.Unmarshal(line, &e) == nil && e.Admitted != nil
	}))
	t.Logf("our own light is admitted %v after the proxy was replaced", time.Since(began))
	if n := proxies(t, ctx, g); n != 1 {
		t.Errorf("%d proxies", n)
	}
}
