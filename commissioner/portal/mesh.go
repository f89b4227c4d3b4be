package portal

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/radio/thread/otbr"
)

// Limits of ours on asking border routers what the nodes of their networks say.
const (
	meshLimit    = 3 * time.Minute  // of asking once: a network of a hundred nodes takes two
	meshLife     = time.Hour        // for which what was said is not asked for again
	meshRest     = 10 * time.Second // between two times, whoever wants it
	meshPatience = 5 * time.Second  // of a client; what comes later it is told in an event
)

// meshSource is where diagnostics come from, as clients are told it.
const meshSource = "otbr-rest"

// Why diagnostics are not whole, in the words that clients know.
const (
	meshUnreachable = "rest_unreachable"
	meshProtocol    = "rest_protocol"
	meshTimeout     = "timeout"
	meshInProgress  = "in_progress"
	meshNothingYet  = "rest_no_responses_yet"
)

// Collector asks one border router what the nodes of its network say. A report
// beside an error is what came before it.
type Collector interface {
	Collect(ctx context.Context) (*otbr.Report, error)
}

// Mesh keeps what border routers said. It asks when somebody wants to know, and
// never by itself.
type Mesh struct {
	ctx     context.Context
	now     func() time.Time
	log     *slog.Logger
	routers []*meshRouter

	mu     sync.Mutex
	see    func(*hass.Diagnostics)
	closed bool
	wg     sync.WaitGroup
}

// meshRouter is one of them. It is guarded by Mesh.mu.
type meshRouter struct {
	from    Collector
	network uint64            // its extended PAN id
	last    *hass.Diagnostics // what was said of it; nil: it never was
	reason  string            // why that is not whole, or not new; empty: it is
	ended   time.Time         // when it was asked last
	running chan struct{}     // closed when it is asked no longer; nil: it is not
}

// NewMesh asks these border routers, until ctx ends.
func NewMesh(ctx context.Context, now func() time.Time, log *slog.Logger, routers ...Collector) *Mesh {
	m := &Mesh{ctx: ctx, now: now, log: log}
	for _, r := range routers {
		m.routers = append(m.routers, &meshRouter{from: r})
	}
	return m
}

// Close waits until nobody is asked any more, once ctx has ended.
func (m *Mesh) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.wg.Wait()
}

// watch has all that is found out later told. see must not wait for anything.
func (m *Mesh) watch(see func(*hass.Diagnostics)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.see = see
}

// refresh asks a border router, if that is due; what it gives is closed when it
// is done. Call it with the lock.
func (m *Mesh) refresh(r *meshRouter, force bool) <-chan struct{} {
	age := m.now().Sub(r.ended)
	asked := !r.ended.IsZero()
	switch {
	case r.running != nil:
		return r.running
	case m.closed, asked && age < meshRest, asked && !force && r.reason == "" && age < meshLife:
		return nil
	}
	r.running = make(chan struct{})
	m.wg.Go(func() { m.ask(r) })
	return r.running
}

func (m *Mesh) ask(r *meshRouter) {
	ctx, cancel := context.WithTimeout(m.ctx, meshLimit)
	defer cancel()
	report, err := r.from.Collect(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	before := r.reason
	r.reason, r.ended = meshReason(err), m.now()
	if report != nil && (err == nil || len(report.Nodes) > 0 || r.last == nil || r.network != report.ExtendedPANID) {
		r.network = report.ExtendedPANID
		r.last = &hass.Diagnostics{ExtendedPANID: upperHex(r.network, 16), NetworkName: report.Name, Collected: r.ended.UnixMilli(), Source: meshSource, Nodes: append([]otbr.Node{}, report.Nodes...)}
	}
	close(r.running)
	r.running = nil
	if err != nil && r.reason != before && m.ctx.Err() == nil {
		m.log.Warn("a border router does not tell of its network", "err", err)
	}
	if r.last != nil && m.see != nil {
		m.see(r.shown())
	}
}

func meshReason(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return meshTimeout
	case errors.Is(err, otbr.ErrProtocol):
		return meshProtocol
	}
	return meshUnreachable
}

// shown is what a client is told; nil: nothing is known. What is kept from
// before stays, with the reason why it is not newer.
func (r *meshRouter) shown() *hass.Diagnostics {
	if r.last == nil {
		return nil
	}
	d := *r.last
	switch {
	case r.running != nil && len(d.Nodes) == 0:
		d.Partial = meshNothingYet
	case r.running != nil:
		d.Partial = meshInProgress
	default:
		d.Partial = r.reason
	}
	return &d
}

// Known is what is known now. What is old is asked for meanwhile.
func (m *Mesh) Known(force bool) []*hass.Diagnostics {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := []*hass.Diagnostics{}
	for _, r := range m.routers {
		d := r.shown() // as it is before it is asked again
		if m.refresh(r, force); d != nil {
			list = append(list, d)
		}
	}
	return list
}

// Of is what is known of one network, after waiting a little for what is new.
func (m *Mesh) Of(ctx context.Context, network uint64, force bool) *hass.Diagnostics {
	var asked []<-chan struct{}
	m.mu.Lock()
	for _, r := range m.routers {
		other := r.last != nil && r.network != network // it may have moved, but nobody waits for that
		if done := m.refresh(r, force && !other); done != nil && !other {
			asked = append(asked, done)
		}
	}
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, meshPatience)
	defer cancel()
	for _, done := range asked {
		select {
		case <-done:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	nothing := hass.Undiagnosed(network, m.now())
	best := nothing
	for _, r := range m.routers {
		switch d := r.shown(); {
		case d != nil && r.network == network:
			if best == nothing || best.Partial != "" && (d.Partial == "" || d.Collected > best.Collected) {
				best = d
			}
		case d == nil && r.running != nil: // it may be the one
			nothing.Partial, nothing.Source = meshNothingYet, meshSource
		case d == nil && r.reason != "" && nothing.Partial == hass.ReasonNoSource:
			nothing.Partial, nothing.Source = r.reason, meshSource
		}
	}
	return best
}
