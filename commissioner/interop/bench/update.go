package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// updateSize is the payload of the images, in octets.
const updateSize = 1 << 20

// transfers are how long each took whoever gave the image, from its request to
// its end, and the CPU time of the giver, mean.
type transfers struct {
	Times sample
	CPU   time.Duration
}

// update measures how images are given to devices: by both providers, to
// lights of both kinds.
func (b *run) update(ctx context.Context) error {
	head(fmt.Sprintf("an image of 1 MiB over the air: median (least) of %d", b.updates))
	for _, l := range []updated{
		{"matter.js", lab.MatterjsProduct, func(h *lab.Host) ([]*lab.Light, error) {
			return h.Lights(ctx, lab.LightConfig{Name: "light", Count: b.updates + 1, Discriminator: 100, Updatable: true})
		}},
		{"virtual", lab.VirtualProduct, func(h *lab.Host) ([]*lab.Light, error) { return h.Virtual(ctx, b.virtualBin, b.updates+1) }},
	} {
		ours, err := b.ourUpdates(ctx, l)
		if err != nil {
			return err
		}
		theirs, err := b.theirUpdates(ctx, l)
		if err != nil {
			return err
		}
		row("to a "+l.kind+" light", ours.Times.String(), theirs.Times.String(), share(ours.Times.median(), theirs.Times.median()))
		row("  octets per second", octets(ours.Times.median()), octets(theirs.Times.median()), "")
		row("  CPU of the provider, kernel included, mean", ms(ours.CPU), ms(theirs.CPU), share(ours.CPU, theirs.CPU))
	}
	return nil
}

func octets(took time.Duration) string {
	return fmt.Sprintf("%.2f MiB/s", float64(updateSize)/(1<<20)/took.Seconds())
}

func share(ours, theirs time.Duration) string {
	return fmt.Sprintf("%.2f of matter.js's", float64(ours)/float64(theirs))
}

// updated are the lights of one kind that are updated: the first warms up.
type updated struct {
	kind    string
	product uint16
	start   func(*lab.Host) ([]*lab.Light, error)
}

// ourUpdates has our provider update all lights.
func (b *run) ourUpdates(ctx context.Context, l updated) (r transfers, err error) {
	n, err := lab.NewNet()
	if err != nil {
		return r, err
	}
	defer n.Close()
	gate, err := n.Host("gate")
	if err != nil {
		return r, err
	}
	host, err := n.Host("light")
	if err != nil {
		return r, err
	}
	lights, err := l.start(host)
	if err != nil {
		return r, err
	}
	trust := filepath.Join(host.Dir, "trust") // where virtual lights put it
	if l.product == lab.MatterjsProduct {
		if err := lab.MatterjsTrust(trust); err != nil {
			return r, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	args := []string{"--profile", b.profile, updateRigCommand, trust, fmt.Sprint(l.product)}
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
func (b *run) theirUpdates(ctx context.Context, l updated) (r transfers, err error) {
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
	host, err := n.Host("light")
	if err != nil {
		return r, err
	}
	lights, err := l.start(host)
	if err != nil {
		return r, err
	}
	image, err := lab.Image(l.product, updateSize)
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
			r.Times, r.CPU = append(r.Times, fromMS(took.Transfer.MS)), r.CPU+fromMS(took.Transfer.CPU)/time.Duration(b.updates)
		}
	}
	return r, nil
}
