//go:build interop

package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gatehouse/commissioner/portal"
)

// together reports what is left to do until all members know each other, have
// the votes they should have, and know the same.
func (h *home) together(ctx context.Context) error {
	_, err := h.common(ctx)
	return err
}

// common is the index of the State that all members have, once they are
// together.
func (h *home) common(ctx context.Context) (index uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	members := h.members()
	for _, b := range members {
		if err := b.on(); err != nil {
			return 0, err
		}
	}
	for i, b := range members {
		g, err := ask[portal.Gateways](ctx, b, "GET", "gateways?level=linearizable", nil)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", b.name, err)
		}
		voters := 0
		for _, v := range g.Gateways {
			if v.Role == "voter" {
				voters++
			}
			if v.Role == "joining" || v.AwaySeconds > 0 {
				return 0, fmt.Errorf("to %s, %s is a %s, away for %v s", b.name, v.Name, v.Role, v.AwaySeconds)
			}
		}
		if len(g.Gateways) != len(members) || voters != (len(members)+1)/2*2-1 {
			return 0, fmt.Errorf("%s knows %d gateways, %d of them with a vote, and there are %d", b.name, len(g.Gateways), voters, len(members))
		}
		if i > 0 && g.Index != index {
			return 0, fmt.Errorf("%s has index %d, another %d", b.name, g.Index, index)
		}
		index = g.Index
	}
	return index, nil
}

// whole reports what is left to do until all is as it should be.
func (h *home) whole(ctx context.Context) error {
	if err := h.together(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, b := range h.members() {
		g, err := ask[portal.Gateways](ctx, b, "GET", "gateways", nil)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		if n := len(g.Trusting); n > 0 {
			return fmt.Errorf("%d devices still trust gateways that were evicted", n)
		}
		d, err := ask[portal.Devices](ctx, b, "GET", "devices?level=linearizable", nil)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		for _, v := range d.Devices {
			if v.Phase != "admitted" {
				return fmt.Errorf("%s (%s) is %s", v.Name, v.Node, v.Phase)
			}
		}
		if d.Index != g.Index {
			return fmt.Errorf("%s had index %d, and has %d", b.name, g.Index, d.Index)
		}
	}
	return nil
}

// settled is whole, for a while.
func (h *home) settled(ctx context.Context) error {
	for range 3 {
		if err := h.whole(ctx); err != nil {
			return err
		}
		sleep(ctx, 500*time.Millisecond)
	}
	return nil
}

// heal ends all faults, and waits until the home is whole by itself.
func (h *home) heal() {
	ctx, cancel := context.WithTimeout(context.Background(), wholeTime)
	defer cancel()
	h.note("all faults end")
	h.mu.Lock()
	boxes := slices.Clone(h.boxes)
	h.mu.Unlock()
	for _, b := range boxes {
		if b.evicted {
			b.off()
		}
	}
	began := time.Now()
	h.removeAgain(ctx)
	if err := h.until(ctx, h.settled); err != nil {
		h.broken("the home is not whole again after %v: %v", time.Since(began).Round(time.Second), err)
	} else if h.index, err = h.common(ctx); err != nil {
		h.broken("the home was whole, and is not any more: %v", err)
	}
	h.note("the home is whole again")
}

// removeAgain does what people do who were not told that a light is removed: it
// may have left the home, and the home not know that.
func (h *home) removeAgain(ctx context.Context) {
	c := &client{home: h, id: 4, rand: h.rand(5), patient: true}
	for _, r := range slices.Clone(h.told.changes) {
		if r.name != "" || r.done || r.refused {
			continue
		}
		if err := h.until(ctx, func(context.Context) error { return c.removeBy(h.any(c.rand), r.node, true) }); err != nil {
			h.broken("device %v cannot be removed: %v", r.node, err)
		}
	}
}

// works has every gateway switch a light that another may look after.
func (h *home) works() {
	n := h.lights.some(h.rand(4))
	if n == 0 {
		return
	}
	for _, b := range h.members() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		err := h.until(ctx, func(ctx context.Context) error {
			_, err := ask[portal.Invoked](ctx, b, "POST", "devices/"+n.String()+"/invoke", portal.InvokeRequest{Path: "1/6/2"})
			if codeOf(err) == "device-unknown" {
				return nil // a removal whose end nobody heard of
			}
			return err
		})
		cancel()
		if err != nil {
			h.broken("in the end, %s does not switch device %v: %v", b.name, n, err)
		}
	}
}
