//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/interop/lab"
)

// settleLimit is how long a pairing may stay in doubt: a fail-safe of a
// minute, the two of grace after it, and some attempts to meet the device.
const settleLimit = 4 * time.Minute

// crash is when the gateway is killed.
type crash struct{ step, state string }

// shortCrashes are those of the short run: before and after each commit, and
// where only one of the two sides knows.
var shortCrashes = []crash{
	{"pase", "done"},
	{"reserve", "done"},
	{"issue", "done"},
	{"add-noc", "started"},
	{"add-noc", "done"},
	{"complete", "started"},
	{"commit", "started"},
}

// TestKilledAtEachStep kills the gateway with SIGKILL when a step of a pairing
// begins or has ended: after a restart the pairing ends in admitted or
// abandoned, nobody helping, the light agrees, and can be used or paired.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	crashes := shortCrashes
	if long {
		crashes = nil
		for _, step := range commissioner.Steps() {
			crashes = append(crashes, crash{step, commissioner.StepStarted}, crash{step, commissioner.StepDone})
		}
	}
	for _, c := range crashes {
		t.Run(c.step+"-"+c.state, func(t *testing.T) {
			t.Parallel()
			killed(t, c)
		})
	}
}

func killed(t *testing.T, c crash) {
	ctx := within(t, settleLimit+limit)
	net := network(t)
	g := home(t, ctx, host(t, net, "gate"))
	house := host(t, net, "light")
	light := oneLight(t, ctx, house)

	pairing, err := g.Stream("pair", light.QR, "--name", "lamp")
	check(t, err)
	check(t, pairing.Event(ctx, func(line json.RawMessage) bool {
		var p commissioner.Progress
		return json.Unmarshal(line, &p) == nil && p.Name == c.step && p.State == c.state
	}))
	g.Proc.Kill()
	check(t, g.Serve(ctx))
	began := time.Now()
	admitted := settled(t, ctx, g)
	agrees(t, ctx, light, admitted)
	outcome := "abandoned"
	if admitted == 1 {
		outcome = "admitted"
		_, err := g.Run(ctx, "device", "invoke", "lamp", "1/6/1")
		check(t, err)
		check(t, light.Switched(ctx, true))
		_, err = g.Run(ctx, "device", "remove", "lamp")
		check(t, err)
		// The PASE session that the killed gateway left open is never ended by
		// matter.js (0.17.9), which opens no window as long as there is one.
		light.Kill()
		light = oneLight(t, ctx, house)
	}
	t.Logf("%s after %v", outcome, time.Since(began).Round(time.Second/10))
	// A device whose fail-safe still runs takes no other pairing.
	again := within(t, limit)
	for {
		_, err := g.Pair(again, light.QR, "lamp")
		if err == nil {
			break
		}
		t.Logf("pairing again, after %v: %v", time.Since(began).Round(time.Second/10), err)
		pause(t, again, 5*time.Second)
	}
	if n := settled(t, ctx, g); n != 1 {
		t.Errorf("%d devices at the end", n)
	}
	agrees(t, ctx, light, 1)
}

// oneLight starts the light, or starts it again.
func oneLight(t *testing.T, ctx context.Context, h *lab.Host) *lab.Light {
	t.Helper()
	lights, err := h.Lights(ctx, lab.LightConfig{Name: "light", Count: 1, Discriminator: 3840})
	check(t, err)
	return lights[0]
}

// settled waits until no device is in doubt and returns how many there are.
func settled(t *testing.T, ctx context.Context, g *lab.Gateway) int {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(ctx, settleLimit, fmt.Errorf("in doubt for longer than %v", settleLimit))
	defer cancel()
	for {
		devices, err := g.Devices(ctx)
		check(t, err)
		doubtful := 0
		for _, d := range devices {
			if d.Phase != lab.Admitted {
				doubtful++
			}
		}
		if doubtful == 0 {
			return len(devices)
		}
		pause(t, ctx, time.Second/2)
	}
}

// agrees waits until the light is on as many fabrics as the gateway says, which
// its fail-safe may delay.
func agrees(t *testing.T, ctx context.Context, light *lab.Light, fabrics int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	for {
		n, err := light.Fabrics(ctx)
		check(t, err)
		if n == fabrics {
			return
		}
		pause(t, ctx, time.Second/2)
	}
}

func pause(t *testing.T, ctx context.Context, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
	}
}
