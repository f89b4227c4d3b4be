package air

import (
	"slices"
	"time"
)

// advertiser is a controller's advertising state.
type advertiser struct {
	timer    *time.Timer // not nil while it advertises
	interval time.Duration
	kind     byte
	ownType  byte
	direct   Address // whom a directed advertisement is for
	data     []byte
	response []byte
}

func (a *advertiser) stop() {
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

// scanner is a controller's scanning state.
type scanner struct {
	on     bool
	active bool
	once   bool // each advertiser is reported once
	seen   map[seen]bool
}

type seen struct {
	from Address
	kind byte
}

// Report is an advertisement as a scanner hears it.
type Report struct {
	Kind byte // Connectable, Directed, Scannable, NotConnectable or ScanResponse
	From Address
	Data []byte
	RSSI int8 // dBm
}

// Advertising says whether the controller does at the moment. A controller
// that is connected to stops.
func (c *Controller) Advertising() bool {
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	return c.adv.timer != nil
}

// advertise begins, with an event at once.
func (c *Controller) advertise() {
	c.adv.stop()
	var t *time.Timer
	t = time.AfterFunc(0, func() {
		c.air.mu.Lock()
		defer c.air.mu.Unlock()
		if c.adv.timer != t {
			return // stopped while the timer fired
		}
		c.advertisingEvent()
		if c.adv.timer == t {
			t.Reset(c.adv.interval)
		}
	})
	c.adv.timer = t
}

// advertisingEvent is heard by everybody who listens, and answered by the
// first who wants to connect.
func (c *Controller) advertisingEvent() {
	from := c.own(c.adv.ownType)
	for _, other := range c.air.controllers {
		if other == c || c.air.lost() {
			continue
		}
		if other.dial != nil && other.dial.target == from && c.connectableBy(other) {
			c.adv.stop()
			c.air.connect(other, c)
			return
		}
		other.hear(Report{Kind: c.adv.kind, From: from, Data: c.adv.data, RSSI: c.rssi})
		if other.scan.active && (c.adv.kind == Connectable || c.adv.kind == Scannable) {
			other.hear(Report{Kind: ScanResponse, From: from, Data: c.adv.response, RSSI: c.rssi})
		}
	}
}

// meetAtOnce connects to who is dialled without waiting to hear it.
func (c *Controller) meetAtOnce() {
	for _, other := range c.air.controllers {
		if other != c && other.adv.timer != nil && other.own(other.adv.ownType) == c.dial.target && other.connectableBy(c) {
			other.adv.stop()
			c.air.connect(c, other)
			return
		}
	}
}

func (c *Controller) connectableBy(other *Controller) bool {
	switch c.adv.kind {
	case Connectable:
		return true
	case Directed:
		return other.own(other.dial.ownType) == c.adv.direct
	}
	return false
}

// own is the address a controller goes by.
func (c *Controller) own(kind byte) Address {
	if kind&1 != 0 {
		return c.random
	}
	return c.public
}

// hear reports an advertisement to the host if it scans.
func (c *Controller) hear(r Report) {
	if !c.scan.on || c.scan.once && c.scan.seen[seen{r.From, r.Kind}] {
		return
	}
	c.scan.seen[seen{r.From, r.Kind}] = true
	b := r.From.appendTo([]byte{1, r.Kind, r.From.kind()})
	b = append(b, byte(len(r.Data)))
	b = append(b, r.Data...)
	c.meta(c.air.now(), metaReport, append(b, byte(r.RSSI))...)
}

// stopScan also takes back reports that the host has not read yet: none may
// come behind the answer to the command that ended the scan.
func (c *Controller) stopScan() {
	c.scan.on = false
	if c.port == nil {
		return
	}
	c.port.queue = slices.DeleteFunc(c.port.queue, func(q queued) bool {
		return len(q.packet) > 3 && q.packet[0] == packetEvent && q.packet[1] == eventMeta && q.packet[3] == metaReport
	})
}
