// Package dnssd finds Matter devices, nodes and Thread border routers by
// multicast DNS, and makes the gateway and its virtual devices findable.
//
// A Conn has one cache and one pair of sockets for all who browse, resolve
// and advertise. It lives beside other responders on the host, follows
// interfaces as they come and go, and keeps the zone of every link-local
// address it yields.
//
// It promises bounds: whatever strangers send, memory and the work for one
// packet stay within the limits named in message.go, cache.go, ask.go and
// answer.go. It never believes what it heard more than to knock there:
// nothing in multicast DNS is authenticated.
//
// It serves RFC 6762 and RFC 6763, and the chapter on discovery of the Matter
// Core specification. It does not resolve conflicts of names after the probe:
// Matter's are random or unique to a node.
package dnssd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// pollInterfaces is how often interfaces and their addresses are looked at.
const pollInterfaces = 3 * time.Second

// Config of a Conn. Now and Rand have to be given.
type Config struct {
	// Interfaces to use, by name; one that is absent is used once it
	// appears. None means each one that is up and capable of multicast, but
	// for point-to-point ones.
	//
	// The loopback interface mostly lacks the multicast flag, so it has to
	// be named. Named alone it lets processes on one host find each other,
	// over IPv4, whoever their user is and though there be no network.
	Interfaces []string
	// Host is the one label of our host name. Empty means 12 random hex
	// digits, which is what a Matter node is expected to have.
	Host string

	Now  func() time.Time
	Rand io.Reader
	Log  *slog.Logger // nil: silent
	Wire Wire         // nil: real sockets
}

// Conn is a querier and a responder. Its methods may be called from several
// goroutines.
type Conn struct {
	wire Wire
	now  func() time.Time
	log  *slog.Logger
	host string // full name

	mu     sync.Mutex
	closed bool
	done   chan struct{} // closed with it
	rand   *rand.Rand    // for jitter only
	ifaces map[int]*Interface
	agenda agenda
	timer  *time.Timer // serves the agenda
	armed  time.Time   // what timer is set to; zero when it is not
	poll   *time.Timer // serves refreshInterfaces
	out    []outgoing  // what has been composed, to be sent once mu is free

	cache cache
	finder
	responder
}

// Open starts a Conn.
func Open(cfg Config) (*Conn, error) {
	var seed [16 + 6]byte
	if _, err := io.ReadFull(cfg.Rand, seed[:]); err != nil {
		return nil, fmt.Errorf("open discovery: %w", err)
	}
	if cfg.Host == "" {
		cfg.Host = fmt.Sprintf("%012X", seed[16:])
	}
	if err := checkLabel(cfg.Host); err != nil {
		return nil, fmt.Errorf("open discovery: host name: %w", err)
	}
	c := &Conn{
		wire: cfg.Wire, now: cfg.Now, log: cfg.Log,
		host:   escape(cfg.Host) + "." + domain,
		done:   make(chan struct{}),
		rand:   rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:]))),
		ifaces: map[int]*Interface{},
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.cache = *newCache(&c.agenda, c.rand)
	c.cache.changed, c.cache.refresh = c.recordChanged, c.refreshRecord
	c.finder = newFinder()
	c.responder = newResponder()
	if c.wire == nil {
		s, err := openSockets(cfg.Interfaces, c.log)
		if err != nil {
			return nil, fmt.Errorf("open discovery: %w", err)
		}
		c.wire = s
	}
	c.timer = time.AfterFunc(time.Hour, func() { c.locked(func(time.Time) {}) })
	c.timer.Stop()
	c.poll = time.AfterFunc(time.Hour, c.refreshInterfaces)
	c.refreshInterfaces()
	c.wire.Start(c.deliver)
	return c, nil
}

// Close says goodbye for what is advertised, ends every Browse and Resolve
// and frees the sockets. When it has returned nothing is sent or delivered.
func (c *Conn) Close() error {
	open := c.locked(func(now time.Time) {
		c.sayGoodbye()
		c.closed = true
		close(c.done)
	})
	if !open {
		return nil
	}
	c.timer.Stop()
	c.poll.Stop()
	if err := c.wire.Close(); err != nil {
		return fmt.Errorf("close discovery: %w", err)
	}
	return nil
}

