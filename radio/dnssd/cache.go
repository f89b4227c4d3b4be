package dnssd

import (
	"container/list"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Our own limits on what strangers can make us remember.
const (
	maxCached    = 16384 // records; beyond it the one confirmed longest ago goes
	maxPerSource = 4096  // of them told by one address, which may be an advertising proxy
	maxPerSet    = 64    // of one name, type and interface, but for PTR
	maxTTL       = 75 * time.Minute
	// minRefreshTTL keeps a short life from making us ask all the time.
	minRefreshTTL = 10 * time.Second
)

// Specification constants (RFC 6762, sections 5.2 and 10.1 to 10.4).
const (
	goodbyeGrace = time.Second
	flushGrace   = time.Second
	doubtGrace   = 10 * time.Second
)

// refreshAt are the parts of its life at which a record is asked for again,
// and its end, in percent.
var refreshAt = [...]time.Duration{80, 85, 90, 95, 100}

// record is an answer that is remembered, apart for each interface it was
// heard on: what is true on one link need not be on another.
type record struct {
	recordKey
	spelled string
	ttl     time.Duration
	seen    time.Time // when it was last confirmed
	source  netip.Addr
	doubted bool // and not confirmed since
	step    int  // of refreshAt, the next
	jitter  time.Duration
	due     event
	place   *list.Element // in cache.order
}

type recordKey struct {
	data
	iface int
}

// expires is when it is forgotten, if nobody confirms it.
func (r *record) expires() time.Time { return r.seen.Add(r.ttl) }

// cache remembers records until they expire. Its owner is told of changes and
// asked whether a record is worth a refresh.
type cache struct {
	agenda  *agenda
	rand    *rand.Rand
	changed func(r *record, there bool) // r is new, newer than another of its set, doubted or no longer so; or is gone
	refresh func(r *record)             // r is about to expire

	records map[recordKey]*record
	sets    map[question][]*record
	targets map[string]int     // hosts that SRV records point to, in lower case
	sources map[netip.Addr]int // records by who told them
	order   *list.List         // of *record, the one confirmed longest ago first
}

func newCache(a *agenda, r *rand.Rand) *cache {
	return &cache{agenda: a, rand: r, records: map[recordKey]*record{}, sets: map[question][]*record{},
		targets: map[string]int{}, sources: map[netip.Addr]int{}, order: list.New()}
}

// get is what is known for a question, on all interfaces, in no order.
func (c *cache) get(name string, rrtype uint16) []*record { return c.sets[question{name, rrtype}] }

// put takes the answers of one packet.
func (c *cache) put(now time.Time, answers []answer, iface int, source netip.Addr) {
	// One draw for the whole packet, so that what came together is refreshed
	// with one query.
	jitter := time.Duration(c.rand.Int64N(20))
	for _, a := range answers {
		c.putOne(now, a, iface, source, jitter)
	}
	for _, a := range answers {
		// Nobody owns a PTR set alone, whatever its flush bit says.
		if a.flush && a.rrtype != dns.TypePTR {
			c.flush(now, a.question, iface)
		}
	}
}

func (c *cache) putOne(now time.Time, a answer, iface int, source netip.Addr, jitter time.Duration) {
	k := recordKey{a.data, iface}
	r := c.records[k]
	if a.ttl == 0 {
		if r != nil {
			c.endIn(r, now, goodbyeGrace)
		}
		return
	}
	set := c.sets[a.question]
	if r == nil {
		if a.rrtype != dns.TypePTR && len(set) >= maxPerSet || c.sources[source] >= maxPerSource {
			return
		}
		if len(c.records) >= maxCached {
			c.remove(c.order.Front().Value.(*record))
		}
		r = &record{recordKey: k, source: source}
		r.due.run = func(now time.Time) { c.step(r, now) }
		r.place = c.order.PushBack(r)
		c.records[k] = r
		c.sets[a.question] = append(c.sets[a.question], r)
		c.sources[source]++
		if a.rrtype == dns.TypeSRV {
			c.targets[a.target]++
		}
	} else {
		c.order.MoveToBack(r.place)
	}
	// Of two that were true one after another, the one said last holds.
	news := r.seen.IsZero() || r.doubted || len(set) > 1 && (a.rrtype == dns.TypeSRV || a.rrtype == dns.TypeTXT)
	r.doubted = false
	r.spelled, r.seen, r.step, r.jitter = a.spelled, now, 0, jitter
	r.ttl = min(time.Duration(a.ttl)*time.Second, maxTTL)
	c.agenda.set(&r.due, r.stepTime())
	if news {
		c.changed(r, true)
	}
}

// flush ends the records of a set that this packet did not confirm. They live
// a second longer, in case a large set comes in several packets.
func (c *cache) flush(now time.Time, q question, iface int) {
	for _, r := range c.sets[q] {
		if r.iface == iface && now.Sub(r.seen) > flushGrace {
			c.endIn(r, now, flushGrace)
		}
	}
}

// doubt ends the records for a question unless they are confirmed soon.
func (c *cache) doubt(now time.Time, name string, rrtype uint16) {
	for _, r := range c.get(name, rrtype) {
		if !r.doubted {
			r.doubted = true
			c.endIn(r, now, doubtGrace)
			c.changed(r, true)
		}
	}
}

// endIn lets r live for d more at most.
func (c *cache) endIn(r *record, now time.Time, d time.Duration) {
	end := now.Add(d)
	if end.After(r.expires()) {
		return
	}
	r.ttl = end.Sub(r.seen)
	r.step = len(refreshAt) - 1
	c.agenda.set(&r.due, end)
}

// stepTime is when the next refresh, or the end, is due: up to 2 % of the
// life later than the round figure, but never for the end.
func (r *record) stepTime() time.Time {
	part := r.ttl * refreshAt[r.step] / 100
	if r.step < len(refreshAt)-1 {
		part += r.ttl * r.jitter / 1000
	}
	return r.seen.Add(part)
}

func (c *cache) step(r *record, now time.Time) {
	if r.step == len(refreshAt)-1 {
		c.remove(r)
		return
	}
	if r.ttl >= minRefreshTTL {
		c.refresh(r)
	}
	r.step++
	c.agenda.set(&r.due, r.stepTime())
}

func (c *cache) remove(r *record) {
	c.agenda.cancel(&r.due)
	c.order.Remove(r.place)
	delete(c.records, r.recordKey)
	set := c.sets[r.question]
	for i, other := range set {
		if other == r {
			set[i] = set[len(set)-1]
			set[len(set)-1] = nil
			set = set[:len(set)-1]
			break
		}
	}
	if len(set) == 0 {
		delete(c.sets, r.question)
	} else {
		c.sets[r.question] = set
	}
	if c.sources[r.source]--; c.sources[r.source] == 0 {
		delete(c.sources, r.source)
	}
	if r.rrtype == dns.TypeSRV {
		if c.targets[r.target]--; c.targets[r.target] == 0 {
			delete(c.targets, r.target)
		}
	}
	c.changed(r, false)
}

// removeAll forgets every record that gone is true for.
func (c *cache) removeAll(gone func(*record) bool) {
	for _, r := range c.records {
		if gone(r) {
			c.remove(r)
		}
	}
}
