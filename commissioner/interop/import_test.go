//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// TestImport has a matter.js controller pair two matter.js lights, and then a
// gateway take its home over from the files it left. One of the lights is off at
// first; the gateway is killed on the way.
func TestImport(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	old, bulbs, spare := host(t, net, "old"), host(t, net, "light"), host(t, net, "spare")
	first := lab.LightConfig{Name: "light", Count: 1, Discriminator: 3840}
	later := lab.LightConfig{Name: "later", Count: 1, Discriminator: 3850}
	lights, err := bulbs.Lights(ctx, first)
	check(t, err)
	late, err := spare.Lights(ctx, later)
	check(t, err)
	controller, err := old.Controller(ctx)
	check(t, err)
	check(t, controller.Ask(ctx, "commission", map[string]any{"name": "one", "code": lights[0].QR}, nil))
	check(t, controller.Ask(ctx, "commission", map[string]any{"name": "two", "code": late[0].QR}, nil))
	if err := controller.Stop(); err != nil { // a log without its last snapshot, then
		t.Log(err)
	}
	late[0].Kill()

	gate := host(t, net, "gate")
	storage := filepath.Join(old.Dir, "controller")
	var plan struct {
		Source, IPK string
		Compressed  string `json:"compressed_fabric_id"`
		Usable      bool
		Devices     []struct {
			Node, Name string
			KeyKnown   bool `json:"key_known"`
		}
	}
	line, err := exec.CommandContext(ctx, gatehouseBin, "--json", "import", storage, "--dry-run").Output()
	check(t, err)
	check(t, json.Unmarshal(line, &plan))
	if plan.Source != "matter.js" || plan.IPK != "own" || !plan.Usable || len(plan.Devices) != 2 || !plan.Devices[0].KeyKnown || plan.Devices[0].Node == "" {
		t.Fatalf("%s", line)
	}
	began := time.Now()
	g, err := gate.Inherit(ctx, gatehouseBin, storage)
	check(t, err)
	t.Cleanup(func() {
		if t.Failed() && g.Proc != nil {
			t.Log("the gateway's log:\n" + g.Proc.Log())
		}
	})
	g.Proc.Kill()
	check(t, g.Serve(ctx))
	onOwnTerms(t, ctx, g, "light-1")
	t.Logf("the first light is on the home's own terms after %v, the founding and two starts included", time.Since(began))
	lights[0].Forget()
	_, err = g.Run(ctx, "device", "invoke", "light-1", "1/6/1")
	check(t, err)
	check(t, lights[0].Switched(ctx, true))

	if late, err = spare.Lights(ctx, later); err != nil {
		t.Fatal(err)
	}
	onOwnTerms(t, ctx, g, "later-1")
	for _, name := range []string{"light-1", "later-1"} {
		values, err := g.Read(ctx, name, "0/62/1", "0/31/0", "0/62/3")
		check(t, err)
		for _, v := range values {
			t.Logf("%s %s: %s%s", name, v.Path, v.Value, v.Error)
		}
	}
	devices, err := g.Devices(ctx)
	check(t, err)
	for _, was := range plan.Devices {
		if !slices.ContainsFunc(devices, func(d lab.Device) bool { return d.Node == was.Node && d.Name == was.Name }) {
			t.Errorf("%+v is not among %+v", was, devices)
		}
	}
	_, err = g.Run(ctx, "device", "remove", "light-1")
	check(t, err)
	if fabrics, err := lights[0].Fabrics(ctx); err != nil || fabrics != 0 {
		t.Errorf("%d fabrics after the removal, %v", fabrics, err)
	}
}

// onOwnTerms waits until a device that was taken over is on the home's own terms,
// with a certificate that has the zone's tag.
func onOwnTerms(t *testing.T, ctx context.Context, g *lab.Gateway, name string) {
	t.Helper()
	for {
		line, err := g.Run(ctx, "device", "show", name)
		check(t, err)
		var d struct {
			Terms   string
			Kept    *lab.Failure `json:"terms_kept"`
			ZoneTag bool         `json:"certificate_zone_tag"`
		}
		check(t, json.Unmarshal(line, &d))
		if d.Terms == "" && d.ZoneTag {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: terms %q, tag %v, %v", name, d.Terms, d.ZoneTag, d.Kept)
		}
	}
}
