//go:build interop

package interop

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// TestManyLights pairs fresh matter.js lights one after the other.
func TestManyLights(t *testing.T) {
	t.Parallel()
	count := 3
	if long {
		count = 100
	}
	ctx := within(t, 2*limit)
	net := network(t)
	g := home(t, ctx, host(t, net, "gate"))
	lights, err := host(t, net, "lights").Lights(ctx, lab.LightConfig{Name: "light", Count: count, Discriminator: 0})
	check(t, err)
	var times []time.Duration
	for _, light := range lights {
		began := time.Now()
		if _, err := g.Pair(ctx, light.QR, light.Name); err != nil {
			t.Errorf("%s: %v", light.Name, err)
			continue
		}
		times = append(times, time.Since(began))
	}
	devices, err := g.Devices(ctx)
	check(t, err)
	admitted := 0
	for _, d := range devices {
		if d.Phase == lab.Admitted {
			admitted++
		}
	}
	if admitted != count || len(devices) != count {
		t.Errorf("%d of %d devices are admitted, %d are known", admitted, count, len(devices))
	}
	if len(times) == 0 {
		return
	}
	slices.Sort(times)
	t.Logf("%d of %d lights are admitted: from %v to %v, median %v", admitted, count, times[0], times[len(times)-1], times[len(times)/2])
	for i := range 3 { // and they obey
		if _, err := g.Run(ctx, "device", "invoke", fmt.Sprintf("light-%d", i+1), "1/6/2"); err != nil {
			t.Error(err)
		}
	}
}
