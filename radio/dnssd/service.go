package dnssd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio"
)

// ErrConflict is what Advertise returns when somebody on the link has the
// instance's name already.
var ErrConflict = errors.New("the name is taken on this link")

// Lives of our records (RFC 6762, section 10): those that hold a host name or
// an address change with the host.
const (
	hostTTL  = 120  // seconds
	otherTTL = 4500 // seconds
)

// Specification constants (RFC 6762, section 8.1).
const (
	probes        = 3
	probeInterval = 250 * time.Millisecond
	probeDeferred = time.Second // after losing to a simultaneous probe
)

// Service is something to be advertised, on every interface, under the Conn's
// host name.
type Service struct {
	Instance  string   // at most 63 bytes
	Type      string   // such as "_matterc._udp"
	Subtypes  []string // such as "_L3840"
	Port      uint16
	TXT       []string // "key=value", at most 255 bytes each
	SkipProbe bool     // the name is surely unique: announce it at once, not after 750 ms
}

// CommissionableService is what a device says of itself in ad.
func CommissionableService(ad radio.Advertisement, port uint16) Service {
	ad.Kind = radio.Commissionable
	subtypes := []string{LongDiscriminator(ad.Discriminator).subtype, ShortDiscriminator(ad.ShortDiscriminator()).subtype}
	if ad.Vendor != 0 {
		subtypes = append(subtypes, Vendor(ad.Vendor).subtype)
	}
	if ad.DeviceType != 0 {
		subtypes = append(subtypes, DeviceType(ad.DeviceType).subtype)
	}
	if ad.Mode != radio.NotCommissioning {
		subtypes = append(subtypes, Commissioning().subtype)
	}
	return Service{Instance: ad.Instance, Type: commissionableType, Subtypes: subtypes, Port: port, TXT: ad.TXT()}
}

// OperationalService is what a node of a fabric says of itself in ad. Its
// name is unique, so it is not probed for.
func OperationalService(ad radio.Advertisement, port uint16) Service {
	ad.Kind = radio.Operational
	return Service{Instance: radio.OperationalInstance(ad.CompressedFabric, ad.Node), Type: operationalType,
		Subtypes: []string{Fabric(ad.CompressedFabric).subtype}, Port: port, TXT: ad.TXT(), SkipProbe: true}
}

func (s *Service) check() error {
	for _, label := range append(slices.Concat(s.Subtypes, strings.Split(s.Type, ".")), s.Instance) {
		if err := checkLabel(label); err != nil {
			return err
		}
	}
	return checkTXT(s.TXT)
}

func checkTXT(pairs []string) error {
	for _, p := range pairs {
		if len(p) > 255 {
			return fmt.Errorf("TXT entry %.20q has %d bytes, more than 255", p, len(p))
		}
	}
	if n := len(txtWire(pairs)); n > maxTXTLen {
		return fmt.Errorf("TXT record has %d bytes, more than %d", n, maxTXTLen)
	}
	return nil
}

// Registration is a Service while it is advertised.
type Registration struct {
	c       *Conn
	service Service
	name    string
	alias   bool   // its name is a host's, and its records are addresses
	records []*own // empty until it is announced
	ready   chan error
	tries   int // probes sent
	due     event
	left    int // announcements to come
	wait    time.Duration
}

// Advertise makes s findable until the Registration or the Conn is closed. It
// returns once the name is probed for, or at once if s skips that.
func (c *Conn) Advertise(ctx context.Context, s Service) (*Registration, error) {
	fail := func(err error) (*Registration, error) {
		return nil, fmt.Errorf("advertise %s as %s: %w", s.Instance, s.Type, err)
	}
	if err := s.check(); err != nil {
		return fail(err)
	}
	r := &Registration{c: c, service: s, name: instanceName(s.Instance, s.Type), ready: make(chan error, 1)}
	var err error
	open := c.locked(func(now time.Time) {
		key := keyOf(r.name)
		if c.probing[key] != nil || len(c.own[key]) > 0 {
			err = ErrConflict
			return
		}
		if s.SkipProbe {
			c.announceNew(now, r)
			return
		}
		c.probing[key] = r
		r.due.run = func(now time.Time) { c.probe(now, r) }
		c.probe(now, r)
	})
	if !open {
		err = net.ErrClosed
	}
	if err == nil && !s.SkipProbe {
		select {
		case err = <-r.ready:
		case <-c.done:
			err = net.ErrClosed
		case <-ctx.Done():
			err = ctx.Err()
			r.Close()
		}
	}
	if err != nil {
		return fail(err)
	}
	return r, nil
}

// SetTXT replaces what the service says of itself and announces it.
func (r *Registration) SetTXT(pairs []string) error {
	if err := checkTXT(pairs); err != nil {
		return fmt.Errorf("advertise %s: %w", r.service.Instance, err)
	}
	r.c.locked(func(now time.Time) {
		if len(r.records) == 0 {
			return
		}
		r.service.TXT = slices.Clone(pairs)
		r.c.withdraw(r)
		r.c.announceNew(now, r)
	})
	return nil
}

// Close stops advertising, with a goodbye. It may be called again.
func (r *Registration) Close() {
	r.c.locked(func(time.Time) {
		delete(r.c.probing, keyOf(r.name))
		r.c.agenda.cancel(&r.due)
		if _, announced := r.c.registrations[r]; announced {
			r.c.sendGoodbye(r.records)
			r.c.withdraw(r)
		}
	})
}

// probe asks three times whether anybody has the name, then takes it.
func (c *Conn) probe(now time.Time, r *Registration) {
	if r.tries == probes {
		delete(c.probing, keyOf(r.name))
		c.announceNew(now, r)
		r.ready <- nil
		return
	}
	r.tries++
	class := uint16(dns.ClassINET)
	if !c.wire.Shared() {
		class |= unicastBit
	}
	m := &dns.Msg{Question: []dns.Question{{Name: r.name, Qtype: dns.TypeANY, Qclass: class}}, Ns: []dns.RR{c.srv(r).rr}}
	for index := range c.ifaces {
		for _, b := range pack(m) {
			c.out = append(c.out, outgoing{iface: index, data: b})
		}
	}
	c.agenda.set(&r.due, now.Add(probeInterval))
}

// probed ends the probes for names that somebody answered for.
func (c *Conn) probed(answers []answer) {
	for _, a := range answers {
		if r := c.probing[a.key]; r != nil && a.rrtype == dns.TypeSRV && a.data != c.srv(r).data {
			delete(c.probing, a.key)
			c.agenda.cancel(&r.due)
			r.ready <- ErrConflict
		}
	}
}

// rivals defers to others who probe for the same name at this moment and
// whose data is greater (RFC 6762, section 8.2).
func (c *Conn) rivals(now time.Time, proposed []answer) {
	for _, a := range proposed {
		r := c.probing[a.key]
		if r == nil || a.rrtype != dns.TypeSRV {
			continue
		}
		if ours := c.srv(r); a.port > ours.port || a.port == ours.port && a.target > ours.target {
			r.tries = 0
			c.agenda.set(&r.due, now.Add(probeDeferred))
		}
	}
}
