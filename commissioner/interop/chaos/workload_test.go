//go:build interop

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric/cert"
)

// Habits of the workload.
const (
	clients     = 4
	clientPause = 250 * time.Millisecond // on average
	// Patience of a caller, who then goes away.
	leastPatience, mostPatience = 3 * time.Second, 12 * time.Second
	// A light that is to be removed by force is looked for first.
	forcedTime = 90 * time.Second
	// In so many of a hundred pairings the gateway is killed.
	killedPairings = 20
	firstKill      = 10 // step that is begun when it is, at the earliest
	steps          = 22 // of a pairing
)

// ticks order calls in real time.
type ticks struct{ n atomic.Int64 }

func (t *ticks) next() int64 { return t.n.Add(1) }

// call is what somebody asked of a gateway.
type call struct {
	client        int
	gateway       cert.NodeID
	begun, ended  int64 // ended 0: nobody knows
	at            time.Duration
	done, refused bool
}

// pairing is one, and what was told of it.
type pairing struct {
	call
	name     string // which no other has
	reserved int64  // when that was heard; 0: never
	issued   int64
	admitted cert.NodeID // 0: nobody was told
	killed   bool        // the gateway was, by way of it
	err      error
}

// change is a removal or another name.
type change struct {
	call
	node cert.NodeID
	name string // empty: a removal
}

// listing is a list of devices or of gateways.
type listing struct {
	call
	linearizable bool
	devices      *portal.Devices
	gateways     *portal.Gateways
}

// client does what people do, at one gateway after the other.
type client struct {
	*home
	id      int
	rand    *rand.Rand
	patient bool // it goes away only after forcedTime
}

// run does one thing after the other until ctx ends.
func (c *client) run(ctx context.Context) {
	for sleep(ctx, time.Duration(c.rand.ExpFloat64()*float64(clientPause))) {
		b := c.pick(c.rand)
		if b == nil {
			continue
		}
		switch n := c.rand.IntN(100); {
		case n < 45:
			c.pair(b)
		case n < 60:
			c.listDevices(b, true)
		case n < 66:
			c.listGateways(b)
		case n < 72:
			c.listDevices(b, false)
		case n < 82:
			c.remove(b)
		case n < 94:
			c.toggle(b)
		default:
			c.rename(b)
		}
	}
}

func (c *client) begin(b *box) (call, context.Context, context.CancelFunc) {
	patience := leastPatience + time.Duration(c.rand.Int64N(int64(mostPatience-leastPatience)))
	if c.patient {
		patience = forcedTime
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	b.mu.Lock()
	defer b.mu.Unlock()
	return call{client: c.id, gateway: b.node, begun: c.ticks.next(), at: c.since()}, ctx, cancel
}

func (c *call) end(t *ticks, err error) {
	if err == nil {
		c.done, c.ended = true, t.next()
	}
}

// pair pairs a light, and may have its gateway killed on the way.
func (c *client) pair(b *box) {
	light := c.lights.take(c.rand)
	if light == nil {
		return
	}
	how, ctx, cancel := c.begin(b)
	defer cancel()
	p := &pairing{call: how, name: fmt.Sprintf("%s %d", light.Name, how.begun)}
	killAt := 0
	if c.rand.IntN(100) < killedPairings {
		killAt = firstKill + c.rand.IntN(steps-firstKill+1)
	}
	back := between(c.rand, 50*time.Millisecond, 3*time.Second)
	p.err = b.call(ctx, "POST", "pair", portal.PairRequest{Code: light.QR, Name: p.name}, func(line json.RawMessage) {
		var v struct {
			commissioner.Progress
			portal.Admitted
		}
		if json.Unmarshal(line, &v) != nil {
			return
		}
		switch {
		case v.Admitted.Admitted.Node != "":
			p.admitted = node(v.Admitted.Admitted.Node)
		case v.State == commissioner.StepDone && v.Name == "reserve":
			p.reserved = c.ticks.next()
		case v.State == commissioner.StepDone && v.Name == "issue":
			p.issued = c.ticks.next()
		}
		if killAt != 0 && v.Step >= killAt && v.State == commissioner.StepStarted {
			killAt = 0
			c.kill(b, back, fmt.Sprintf("in the step %s of a pairing", v.Name))
			p.killed = true
		}
	})
	if p.admitted != 0 {
		p.end(&c.ticks, nil)
		c.lights.paired(light, p.admitted)
	} else {
		c.lights.back(light)
	}
	c.record(func(r *record) { r.pairings = append(r.pairings, p) })
}

// node reads a node id as the API shows it; 0 if it is none.
func node(s string) cert.NodeID {
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return 0
	}
	return cert.NodeID(n)
}

