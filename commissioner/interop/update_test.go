//go:build interop

package interop

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
	"gatehouse/firmware/otaimage"
)

// updateLimit bounds one update: matter.js waits longer for one that broke off.
const updateLimit = 2 * time.Minute

// TestControllerUpdatesVirtual lets a matter.js controller, with its own OTA
// provider, update our virtual light.
func TestControllerUpdatesVirtual(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	lights, err := host(t, net, "virtual").Virtual(ctx, virtualBin, 1)
	check(t, err)
	on := host(t, net, "controller")
	controller, err := on.Controller(ctx)
	check(t, err)
	light := lights[0]
	check(t, controller.Ask(ctx, "commission", map[string]any{"name": light.Name, "code": light.QR}, nil))

	image := filepath.Join(on.Dir, "image")
	size := writeImage(t, image, otaimage.Header{VendorID: 0xFFF1, ProductID: 0x8001, Version: 2, VersionString: "2.0"})
	var took struct{ MS float64 }
	check(t, controller.Ask(within(t, updateLimit), "update", map[string]any{"name": light.Name, "file": image}, &took))
	check(t, light.Event(ctx, func(line json.RawMessage) bool {
		var e struct {
			Updated, Text string
			Version       uint32
		}
		return json.Unmarshal(line, &e) == nil && e.Updated == light.Name && e.Version == 2 && e.Text == "2.0"
	}))

	// What its provider heard, up to the last.
	var heard, tokens []string
	check(t, controller.Event(ctx, func(line json.RawMessage) bool {
		var e struct {
			OTA, Token             string
			Version, Status, Bytes int
		}
		if json.Unmarshal(line, &e) != nil || e.OTA == "" {
			return false
		}
		heard = append(heard, fmt.Sprintf("%s %d %d %d", e.OTA, e.Version, e.Status, e.Bytes))
		if e.OTA != "sent" {
			tokens = append(tokens, e.Token)
		}
		return e.OTA == "applied"
	}))
	if want := []string{"query 1 0 0", fmt.Sprintf("sent 0 0 %d", size), "apply 2 0 0", "applied 2 0 0"}; !slices.Equal(heard, want) {
		t.Errorf("the provider heard %q", heard)
	}
	if tokens = slices.Compact(tokens); len(tokens) != 1 || tokens[0] == "" {
		t.Errorf("the update's tokens are %q", tokens)
	}
	var read struct {
		Values []struct{ Value json.RawMessage }
	}
	check(t, controller.Ask(ctx, "read", map[string]any{"name": light.Name, "paths": [][]int{{0, 40, 9}}}, &read))
	if len(read.Values) != 1 || string(read.Values[0].Value) != "2" {
		t.Errorf("its version is read as %s", read.Values)
	}
	t.Logf("matter.js updated the light with %d octets in %.0f ms", size, took.MS)
}

// TestGatewayUpdatesLight has the gateway let a matter.js light with recalled
// software into quarantine, update it over the air, and let it out.
func TestGatewayUpdatesLight(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	g := home(t, ctx, host(t, net, "gate"))
	image, err := lab.Image(lab.MatterjsProduct, 300_001) // not in whole blocks
	check(t, err)
	check(t, g.Recall(ctx, lab.MatterjsProduct, image))
	lights, err := host(t, net, "light").Lights(ctx, lab.LightConfig{Name: "light", Count: 1, Discriminator: 3840, Updatable: true})
	check(t, err)
	light := lights[0]
	_, err = g.Pair(ctx, light.QR, "lamp")
	check(t, err)
	if s, err := g.Standing(ctx, "lamp"); err != nil || s != (lab.Standing{Verdict: "quarantine", Version: lab.OldVersion, Enforced: true}) {
		t.Fatalf("paired with %+v, %v", s, err)
	}
	began := time.Now()
	update, err := g.Stream("firmware", "update", "lamp")
	check(t, err)
	check(t, light.Event(within(t, updateLimit), func(line json.RawMessage) bool {
		var e struct {
			Installed uint32
			Bytes     int
			Digest    string
		}
		if json.Unmarshal(line, &e) != nil || e.Installed == 0 {
			return false
		}
		if e.Installed != lab.NewVersion || e.Bytes != len(image) || e.Digest != fmt.Sprintf("%x", sha256.Sum256(image)) {
			t.Errorf("it installs %s", line)
		}
		return true
	}))
	check(t, update.Event(ctx, func(line json.RawMessage) bool {
		var e struct{ State string }
		return json.Unmarshal(line, &e) == nil && e.State == "applied"
	}))
	applied := time.Since(began)
	for {
		s, err := g.Standing(ctx, "lamp")
		check(t, err)
		if s == (lab.Standing{Verdict: "admit", Version: lab.NewVersion, Enforced: true}) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("the light said that it runs it after %v, and was let out after %v", applied, time.Since(began))
	values, err := g.Read(ctx, "lamp", "0/40/9")
	check(t, err)
	if len(values) != 1 || string(values[0].Value) != "2" {
		t.Errorf("its version is read as %+v", values)
	}
}

// TestGatewayRenewsLight has the home change its mind about a matter.js light's
// software: in and out of quarantine the light gets another certificate, and
// keeps it when it is started anew.
func TestGatewayRenewsLight(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	g := home(t, ctx, host(t, net, "gate"))
	image, err := lab.Image(lab.MatterjsProduct, 1000)
	check(t, err)
	check(t, g.Recall(ctx, lab.MatterjsProduct, image))
	on, config := host(t, net, "light"), lab.LightConfig{Name: "light", Count: 1, Discriminator: 3840, Updatable: true}
	lights, err := on.Lights(ctx, config)
	check(t, err)
	_, err = g.Pair(ctx, lights[0].QR, "lamp")
	check(t, err)
	now, err := g.Certificate(ctx, "lamp")
	if check(t, err); now.ZoneTag {
		t.Errorf("in quarantine it has %+v", now)
	}
	for _, recalled := range []string{"admit", "quarantine", "admit"} {
		began, before := time.Now(), now
		_, err = g.Run(ctx, "firmware", "policy", "--updates", "none", "--recalled", recalled)
		check(t, err)
		for now == before || now.ZoneTag != (recalled == "admit") {
			time.Sleep(50 * time.Millisecond)
			now, err = g.Certificate(ctx, "lamp")
			check(t, err)
		}
		if now.Serial == before.Serial {
			t.Errorf("%+v is the same certificate", now)
		}
		_, err = g.Run(ctx, "device", "invoke", "lamp", "1/6/2")
		check(t, err)
		t.Logf("recalled: %s. It has another certificate after %v", recalled, time.Since(began))
	}
	lights[0].Kill()
	_, err = on.Lights(ctx, config)
	check(t, err)
	_, err = g.Run(ctx, "device", "invoke", "lamp", "1/6/2")
	check(t, err)
}

// writeImage writes an image of some 300 KB, and returns its size.
func writeImage(t *testing.T, name string, h otaimage.Header) int64 {
	t.Helper()
	payload := make([]byte, 300_001) // not in whole blocks
	for i := range payload {
		payload[i] = byte(i*7 + i>>8)
	}
	f, err := os.Create(name)
	check(t, err)
	defer f.Close()
	check(t, otaimage.Write(f, h, payload))
	info, err := f.Stat()
	check(t, err)
	return info.Size()
}
