//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
	"gatehouse/commissioner/setup"
)

// limit bounds every single test but the long ones.
const limit = 5 * time.Minute

// parallel is how many tests run at once.
const parallel = "6"

var (
	long         = os.Getenv("INTEROP_LONG") == "1"
	gatehouseBin string
	virtualBin   string
	airBin       string
)

func TestMain(m *testing.M) {
	if os.Getenv(borderRouterEnv) != "" {
		borderRouter()
		return
	}
	if os.Getenv(resolver) != "" {
		resolve()
		return
	}
	os.Exit(func() int {
		if err := lab.Check(); err != nil {
			fmt.Fprintln(os.Stderr, "the interoperability tests cannot run here:", err)
			return 1
		}
		dir, err := os.MkdirTemp("", "ghio-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		for command, bin := range map[string]*string{"gatehouse": &gatehouseBin, "gatehouse-virtual": &virtualBin, "gatehouse-air": &airBin} {
			if *bin, err = lab.Build(dir, command); err != nil {
				fmt.Fprintf(os.Stderr, "build %s: %v\n", command, err)
				return 1
			}
		}
		flag.Set("test.parallel", parallel) // they wait more than they work
		return m.Run()
	}())
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// network is a link of the test's own.
func network(t *testing.T) *lab.Net {
	t.Helper()
	n, err := lab.NewNet()
	check(t, err)
	t.Cleanup(n.Close)
	return n
}

func host(t *testing.T, n *lab.Net, name string) *lab.Host {
	t.Helper()
	h, err := n.Host(name)
	check(t, err)
	return h
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("not within %v", d))
	t.Cleanup(cancel)
	return ctx
}

// home is a gateway, with its log shown if the test fails.
func home(t *testing.T, ctx context.Context, h *lab.Host) *lab.Gateway {
	t.Helper()
	return homeOn(t, ctx, h, nil)
}

// homeOn is home with Bluetooth on an air, if there is one.
func homeOn(t *testing.T, ctx context.Context, h *lab.Host, a *lab.Air) *lab.Gateway {
	t.Helper()
	g, err := h.GatewayOn(ctx, a, gatehouseBin)
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() && g.Proc != nil {
			t.Log("the gateway's log:\n" + g.Proc.Log())
		}
	})
	return g
}

func isOn(t *testing.T, ctx context.Context, g *lab.Gateway, device string) bool {
	t.Helper()
	values, err := g.Read(ctx, device, "1/6/0")
	check(t, err)
	var on bool
	if len(values) != 1 || json.Unmarshal(values[0].Value, &on) != nil {
		t.Fatalf("read %+v", values)
	}
	return on
}

// reported is an event of a subscription that tells whether a light is on.
func reported(on bool) func(json.RawMessage) bool {
	return func(line json.RawMessage) bool {
		var e struct {
			Report     string
			Attributes []lab.Value
			Value      json.RawMessage
		}
		if json.Unmarshal(line, &e) != nil {
			return false
		}
		for _, a := range e.Attributes { // as the gateway tells it
			e.Value = a.Value
		}
		return string(e.Value) == fmt.Sprint(on)
	}
}

// TestGatewayPairsLight lets the gateway pair a matter.js light and do with it
// all that it can.
func TestGatewayPairsLight(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	g := home(t, ctx, host(t, net, "gate"))
	lights, err := host(t, net, "light").Lights(ctx, lab.LightConfig{Name: "light", Count: 2, Discriminator: 3840, Rich: true})
	check(t, err)
	other := host(t, net, "other")
	light := lights[0]

	if _, err := g.Pair(ctx, withPasscode(t, lights[1].QR, 20202099), "wrong"); lab.CodeOf(err) != "passcode-wrong" {
		t.Errorf("with a wrong passcode: %v", err)
	}
	// Its manual code fits the first light too, as far as that is found.
	_, err = g.Pair(ctx, lights[1].Manual, "second lamp")
	check(t, err)
	began := time.Now()
	_, err = g.Pair(ctx, light.QR, "lamp")
	check(t, err)
	t.Logf("paired by QR code in %v", time.Since(began))

	if isOn(t, ctx, g, "lamp") {
		t.Error("the light is on")
	}
	_, err = g.Run(ctx, "device", "write", "lamp", "0/40/5", `"hall"`)
	check(t, err)
	values, err := g.Read(ctx, "lamp", "0/40/5")
	check(t, err)
	if len(values) != 1 || string(values[0].Value) != `"hall"` {
		t.Errorf("the label is %+v", values)
	}

	subscription, err := g.Stream("device", "subscribe", "lamp", "1/6/0", "--max", "30")
	check(t, err)
	check(t, subscription.Event(ctx, reported(false)))
	_, err = g.Run(ctx, "device", "invoke", "lamp", "1/6/1")
	check(t, err)
	check(t, light.Switched(ctx, true))
	check(t, subscription.Event(ctx, reported(true)))
	check(t, light.Press(ctx))
	check(t, subscription.Event(ctx, reported(false)))
	check(t, subscription.Stop())

	values, err = g.Read(ctx, "lamp", "*/*/*")
	check(t, err)
	endpoints := map[string]int{}
	for _, v := range values {
		if v.Error != "" {
			t.Errorf("%s: %s", v.Path, v.Error)
		}
		endpoint, _, _ := strings.Cut(v.Path, "/")
		endpoints[endpoint]++
	}
	t.Logf("a read of everything gives %d attributes on %d endpoints", len(values), len(endpoints))
	if len(endpoints) != 10 || len(values) < 300 {
		t.Errorf("%d attributes on %v", len(values), endpoints)
	}
	statuses(t, ctx, g)
	share(t, ctx, g, other, light)

	g.Proc.Kill()
	check(t, g.Serve(ctx))
	began = time.Now()
	_, err = g.Run(ctx, "device", "invoke", "lamp", "1/6/2")
	check(t, err)
	t.Logf("first command after the gateway was killed and started: %v", time.Since(began))

	_, err = g.Run(ctx, "device", "remove", "lamp")
	check(t, err)
	if fabrics, err := light.Fabrics(ctx); err != nil || fabrics != 1 { // the other controller's
		t.Errorf("%d fabrics after the removal, %v", fabrics, err)
	}
	_, err = g.Run(ctx, "device", "remove", "second lamp")
	check(t, err)
	_, err = g.Pair(ctx, lights[1].QR, "second lamp")
	check(t, err)
	devices, err := g.Devices(ctx)
	if err != nil || len(devices) != 1 || devices[0].Phase != lab.Admitted {
		t.Errorf("devices at the end: %+v, %v", devices, err)
	}
}

