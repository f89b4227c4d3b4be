package interaction

import (
	"context"
	"slices"
	"sync"
	"time"

	"gatehouse/commissioner/matter/exchange"
)

// Limits of ours as a publisher.
const (
	maxPublications      = 16          // of all peers together
	minPublisherInterval = time.Second // between the empty reports that keep a subscription alive
	maxPublisherInterval = time.Hour   // what a subscriber may ask for without our shortening it
)

// publication is a subscription that a peer has with us.
type publication struct {
	e       *Engine
	id      uint32
	session *exchange.Session
	req     SubscribeRequest
	min     time.Duration
	max     time.Duration

	mu        sync.Mutex
	dirty     []AttributePath // changed since the last report
	events    bool            // and an event may have come
	nextEvent uint64
	wake      chan struct{}
	stop      context.CancelFunc
}

// Changed tells subscribers that attributes have new values, or that an event
// came (no path).
func (e *Engine) Changed(paths ...AttributePath) {
	e.mu.Lock()
	pubs := slices.Collect(mapValues(e.pubs))
	e.mu.Unlock()
	for _, p := range pubs {
		p.mu.Lock()
		for _, c := range paths {
			if slices.ContainsFunc(p.req.Attributes, func(w AttributePath) bool { return w.covers(c) }) &&
				!slices.ContainsFunc(p.dirty, func(have AttributePath) bool { return have.covers(c) }) {
				p.dirty = append(p.dirty, c)
			}
		}
		p.events = p.events || len(paths) == 0 && len(p.req.Events) > 0
		if len(p.dirty) > 0 || p.events {
			select {
			case p.wake <- struct{}{}:
			default:
			}
		}
		p.mu.Unlock()
	}
}

func mapValues[K comparable, V any](m map[K]V) func(func(V) bool) {
	return func(yield func(V) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}

// covers reports whether a path with wildcards stands for a concrete one.
func (p AttributePath) covers(c AttributePath) bool {
	return (p.Endpoint == nil || *p.Endpoint == *c.Endpoint) &&
		(p.Cluster == nil || *p.Cluster == *c.Cluster) &&
		(p.Attribute == nil || *p.Attribute == *c.Attribute)
}

func (e *Engine) serveSubscribe(ctx context.Context, d dialogue, r *Request, body []byte) {
	var req SubscribeRequest
	if !d.decode(ctx, body, &req) {
		return
	}
	switch {
	case len(req.Attributes)+len(req.Events) > maxPaths:
		d.status(ctx, PathsExhausted)
		return
	case len(req.Attributes)+len(req.Events) == 0 || req.MinInterval > req.MaxInterval:
		d.status(ctx, InvalidAction)
		return
	}
	p := &publication{e: e, session: d.x.Session(), req: req, wake: make(chan struct{}, 1),
		min: time.Duration(req.MinInterval) * time.Second,
		max: min(max(time.Duration(req.MaxInterval)*time.Second, minPublisherInterval), maxPublisherInterval)}
	if e.Pace != nil {
		p.max = e.Pace(p.max)
	}
	ctx, p.stop = context.WithCancel(ctx)
	defer p.stop()
	if !req.Keep {
		e.unpublish(func(o *publication) bool { return samePeer(o.session, p.session) })
	}
	if !e.publish(p) {
		d.status(ctx, ResourceExhausted)
		return
	}
	r.FabricFiltered = req.FabricFiltered
	out := e.collect(r, req.Attributes, req.DataVersions)
	out.collectEvents(e.provider, r, req.Events, req.EventFilters)
	p.nextEvent = out.lastEvent + 1
	resp := subscribeResponse{p.id, uint16(p.max / time.Second), revision}
	if !d.sendReport(ctx, out, &p.id, false) || d.send(ctx, opSubscribeResponse, &resp) != nil {
		e.unpublish(func(o *publication) bool { return o == p })
		return
	}
	d.x.Close() // reports have exchanges of their own
	p.run(ctx, *r)
}

// Subscribers are the sessions that somebody is subscribed to us on.
func (e *Engine) Subscribers() (all []*exchange.Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, p := range e.pubs {
		all = append(all, p.session)
	}
	return all
}

func samePeer(a, b *exchange.Session) bool {
	return a.Fabric() == b.Fabric() && a.PeerNode() == b.PeerNode()
}

func (e *Engine) publish(p *publication) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.pubs) >= maxPublications {
		return false
	}
	e.nextPub++
	p.id = e.nextPub
	e.pubs[p.id] = p
	return true
}

func (e *Engine) unpublish(match func(*publication) bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, p := range e.pubs {
		if match(p) {
			p.stop()
			delete(e.pubs, id)
		}
	}
}

// run reports changes, not more often than the minimum interval, and something
// at the latest when the maximum is over.
func (p *publication) run(ctx context.Context, r Request) {
	defer p.e.unpublish(func(o *publication) bool { return o == p })
	r.FabricFiltered = p.req.FabricFiltered
	for {
		last := time.NewTimer(p.max - p.max/8) // a little early: the report takes time
		floor := time.NewTimer(p.min)
		select {
		case <-floor.C:
		case <-ctx.Done():
			return
		case <-p.session.Done():
			return
		}
		select {
		case <-last.C:
		case <-p.wake:
		case <-ctx.Done():
			return
		case <-p.session.Done():
			return
		}
		last.Stop()
		if !p.report(ctx, &r) {
			return
		}
	}
}

func (p *publication) report(ctx context.Context, r *Request) bool {
	p.mu.Lock()
	dirty, events := p.dirty, p.events
	p.dirty, p.events = nil, false
	p.mu.Unlock()
	out := p.e.collect(r, dirty, nil)
	if events {
		out.collectEvents(p.e.provider, r, p.req.Events, []EventFilter{{Min: p.nextEvent}})
		p.nextEvent = max(p.nextEvent, out.lastEvent+1)
	}
	d, err := open(p.e.m, p.session)
	if err != nil {
		return false
	}
	defer d.x.Close()
	// A subscriber that is gone acknowledges nothing.
	return d.sendReport(ctx, out, &p.id, len(dirty) == 0 && !events) && d.x.Flush(ctx) == nil
}
