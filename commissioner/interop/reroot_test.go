//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// rooted is what `gatehouse fabric` shows.
type rooted struct {
	Root       string
	Generation int
	Reroot     *struct {
		Moved      int
		Stragglers []struct {
			Name, State string
			Failure     *lab.Failure
		}
	}
}

func fabricOf(t *testing.T, ctx context.Context, g *lab.Gateway) (f rooted) {
	t.Helper()
	line, err := g.Run(ctx, "fabric")
	check(t, err)
	check(t, json.Unmarshal(line, &f))
	return f
}

// TestReroot gives the home another root while it has two matter.js lights, one
// of which another controller's home has too. The gateway is killed on the way.
func TestReroot(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	net := network(t)
	gate := host(t, net, "gate")
	g := home(t, ctx, gate)
	lights, err := host(t, net, "light").Lights(ctx, lab.LightConfig{Name: "light", Count: 2, Discriminator: 3840})
	check(t, err)
	_, err = g.Pair(ctx, lights[0].QR, "lamp")
	check(t, err)
	_, err = g.Pair(ctx, lights[1].QR, "second lamp")
	check(t, err)
	share(t, ctx, g, host(t, net, "other"), lights[0])
	before := fabricOf(t, ctx, g)

	_, err = g.Run(ctx, "fabric", "reroot", "--kit", filepath.Join(gate.Dir, "kit2"), "--passphrase-file", filepath.Join(gate.Dir, "passphrase"), "--yes", "--detach")
	check(t, err)
	began := time.Now()
	g.Proc.Kill()
	check(t, g.Serve(ctx))
	for {
		f := fabricOf(t, ctx, g)
		if f.Reroot == nil {
			if f.Root == before.Root || f.Generation != before.Generation+1 {
				t.Errorf("%+v, was %+v", f, before)
			}
			break
		}
		for _, s := range f.Reroot.Stragglers {
			if s.Failure != nil {
				t.Logf("after %v: %s is %s: %v", time.Since(began), s.Name, s.State, s.Failure)
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
	t.Logf("both are below the new root after %v, the gateway's start included", time.Since(began))
	for i, want := range []int{2, 1} { // the other controller's stays
		if fabrics, err := lights[i].Fabrics(ctx); err != nil || fabrics != want {
			t.Errorf("light %d is on %d fabrics, not %d: %v", i, fabrics, want, err)
		}
	}
	for i, name := range []string{"lamp", "second lamp"} {
		lights[i].Forget()
		_, err = g.Run(ctx, "device", "invoke", name, "1/6/1")
		check(t, err)
		check(t, lights[i].Switched(ctx, true))
		values, err := g.Read(ctx, name, "0/62/1", "0/31/0")
		check(t, err)
		for _, v := range values {
			t.Logf("%s %s: %s%s", name, v.Path, v.Value, v.Error)
		}
	}
	g.Proc.Kill()
	check(t, g.Serve(ctx))
	if !isOn(t, ctx, g, "lamp") {
		t.Error("the light is off")
	}
	_, err = g.Run(ctx, "device", "remove", "second lamp")
	check(t, err)
	if fabrics, err := lights[1].Fabrics(ctx); err != nil || fabrics != 0 {
		t.Errorf("%d fabrics after the removal, %v", fabrics, err)
	}
}
