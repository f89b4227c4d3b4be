package interaction

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/commissioner/matter/exchange"
)

// ErrSilent says that a subscription's reports stayed away for longer than the
// interval that was agreed on.
var ErrSilent = errors.New("interaction: the device no longer reports")

type subscriptionKey struct {
	session *exchange.Session
	id      uint32
}

// Subscription is a stream of reports from one device.
type Subscription struct {
	e       *Engine
	key     subscriptionKey
	deliver func(*Report)
	max     time.Duration

	turn  chan struct{} // holds one while a report is taken in: one at a time
	alive *time.Timer
	heard atomic.Int64 // Unix ns
	once  sync.Once
	done  chan struct{}
	err   error
}

// ID is the device's number for the subscription.
func (s *Subscription) ID() uint32 { return s.key.id }

// MaxInterval is how long the device may be silent.
func (s *Subscription) MaxInterval() time.Duration { return s.max }

// Heard is when the device last reported, be it nothing.
func (s *Subscription) Heard() time.Time { return time.Unix(0, s.heard.Load()) }

// Done is closed when the subscription has ended; Err then says why.
func (s *Subscription) Done() <-chan struct{} { return s.done }

// Err is why the subscription ended: ErrSilent, exchange.ErrClosed with its
// session, or nil after Close.
func (s *Subscription) Err() error { return s.err }

// Close ends the subscription. The device learns it with its next report.
func (s *Subscription) Close() { s.end(nil) }

func (s *Subscription) end(err error) {
	s.once.Do(func() {
		s.e.mu.Lock()
		delete(s.e.subs, s.key)
		s.e.mu.Unlock()
		if s.alive != nil {
			s.alive.Stop()
		}
		s.err = err
		close(s.done)
	})
}

// Subscribe reads what req names, hands it to deliver and, from then on, every
// change: deliver is called with one report at a time, on the engine's
// goroutines, and must not block. It returns once the device has confirmed.
func (e *Engine) Subscribe(ctx context.Context, s *exchange.Session, req SubscribeRequest, deliver func(*Report)) (*Subscription, error) {
	d, err := open(e.m, s)
	if err != nil {
		return nil, err
	}
	defer d.x.Close()
	req.Revision = revision
	if err := d.send(ctx, opSubscribeRequest, &req); err != nil {
		return nil, err
	}
	sub := &Subscription{e: e, deliver: deliver, done: make(chan struct{}), turn: make(chan struct{}, 1)}
	sub.turn <- struct{}{} // a report that overtakes the confirmation waits
	defer func() { <-sub.turn }()
	var a assembly
	for more := true; more; {
		var chunk reportData
		size, err := d.receive(ctx, opReportData, &chunk)
		if err == nil && chunk.Subscription == nil {
			err = errors.New("interaction: report without a subscription id")
		}
		if err == nil {
			err = a.add(&chunk, size)
		}
		if err != nil {
			return nil, err
		}
		if more = chunk.More; !more { // the next report may come before we are told
			sub.key = subscriptionKey{s, *chunk.Subscription}
			e.add(sub)
		}
		if err = d.status(ctx, Success); err != nil {
			sub.end(err)
			return nil, err
		}
	}
	var resp subscribeResponse
	if _, err := d.receive(ctx, opSubscribeResponse, &resp); err != nil {
		sub.end(err)
		return nil, err
	}
	if resp.ID != sub.key.id {
		err := errors.New("interaction: another subscription is confirmed")
		sub.end(err)
		return nil, err
	}
	sub.max = time.Duration(resp.MaxInterval) * time.Second
	deliver(a.done())
	sub.heard.Store(e.m.Now().UnixNano())
	sub.alive = time.AfterFunc(sub.patience(), func() { sub.end(ErrSilent) })
	go func() {
		select {
		case <-s.Done():
			sub.end(exchange.ErrClosed)
		case <-sub.done:
		}
	}()
	return sub, nil
}

// patience is how long silence is believed to be agreement.
func (s *Subscription) patience() time.Duration {
	return s.max + s.key.session.ResponseTimeout(defaultWork)
}

func (e *Engine) add(s *Subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.subs[s.key] = s
}

func (e *Engine) subscription(s *exchange.Session, id *uint32) *Subscription {
	if id == nil {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.subs[subscriptionKey{s, *id}]
}

// reported takes in a report that a device began.
func (e *Engine) reported(ctx context.Context, d dialogue, body []byte) {
	var chunk reportData
	if !d.decode(ctx, body, &chunk) {
		return
	}
	sub := e.subscription(d.x.Session(), chunk.Subscription)
	if sub == nil { // one of before our restart: the device shall forget it
		d.status(ctx, InvalidSubscription)
		return
	}
	select {
	case sub.turn <- struct{}{}:
		defer func() { <-sub.turn }()
	case <-ctx.Done():
		return
	}
	if sub.alive == nil { // it was never confirmed
		d.status(ctx, InvalidSubscription)
		return
	}
	var a assembly
	for size := len(body); ; {
		if err := a.add(&chunk, size); err != nil {
			d.status(ctx, ResourceExhausted)
			return
		}
		if !chunk.SuppressResponse && d.status(ctx, Success) != nil {
			return
		}
		if !chunk.More {
			break
		}
		chunk = reportData{}
		var err error
		if size, err = d.receive(ctx, opReportData, &chunk); err != nil {
			return
		}
	}
	select {
	case <-sub.done:
		return
	default:
	}
	sub.alive.Reset(sub.patience())
	sub.heard.Store(e.m.Now().UnixNano())
	if report := a.done(); len(report.Attributes)+len(report.Events) > 0 {
		sub.deliver(report)
	}
}
