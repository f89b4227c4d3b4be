package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"gatehouse/commissioner/interop/lab"
	"gatehouse/commissioner/portal"
)

// Targets of the design for the loss of a gateway.
const (
	commitTarget   = 2 * time.Second // median
	switchTarget   = 5 * time.Second // 99 of 100
	transferTarget = 500 * time.Millisecond
)

// Of a home of several gateways.
const (
	gateways       = 3
	matterjsLights = 5
	recovery       = time.Minute // for a gateway to be one of them again
)

// household is a home of three gateways, each on a host of its own, with
// virtual lights and some of matter.js.
type household struct {
	net      *lab.Net
	gateways []*lab.Gateway
	apis     []*api
	lights   []*lab.Light
}

// failovers measures how long a home does without its leader: killed, as by a
// power cut, and asked to hand over.
func (b *run) failovers(ctx context.Context) error {
	h, err := newHousehold(ctx, b)
	if err != nil {
		return err
	}
	defer h.net.Close()
	var commits, switches, transfers, transferred sample
	for i := range b.losses {
		committed, switched, err := h.lose(ctx, i)
		if err != nil {
			return fmt.Errorf("loss %d: %w", i+1, err)
		}
		commits, switches = append(commits, committed), append(switches, switched)
		handed, committed, err := h.handOver(ctx)
		if err != nil {
			return fmt.Errorf("transfer %d: %w", i+1, err)
		}
		transfers, transferred = append(transfers, handed), append(transferred, committed)
	}
	fmt.Printf("\nleader lost %d times, with %d devices of which %d are of matter.js\n", b.losses, len(h.lights), matterjsLights)
	spread("until a survivor commits", commits, verdict(float64(commits.median()), float64(commitTarget), "median 2 s"))
	spread("until a survivor has switched a lost light", switches, verdict(float64(switches.percentile(99)), float64(switchTarget), "99 % 5 s"))
	spread("lead handed over", transfers, verdict(float64(transfers.percentile(99)), float64(transferTarget), "500 ms"))
	spread("until another gateway commits after it", transferred, "")
	return nil
}

func newHousehold(ctx context.Context, b *run) (h *household, err error) {
	net, err := lab.NewNet()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			net.Close()
		}
	}()
	h = &household{net: net}
	for i := range gateways {
		host, err := h.net.Host(fmt.Sprintf("gate%d", i+1))
		if err != nil {
			return nil, err
		}
		var g *lab.Gateway
		if i == 0 {
			g, err = host.Gateway(ctx, b.bin)
		} else {
			g, err = host.Join(ctx, h.gateways[0])
		}
		if err != nil {
			return nil, err
		}
		h.gateways, h.apis = append(h.gateways, g), append(h.apis, newAPI(g.Socket()))
	}
	if err := h.whole(ctx); err != nil {
		return nil, err
	}
	host, err := h.net.Host("matterjs")
	if err != nil {
		return nil, err
	}
	if h.lights, err = host.Lights(ctx, lab.LightConfig{Name: "matterjs", Count: matterjsLights, Discriminator: 3000}); err != nil {
		return nil, err
	}
	if host, err = h.net.Host("virtual"); err != nil {
		return nil, err
	}
	virtual, err := host.Virtual(ctx, b.virtualBin, b.devices)
	if err != nil {
		return nil, err
	}
	if err := h.gateways[0].TrustVirtual(ctx, host); err != nil {
		return nil, err
	}
	h.lights = append(h.lights, virtual...)
	for i, light := range h.lights {
		if _, err := h.apis[i%gateways].pair(ctx, light); err != nil {
			return nil, fmt.Errorf("pair %s: %w", light.Name, err)
		}
	}
	return h, nil
}

// whole waits until all gateways answer, have a vote and have heard of the
// others lately.
func (h *household) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, recovery, fmt.Errorf("the gateways are not all there after %v", recovery))
	defer cancel()
	for ctx.Err() == nil {
		voters := 0
		for _, a := range h.apis {
			var list portal.Gateways
			if a.get(ctx, "gateways", &list) != nil {
				continue
			}
			for _, g := range list.Gateways {
				if g.Self && g.Role == "voter" && g.AwaySeconds == 0 {
					voters++
				}
			}
		}
		if voters == len(h.apis) {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return context.Cause(ctx)
}

// leader is which gateway leads.
func (h *household) leader(ctx context.Context) (int, error) {
	for i, a := range h.apis {
		var s portal.Status
		if err := a.get(ctx, "status", &s); err != nil {
			return 0, err
		}
		if s.Leader == s.Gateway {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no gateway leads")
}

// lose kills the leader, and measures how long until a survivor has committed
// something, and until it has switched a light that the leader looked after.
// Then the gateway comes back.
func (h *household) lose(ctx context.Context, round int) (committed, switched time.Duration, err error) {
	lost, err := h.leader(ctx)
	if err != nil {
		return 0, 0, err
	}
	light, err := h.lightOf(ctx, lost, round)
	if err != nil {
		return 0, 0, err
	}
	survivor := h.apis[(lost+1+round%(gateways-1))%gateways]
	light.Forget()
	began := time.Now()
	h.gateways[lost].Proc.Kill()
	done := make(chan error, 1)
	go func() {
		err := persist(ctx, func(ctx context.Context) error {
			return survivor.call(ctx, "PATCH", "devices/"+url.PathEscape(light.Name), portal.Rename{Name: &light.Name}, nil)
		})
		committed = time.Since(began)
		done <- err
	}()
	err = persist(ctx, func(ctx context.Context) error {
		return survivor.call(ctx, "POST", "devices/"+url.PathEscape(light.Name)+"/invoke", portal.InvokeRequest{Path: "1/6/2"}, nil)
	})
	switched = time.Since(began)
	if err == nil {
		err = <-done
	}
	if err == nil {
		err = h.gateways[lost].Serve(ctx)
	}
	if err == nil {
		err = h.whole(ctx)
	}
	return committed, switched, err
}

// lightOf is a light that a gateway looks after, another each round, and one
// of matter.js every fifth time if it has one.
func (h *household) lightOf(ctx context.Context, owner, round int) (*lab.Light, error) {
	var s portal.Status
	if err := h.apis[owner].get(ctx, "status", &s); err != nil {
		return nil, err
	}
	var list portal.Devices
	if err := h.apis[owner].get(ctx, "devices", &list); err != nil {
		return nil, err
	}
	owned := make(map[string]bool)
	for _, d := range list.Devices {
		owned[d.Name] = d.Owner == s.Gateway
	}
	first := matterjsLights + round
	if round%5 == 0 {
		first = 0
	}
	for i := range h.lights {
		if light := h.lights[(first+i)%len(h.lights)]; owned[light.Name] {
			return light, nil
		}
	}
	return nil, fmt.Errorf("gateway %s looks after no device", s.Gateway)
}

// handOver has the leader hand over, and measures how long that takes, and how
// long until another gateway has committed something.
func (h *household) handOver(ctx context.Context) (handed, committed time.Duration, err error) {
	before, err := h.leader(ctx)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := h.apis[before].call(ctx, "POST", "gateways/transfer", struct{}{}, nil); err != nil {
		return 0, 0, err
	}
	handed = time.Since(began)
	light := h.lights[0].Name
	err = persist(ctx, func(ctx context.Context) error {
		return h.apis[(before+1)%gateways].call(ctx, "PATCH", "devices/"+url.PathEscape(light), portal.Rename{Name: &light}, nil)
	})
	return handed, time.Since(began), err
}

// persist does something until it succeeds, for a minute.
func persist(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, recovery)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
