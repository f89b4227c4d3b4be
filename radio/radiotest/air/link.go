package air

import (
	"encoding/binary"
	"slices"
	"time"
)

// Params are what the two sides of a link have agreed on.
type Params struct {
	Interval time.Duration // between connection events
	Latency  int           // events the peripheral may skip
	Timeout  time.Duration // supervision: silence that ends the link
}

// Link is one controller's view of a link.
type Link struct {
	Handle  uint16
	Central bool // this side asked for it
	Peer    Address
	Params
}

// Links lists a controller's links.
func (c *Controller) Links() []Link {
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	var out []Link
	for _, e := range c.links {
		out = append(out, Link{Handle: e.handle, Central: e.role == central, Peer: e.peer.address, Params: e.link.params})
	}
	return out
}

// dial is a connection that a host waits for.
type dial struct {
	target  Address
	ownType byte
	params  Params
}

// link is a connection; its two ends belong to two controllers.
type link struct {
	params  Params
	central *end
	ended   bool
	doomed  bool        // too many events in a row are lost
	quiet   *time.Timer // ends the link unless the air is heard again
}

type end struct {
	link     *link
	ctrl     *Controller
	role     byte
	handle   uint16
	address  Address // this side's
	peer     *end
	arrival  time.Time   // of the last frame: nothing overtakes
	underway []time.Time // arrivals of the frames that hold a buffer
	held     []frame     // until the air is heard again
}

// frame is the data of an ACL packet.
type frame struct {
	boundary byte
	data     []byte
}

func (a *Air) links() (out []*link) {
	for _, c := range a.controllers {
		for _, e := range c.links {
			if e.role == central {
				out = append(out, e.link)
			}
		}
	}
	return out
}

// connect answers an advertisement of p's by a connection from d.
func (a *Air) connect(d, p *Controller) {
	l := &link{params: d.dial.params}
	at := a.now().Add(a.conditions.Connect)
	from := &end{link: l, ctrl: d, role: central, handle: a.nextHandle, address: d.own(d.dial.ownType), arrival: at}
	to := &end{link: l, ctrl: p, role: peripheral, handle: a.nextHandle + 1, address: p.own(p.adv.ownType), arrival: at}
	from.peer, to.peer, l.central = to, from, from
	if a.nextHandle += 2; a.nextHandle > maxHandle {
		a.nextHandle = firstHandle
	}
	d.dial = nil
	for _, e := range []*end{from, to} {
		e.ctrl.links[e.handle] = e
		b := e.peer.address.appendTo([]byte{statusOK, byte(e.handle), byte(e.handle >> 8), e.role, e.peer.address.kind()})
		e.ctrl.meta(at, metaConnected, append(l.params.appendTo(b), 0)...)
	}
}

// hangUp ends a link; a host is told the reason of its side unless it is zero.
func (e *end) hangUp(own, peer byte) {
	l := e.link
	if l.ended {
		return
	}
	l.ended = true
	if l.quiet != nil {
		l.quiet.Stop()
	}
	for e, reason := range map[*end]byte{e: own, e.peer: peer} {
		delete(e.ctrl.links, e.handle)
		if reason != 0 {
			// Behind whatever arrived before, a connection of just now above all.
			at := e.ctrl.air.now()
			if e.peer.arrival.After(at) {
				at = e.peer.arrival
			}
			e.ctrl.eventAt(at, eventDisconnected, statusOK, byte(e.handle), byte(e.handle>>8), reason)
		}
	}
}

