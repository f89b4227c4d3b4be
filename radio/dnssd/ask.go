package dnssd

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// Specification constants (RFC 6762, section 5.2).
const (
	firstInterval = time.Second // between the first two queries of a question
	maxInterval   = time.Hour
)

// maxAsks bounds the questions we keep asking about instances that strangers
// may have invented. Those that a Resolve waits for are asked beyond it.
const maxAsks = 1024

// ask is a question that somebody waits for an answer to. It goes out at once,
// then after one second, two, four and so on, for as long as it is wanted.
type ask struct {
	question
	name     string
	wanted   int // by so many
	last     time.Time
	interval time.Duration
	due      event
}

// want asks q until unwant has been called as often. name is q's name as it
// shall be spelled.
func (c *Conn) want(now time.Time, q question, name string) {
	a := c.asks[q]
	if a == nil {
		a = &ask{question: q, name: name}
		a.due.run = func(now time.Time) { c.repeat(now, a) }
		c.asks[q] = a
	}
	a.wanted++
	c.hurry(now, q)
}

// hurry starts q over for somebody new, who shall not wait for the back-off
// of others.
func (c *Conn) hurry(now time.Time, q question) {
	if a := c.asks[q]; a != nil && now.Sub(a.last) >= firstInterval {
		c.askFirst(now, a)
	}
}

func (c *Conn) unwant(q question) {
	a := c.asks[q]
	if a.wanted--; a.wanted == 0 {
		c.agenda.cancel(&a.due)
		delete(c.asks, q)
	}
}

// askFirst lets the answer come to us alone, which is quicker and burdens
// nobody else: unless it might end up with another program on this host.
func (c *Conn) askFirst(now time.Time, a *ask) {
	a.last, a.interval = now, firstInterval
	c.pending = append(c.pending, asked{a.question, a.name, !c.wire.Shared()})
	c.agenda.set(&a.due, now.Add(a.interval))
}

func (c *Conn) repeat(now time.Time, a *ask) {
	a.last, a.interval = now, min(2*a.interval, maxInterval)
	c.pending = append(c.pending, asked{a.question, a.name, false})
	c.agenda.set(&a.due, now.Add(a.interval))
}

// askAnew starts every question over: there is a new interface or address.
func (c *Conn) askAnew(now time.Time) {
	for _, a := range c.asks {
		c.askFirst(now, a)
	}
}

// refreshRecord asks for a record that is about to expire, if anybody cares.
func (c *Conn) refreshRecord(r *record) {
	name := r.key
	switch r.rrtype {
	case dns.TypePTR:
		if len(c.browses[r.key]) == 0 {
			return
		}
	case dns.TypeSRV, dns.TypeTXT:
		i := c.instances[r.key]
		if i == nil {
			return
		}
		name = i.name
	default:
		if len(c.hosts[r.key]) == 0 {
			return
		}
	}
	c.pending = append(c.pending, asked{r.question, name, false})
}

// composeQueries turns the pending questions into packets, one or more for
// each interface, with what is known already.
func (c *Conn) composeQueries(now time.Time) {
	if len(c.pending) == 0 {
		return
	}
	var questions []dns.Question
	known := make(map[int][]dns.RR) // by interface
	seen := make(map[question]bool, len(c.pending))
	for _, p := range c.pending {
		if seen[p.question] {
			continue
		}
		seen[p.question] = true
		for _, r := range c.cache.sets[p.question] {
			if remaining := r.expires().Sub(now); r.step == 0 && remaining > r.ttl/2 {
				known[r.iface] = append(known[r.iface], r.rr(p.name, remaining))
			}
		}
		class := uint16(dns.ClassINET)
		if p.unicast {
			class |= unicastBit
		}
		questions = append(questions, dns.Question{Name: p.name, Qtype: p.rrtype, Qclass: class})
	}
	c.pending = c.pending[:0]
	var plain [][]byte // without known answers it is the same everywhere
	for index := range c.ifaces {
		packets := plain
		if rrs := known[index]; packets == nil || len(rrs) > 0 {
			packets = pack(&dns.Msg{Question: slices.Clone(questions), Answer: rrs})
			if len(rrs) == 0 {
				plain = packets
			}
		}
		for _, b := range packets {
			c.out = append(c.out, outgoing{iface: index, data: b})
		}
	}
}

// rr is the record as a known answer to a question for name.
func (r *record) rr(name string, remaining time.Duration) dns.RR {
	h := dns.RR_Header{Name: name, Rrtype: r.rrtype, Class: dns.ClassINET, Ttl: uint32(remaining / time.Second)}
	switch r.rrtype {
	case dns.TypePTR:
		return &dns.PTR{Hdr: h, Ptr: r.spelled}
	case dns.TypeSRV:
		return &dns.SRV{Hdr: h, Port: r.port, Target: r.spelled}
	case dns.TypeTXT:
		return newTXT(h, txtStrings(r.txt))
	case dns.TypeA:
		return &dns.A{Hdr: h, A: r.addr.AsSlice()}
	default:
		return &dns.AAAA{Hdr: h, AAAA: r.addr.AsSlice()}
	}
}

// newTXT escapes what the codec will unescape.
func newTXT(h dns.RR_Header, pairs []string) *dns.TXT {
	rr := &dns.TXT{Hdr: h, Txt: make([]string, 0, len(pairs))}
	for _, p := range pairs {
		rr.Txt = append(rr.Txt, escape(p))
	}
	if len(rr.Txt) == 0 {
		rr.Txt = []string{""}
	}
	return rr
}
