//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// metWithin is how long a light may go on checking in that was heard.
const metWithin = time.Minute

// TestSleeperLosesGateway has a matter.js light sleep while its gateway is lost.
// When it wakes up it checks in with whichever gateway leads, and the one that
// has taken it over is subscribed to it at once, long before it would look for it
// by itself: then it need not check in again.
func TestSleeperLosesGateway(t *testing.T) {
	t.Parallel()
	python := homeAssistant(t)
	ctx := within(t, limit)
	n := network(t)
	first, err := host(t, n, "gate1").ServeWith("--https", ":8443").Gateway(ctx, gatehouseBin)
	check(t, err)
	others := make([]*lab.Gateway, 2)
	for i, name := range []string{"gate2", "gate3"} {
		others[i], err = host(t, n, name).Join(ctx, first)
		check(t, err)
	}
	check(t, voters(ctx, first, 3))
	lights, err := host(t, n, "light").Lights(ctx, lab.LightConfig{Name: "light", Count: 1, Discriminator: 3840, Sleepy: true})
	check(t, err)
	light := lights[0]
	a := assist(t, ctx, first)
	dir, err := lab.Dir()
	check(t, err)
	client, err := host(t, n, "assistant").Start(nil, python, filepath.Join(dir, "homeassistant", "sleeper.py"), light.Manual, a.fingerprint, a.address)
	check(t, err)
	check(t, client.Say(a.url)) // it holds a token
	check(t, client.Event(ctx, func(line json.RawMessage) bool { return strings.Contains(string(line), "ids") }))

	// It sleeps until its new owner has given up trying to reach it.
	check(t, light.Freeze())
	first.Proc.Kill()
	var owner *lab.Gateway
	for owner == nil {
		for _, g := range others {
			if looksAfter(t, ctx, g) {
				owner = g
			}
		}
		pause(t, ctx, 100*time.Millisecond)
	}
	check(t, light.Thaw())
	wake := func() (counter uint32) {
		var answer struct{ Counter uint32 }
		check(t, light.Ask(ctx, "wake", nil, &answer))
		return answer.Counter
	}
	heard := func() bool {
		return strings.Contains(others[0].Proc.Log()+others[1].Proc.Log(), "a device woke up")
	}
	thawed := time.Now()
	for ; !heard(); pause(t, ctx, time.Second) {
		// It has to see that nobody takes its reports, and to forget where the
		// gateway that led was.
		check(t, light.Press(ctx))
		wake()
	}
	t.Logf("it was heard %v after it was thawed", time.Since(thawed).Round(time.Second))
	woke := time.Now()
	var counter uint32
	for same := 0; same < 3; same++ {
		if is := wake(); is != counter {
			counter, same = is, 0
		}
		pause(t, ctx, 500*time.Millisecond)
	}
	if took := time.Since(woke); took > metWithin {
		t.Errorf("it checks in still %v after it was heard", took)
	}
	t.Logf("its owner heard it itself: %v", strings.Contains(owner.Proc.Log(), "a device woke up"))
}

// looksAfter reports whether a gateway looks after the light, and has nothing
// against how it fares.
func looksAfter(t *testing.T, ctx context.Context, g *lab.Gateway) bool {
	t.Helper()
	var list struct {
		Devices []struct{ Reachable bool }
	}
	line, err := g.Run(ctx, "devices")
	check(t, err)
	check(t, json.Unmarshal(line, &list))
	return len(list.Devices) == 1 && list.Devices[0].Reachable
}