// acl takes the host's data for the other side.
func (c *Controller) acl(packet []byte) {
	a := c.air
	e := c.links[binary.LittleEndian.Uint16(packet[1:])&0xfff]
	if e == nil {
		return // the link ended while the packet was on its way here
	}
	now := a.now()
	e.underway = slices.DeleteFunc(e.underway, func(arrival time.Time) bool { return !arrival.After(now) })
	switch data := packet[5:]; {
	case len(data) > aclLength:
		a.fault(c, "an ACL packet of %d bytes", len(data))
		return
	case len(e.underway)+len(e.held) >= aclBuffers:
		a.fault(c, "more ACL packets than buffers")
		return
	}
	if to := e.direction(); a.cuts[to] > 0 {
		if a.cuts[to]--; a.cuts[to] == 0 {
			e.hangUp(statusTimeout, statusTimeout)
			return
		}
	}
	f := frame{packet[2] >> 4 & 3, slices.Clone(packet[5:])}
	if f.boundary == boundaryFirstFromHost {
		f.boundary = boundaryFirst
	}
	a.carry(e, f)
}

func (e *end) direction() Direction {
	if e.role == peripheral {
		return ToCentral
	}
	return ToPeripheral
}

// carry delivers a frame after the latency and as many intervals as events
// were lost, and gives the host its buffer back.
func (a *Air) carry(e *end, f frame) {
	now := a.now()
	at := now.Add(a.conditions.Latency)
	switch {
	case e.link.doomed:
		return
	case a.conditions.Loss >= 1:
		e.held = append(e.held, f)
		return
	}
	for a.lost() {
		if at = at.Add(e.link.params.Interval); at.Sub(now) >= e.link.params.Timeout {
			e.link.doomed = true
			a.silence(e.link)
			return
		}
	}
	if at.Before(e.arrival) {
		at = e.arrival
	}
	e.arrival = at
	e.underway = append(e.underway, at)
	arriving := [][]byte{f.data}
	if a.tap != nil {
		arriving = a.tap(e.direction(), f.data)
	}
	for _, data := range arriving {
		e.peer.ctrl.send(at, aclPacket(e.peer.handle, f.boundary, data))
	}
	e.ctrl.eventAt(at, eventCompletedPackets, 1, byte(e.handle), byte(e.handle>>8), 1, 0)
}

// silence ends a link when its supervision timeout has passed.
func (a *Air) silence(l *link) {
	if l.quiet != nil {
		return
	}
	l.quiet = time.AfterFunc(l.params.Timeout, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if l.quiet != nil {
			l.central.hangUp(statusTimeout, statusTimeout)
		}
	})
}

// resume carries what was held while all was silent.
func (a *Air) resume(l *link) {
	if l.quiet == nil || l.doomed {
		return
	}
	l.quiet.Stop()
	l.quiet = nil
	for _, e := range []*end{l.central, l.central.peer} {
		held := e.held
		e.held = nil
		for _, f := range held {
			a.carry(e, f)
		}
	}
}

func aclPacket(handle uint16, boundary byte, data []byte) []byte {
	b := []byte{packetACL, byte(handle), byte(handle>>8)&0xf | boundary<<4, byte(len(data)), byte(len(data) >> 8)}
	return append(b, data...)
}

// appendTo writes interval, latency and timeout in the units of HCI.
func (p Params) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(p.Interval/(intervalUnit*time.Microsecond)))
	b = binary.LittleEndian.AppendUint16(b, uint16(p.Latency))
	return binary.LittleEndian.AppendUint16(b, uint16(p.Timeout/(timeoutUnit*time.Microsecond)))
}

// readParams reads the longer interval of a range, latency and timeout, and
// says whether they go together (section 7.8.12).
func readParams(b []byte) (Params, bool) {
	u := func(i int) int { return int(binary.LittleEndian.Uint16(b[i:])) }
	p := Params{Interval: time.Duration(u(2)) * intervalUnit * time.Microsecond, Latency: u(4),
		Timeout: time.Duration(u(6)) * timeoutUnit * time.Microsecond}
	ok := u(0) >= 6 && u(0) <= u(2) && u(2) <= 3200 && u(4) <= 499 && u(6) >= 10 && u(6) <= 3200
	return p, ok && p.Timeout > 2*time.Duration(1+p.Latency)*p.Interval
}