// withPasscode is a QR code with another passcode.
func withPasscode(t *testing.T, qr string, passcode uint32) string {
	t.Helper()
	payloads, err := setup.Parse(qr)
	check(t, err)
	payloads[0].Passcode = setup.NewPasscode(passcode)
	qr, err = payloads[0].QR()
	check(t, err)
	return qr
}

// statuses asks for what there is and what there is not, at once.
func statuses(t *testing.T, ctx context.Context, g *lab.Gateway) {
	t.Helper()
	want := map[string]string{
		"1/6/0":   "",
		"1/6/99":  "unsupported attribute",
		"1/99/0":  "unsupported cluster",
		"77/6/0":  "unsupported endpoint",
		"0/40/1":  "",
		"0/31/0":  "",
		"1/29/3":  "",
		"2/6/0":   "",
		"2/8/0":   "",
		"9/999/0": "unsupported cluster",
	}
	var paths []string
	for path := range want {
		paths = append(paths, path)
	}
	values, err := g.Read(ctx, "lamp", paths...)
	check(t, err)
	for _, v := range values {
		if v.Error != want[v.Path] {
			t.Errorf("%s: error %q, want %q", v.Path, v.Error, want[v.Path])
		}
		delete(want, v.Path)
	}
	if len(want) > 0 {
		t.Errorf("no word of %v", want)
	}
	for _, path := range []string{"1/6/77", "1/99/0", "77/6/0"} {
		if _, err := g.Run(ctx, "device", "invoke", "lamp", path); lab.CodeOf(err) != "device-status" {
			t.Errorf("invoke %s: %v", path, err)
		}
	}
	if _, err := g.Run(ctx, "device", "write", "lamp", "0/40/1", `"x"`); lab.CodeOf(err) != "device-status" {
		t.Errorf("write what is read-only: %v", err)
	}
}

// share lets a matter.js controller pair the light too; then both control it.
func share(t *testing.T, ctx context.Context, g *lab.Gateway, other *lab.Host, light *lab.Light) {
	t.Helper()
	controller, err := other.Controller(ctx)
	check(t, err)
	line, err := g.Run(ctx, "device", "share", "lamp", "--for", "3m")
	check(t, err)
	var code struct{ QR, Manual string }
	check(t, json.Unmarshal(line, &code))
	if _, err := g.Run(ctx, "device", "share", "lamp"); lab.CodeOf(err) != "window-already-open" {
		t.Errorf("shared twice: %v", err)
	}
	check(t, controller.Ask(ctx, "commission", map[string]any{"name": "shared", "code": code.Manual}, nil))
	if fabrics, err := light.Fabrics(ctx); err != nil || fabrics != 2 {
		t.Errorf("the shared light is on %d fabrics, %v", fabrics, err)
	}
	light.Forget()
	check(t, controller.Ask(ctx, "invoke", map[string]any{"name": "shared", "command": "on"}, nil))
	check(t, light.Switched(ctx, true))
	if !isOn(t, ctx, g, "lamp") {
		t.Error("the gateway does not see what the other controller did")
	}
	_, err = g.Run(ctx, "device", "invoke", "lamp", "1/6/0")
	check(t, err)
	check(t, light.Switched(ctx, false))
	if _, err := g.Run(ctx, "device", "unshare", "lamp"); lab.CodeOf(err) != "window-not-open" {
		t.Errorf("unshared when nothing is: %v", err)
	}
}
