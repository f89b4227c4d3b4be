package dnssd

import (
	"fmt"
	"net"
	"time"
)

// Alias has this host found under a second host name, of one label, until the
// Registration or the Conn is closed.
//
// The name may move from host to host: it is not probed for, and takes the
// place of whatever others have heard for it (RFC 6762, section 10.2). Two
// hosts must not have it at once for long.
func (c *Conn) Alias(label string) (*Registration, error) {
	if err := checkLabel(label); err != nil {
		return nil, fmt.Errorf("host name: %w", err)
	}
	r := &Registration{c: c, alias: true, name: escape(label) + "." + domain}
	var err error
	open := c.locked(func(now time.Time) {
		if len(c.own[keyOf(r.name)]) > 0 {
			err = ErrConflict
			return
		}
		r.records = c.everywhere(r.name)
		c.begin(now, r)
	})
	if !open {
		err = net.ErrClosed
	}
	if err != nil {
		return nil, fmt.Errorf("host name %s: %w", label, err)
	}
	return r, nil
}

// everywhere are the addresses of all interfaces, under a host name.
func (c *Conn) everywhere(name string) (records []*own) {
	for _, i := range c.ifaces {
		records = append(records, i.addresses(name)...)
	}
	return records
}