func (c *client) remove(b *box) {
	if n := c.lights.some(c.rand); n != 0 {
		c.removeBy(b, n, c.rand.IntN(4) == 0)
	}
}

// removeBy removes a light. It is an error if that may not be so.
func (c *client) removeBy(b *box, n cert.NodeID, force bool) error {
	how, ctx, cancel := c.begin(b)
	defer cancel()
	r := &change{call: how, node: n}
	_, err := ask[portal.Removed](ctx, b, "DELETE", fmt.Sprintf("devices/%v?force=%v", n, force), nil)
	r.end(&c.ticks, err)
	if codeOf(err) == commissioner.CodeUnknownDevice {
		r.refused, r.ended, err = true, c.ticks.next(), nil
	}
	if err == nil {
		c.lights.removed(n)
	}
	c.record(func(rec *record) { rec.changes = append(rec.changes, r) })
	return err
}

func (c *client) rename(b *box) {
	n := c.lights.some(c.rand)
	if n == 0 {
		return
	}
	how, ctx, cancel := c.begin(b)
	defer cancel()
	r := &change{call: how, node: n, name: fmt.Sprintf("renamed %d", how.begun)}
	_, err := ask[portal.Device](ctx, b, "PATCH", "devices/"+n.String(), portal.Rename{Name: &r.name})
	r.end(&c.ticks, err)
	if codeOf(err) == commissioner.CodeUnknownDevice {
		r.refused, r.ended = true, c.ticks.next()
	}
	c.record(func(rec *record) { rec.changes = append(rec.changes, r) })
}

// toggle switches a light.
func (c *client) toggle(b *box) {
	n := c.lights.some(c.rand)
	if n == 0 {
		return
	}
	_, ctx, cancel := c.begin(b)
	defer cancel()
	_, err := ask[portal.Invoked](ctx, b, "POST", "devices/"+n.String()+"/invoke", portal.InvokeRequest{Path: "1/6/2"})
	c.record(func(rec *record) {
		rec.toggles++
		if err == nil {
			rec.toggled++
		}
	})
}

func (c *client) listDevices(b *box, linearizable bool) {
	how, ctx, cancel := c.begin(b)
	defer cancel()
	l := &listing{call: how, linearizable: linearizable}
	list, err := ask[portal.Devices](ctx, b, "GET", "devices?level="+level(linearizable), nil)
	if l.end(&c.ticks, err); err == nil {
		l.devices = &list
		c.record(func(rec *record) { rec.lists = append(rec.lists, l) })
	}
}

func (c *client) listGateways(b *box) {
	how, ctx, cancel := c.begin(b)
	defer cancel()
	l := &listing{call: how, linearizable: true}
	list, err := ask[portal.Gateways](ctx, b, "GET", "gateways?level="+level(true), nil)
	if l.end(&c.ticks, err); err == nil {
		l.gateways = &list
		c.record(func(rec *record) { rec.lists = append(rec.lists, l) })
	}
}

func level(linearizable bool) string {
	if linearizable {
		return portal.LevelLinearizable
	}
	return portal.LevelLocal
}
