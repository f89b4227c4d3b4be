package air

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"
)

// ErrBusy says that a controller has a host already.
var ErrBusy = fmt.Errorf("air: the controller has a host already: %w", syscall.EBUSY)

// A Controller is one radio. A host attaches to it with Open; without a host
// it is silent.
type Controller struct {
	air    *Air
	index  int
	public Address

	// Guarded by air.mu.
	port *Port
	rssi int8
	state
}

// state is what an HCI reset undoes.
type state struct {
	random   Address
	metaMask uint64
	adv      advertiser
	scan     scanner
	dial     *dial
	links    map[uint16]*end
}

// Controller adds a controller. Its public address is made of its place.
func (a *Air) Controller() *Controller {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := len(a.controllers)
	c := &Controller{air: a, index: n, public: Address{Bytes: [6]byte{0x02, 0xca, 0xfe, 0x00, byte(n >> 8), byte(n + 1)}}, rssi: -56}
	c.state = freshState()
	a.controllers = append(a.controllers, c)
	return c
}

// Controllers lists all that were added, in their order.
func (a *Air) Controllers() []*Controller {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.controllers)
}

func freshState() state {
	return state{metaMask: defaultMetaMask, links: map[uint16]*end{}, adv: advertiser{interval: 160 * advertisingUnit * time.Microsecond}}
}

// Address is the controller's public address.
func (c *Controller) Address() Address { return c.public }

// SetRSSI says how loud others hear it, in dBm.
func (c *Controller) SetRSSI(dBm int8) {
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	c.rssi = dBm
}

// Open attaches a host to a controller that has been reset.
func (c *Controller) Open() (*Port, error) {
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	if c.port != nil {
		return nil, ErrBusy
	}
	c.port = &Port{ctrl: c, wake: make(chan struct{}, 1), done: make(chan struct{})}
	return c.port, nil
}

// reset forgets everything; the peers of its links notice by their
// supervision timeouts, which are spared the wait.
func (c *Controller) reset() {
	for _, e := range c.links {
		e.hangUp(0, statusTimeout)
	}
	c.adv.stop()
	c.state = freshState()
}

// Inject hands the host a raw HCI packet, type byte first, as it stands.
func (c *Controller) Inject(packet []byte) {
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	c.send(c.air.now(), slices.Clone(packet))
}

// InjectACL hands the host the data of an ACL packet as if it came over its
// links, each of them. It tells over how many.
func (c *Controller) InjectACL(frame []byte) int {
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	for _, e := range c.links {
		c.send(c.air.now(), aclPacket(e.handle, boundaryFirst, frame))
	}
	return len(c.links)
}

// send queues a packet for the host.
func (c *Controller) send(at time.Time, packet []byte) {
	p := c.port
	if p == nil || len(p.queue) >= queueLen {
		return
	}
	c.air.seq++
	i, _ := slices.BinarySearchFunc(p.queue, at, func(q queued, at time.Time) int {
		if q.at.After(at) {
			return 1
		}
		return -1 // behind everything of the same time
	})
	p.queue = slices.Insert(p.queue, i, queued{at, packet})
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (c *Controller) event(code byte, params ...byte) { c.eventAt(c.air.now(), code, params...) }

func (c *Controller) eventAt(at time.Time, code byte, params ...byte) {
	c.send(at, append([]byte{packetEvent, code, byte(len(params))}, params...))
}

// meta sends an LE meta event unless the host has masked it.
func (c *Controller) meta(at time.Time, sub byte, params ...byte) {
	if c.metaMask&(1<<(sub-1)) != 0 {
		c.eventAt(at, eventMeta, append([]byte{sub}, params...)...)
	}
}

// Port is a controller as its host has it: whole HCI packets, type byte first.
type Port struct {
	ctrl *Controller
	wake chan struct{} // the queue has something new
	once sync.Once
	done chan struct{}

	queue []queued // by time; guarded by air.mu
}

type queued struct {
	at     time.Time
	packet []byte
}

// ReadPacket blocks until the controller has something to say. After Close it
// returns io.EOF.
func (p *Port) ReadPacket() ([]byte, error) {
	for {
		packet, wait := p.next()
		if packet != nil {
			return packet, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-due:
		case <-p.wake:
		case <-p.done:
			return nil, io.EOF
		}
	}
}

// next is the packet that is due, or how long until one is.
func (p *Port) next() ([]byte, time.Duration) {
	a := p.ctrl.air
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(p.queue) == 0 {
		return nil, 0
	}
	if wait := p.queue[0].at.Sub(a.now()); wait > 0 {
		return nil, wait
	}
	packet := p.queue[0].packet
	p.queue = slices.Delete(p.queue, 0, 1)
	return packet, 0
}

// WritePacket takes a packet from the host.
func (p *Port) WritePacket(packet []byte) error {
	select {
	case <-p.done:
		return io.ErrClosedPipe
	default:
	}
	c := p.ctrl
	c.air.mu.Lock()
	defer c.air.mu.Unlock()
	switch {
	case len(packet) >= 4 && packet[0] == packetCommand && len(packet) == 4+int(packet[3]):
		c.command(uint16(packet[1])|uint16(packet[2])<<8, packet[4:])
	case len(packet) >= 5 && packet[0] == packetACL && len(packet) == 5+int(packet[3])+int(packet[4])<<8:
		c.acl(packet)
	default:
		c.air.fault(c, "malformed packet % x", packet[:min(len(packet), 16)])
	}
	return nil
}

// Close detaches the host; the controller falls silent.
func (p *Port) Close() error {
	p.once.Do(func() {
		close(p.done)
		a := p.ctrl.air
		a.mu.Lock()
		defer a.mu.Unlock()
		p.ctrl.reset()
		p.ctrl.port = nil
	})
	return nil
}

// Controller is whose port it is.
func (p *Port) Controller() *Controller { return p.ctrl }
