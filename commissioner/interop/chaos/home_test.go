//go:build interop

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/commissioner/interop/ether"
	"gatehouse/commissioner/portal"
)

// Limits of a home.
const (
	gateways   = 3
	maxHosts   = 200
	foundTime  = 2 * time.Minute // to found a home and have its gateways in
	// A device in doubt is given up after its fail-safe and a grace, three
	// minutes in all, and each one is looked for, for 20 s, before it is.
	wholeTime  = 6 * time.Minute
	maxBroken  = 20              // violations that are kept
	passphrase = "rowboat ferns at dusk"
)

// bins are the programs under test.
type bins struct{ gatehouse, virtual string }

// record is what callers were told.
type record struct {
	pairings         []*pairing
	changes          []*change
	lists            []*listing
	evictions        []*membership
	enrolments       []*membership
	toggles, toggled int
}

// home is one round.
type home struct {
	bins   bins
	dir    string
	seed   uint64
	began  time.Time
	net    *ether.Switch
	lights *lights
	report *report
	ticks  ticks
	wg     sync.WaitGroup // of the processes
	busy   sync.WaitGroup // of clients and faults

	mu         sync.Mutex
	boxes      []*box
	hosts      []*ether.Host
	told       record
	script     []string
	violations []error
	ways       map[int]trouble // that the network is in now
	troubles   int             // there ever were
}

func newHome(b bins, dir string, seed uint64, r *report) *home {
	return &home{bins: b, dir: dir, seed: seed, began: time.Now(), net: ether.New(seed), report: r, ways: make(map[int]trouble)}
}

func (h *home) since() time.Duration { return time.Since(h.began) }

func (h *home) rand(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(h.seed, stream)) }

// note writes into the round's script.
func (h *home) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.script = append(h.script, fmt.Sprintf("%9.3f ", h.since().Seconds())+fmt.Sprintf(format, args...))
}

// broken records a promise that was not kept.
func (h *home) broken(format string, args ...any) {
	h.note("BROKEN: "+format, args...)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.violations) < maxBroken {
		h.violations = append(h.violations, fmt.Errorf(format, args...))
	}
}

func (h *home) record(f func(*record)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.told)
}

// host is one that is plugged into the network.
func (h *home) host(port string, number int) (*ether.Host, error) {
	host, err := ether.NewHost()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.hosts = append(h.hosts, host)
	h.mu.Unlock()
	cable, err := host.Cable(net.HardwareAddr{2, 0, 0, 0, 0, byte(number)}, fmt.Sprintf("fd00:77::%x/64", number))
	if err != nil {
		return nil, err
	}
	h.net.Plug(port, cable)
	return host, nil
}

// found makes the home, with all its gateways.
func (h *home) found() error {
	ctx, cancel := context.WithTimeout(context.Background(), foundTime)
	defer cancel()
	trust := filepath.Join(h.dir, "trust")
	secret := filepath.Join(h.dir, "passphrase")
	err := os.WriteFile(secret, []byte(passphrase+"\n"), 0o600)
	if err == nil {
		h.lights, err = h.lit(trust)
	}
	if err != nil {
		return err
	}
	first, err := h.box()
	if err != nil {
		return err
	}
	if err := first.do("setup", "--kit", filepath.Join(h.dir, "kit"), "--passphrase-file", secret, "--gateway", first.name); err != nil {
		return err
	}
	first.node = 1 // until it says who it is
	if err := first.on(); err != nil {
		return err
	}
	if err := first.ready(ctx); err != nil {
		return err
	}
	status, err := ask[portal.Status](ctx, first, "GET", "status", nil)
	if err != nil {
		return err
	}
	first.node = node(status.Gateway)
	if err := errors.Join(first.do("trust", "import", "--test", trust), first.do("trust", "except", "chaos", "--for", "200000h")); err != nil {
		return err
	}
	for len(h.members()) < gateways {
		if _, err := h.join(ctx, h.rand(3)); err != nil {
			return err
		}
	}
	return h.until(ctx, h.whole)
}

// ready waits until the gateway's API answers.
func (b *box) ready(ctx context.Context) error {
	return b.home.until(ctx, func(ctx context.Context) error {
		_, err := ask[portal.Status](ctx, b, "GET", "status", nil)
		return err
	})
}

// until waits for what is to come.
func (h *home) until(ctx context.Context, done func(context.Context) error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := done(ctx)
		if err == nil {
			return nil
		}
		if !sleep(ctx, pause) {
			return fmt.Errorf("not in time: %w", err)
		}
	}
}

// members are the boxes that are not evicted.
func (h *home) members() (all []*box) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.boxes {
		if !b.evicted && b.node != 0 {
			all = append(all, b)
		}
	}
	return all
}

