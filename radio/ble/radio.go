package ble

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble/wire"
)

// timing of a Radio; tests shorten it.
type timing struct {
	heartbeat time.Duration // between pings
	patience  time.Duration // without a pong, until the process counts as hung
	start     time.Duration // until a new process has said hello
	grace     time.Duration // what an operation may take beyond the process's own limit, and a process to end
	firstWait time.Duration // before the first restart; doubled from then on
	maxWait   time.Duration
	steady    time.Duration // a process that ran this long counts as a good one
	absent    time.Duration // between attempts when there is no adapter
}

var production = timing{
	heartbeat: 2 * time.Second,
	patience:  6 * time.Second,
	start:     15 * time.Second, // an adapter may load its firmware
	grace:     5 * time.Second,
	firstWait: 50 * time.Millisecond,
	maxWait:   5 * time.Second,
	steady:    30 * time.Second,
	absent:    30 * time.Second,
}

// scanQueue is how many advertisements a scan's callback may be behind; more
// are lost, as on the air.
const scanQueue = 64

// Radio is the daemon's side. Its methods may be called from several goroutines.
type Radio struct {
	cfg    Config
	timing timing
	stop   context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	closed  bool
	life    *life         // nil while no process is up
	fault   error         // why none can be, while life is nil
	changed chan struct{} // closed and replaced when one of the three changes
	scans   map[chan radio.Advertisement]bool
	stats   Stats
}

// New starts the radio process and keeps one running until Close. It does
// not wait for it.
func New(cfg Config) (*Radio, error) { return start(cfg, production) }

func start(cfg Config, t timing) (*Radio, error) {
	if (cfg.Command == nil) == (cfg.Socket == "") {
		return nil, errors.New("a radio has either a command or a socket")
	}
	if cfg.Now == nil || cfg.Log == nil {
		return nil, errors.New("a radio has a clock and a log")
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &Radio{cfg: cfg, timing: t, stop: stop, ended: make(chan struct{}), changed: make(chan struct{}),
		scans: map[chan radio.Advertisement]bool{}}
	go r.supervise(ctx)
	return r, nil
}

// Close ends the radio process and everything under way, and waits for that.
func (r *Radio) Close() error {
	r.mu.Lock()
	r.closed = true
	r.change()
	r.mu.Unlock()
	r.stop()
	<-r.ended
	return nil
}

// Stats tells how the radio process fares.
func (r *Radio) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// change wakes everybody who waits for one. r.mu is held.
func (r *Radio) change() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// up waits for a process that is up. It does not wait for an adapter.
func (r *Radio) up(ctx context.Context) (*life, error) {
	for {
		r.mu.Lock()
		l, fault, closed, changed := r.life, r.fault, r.closed, r.changed
		r.mu.Unlock()
		switch {
		case closed:
			return nil, net.ErrClosed
		case l != nil && !l.over():
			return l, nil
		case l == nil && fault != nil:
			return nil, fault
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the radio process: %w", ctx.Err())
		}
	}
}

// Scan calls f with every advertisement of a device that can be commissioned,
// again and again, until ctx ends, whose error it returns; or until it turns
// out that there is no adapter to be used. It outlives restarts. f is called
// from this goroutine; while it works advertisements are lost.
func (r *Radio) Scan(ctx context.Context, f func(radio.Advertisement)) error {
	ads := make(chan radio.Advertisement, scanQueue)
	r.listen(ads, true)
	defer r.listen(ads, false)
	for {
		l, err := r.up(ctx)
		if err != nil {
			return err
		}
		for alive := true; alive; {
			select {
			case ad := <-ads:
				f(ad)
			case <-l.done:
				r.await(ctx, l)
				alive = false
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// await waits until l is no longer the life that is up.
func (r *Radio) await(ctx context.Context, l *life) {
	for {
		r.mu.Lock()
		current, changed := r.life, r.changed
		r.mu.Unlock()
		if current != l {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// listen adds a scan or takes it away.
func (r *Radio) listen(ads chan radio.Advertisement, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.scans[ads] = true
	} else {
		delete(r.scans, ads)
	}
	if r.life != nil {
		r.life.rescan()
	}
}

// scanned says whether anybody scans.
func (r *Radio) scanned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.scans) > 0
}

// report hands an advertisement to every scan that keeps up.
func (r *Radio) report(ad radio.Advertisement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ads := range r.scans {
		select {
		case ads <- ad:
		default:
		}
	}
}

// Connect connects to a device and finds Matter's service on it. It fails with
// ErrUnreachable when the device is not heard or does not answer, within
// DialLimit and SetupLimit or when ctx ends.
func (r *Radio) Connect(ctx context.Context, to radio.Addr) (*Conn, error) {
	peer, err := wire.ParseAddress(to.Peer)
	if err != nil || to.Transport != radio.BLE {
		return nil, fmt.Errorf("connect to %v: not a Bluetooth address", to)
	}
	l, err := r.up(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", to, err)
	}
	c, err := l.connect(ctx, peer)
	if err != nil {
		return nil, fmt.Errorf("connect to %v: %w", to, err)
	}
	return c, nil
}
