package dnssd

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"
)

// Specification constants (RFC 6762, sections 6, 6.7 and 7.2).
const (
	sharedDelayMin = 20 * time.Millisecond
	sharedDelayMax = 120 * time.Millisecond
	heldMin        = 400 * time.Millisecond
	heldMax        = 500 * time.Millisecond
	multicastPause = time.Second // before a record is multicast again
	legacyTTL      = 10          // seconds, the most that a plain resolver is told
)

// maxHeld bounds the truncated queries that wait for the rest of what their
// senders know.
const maxHeld = 64

// responder is the part of a Conn that is found by others. All of it is under
// the Conn's lock.
type responder struct {
	own           map[string][]*own // by name in lower case
	registrations map[*Registration]struct{}
	probing       map[string]*Registration // by name in lower case
	delayed       map[int]*delayed         // by interface
	held          map[netip.AddrPort]*held
}

func newResponder() responder {
	return responder{own: map[string][]*own{}, registrations: map[*Registration]struct{}{}, probing: map[string]*Registration{},
		delayed: map[int]*delayed{}, held: map[netip.AddrPort]*held{}}
}

// delayed are answers that wait for others to be sent along with.
type delayed struct {
	answers map[*own]struct{}
	due     event
}

// held is a query whose known answers go on in another packet.
type held struct {
	m     message
	iface int
	due   event
}

// query answers a query, as far as it is about us.
func (c *Conn) query(now time.Time, p Packet) {
	if len(c.registrations) == 0 && len(c.probing) == 0 {
		return
	}
	from, h := p.From, c.held[p.From]
	ours := func(key string) bool { return len(c.own[key]) > 0 || c.probing[key] != nil }
	m, err := parse(p.Data, func(q asked) bool { return ours(q.key) }, func(q question) bool { return ours(q.key) })
	if err != nil || len(m.questions) == 0 && h == nil {
		return
	}
	c.rivals(now, m.proposed)
	if h != nil {
		h.m.questions = append(h.m.questions, m.questions...)
		h.m.answers = append(h.m.answers, m.answers...)
		if !m.truncated || len(h.m.questions) > maxQuestions || len(h.m.answers) > maxRecords {
			c.agenda.cancel(&h.due)
			h.due.run(now)
		}
		return
	}
	if m.truncated && len(c.held) < maxHeld {
		h = &held{m: m, iface: p.Iface}
		h.due.run = func(now time.Time) {
			delete(c.held, from)
			c.answer(now, h.m, h.iface, from)
		}
		c.held[from] = h
		c.agenda.set(&h.due, now.Add(c.between(heldMin, heldMax)))
		return
	}
	c.answer(now, m, p.Iface, from)
}

func (c *Conn) between(least, most time.Duration) time.Duration {
	return least + time.Duration(c.rand.Int64N(int64(most-least)))
}

// answer sorts our answers into those that go to the asker alone and those
// that go to all, at once or after a while.
func (c *Conn) answer(now time.Time, m message, iface int, from netip.AddrPort) {
	known := make(map[data]uint32, len(m.answers))
	for _, a := range m.answers {
		known[a.data] = a.ttl
	}
	// A reply to a program on this host could end up with another one.
	legacy, neighbour := from.Port() != Port, !c.isOurs(from.Addr())
	var alone, all []*own
	shared := false
	seen := make(map[data]bool)
	for _, q := range m.questions {
		for _, o := range c.own[q.key] {
			if o.rrtype != q.rrtype && q.rrtype != dns.TypeANY || o.iface != 0 && o.iface != iface || seen[o.data] {
				continue
			}
			seen[o.data] = true
			if ttl, ok := known[o.data]; ok && ttl >= o.ttl()/2 {
				continue
			}
			toAsker := legacy || q.unicast && neighbour
			if toAsker {
				alone = append(alone, o)
			}
			// Caches everywhere are refreshed now and then, whatever the
			// asker wants (RFC 6762, section 5.4).
			stale := now.Sub(o.sent[iface]) > time.Duration(o.ttl())*time.Second/4
			if !toAsker || !legacy && stale {
				all = append(all, o)
				shared = shared || !o.unique
			}
		}
	}
	if len(alone) > 0 {
		c.reply(m, alone, iface, from, legacy)
	}
	switch {
	case len(all) == 0:
	case shared && len(m.proposed) == 0 && !c.ifaces[iface].Loopback:
		c.delay(now, iface, all)
	default:
		if len(m.proposed) == 0 {
			all = c.notLately(now, iface, all)
		}
		c.multicastOwn(now, iface, all, c.additional(all, iface))
	}
}

