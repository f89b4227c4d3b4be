package dnssd

import (
	"slices"
	"time"

	"github.com/miekg/dns"
)

// An announcement is sent so often, the second time a second after the first
// and then after twice as long each (RFC 6762, section 8.3: two to eight).
const (
	announcements = 3
	announceAgain = time.Second
)

// own is a record of ours.
type own struct {
	data
	rr     dns.RR            // without the flush bit, never changed
	unique bool              // nobody else has records of this name and type
	iface  int               // where it is true; 0 for everywhere
	sent   map[int]time.Time // when it was last multicast, by interface
}

func newOwn(rr dns.RR, d data, unique bool) *own {
	h := rr.Header()
	d.key, d.rrtype = keyOf(h.Name), h.Rrtype
	h.Class = dns.ClassINET
	return &own{data: d, rr: rr, unique: unique, sent: map[int]time.Time{}}
}

// copy is the record for a packet.
func (o *own) copy(ttl uint32, flush bool) dns.RR {
	rr := dns.Copy(o.rr)
	rr.Header().Ttl = ttl
	if flush && o.unique {
		rr.Header().Class |= flushBit
	}
	return rr
}

func (o *own) ttl() uint32 { return o.rr.Header().Ttl }

func ptr(name, target string) *own {
	return newOwn(&dns.PTR{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypePTR, Ttl: otherTTL}, Ptr: target},
		data{target: keyOf(target)}, false)
}

func (c *Conn) srv(r *Registration) *own {
	return newOwn(&dns.SRV{Hdr: dns.RR_Header{Name: r.name, Rrtype: dns.TypeSRV, Ttl: hostTTL}, Port: r.service.Port, Target: c.host},
		data{target: keyOf(c.host), port: r.service.Port}, true)
}

// announceNew makes the records of r and begins to announce them.
func (c *Conn) announceNew(now time.Time, r *Registration) {
	s, base := r.service, r.service.Type+"."+domain
	txt := dns.RR_Header{Name: r.name, Rrtype: dns.TypeTXT, Ttl: otherTTL}
	r.records = []*own{ptr(base, r.name), c.srv(r), newOwn(newTXT(txt, s.TXT), data{txt: txtWire(s.TXT)}, true), ptr(servicesPTR, base)}
	for _, sub := range s.Subtypes {
		r.records = append(r.records, ptr(escape(sub)+"._sub."+base, r.name))
	}
	c.begin(now, r)
}

// begin takes r's records for ours and begins to announce them.
func (c *Conn) begin(now time.Time, r *Registration) {
	c.adopt(r.records)
	c.registrations[r] = struct{}{}
	r.left, r.wait = announcements, announceAgain
	r.due.run = func(now time.Time) { c.announce(now, r) }
	c.announce(now, r)
}

func (c *Conn) announce(now time.Time, r *Registration) {
	for index := range c.ifaces {
		records := on(index, r.records)
		if !r.alias {
			records = append(records, c.hostRecords(index)...)
		}
		c.multicastOwn(now, index, records, nil)
	}
	if r.left--; r.left > 0 {
		c.agenda.set(&r.due, now.Add(r.wait))
		r.wait *= 2
	}
}

// withdraw forgets the records of r.
func (c *Conn) withdraw(r *Registration) {
	c.disown(r.records)
	r.records = nil
	c.agenda.cancel(&r.due)
	delete(c.registrations, r)
}

func (c *Conn) adopt(records []*own) {
	for _, o := range records {
		c.own[o.key] = append(c.own[o.key], o)
	}
}

func (c *Conn) disown(records []*own) {
	for _, o := range records {
		rest := slices.DeleteFunc(c.own[o.key], func(other *own) bool { return other == o })
		if c.own[o.key] = rest; len(rest) == 0 {
			delete(c.own, o.key)
		}
		for _, d := range c.delayed {
			delete(d.answers, o)
		}
	}
}

// sendGoodbye tells every interface that records are no more. The one that
// says a type of service exists is left to expire: others may have one.
func (c *Conn) sendGoodbye(records []*own) {
	for index := range c.ifaces {
		m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
		for _, o := range on(index, records) {
			if o.key != servicesPTR {
				m.Answer = append(m.Answer, o.copy(0, true))
			}
		}
		for _, b := range pack(m) {
			c.out = append(c.out, outgoing{iface: index, data: b})
		}
	}
}

// sayGoodbye is for the end of the Conn.
func (c *Conn) sayGoodbye() {
	var records []*own
	for r := range c.registrations {
		records = append(records, r.records...)
	}
	if len(records) == 0 {
		return
	}
	for index := range c.ifaces {
		records = append(records, c.hostRecords(index)...)
	}
	c.sendGoodbye(records)
}

// hostRecords are our addresses on one interface.
func (c *Conn) hostRecords(iface int) (records []*own) {
	for _, o := range c.own[keyOf(c.host)] {
		if o.iface == iface {
			records = append(records, o)
		}
	}
	return records
}

// on are the records that are true on an interface.
func on(iface int, records []*own) (some []*own) {
	for _, o := range records {
		if o.iface == 0 || o.iface == iface {
			some = append(some, o)
		}
	}
	return some
}

// addresses are the interface's, under a host name.
func (i *Interface) addresses(name string) (records []*own) {
	for _, p := range i.Prefixes {
		h := dns.RR_Header{Name: name, Ttl: hostTTL}
		ip := p.Addr().WithZone("")
		var o *own
		if ip.Is4() {
			h.Rrtype = dns.TypeA
			o = newOwn(&dns.A{Hdr: h, A: ip.AsSlice()}, data{addr: ip}, true)
		} else {
			h.Rrtype = dns.TypeAAAA
			o = newOwn(&dns.AAAA{Hdr: h, AAAA: ip.AsSlice()}, data{addr: ip}, true)
		}
		o.iface = i.Index
		records = append(records, o)
	}
	return records
}

// announceInterface makes the address records of an interface that is new or
// has new addresses, and announces everything there.
func (c *Conn) announceInterface(now time.Time, i *Interface) {
	c.forgetInterface(i.Index)
	c.adopt(i.addresses(c.host))
	for r := range c.registrations {
		if r.alias {
			c.disown(r.records)
			r.records = c.everywhere(r.name)
			c.adopt(r.records)
		}
		r.left, r.wait = announcements, announceAgain
		c.announce(now, r)
	}
}

// forgetInterface drops what is kept for an interface.
func (c *Conn) forgetInterface(index int) {
	c.disown(c.hostRecords(index))
	if d := c.delayed[index]; d != nil {
		c.agenda.cancel(&d.due)
		delete(c.delayed, index)
	}
	for _, records := range c.own {
		for _, o := range records {
			delete(o.sent, index)
		}
	}
}
