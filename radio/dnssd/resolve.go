package dnssd

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio"
)

// resolve is a Resolve that waits for its instance.
type resolve chan radio.Advertisement

func (r resolve) notify(i *instance) {
	if !i.sure {
		return
	}
	select {
	case r <- handOver(i.ad):
	default: // it has one already
	}
}

// handOver is ad for somebody who may change it.
func handOver(ad radio.Advertisement) radio.Advertisement {
	ad.Addrs = slices.Clone(ad.Addrs)
	ad.RotatingID = slices.Clone(ad.RotatingID)
	return ad
}

// Resolve finds the addresses of one operational node: by memory if that has
// them, else by asking until ctx ends. name is what
// radio.OperationalInstance gives. When none of the addresses answers, say so
// with Doubt and resolve again.
func (c *Conn) Resolve(ctx context.Context, name string) (radio.Advertisement, error) {
	fail := func(err error) (radio.Advertisement, error) {
		return radio.Advertisement{}, fmt.Errorf("resolve %s: %w", name, err)
	}
	if _, _, err := radio.ParseOperationalInstance(name); err != nil {
		return fail(err)
	}
	r := make(resolve, 1)
	var i *instance
	open := c.locked(func(now time.Time) {
		i = c.watch(instanceName(name, operationalType), r)
		for _, q := range i.asking {
			c.hurry(now, q)
		}
		r.notify(i)
	})
	if !open {
		return fail(net.ErrClosed)
	}
	defer c.locked(func(time.Time) { c.unwatch(i, r) })
	select {
	case ad := <-r: // what memory gives is given even when ctx is at its end
		return ad, nil
	default:
	}
	select {
	case ad := <-r:
		return ad, nil
	case <-c.done:
		return fail(net.ErrClosed)
	case <-ctx.Done():
		return fail(fmt.Errorf("no answer: %w", ctx.Err()))
	}
}

// Doubt says that what is known of an operational node led nowhere. A later
// Resolve waits until somebody has confirmed it or told something else; what
// nobody confirms within ten seconds is forgotten.
func (c *Conn) Doubt(name string) {
	key := keyOf(instanceName(name, operationalType))
	c.locked(func(now time.Time) {
		for _, srv := range c.cache.get(key, dns.TypeSRV) {
			c.cache.doubt(now, srv.target, dns.TypeA)
			c.cache.doubt(now, srv.target, dns.TypeAAAA)
		}
		c.cache.doubt(now, key, dns.TypeSRV)
	})
}
