package dnssd

import (
	"context"
	"iter"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio"
)

// Change says what happened to what an Event tells of.
type Change uint8

const (
	Added   Change = iota + 1
	Updated        // something it says, or an address, is another
	Removed        // it said goodbye, or was not heard of in time
)

func (c Change) String() string {
	return [...]string{"", "added", "updated", "removed"}[c&3]
}

// Event is one change of what a Browse sees. A removed advertisement is as it
// was last.
type Event struct {
	Change
	radio.Advertisement
}

// Browse yields what matches q, at first from memory, and then every change,
// until ctx ends, the Conn is closed or the loop is left. Commissionable
// devices and border routers are yielded once an address and what they say of
// themselves are known, operational nodes once an address is. Changes that
// follow each other faster than they are taken become one.
func (c *Conn) Browse(ctx context.Context, q Query) iter.Seq[Event] {
	return func(yield func(Event) bool) {
		b := newBrowse(c, q.name())
		if !c.locked(b.start) {
			return
		}
		defer c.locked(func(time.Time) { b.stop() })
		for {
			var events []Event
			if !c.locked(func(time.Time) { events = b.take() }) {
				return
			}
			for _, e := range events {
				if ctx.Err() != nil || !yield(e) {
					return
				}
			}
			select {
			case <-b.wake:
			case <-c.done:
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// browse is a Browse in progress.
type browse struct {
	c         *Conn
	name      string
	instances map[string]*instance           // those that the name points to, by key
	shown     map[string]radio.Advertisement // as yielded last, by key
	changed   map[string]struct{}            // keys, since events were taken
	wake      chan struct{}
}

func newBrowse(c *Conn, name string) *browse {
	return &browse{c: c, name: name, instances: map[string]*instance{}, shown: map[string]radio.Advertisement{},
		changed: map[string]struct{}{}, wake: make(chan struct{}, 1)}
}

func (b *browse) key() string { return keyOf(b.name) }

func (b *browse) start(now time.Time) {
	set := b.c.browses[b.key()]
	if set == nil {
		set = map[*browse]struct{}{}
		b.c.browses[b.key()] = set
	}
	set[b] = struct{}{}
	for _, r := range b.c.cache.get(b.key(), dns.TypePTR) {
		b.add(r.spelled)
	}
	b.c.want(now, question{b.key(), dns.TypePTR}, b.name)
}

func (b *browse) stop() {
	for _, i := range b.instances {
		b.c.unwatch(i, b)
	}
	delete(b.c.browses[b.key()], b)
	if len(b.c.browses[b.key()]) == 0 {
		delete(b.c.browses, b.key())
	}
	b.c.unwant(question{b.key(), dns.TypePTR})
}

func (b *browse) add(target string) {
	if b.instances[keyOf(target)] != nil || len(b.instances) >= maxInstances {
		return
	}
	if i := b.c.watch(target, b); i != nil {
		b.instances[i.key] = i
		b.notify(i)
	}
}

func (b *browse) drop(key string) {
	i := b.instances[key]
	if i == nil {
		return
	}
	delete(b.instances, key)
	b.c.unwatch(i, b)
	b.notify(i)
	if _, ok := b.shown[key]; !ok {
		delete(b.changed, key) // nobody will ever know
	}
}

func (b *browse) notify(i *instance) {
	b.changed[i.key] = struct{}{}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// take is the net result of what has changed.
func (b *browse) take() (events []Event) {
	for _, key := range slices.Sorted(maps.Keys(b.changed)) {
		i := b.instances[key]
		shown, before := b.shown[key]
		now := i != nil && i.found
		switch {
		case now && !before:
			b.shown[key] = i.ad
			events = append(events, Event{Added, handOver(i.ad)})
		case now && !reflect.DeepEqual(shown, i.ad):
			b.shown[key] = i.ad
			events = append(events, Event{Updated, handOver(i.ad)})
		case !now && before:
			delete(b.shown, key)
			events = append(events, Event{Removed, shown})
		}
	}
	clear(b.changed)
	return events
}