// pick is a gateway that runs, sometimes one that is evicted.
func (h *home) pick(r *rand.Rand) *box {
	h.mu.Lock()
	all := slices.Clone(h.boxes)
	h.mu.Unlock()
	evicted := r.IntN(4) == 0
	all = slices.DeleteFunc(all, func(b *box) bool { return !b.runs() || b.evicted && !evicted })
	if len(all) == 0 {
		return nil
	}
	return all[r.IntN(len(all))]
}

// together reports what is left to do until all members know each other, have
// the votes they should have, and know the same.
func (h *home) together(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	members := h.members()
	var index uint64
	for i, b := range members {
		if err := b.on(); err != nil {
			return err
		}
		g, err := ask[portal.Gateways](ctx, b, "GET", "gateways?level=linearizable", nil)
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
		voters := 0
		for _, v := range g.Gateways {
			if v.Role == "voter" {
				voters++
			}
			if v.Role == "joining" || v.AwaySeconds > 0 {
				return fmt.Errorf("to %s, %s is a %s, away for %v s", b.name, v.Name, v.Role, v.AwaySeconds)
			}
		}
		if len(g.Gateways) != len(members) || voters != (len(members)+1)/2*2-1 {
			return fmt.Errorf("%s knows %d gateways, %d of them with a vote, and there are %d", b.name, len(g.Gateways), voters, len(members))
		}
		if i > 0 && g.Index != index {
			return fmt.Errorf("%s has index %d, another %d", b.name, g.Index, index)
		}
		index = g.Index
	}
	return nil
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

// live is the time of faults and clients.
func (h *home) live(d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for i := range clients {
		c := &client{home: h, id: 10 + i, rand: h.rand(uint64(10 + i))}
		h.busy.Go(func() { c.run(ctx) })
	}
	if r := h.rand(2); r.IntN(100) < replaced {
		h.busy.Go(func() { h.replace(ctx, r) })
	}
	h.nemesis(ctx, h.rand(1))
	h.busy.Wait()
}

// end stops all gateways in good order.
func (h *home) end() {
	var wg sync.WaitGroup
	for _, b := range h.members() {
		wg.Go(func() {
			if err := b.stop(); err != nil {
				h.broken("%s does not end in good order: %v", b.name, err)
			}
		})
	}
	wg.Wait()
}

// close ends all that is left of the home.
func (h *home) close() {
	h.mu.Lock()
	boxes, hosts := slices.Clone(h.boxes), slices.Clone(h.hosts)
	h.mu.Unlock()
	for _, b := range boxes {
		b.mu.Lock()
		b.ended = true
		b.mu.Unlock()
		b.off()
		if b.clock != nil {
			b.clock.Close()
		}
		if len(h.violations) > 0 && b.host != nil {
			b.copy(filepath.Join(b.dir, "final")) // unless it is there
		}
	}
	if h.lights != nil {
		h.lights.in.Close()
	}
	h.net.Close()
	for _, host := range hosts {
		host.Close()
	}
	h.wg.Wait()
}

// evidence keeps what there is to learn from.
func (h *home) evidence(to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.CopyFS(to, os.DirFS(h.dir)); err != nil {
		return err
	}
	var said bytes.Buffer
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, v := range h.violations {
		fmt.Fprintln(&said, v)
	}
	fmt.Fprintf(&said, "\n%s\n%+v\n", strings.Join(h.script, "\n"), h.net.Stats())
	return errors.Join(os.WriteFile(filepath.Join(to, "script"), said.Bytes(), 0o600), os.WriteFile(filepath.Join(to, "history"), h.told.history(), 0o600))
}

// history is what callers were told, one call a line.
func (r *record) history() []byte {
	var b bytes.Buffer
	for _, v := range r.pairings {
		fmt.Fprintf(&b, "pairing %+v\n", *v)
	}
	for _, v := range r.changes {
		fmt.Fprintf(&b, "change %+v\n", *v)
	}
	for _, v := range append(slices.Clone(r.evictions), r.enrolments...) {
		fmt.Fprintf(&b, "membership %+v\n", *v)
	}
	for _, v := range r.lists {
		fmt.Fprintf(&b, "list %+v", v.call)
		if v.devices != nil {
			fmt.Fprintf(&b, " linearizable %v, index %d:", v.linearizable, v.devices.Index)
			for _, d := range v.devices.Devices {
				fmt.Fprintf(&b, " %s %s %q;", d.Node, d.Phase, d.Name)
			}
		}
		fmt.Fprintln(&b)
	}
	return b.Bytes()
}
