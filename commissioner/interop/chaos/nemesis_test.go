//go:build interop

package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"gatehouse/commissioner/interop/ether"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric"
)

// faultPause is the mean time between two faults.
const faultPause = 1200 * time.Millisecond

// nemesis breaks one thing after the other until ctx ends, each for a while.
func (h *home) nemesis(ctx context.Context, r *rand.Rand) {
	faults := []struct {
		name   string
		weight int
		do     func(context.Context, *rand.Rand)
	}{
		{"kill", 14, h.crash}, {"outage", 3, h.outage}, {"pause", 12, h.pause}, {"isolate", 10, h.isolate}, {"halves", 6, h.halves}, {"one-way", 10, h.oneWay},
		{"loss", 10, h.loss}, {"delay", 10, h.slow}, {"disk-full", 14, h.diskFull}, {"clock", 8, h.jump}, {"transfer", 8, h.transfer},
	}
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for sleep(ctx, time.Duration(r.ExpFloat64()*float64(faultPause))) {
		n := r.IntN(total)
		for _, f := range faults {
			if n -= f.weight; n < 0 {
				own := rand.New(rand.NewPCG(r.Uint64(), r.Uint64()))
				h.report.fault(f.name)
				h.busy.Go(func() { f.do(ctx, own) })
				break
			}
		}
	}
}

// sleep reports whether ctx outlasts it.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// between is a duration, the shorter the likelier.
func between(r *rand.Rand, low, high time.Duration) time.Duration {
	f := r.Float64()
	return low + time.Duration(f*f*float64(high-low))
}

func (h *home) any(r *rand.Rand) *box {
	all := h.members()
	return all[r.IntN(len(all))]
}

// kill kills a gateway, and switches it on again after a while.
func (h *home) kill(b *box, back time.Duration, why string) {
	if !b.off() {
		return
	}
	h.report.count(&h.report.Kills)
	h.note("%s is killed %s, for %v", b.name, why, back.Round(time.Millisecond))
	h.busy.Go(func() {
		time.Sleep(back)
		h.again(b)
	})
}

// again switches a gateway on, after a fault.
func (h *home) again(b *box) {
	if err := b.on(); err != nil {
		h.broken("%s does not start again: %v", b.name, err)
	}
}

func (h *home) crash(_ context.Context, r *rand.Rand) {
	h.kill(h.any(r), between(r, 50*time.Millisecond, 4*time.Second), "by chance")
}

func (h *home) outage(_ context.Context, r *rand.Rand) {
	for _, b := range h.members() {
		h.kill(b, between(r, 100*time.Millisecond, 3*time.Second), "by a power outage")
	}
}

func (h *home) pause(ctx context.Context, r *rand.Rand) {
	b, d := h.any(r), between(r, 200*time.Millisecond, 8*time.Second)
	if b.signal(syscall.SIGSTOP) {
		h.note("%s is stopped for %v", b.name, d.Round(time.Millisecond))
		sleep(ctx, d)
		b.signal(syscall.SIGCONT)
	}
}

// trouble is a rule for some ways through the network.
type trouble struct {
	ways [][2]string
	rule ether.Rule
}

// troubled has the network be in trouble for a while.
func (h *home) troubled(ctx context.Context, d time.Duration, what string, rule ether.Rule, ways ...[2]string) {
	h.note("%s for %v: %v", what, d.Round(time.Millisecond), ways)
	h.mu.Lock()
	h.troubles++
	id := h.troubles
	h.ways[id] = trouble{ways, rule}
	h.rewire(ways)
	h.mu.Unlock()
	sleep(ctx, d)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ways, id)
	h.rewire(ways)
}

// rewire sets what all troubles together make of some ways. h.mu is held.
func (h *home) rewire(ways [][2]string) {
	for _, way := range ways {
		var sum ether.Rule
		for _, t := range h.ways {
			for _, w := range t.ways {
				if w == way {
					sum.Cut = sum.Cut || t.rule.Cut
					sum.Loss = 1 - (1-sum.Loss)*(1-t.rule.Loss)
					sum.Delay += t.rule.Delay
				}
			}
		}
		h.net.Set(way[0], way[1], sum)
	}
}

// ports are where gateways are plugged in, and, sometimes, the lights.
func (h *home) ports(r *rand.Rand) (all []string) {
	for _, b := range h.members() {
		all = append(all, b.name)
	}
	if r.IntN(2) == 0 {
		all = append(all, "lights")
	}
	return all
}

// leading is the gateway that leads; often, not always.
func (h *home) leading(r *rand.Rand) string {
	if r.IntN(2) == 0 {
		if b := h.leader(); b != nil {
			return b.name
		}
	}
	return h.any(r).name
}

