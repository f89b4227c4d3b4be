//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// TestControllerPairsVirtual lets a matter.js controller pair our virtual
// lights, one after the other, use each and remove it.
func TestControllerPairsVirtual(t *testing.T) {
	t.Parallel()
	count := 2
	if long {
		count = 30
	}
	ctx := within(t, limit)
	net := network(t)
	lights, err := host(t, net, "virtual").Virtual(ctx, virtualBin, count)
	check(t, err)
	controller, err := host(t, net, "controller").Controller(ctx)
	check(t, err)
	var times []time.Duration
	for _, light := range lights {
		code := light.QR
		if light.Number == count { // earlier, it fits others too: matter.js then tries them all
			code = light.Manual
		}
		times = append(times, use(t, ctx, controller, light, code))
	}
	// It was removed from there, so it can be paired again, by its own code.
	use(t, ctx, controller, lights[0], lights[0].QR)
	slices.Sort(times)
	t.Logf("matter.js paired %d virtual lights: from %v to %v, median %v", count, times[0], times[count-1], times[count/2])
}

// use pairs, reads, switches, subscribes to and removes a virtual light.
func use(t *testing.T, ctx context.Context, controller *lab.Proc, light *lab.Light, code string) time.Duration {
	t.Helper()
	ask := func(what string, args map[string]any, v any) {
		t.Helper()
		args["name"] = light.Name
		check(t, controller.Ask(ctx, what, args, v))
	}
	var paired struct{ MS float64 }
	ask("commission", map[string]any{"code": code}, &paired)
	var everything struct {
		Values []struct {
			Path   string
			Status *int
		}
	}
	ask("read", map[string]any{"paths": [][]*int{{nil, nil, nil}}}, &everything)
	for _, v := range everything.Values {
		if v.Status != nil {
			t.Errorf("%s has status %d", v.Path, *v.Status)
		}
	}
	if len(everything.Values) < 100 {
		t.Errorf("a read of everything gives %d attributes", len(everything.Values))
	}
	ask("label", map[string]any{"label": "cellar"}, nil)
	controller.Forget()
	ask("subscribe", map[string]any{"path": []int{1, 6, 0}}, nil)
	check(t, controller.Event(ctx, reported(false)))
	ask("invoke", map[string]any{"command": "on"}, nil)
	check(t, light.Switched(ctx, true))
	check(t, controller.Event(ctx, reported(true)))
	check(t, light.Press(ctx))
	check(t, light.Switched(ctx, false))
	check(t, controller.Event(ctx, reported(false)))
	var label struct {
		Values []struct{ Value json.RawMessage }
	}
	ask("read", map[string]any{"paths": [][]int{{0, 40, 5}, {0, 40, 999}, {7, 6, 0}}}, &label)
	if len(label.Values) != 3 || string(label.Values[0].Value) != `"cellar"` {
		t.Errorf("the label is read as %s", label.Values)
	}
	ask("remove", map[string]any{}, nil)
	return time.Duration(paired.MS * float64(time.Millisecond)).Round(time.Millisecond)
}
