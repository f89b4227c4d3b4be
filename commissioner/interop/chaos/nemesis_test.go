//go:build interop

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"time"

	"gatehouse/commissioner/interop/ether"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric/cert"
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
	sleep(ctx, d)
	b.empty()
	h.again(b)
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

// membership is an eviction or an enrolment, however often it is asked for:
// many calls of unknown outcome cannot be checked.
type membership struct {
	call
	node cert.NodeID
}

// Limits of a change of the members. It is not given up when the faults end.
const (
	replaced   = 60              // of a hundred rounds have one
	changeTime = 4 * time.Minute // a box that has joined may wait two minutes for its member's last word
	attempt    = 15 * time.Second
)

// replace evicts a gateway and has a fresh one take its place, while faults
// go on.
func (h *home) replace(live context.Context, r *rand.Rand) {
	if !sleep(live, between(r, 0, 3*time.Second)) {
		return
	}
	// All must know of each other, and the secrets be sealed for them, before one
	// goes: else there may be nobody left who can help.
	if err := h.until(live, h.together); err != nil {
		h.note("nobody is evicted: %v", err)
		return
	}
	h.report.fault("replace")
	ctx, cancel := context.WithTimeout(context.Background(), changeTime)
	defer cancel()
	victim := h.any(r)
	if r.IntN(2) == 0 {
		h.kill(victim, between(r, time.Second, 6*time.Second), "before it is evicted")
	}
	if r.IntN(3) > 0 {
		if h.evict(ctx, victim, r) {
			h.successor(ctx, r)
		}
		return
	}
	h.successor(ctx, r)
	if err := h.until(ctx, h.together); err != nil {
		h.broken("the home with a new gateway does not come together: %v", err)
	} else {
		h.evict(ctx, victim, r)
	}
}

func (h *home) evict(ctx context.Context, victim *box, r *rand.Rand) bool {
	m := &membership{node: victim.node, call: call{client: 2, begun: h.ticks.next(), at: h.since()}}
	defer func() { h.record(func(t *record) { t.evictions = append(t.evictions, m) }) }()
	victim.mark(func() { victim.evicted = true })
	for tries := 0; ; tries++ {
		if !sleep(ctx, 200*time.Millisecond) {
			h.broken("%s could not be evicted", victim.name)
			return false
		}
		by := h.pick(r)
		if by == nil || by == victim {
			continue
		}
		m.gateway = by.node
		once, cancel := context.WithTimeout(ctx, attempt)
		_, err := ask[portal.Evicted](once, by, "DELETE", "gateways/"+victim.node.String()+"?reason=chaos", nil)
		cancel()
		h.note("%s evicts %s: %v", by.name, victim.name, err)
		if err == nil || tries > 0 && codeOf(err) == "gateway-unknown" {
			m.end(&h.ticks, nil)
			h.report.count(&h.report.Evictions)
			return true
		}
	}
}

func (h *home) successor(ctx context.Context, r *rand.Rand) {
	if b, err := h.join(ctx, r); err != nil {
		h.broken("no gateway can join: %v", err)
	} else {
		h.note("%s has joined as %v", b.name, b.node)
		h.report.count(&h.report.Joins)
	}
}

// join has a fresh gateway become a member, by whoever will let it in.
func (h *home) join(ctx context.Context, r *rand.Rand) (*box, error) {
	b, err := h.box()
	if err != nil {
		return nil, err
	}
	cmd, log, err := b.command("join", "--json", "--name", b.name)
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = b.host.Start(cmd)
	}
	if err != nil {
		return nil, err
	}
	m := &membership{call: call{client: 3, begun: h.ticks.next(), at: h.since()}}
	codes, joined := make(chan string, 8), make(chan cert.NodeID, 1)
	h.wg.Go(func() {
		defer close(joined)
		listenJoin(out, codes, joined)
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			h.broken("%s does not join: %v%s", b.name, err, tail(log))
		}
	})
	code := ""
	for {
		select {
		case code = <-codes:
		case n, ok := <-joined:
			if !ok || n == 0 {
				return nil, errors.New("gatehouse join has ended" + tail(log))
			}
			m.node = n
			m.end(&h.ticks, nil)
			h.record(func(t *record) { t.enrolments = append(t.enrolments, m) })
			b.mark(func() { b.node = n })
			return b, b.on()
		case <-time.After(100 * time.Millisecond):
			if code != "" {
				h.admit(ctx, b, r, code)
			}
		case <-ctx.Done():
			cmd.Process.Kill()
			return nil, errors.New("it takes too long" + tail(log))
		}
	}
}

func listenJoin(out io.Reader, codes chan<- string, joined chan<- cert.NodeID) {
	for in := json.NewDecoder(out); ; {
		var v struct{ QR, Joined string }
		if in.Decode(&v) != nil {
			return
		}
		if v.QR != "" {
			codes <- v.QR
		}
		if v.Joined != "" {
			joined <- node(v.Joined)
		}
	}
}

// admit has any gateway let a new one in.
func (h *home) admit(ctx context.Context, b *box, r *rand.Rand, code string) {
	by := h.any(r)
	if !by.runs() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	enrolled := ""
	err := by.call(ctx, "POST", "gateways", portal.AddGateway{Code: code}, func(line json.RawMessage) {
		var v portal.Enrolled
		if json.Unmarshal(line, &v) == nil && v.Gateway != "" {
			enrolled = v.Gateway
		}
	})
	h.note("%s lets %s in: %q, %v", by.name, b.name, enrolled, err)
	if enrolled != "" {
		sleep(ctx, 500*time.Millisecond) // it says so itself
	}
}
