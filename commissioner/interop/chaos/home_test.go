//go:build interop

package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"gatehouse/commissioner/interop/ether"
	"gatehouse/commissioner/portal"
)

// Limits of a home.
const (
	gateways  = 3
	maxHosts  = 200
	foundTime = 2 * time.Minute // to found a home and have its gateways in
	// A device in doubt is given up after its fail-safe and a grace, three
	// minutes in all, and each one is looked for, for 20 s, before it is.
	wholeTime  = 6 * time.Minute
	maxBroken  = 20 // violations that are kept
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
	index  uint64 // of the State that all gateways had in the end; 0: they did not come to one
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
