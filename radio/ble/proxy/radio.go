package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"

	"gatehouse/radio"
)

// Radio is one proxy that is connected. Its methods may be called from several
// goroutines.
type Radio struct {
	name string
	ws   *websocket.Conn
	cfg  Config
	gone chan struct{} // closed at the end; err says why

	slots   chan struct{} // for connections
	rescan  chan struct{} // whether anybody scans may have changed
	stopped chan string   // the proxy has stopped scanning, and why

	mu      sync.Mutex
	err     error
	next    uint32
	pending map[uint32]chan reply
	conns   map[uint16]*Conn
	scans   map[*scan]bool
}

// scan is one caller's.
type scan struct {
	ads    chan radio.Advertisement
	failed chan error
}

func newRadio(ws *websocket.Conn, name string, cfg Config) *Radio {
	return &Radio{name: name, ws: ws, cfg: cfg, gone: make(chan struct{}), slots: make(chan struct{}, maxConns),
		rescan: make(chan struct{}, 1), stopped: make(chan string, 1),
		pending: map[uint32]chan reply{}, conns: map[uint16]*Conn{}, scans: map[*scan]bool{}}
}

// Name is what a person may know the proxy by: a number and, where it came
// over a network, its address.
func (r *Radio) Name() string { return r.name }

// run reads what the proxy says until one of the two ends.
func (r *Radio) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go r.ping(ctx)
	go r.scan()
	now := r.cfg.Now()
	frames, ads := newAllowance(frameRate, now), newAllowance(adRate, now)
	for {
		kind, data, err := r.ws.Read(ctx)
		if err != nil {
			r.end(fmt.Errorf("%w: %w", ErrGone, err))
			return
		}
		for wait := frames.take(r.cfg.Now()); wait > 0; wait = frames.take(r.cfg.Now()) {
			time.Sleep(wait)
		}
		read := parse
		if kind == websocket.MessageBinary {
			read = parseBinary
		}
		m, err := read(data)
		if err != nil {
			r.end(fmt.Errorf("%w: %w", ErrGone, err))
			return
		}
		if _, ok := m.(heard); ok && ads.take(r.cfg.Now()) > 0 {
			continue
		}
		r.handle(m)
	}
}

// handle does what a message says. It must not block.
func (r *Radio) handle(m any) {
	switch m := m.(type) {
	case reply:
		r.mu.Lock()
		if waits := r.pending[m.id]; waits != nil {
			delete(r.pending, m.id)
			waits <- m
		}
		r.mu.Unlock()
	case heard:
		r.mu.Lock()
		for s := range r.scans {
			select {
			case s.ads <- m.ad:
			default:
			}
		}
		r.mu.Unlock()
	case notification:
		if c := r.conn(m.handle); c != nil {
			c.take(m.value)
		}
	case disconnected:
		if c := r.conn(m.handle); c != nil {
			c.lost()
		}
	case scanStopped:
		select {
		case r.stopped <- m.reason:
		default:
		}
	}
}

func (r *Radio) conn(handle uint16) *Conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns[handle]
}

// end ends the radio, once: everything that waits for it fails.
func (r *Radio) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return
	}
	r.err = err
	close(r.gone)
	for _, c := range r.conns {
		c.end(err)
	}
	go func() { // it may wait for the other side
		if errors.Is(err, net.ErrClosed) {
			r.ws.Close(websocket.StatusGoingAway, "")
		} else {
			r.ws.Close(websocket.StatusPolicyViolation, "")
		}
	}()
}

func (r *Radio) reason() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ping notices a proxy that has gone without a word.
func (r *Radio) ping(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.gone:
			return
		}
		limit, cancel := context.WithTimeout(ctx, pingLimit)
		err := r.ws.Ping(limit)
		cancel()
		if err != nil {
			r.end(fmt.Errorf("%w: no sign of life for %v", ErrGone, pingLimit))
			return
		}
	}
}

// do sends a command and waits for the answer, which it reads into result
// unless that is nil. A proxy that does not answer is left.
func (r *Radio) do(name string, args map[string]any, result any) error {
	waits := make(chan reply, 1)
	r.mu.Lock()
	r.next++
	id := r.next
	r.pending[id] = waits
	r.mu.Unlock()
	if args == nil {
		args = map[string]any{}
	}
	data, err := json.Marshal(command{id, name, args})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeLimit)
	defer cancel()
	if err := r.ws.Write(ctx, websocket.MessageText, data); err != nil {
		r.end(fmt.Errorf("%w: %w", ErrGone, err))
		return r.reason()
	}
	hung := time.NewTimer(commandLimit)
	defer hung.Stop()
	select {
	case a := <-waits:
		if a.err != nil || result == nil {
			return a.err
		}
		if err := json.Unmarshal(a.result, result); err != nil {
			r.end(fmt.Errorf("%w: %w: the answer to %s: %.*s", ErrGone, errMalformed, name, maxText, err))
			return r.reason()
		}
		return nil
	case <-hung.C:
		r.end(fmt.Errorf("%w: it does not answer %s", ErrGone, name))
	case <-r.gone:
	}
	return r.reason()
}

// Scan calls f with every advertisement of a device that can be commissioned,
// again and again, until ctx ends, whose error it returns; or until the proxy
// has gone or cannot scan. f is called from this goroutine; while it works
// advertisements are lost.
func (r *Radio) Scan(ctx context.Context, f func(radio.Advertisement)) error {
	s := &scan{make(chan radio.Advertisement, scanQueue), make(chan error, 1)}
	r.listen(s, true)
	defer r.listen(s, false)
	for {
		select {
		case ad := <-s.ads:
			f(ad)
		case err := <-s.failed:
			return err
		case <-r.gone:
			return r.reason()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listen adds a scan or takes it away.
func (r *Radio) listen(s *scan, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.scans[s] = true
	} else {
		delete(r.scans, s)
	}
	select {
	case r.rescan <- struct{}{}:
	default:
	}
}

// scan keeps the proxy scanning while somebody wants it. Should it not want
// to, whoever scans is told.
func (r *Radio) scan() {
	on := false
	for {
		var err error
		select {
		case <-r.rescan:
			err = r.turn(&on)
		case why := <-r.stopped:
			if on {
				on, err = false, fmt.Errorf("the Bluetooth proxy has stopped scanning: %s", why)
			}
		case <-r.gone:
			return
		}
		if err == nil {
			continue
		}
		r.mu.Lock()
		for s := range r.scans {
			select {
			case s.failed <- err:
			default:
			}
		}
		r.mu.Unlock()
	}
}

// turn turns scanning on or off if that is not as it should be.
func (r *Radio) turn(on *bool) error {
	r.mu.Lock()
	want := len(r.scans) > 0
	r.mu.Unlock()
	switch {
	case want && !*on:
		select {
		case <-r.stopped: // that was the scan before
		default:
		}
		// Duplicates tell how well a device is heard, and that it still is.
		err := r.do("start_scan", map[string]any{"service_uuids": []string{serviceUUID}, "allow_duplicates": true}, nil)
		if err != nil && !refused(err, "already_scanning") {
			return fmt.Errorf("scan: %w", err)
		}
	case !want && *on:
		if err := r.do("stop_scan", nil, nil); err != nil && !refused(err, "not_scanning") {
			r.cfg.Log.Warn("turn a Bluetooth proxy's scanning off", "proxy", r.name, "err", err)
		}
	}
	*on = want
	return nil
}
