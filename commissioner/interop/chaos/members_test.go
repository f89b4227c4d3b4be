//go:build interop

package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"gatehouse/commissioner/portal"
	"gatehouse/fabric/cert"
)

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
