package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/commissioner/interop/ether"
	"gatehouse/commissioner/interop/lab"
)

// transfers are how long each took whoever gave the image, from its request to
// its end, and the CPU time of the giver, mean.
type transfers struct {
	Times sample
	CPU   time.Duration
}

// updates are devices of one kind that are updated; one more warms up.
type updates struct {
	to      string // what kind of light
	count   int
	payload int        // of the image, octets
	way     ether.Rule // to the lights, and from them
}

// Kinds of lights.
const matterjs, virtual = "matter.js", "virtual"

// Ways to a device, the same in both directions.
var (
	direct = ether.Rule{}
	slow   = ether.Rule{Rate: 20_000, Delay: 50 * time.Millisecond} // as over a few hops of Thread
	lossy  = ether.Rule{Loss: 0.05, Delay: time.Millisecond}
)

// update measures how images are given to devices, by both providers.
func (b *run) update(ctx context.Context) error {
	for _, scene := range []struct {
		what string
		updates
	}{
		{"1 MiB over the air", updates{matterjs, b.updates, 1 << 20, direct}},
		{"1 MiB over the air", updates{virtual, b.updates, 1 << 20, direct}},
		{"64 KiB, at 20 kB/s and 50 ms", updates{matterjs, 1, 64 << 10, slow}},
		{"256 KiB, 5 % of frames lost", updates{matterjs, 1, 256 << 10, lossy}},
	} {
		head(fmt.Sprintf("%s: median (least) of %d", scene.what, scene.count))
		if err := b.compare(ctx, scene.updates); err != nil {
			return err
		}
	}
	return lossyTransfers(ctx)
}

func (b *run) compare(ctx context.Context, u updates) error {
	ours, err := b.ourUpdates(ctx, u)
	if err != nil {
		return err
	}
	theirs, err := b.theirUpdates(ctx, u)
	if err != nil {
		return err
	}
	row("to a "+u.to+" light", ours.Times.String(), theirs.Times.String(), share(ours.Times.median(), theirs.Times.median()))
	row("  KiB per second", u.speed(ours), u.speed(theirs), "")
	row("  CPU of the provider, kernel included, mean", ms(ours.CPU), ms(theirs.CPU), share(ours.CPU, theirs.CPU))
	return nil
}

func (u *updates) speed(t transfers) string {
	return fmt.Sprintf("%.1f", float64(u.payload)/1024/t.Times.median().Seconds())
}

func share(ours, theirs time.Duration) string {
	return fmt.Sprintf("%.2f of matter.js's", float64(ours)/float64(theirs))
}

func (u *updates) product() uint16 {
	if u.to == matterjs {
		return lab.MatterjsProduct
	}
	return lab.VirtualProduct
}

// updatable starts them on a host of the network.
func (b *run) updatable(ctx context.Context, n *lab.Net, u updates) (h *lab.Host, lights []*lab.Light, err error) {
	if u.way == direct {
		h, err = n.Host("light")
	} else {
		h, err = n.HostBehind("light", u.way)
	}
	if err != nil {
		return nil, nil, err
	}
	if u.to == matterjs {
		lights, err = h.Lights(ctx, lab.LightConfig{Name: "light", Count: u.count + 1, Discriminator: 100, Updatable: true})
	} else {
		lights, err = h.Virtual(ctx, b.virtualBin, u.count+1)
	}
	return h, lights, err
}

// ourUpdates has our provider update all lights.
func (b *run) ourUpdates(ctx context.Context, u updates) (r transfers, err error) {
	n, err := lab.NewNet()
	if err != nil {
		return r, err
	}
	defer n.Close()
	gate, err := n.Host("gate")
	if err != nil {
		return r, err
	}
	host, lights, err := b.updatable(ctx, n, u)
	if err != nil {
		return r, err
	}
	trust := filepath.Join(host.Dir, "trust") // where virtual lights put it
	if u.to == matterjs {
		if err := lab.MatterjsTrust(trust); err != nil {
			return r, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	args := []string{"--profile", b.profile, updateRigCommand, trust, fmt.Sprint(u.product()), fmt.Sprint(u.payload)}
	for _, light := range lights {
		args = append(args, light.QR)
	}
	p, err := gate.Start(nil, self, args...)
	if err != nil {
		return r, err
	}
	err = p.Event(ctx, func(line json.RawMessage) bool { return json.Unmarshal(line, &r) == nil && r.Times != nil })
	return r, err
}

// theirUpdates has matter.js's provider do the same.
func (b *run) theirUpdates(ctx context.Context, u updates) (r transfers, err error) {
	n, err := lab.NewNet()
	if err != nil {
		return r, err
	}
	defer n.Close()
	other, err := n.Host("other")
	if err != nil {
		return r, err
	}
	controller, err := other.Controller(ctx)
	if err != nil {
		return r, err
	}
	_, lights, err := b.updatable(ctx, n, u)
	if err != nil {
		return r, err
	}
	image, err := lab.Image(u.product(), u.payload)
	if err != nil {
		return r, err
	}
	name := filepath.Join(other.Dir, "image")
	if err := os.WriteFile(name, image, 0o600); err != nil {
		return r, err
	}
	for i, light := range lights {
		if err := controller.Ask(ctx, "commission", map[string]any{"name": light.Name, "code": light.QR}, nil); err != nil {
			return r, err
		}
		var took struct{ Transfer struct{ MS, CPU float64 } }
		if err := controller.Ask(ctx, "update", map[string]any{"name": light.Name, "file": name}, &took); err != nil {
			return r, err
		}
		if took.Transfer.MS == 0 {
			return r, errors.New("matter.js says nothing of its transfer")
		}
		if i > 0 {
			r.Times, r.CPU = append(r.Times, fromMS(took.Transfer.MS)), r.CPU+fromMS(took.Transfer.CPU)/time.Duration(u.count)
		}
	}
	return r, nil
}

// lossyTransfers is the test of transfers with losses, in simulated time, at
// length.
func lossyTransfers(ctx context.Context) error {
	dir, err := lab.Dir()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-v", "-run=TestLossyTransfers", "gatehouse/commissioner", "-transfers", "100")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	for line := range strings.Lines(string(out)) {
		if _, told, ok := strings.Cut(line, " transfers, "); ok {
			fmt.Print("\n100 transfers of 1 MiB in simulated time, ", told)
		}
	}
	return err
}