// leader is the gateway that says it leads, or nil.
func (h *home) leader() *box {
	for _, b := range h.members() {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		s, err := ask[portal.Status](ctx, b, "GET", "status", nil)
		cancel()
		if err == nil && s.Leader == s.Gateway {
			return b
		}
	}
	return nil
}

func (h *home) isolate(ctx context.Context, r *rand.Rand) {
	name := h.leading(r)
	var ways [][2]string
	for _, o := range h.ports(r) {
		if o != name {
			ways = append(ways, [2]string{name, o}, [2]string{o, name})
		}
	}
	h.troubled(ctx, between(r, 300*time.Millisecond, 6*time.Second), "cut", ether.Rule{Cut: true}, ways...)
}

func (h *home) halves(ctx context.Context, r *rand.Rand) {
	all := h.ports(r)
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	n := 1 + r.IntN(len(all)-1)
	var ways [][2]string
	for _, a := range all[:n] {
		for _, b := range all[n:] {
			ways = append(ways, [2]string{a, b}, [2]string{b, a})
		}
	}
	h.troubled(ctx, between(r, 300*time.Millisecond, 5*time.Second), "cut", ether.Rule{Cut: true}, ways...)
}

func (h *home) oneWay(ctx context.Context, r *rand.Rand) {
	name, in := h.leading(r), r.IntN(2) == 0
	var ways [][2]string
	for _, o := range h.ports(r) {
		switch {
		case o == name:
		case in:
			ways = append(ways, [2]string{o, name})
		default:
			ways = append(ways, [2]string{name, o})
		}
	}
	h.troubled(ctx, between(r, 300*time.Millisecond, 5*time.Second), "cut one way", ether.Rule{Cut: true}, ways...)
}

// some are ways between some of the ports.
func (h *home) some(r *rand.Rand) (ways [][2]string) {
	all := append(h.ports(r), "lights")
	for _, a := range all {
		for _, b := range all {
			if a != b && r.IntN(2) == 0 {
				ways = append(ways, [2]string{a, b})
			}
		}
	}
	return ways
}

func (h *home) loss(ctx context.Context, r *rand.Rand) {
	rule := ether.Rule{Loss: 0.01 + 0.29*r.Float64()}
	h.troubled(ctx, between(r, time.Second, 8*time.Second), fmt.Sprintf("%.0f %% loss", 100*rule.Loss), rule, h.some(r)...)
}

func (h *home) slow(ctx context.Context, r *rand.Rand) {
	rule := ether.Rule{Delay: between(r, 5*time.Millisecond, 300*time.Millisecond)}
	h.troubled(ctx, between(r, time.Second, 8*time.Second), fmt.Sprintf("%v delay", rule.Delay.Round(time.Millisecond)), rule, h.some(r)...)
}

func (h *home) diskFull(ctx context.Context, r *rand.Rand) {
	b, d := h.any(r), between(r, 2*time.Second, 9*time.Second)
	h.note("the disk of %s is full for %v", b.name, d.Round(time.Millisecond))
	b.fill()
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	h.write(ctx, r)
	b.empty()
	h.again(b)
}

// write has the trust state written to until ctx ends: a log has some room of
// its own on a full disk.
func (h *home) write(ctx context.Context, r *rand.Rand) {
	for sleep(ctx, 20*time.Millisecond) {
		if b := h.any(r); b.runs() {
			x := portal.Exception{Name: strings.Repeat("x", fabric.MaxText), Expires: time.Now().Add(time.Hour)}
			ask[portal.Exception](ctx, b, "POST", "trust/exceptions", x)
		}
	}
}

// jump sets a gateway's clock.
func (h *home) jump(ctx context.Context, r *rand.Rand) {
	b, d := h.any(r), between(r, 300*time.Millisecond, 6*time.Second)
	by := int64((2*r.Float64() - 1) * 10 * 365 * 24 * 3600)
	if r.IntN(3) == 0 {
		by = int64((2*r.Float64() - 1) * 600)
	}
	h.note("the clock of %s is off by %v for %v", b.name, time.Duration(by)*time.Second, d.Round(time.Millisecond))
	b.setClock(by)
	sleep(ctx, d)
	b.setClock(0)
}

func (h *home) transfer(ctx context.Context, _ *rand.Rand) {
	if b := h.leader(); b != nil {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		to, err := ask[portal.Transferred](ctx, b, "POST", "gateways/transfer", nil)
		h.note("%s hands the lead over: to %q, %v", b.name, to.Leader, err)
	}
}
