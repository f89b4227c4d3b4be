package air

import (
	"encoding/binary"
	"slices"
	"time"
)

// command is one HCI command. Its answer is Command Complete with the return
// parameters that run gives, the status first, or for a slow one Command
// Status with the status alone. What then does comes behind the answer.
type command struct {
	size int // bytes of parameters
	slow bool
	run  func(c *Controller, b []byte) (answer []byte, then func())
}

var ok = []byte{statusOK}

func status(code byte) ([]byte, func()) { return []byte{code}, nil }

// fixed answers always the same.
func fixed(size int, params ...byte) command {
	return command{size: size, run: func(*Controller, []byte) ([]byte, func()) { return append([]byte{statusOK}, params...), nil }}
}

// command answers one (section 7).
func (c *Controller) command(opcode uint16, b []byte) {
	cmd, known := commands[opcode]
	answer, then := []byte{statusUnknown}, func() {}
	switch {
	case !known:
	case len(b) != cmd.size:
		answer[0] = statusInvalid
		c.air.fault(c, "command %04x with %d bytes", opcode, len(b))
	default:
		if a, f := cmd.run(c, b); f != nil {
			answer, then = a, f
		} else {
			answer = a
		}
	}
	if cmd.slow {
		c.event(eventCommandStatus, answer[0], 1, byte(opcode), byte(opcode>>8))
	} else {
		c.event(eventCommandComplete, append([]byte{1, byte(opcode), byte(opcode >> 8)}, answer...)...)
	}
	if answer[0] == statusOK {
		then()
	}
}

// supported are the commands for LE below (section 6.27). Of others a host is
// told nothing.
var supported = [64]byte{25: 0xf7, 26: 0xff, 27: 0x27, 28: 0x08}

var commands = map[uint16]command{
	// Controller and baseband, and what a host asks a controller about itself.
	0x0c03: {run: func(c *Controller, _ []byte) ([]byte, func()) { c.reset(); return ok, nil }},
	0x0c01: fixed(8),                                           // event mask
	0x0c63: fixed(8),                                           // event mask, page 2
	0x0c13: fixed(248),                                         // local name
	0x0c24: fixed(3),                                           // class of device
	0x0c6c: fixed(0, 1, 0),                                     // LE host support
	0x0c6d: fixed(2),                                           // write LE host support
	0x1001: fixed(0, 0x09, 0, 0, 0x09, 0xff, 0xff, 0, 0),       // version: 5.0 of a maker for tests
	0x1002: fixed(0, supported[:]...),                          // supported commands
	0x1003: fixed(0, 0, 0, 0, 0, 0x60, 0, 0, 0),                // features: LE and nothing else
	0x1005: fixed(0, 0, 0, 0, 0, 0, 0, 0),                      // buffers: those of LE are its own
	0x2002: fixed(0, aclLength, 0, aclBuffers),                 // LE buffers
	0x2003: fixed(0, 0, 0, 0, 0, 0, 0, 0, 0),                   // LE features
	0x2007: fixed(0, 0),                                        // advertising power, dBm
	0x200f: fixed(0, 8),                                        // size of the filter accept list
	0x2010: fixed(0),                                           // clear it
	0x2011: fixed(7),                                           // add to it
	0x2012: fixed(7),                                           // remove from it
	0x201c: fixed(0, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03, 0, 0), // states
	0x1009: {run: func(c *Controller, _ []byte) ([]byte, func()) { return c.public.appendTo([]byte{statusOK}), nil }},
	0x2001: {size: 8, run: func(c *Controller, b []byte) ([]byte, func()) {
		c.metaMask = binary.LittleEndian.Uint64(b)
		return ok, nil
	}},
	0x2005: {size: 6, run: func(c *Controller, b []byte) ([]byte, func()) {
		if c.adv.timer != nil || c.scan.on {
			return status(statusDisallowed)
		}
		c.random = readAddress(1, b)
		return ok, nil
	}},

	// Advertising.
	0x2006: {size: 15, run: setAdvertising},
	0x2008: {size: 32, run: func(c *Controller, b []byte) ([]byte, func()) { return setData(&c.adv.data, b) }},
	0x2009: {size: 32, run: func(c *Controller, b []byte) ([]byte, func()) { return setData(&c.adv.response, b) }},
	0x200a: {size: 1, run: func(c *Controller, b []byte) ([]byte, func()) {
		if b[0] == 0 {
			c.adv.stop()
		} else if c.adv.timer == nil {
			c.advertise()
		}
		return ok, nil
	}},

	// Scanning.
	0x200b: {size: 7, run: func(c *Controller, b []byte) ([]byte, func()) {
		if c.scan.on {
			return status(statusDisallowed)
		}
		c.scan.active = b[0] == 1
		return ok, nil
	}},
	0x200c: {size: 2, run: func(c *Controller, b []byte) ([]byte, func()) {
		if b[0] == 0 {
			c.stopScan()
			return ok, nil
		}
		if c.scan.on = true; c.dial != nil {
			c.air.fault(c, "scans while it connects")
		}
		c.scan.once, c.scan.seen = b[1] == 1, map[seen]bool{}
		return ok, nil
	}},

	// Connections.
	0x200d: {size: 25, slow: true, run: createConnection},
	0x200e: {run: cancelConnection},
	0x0406: {size: 3, slow: true, run: func(c *Controller, b []byte) ([]byte, func()) {
		e := c.links[binary.LittleEndian.Uint16(b)]
		if e == nil {
			return status(statusNoConnection)
		}
		return ok, func() { e.hangUp(statusLocalEnd, b[2]) }
	}},
	0x2013: {size: 14, slow: true, run: func(c *Controller, b []byte) ([]byte, func()) {
		e := c.links[binary.LittleEndian.Uint16(b)]
		if e == nil {
			return status(statusNoConnection)
		}
		p, valid := readParams(b[2:])
		if !valid {
			return status(statusInvalid)
		}
		return ok, func() {
			e.link.params = p
			for _, e := range []*end{e, e.peer} {
				e.ctrl.meta(c.air.now(), metaConnectionUpdate, p.appendTo([]byte{statusOK, byte(e.handle), byte(e.handle >> 8)})...)
			}
		}
	}},
	0x041d: {size: 2, slow: true, run: func(c *Controller, b []byte) ([]byte, func()) {
		if c.links[binary.LittleEndian.Uint16(b)] == nil {
			return status(statusNoConnection)
		}
		return ok, func() { c.event(eventRemoteVersion, statusOK, b[0], b[1], 0x09, 0xff, 0xff, 0, 0) }
	}},
	0x2016: {size: 2, slow: true, run: func(c *Controller, b []byte) ([]byte, func()) {
		if c.links[binary.LittleEndian.Uint16(b)] == nil {
			return status(statusNoConnection)
		}
		return ok, func() {
			c.meta(c.air.now(), metaRemoteFeatures, statusOK, b[0], b[1], 0, 0, 0, 0, 0, 0, 0, 0)
		}
	}},
	0x1405: {size: 2, run: func(c *Controller, b []byte) ([]byte, func()) {
		e := c.links[binary.LittleEndian.Uint16(b)]
		if e == nil {
			return []byte{statusNoConnection, b[0], b[1], 0}, nil
		}
		return []byte{statusOK, b[0], b[1], byte(e.peer.ctrl.rssi)}, nil
	}},
}