// Host is the name that what we advertise is reached under.
func (c *Conn) Host() string { return unescape(c.host[:len(c.host)-len("."+domain)]) }

// locked runs f with the lock, after what was due by now, and then sends what
// came of it without the lock. It returns false, without running f, when the
// Conn is closed.
func (c *Conn) locked(f func(now time.Time)) bool {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return false
	}
	now := c.now()
	c.agenda.runDue(now)
	f(now)
	c.settle(now)
	c.composeQueries(now)
	c.arm(now)
	out := c.out
	c.out = nil
	c.mu.Unlock()
	for _, o := range out {
		c.send(o)
	}
	return true
}

// arm sets the timer to what is due next.
func (c *Conn) arm(now time.Time) {
	next, ok := c.agenda.next()
	if !ok {
		c.timer.Stop()
		c.armed = time.Time{}
		return
	}
	// A timer that has fired and waits for the lock finds nothing to do; one
	// set to what is past already would be lost without this.
	if next.Equal(c.armed) && c.armed.After(now) {
		return
	}
	c.armed = next
	c.timer.Reset(max(0, next.Sub(now)))
}

// deliver takes one packet from the wire.
func (c *Conn) deliver(p Packet) {
	c.locked(func(now time.Time) {
		i := c.ifaces[p.Iface]
		if i == nil || len(p.Data) > maxPacket {
			return
		}
		// A packet that was not sent to the group may come from anywhere
		// (RFC 6762, section 11).
		if !p.Multicast && !i.onLink(p.From.Addr()) {
			return
		}
		if len(p.Data) > 2 && p.Data[2]&0x80 == 0 {
			c.query(now, p)
			return
		}
		if p.From.Port() != Port {
			return // section 6: an answer from another port is no answer
		}
		m, err := parse(p.Data, nil, c.relevant)
		if err != nil && len(m.answers) == 0 {
			return
		}
		c.probed(m.answers)
		c.learn(now, m.answers, i, p.From.Addr())
	})
}

// refreshInterfaces looks at the interfaces and comes back.
func (c *Conn) refreshInterfaces() {
	found, err := c.wire.Interfaces() // takes its time: not under the lock
	if err != nil {
		c.log.Warn("interfaces cannot be listed", "err", err)
	}
	c.locked(func(now time.Time) {
		if err == nil {
			c.setInterfaces(now, found)
		}
		c.poll.Reset(pollInterfaces)
	})
}

func (c *Conn) setInterfaces(now time.Time, found []Interface) {
	gone, news := make(map[int]bool), false
	for index := range c.ifaces {
		gone[index] = true
	}
	for _, i := range found {
		delete(gone, i.Index)
		old := c.ifaces[i.Index]
		if old != nil && equalInterface(*old, i) {
			continue
		}
		c.ifaces[i.Index] = &i
		c.log.Debug("interface in use", "name", i.Name, "addresses", i.Prefixes)
		c.announceInterface(now, &i)
		news = true
	}
	for index := range gone {
		c.log.Debug("interface gone", "name", c.ifaces[index].Name)
		delete(c.ifaces, index)
		c.forgetInterface(index)
		c.cache.removeAll(func(r *record) bool { return r.iface == index })
	}
	if news {
		c.askAnew(now)
	}
}

func equalInterface(a, b Interface) bool {
	if a.Name != b.Name || len(a.Prefixes) != len(b.Prefixes) {
		return false
	}
	for i := range a.Prefixes {
		if a.Prefixes[i] != b.Prefixes[i] {
			return false
		}
	}
	return true
}

// outgoing is a packet to one peer or, when there is none, to the groups.
type outgoing struct {
	iface int
	to    netip.AddrPort
	data  []byte
}

func (c *Conn) send(o outgoing) {
	var err error
	if o.to.IsValid() {
		err = c.wire.Unicast(o.iface, o.to, o.data)
	} else {
		err = c.wire.Multicast(o.iface, o.data)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		c.log.Debug("packet not sent", "interface", o.iface, "to", o.to, "err", err)
	}
}

// checkLabel says why s cannot be one label of a name.
func checkLabel(s string) error {
	if s == "" || len(s) > maxLabel {
		return fmt.Errorf("%q has %d bytes, not 1 to %d", s, len(s), maxLabel)
	}
	return nil
}
