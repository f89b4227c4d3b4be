package dnssd

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// A packet to us alone may have come through a router; one to the group
// cannot.
func TestPacketsFromOffTheLink(t *testing.T) {
	for _, tt := range []struct {
		from      string
		multicast bool
		learnt    bool
	}{
		{"192.0.2.9", false, true},
		{"198.51.100.9", false, false},
		{"198.51.100.9", true, true},
		{"fe80::9%eth0", false, true},
		{"2001:db8::9", false, false},
	} {
		c, _, _ := busyConn(t)
		c.deliver(Packet{Iface: 1, Multicast: tt.multicast, From: netip.AddrPortFrom(netip.MustParseAddr(tt.from), Port),
			Data: response(t, "_matterc._udp.local. 120 IN PTR x._matterc._udp.local.")})
		if got := len(c.cache.records) > 0; got != tt.learnt {
			t.Errorf("from %s, multicast %v: learnt %v", tt.from, tt.multicast, got)
		}
	}
}

// Instances that come and go while nobody takes the events leave nothing.
func TestUnseenInstancesAreForgotten(t *testing.T) {
	c, _, now := busyConn(t)
	b := newBrowse(c, Commissionables().name())
	c.locked(b.start)
	for i := range 1000 {
		for _, ttl := range []int{120, 0} {
			c.deliver(Packet{Iface: 1, Multicast: true, From: netip.AddrPortFrom(netip.MustParseAddr("fe80::9%eth0"), Port),
				Data: response(t, fmt.Sprintf("_matterc._udp.local. %d IN PTR x%d._matterc._udp.local.", ttl, i))})
		}
		*now = now.Add(2 * time.Second)
	}
	c.locked(func(time.Time) {})
	if len(b.changed)+len(b.instances)+len(c.asks)+len(c.cache.records) > 10 {
		t.Errorf("%d changes, %d instances, %d questions and %d records are left", len(b.changed), len(b.instances), len(c.asks), len(c.cache.records))
	}
}