func setAdvertising(c *Controller, b []byte) ([]byte, func()) {
	if c.adv.timer != nil {
		return status(statusDisallowed)
	}
	low, high := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
	if low < 0x20 || low > high || high > 0x4000 || b[4] > 4 {
		return status(statusInvalid)
	}
	c.adv.interval = time.Duration(low) * advertisingUnit * time.Microsecond
	c.adv.kind, c.adv.ownType, c.adv.direct = b[4], b[5], readAddress(b[6], b[7:13])
	if c.adv.kind == 4 { // directed, low duty: on the air it is the same
		c.adv.kind = Directed
	}
	return ok, nil
}

// setData reads a length and 31 bytes.
func setData(to *[]byte, b []byte) ([]byte, func()) {
	if b[0] > maxAdvertising {
		return status(statusInvalid)
	}
	*to = slices.Clone(b[1 : 1+b[0]])
	return ok, nil
}

func createConnection(c *Controller, b []byte) ([]byte, func()) {
	if c.dial != nil {
		return status(statusDisallowed)
	}
	p, valid := readParams(b[13:])
	if !valid {
		return status(statusInvalid)
	}
	target := readAddress(b[5], b[6:12])
	for _, e := range c.links {
		if e.peer.address == target {
			return status(statusConnected)
		}
	}
	if c.scan.on {
		c.air.fault(c, "connects while it scans")
	}
	c.dial = &dial{target: target, ownType: b[12], params: p}
	return ok, func() {
		if c.air.conditions.Connect == 0 {
			c.meetAtOnce()
		}
	}
}

func cancelConnection(c *Controller, _ []byte) ([]byte, func()) {
	d := c.dial
	if d == nil {
		return status(statusDisallowed)
	}
	c.dial = nil
	return ok, func() {
		b := d.target.appendTo([]byte{statusNoConnection, 0, 0, central, d.target.kind()})
		c.meta(c.air.now(), metaConnected, append(b, make([]byte, 7)...)...)
	}
}