func (c *Conn) isOurs(ip netip.Addr) bool {
	for _, i := range c.ifaces {
		for _, p := range i.Prefixes {
			if p.Addr() == ip.WithZone("") {
				return true
			}
		}
	}
	return false
}

// reply answers one asker. A plain resolver gets what it understands.
func (c *Conn) reply(m message, answers []*own, iface int, to netip.AddrPort, legacy bool) {
	r := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
	if legacy {
		r.Id = m.id
		for _, q := range m.questions {
			r.Question = append(r.Question, dns.Question{Name: q.name, Qtype: q.rrtype, Qclass: dns.ClassINET})
		}
	}
	add := func(to *[]dns.RR, records []*own) {
		for _, o := range records {
			ttl := o.ttl()
			if legacy {
				ttl = min(ttl, legacyTTL)
			}
			*to = append(*to, o.copy(ttl, !legacy))
		}
	}
	add(&r.Answer, answers)
	add(&r.Extra, c.additional(answers, iface))
	for _, b := range pack(r) {
		c.out = append(c.out, outgoing{iface, to, b})
	}
}

// additional are the records that whoever wanted answers will want next.
func (c *Conn) additional(answers []*own, iface int) (extra []*own) {
	have := make(map[*own]bool, len(answers))
	for _, o := range answers {
		have[o] = true
	}
	add := func(records []*own) {
		for _, o := range records {
			if !have[o] && o.rrtype != dns.TypePTR && (o.iface == 0 || o.iface == iface) {
				have[o] = true
				extra = append(extra, o)
			}
		}
	}
	for _, o := range answers {
		switch o.rrtype {
		case dns.TypePTR:
			if len(c.own[o.target]) > 0 && o.key != servicesPTR {
				add(c.own[o.target])
				add(c.own[keyOf(c.host)])
			}
		case dns.TypeSRV:
			add(c.own[keyOf(c.host)])
		}
	}
	return extra
}

// delay puts answers off for a moment, where others have some too, so that not
// everybody speaks at once.
func (c *Conn) delay(now time.Time, iface int, answers []*own) {
	d := c.delayed[iface]
	if d == nil {
		d = &delayed{answers: map[*own]struct{}{}}
		d.due.run = func(now time.Time) {
			delete(c.delayed, iface)
			var all []*own
			for o := range d.answers {
				all = append(all, o)
			}
			all = c.notLately(now, iface, all)
			c.multicastOwn(now, iface, all, c.additional(all, iface))
		}
		c.delayed[iface] = d
		c.agenda.set(&d.due, now.Add(c.between(sharedDelayMin, sharedDelayMax)))
	}
	for _, o := range answers {
		d.answers[o] = struct{}{}
	}
}

// notLately leaves out what was multicast on iface a moment ago. The loopback
// interface needs no sparing.
func (c *Conn) notLately(now time.Time, iface int, answers []*own) (rest []*own) {
	if c.ifaces[iface].Loopback {
		return answers
	}
	for _, o := range answers {
		if now.Sub(o.sent[iface]) >= multicastPause {
			rest = append(rest, o)
		}
	}
	return rest
}

// multicastOwn sends records of ours to everybody on iface.
func (c *Conn) multicastOwn(now time.Time, iface int, answers, extra []*own) {
	if len(answers) == 0 {
		return
	}
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
	for _, o := range answers {
		o.sent[iface] = now
		m.Answer = append(m.Answer, o.copy(o.ttl(), true))
	}
	for _, o := range extra {
		m.Extra = append(m.Extra, o.copy(o.ttl(), true))
	}
	for _, b := range pack(m) {
		c.out = append(c.out, outgoing{iface: iface, data: b})
	}
}
