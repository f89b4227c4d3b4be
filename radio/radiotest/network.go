// Package radiotest is an in-memory network of radio.Links for tests, and the
// conformance suite that every radio.Link passes.
//
// A Network starts out perfect: what is sent arrives at once, in order, once.
// SetConditions and SetDrop make it worse. What it does is drawn from its seed, apart for
// each direction between two links, so that a run can be repeated however the
// goroutines of the two sides interleave. It starts timers and never a
// goroutine, so it can live in a testing/synctest bubble.
//
// Production code never imports it.
package radiotest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"gatehouse/radio"
)

const (
	// MTU of a datagram link: an IPv6 packet of 1280 bytes less its headers.
	MTU = 1232
	// queueLen bounds a link's unread messages; more are lost, as in a
	// socket's buffer.
	queueLen = 4096
)

// Conditions of a Network. The zero value is a perfect one. Probabilities are
// between 0 and 1 and hold for each message alone.
type Conditions struct {
	Loss      float64       // never arrives
	Duplicate float64       // arrives twice, the second after ReorderBy more
	Reorder   float64       // arrives ReorderBy later than it would, so that later ones overtake it
	ReorderBy time.Duration // 0 means 10 ms
	Latency   time.Duration // of every message
	Jitter    time.Duration // up to this much more, evenly spread
}

const defaultReorderBy = 10 * time.Millisecond

// DropFunc sees each message before it is sent and says true to lose it. It
// may be called from several goroutines, must not keep b, and may change it.
type DropFunc func(from, to radio.Addr, b []byte) bool

// A Network connects the Links made from it by their addresses.
type Network struct {
	seed uint64

	mu    sync.Mutex
	cond  Conditions
	drop  DropFunc
	links map[radio.Addr]*link
	paths map[path]*rand.Rand
}

type path struct{ from, to radio.Addr }

// NewNetwork makes a perfect network whose misfortunes, once set, follow seed.
func NewNetwork(seed uint64) *Network {
	return &Network{seed: seed, links: map[radio.Addr]*link{}, paths: map[path]*rand.Rand{}}
}

// SetConditions holds for messages sent from now on.
func (n *Network) SetConditions(c Conditions) {
	if c.ReorderBy == 0 {
		c.ReorderBy = defaultReorderBy
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cond = c
}

// SetDrop holds for messages sent from now on; nil drops nothing.
func (n *Network) SetDrop(f DropFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drop = f
}

// DropNth is a DropFunc that loses the nth message (the first is 1) between
// any two links, and no other.
func DropNth(nth int) DropFunc {
	var mu sync.Mutex
	seen := 0
	return func(_, _ radio.Addr, _ []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		seen++
		return seen == nth
	}
}

// DropAfter is a DropFunc that cuts the network once n messages have passed.
func DropAfter(n int) DropFunc {
	var mu sync.Mutex
	seen := 0
	return func(_, _ radio.Addr, _ []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		seen++
		return seen > n
	}
}

// Link attaches a datagram link at addr. It panics when addr is taken by a
// link that is still open: that is a mistake in the test.
func (n *Network) Link(addr radio.Addr) radio.Link { return n.attach(addr, MTU, false) }

// Reliable attaches a link that is spared loss, duplication and reordering
// and keeps messages in order, as BTP does. Latency, without jitter, and the
// DropFunc still apply.
func (n *Network) Reliable(addr radio.Addr, mtu int) radio.Link { return n.attach(addr, mtu, true) }

func (n *Network) attach(addr radio.Addr, mtu int, reliable bool) radio.Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links[addr] != nil {
		panic(fmt.Sprintf("radiotest: %v is attached already", addr))
	}
	l := &link{net: n, addr: addr, mtu: mtu, reliable: reliable, queue: make(chan message, queueLen), done: make(chan struct{})}
	n.links[addr] = l
	return l
}

// send decides the fate of one message under the lock and then carries it out.
func (n *Network) send(l *link, to radio.Addr, b []byte) {
	m := message{from: l.addr, b: append([]byte(nil), b...)}
	n.mu.Lock()
	drop := n.drop
	n.mu.Unlock()
	if drop != nil && drop(l.addr, to, m.b) {
		return
	}
	n.mu.Lock()
	c, r := n.cond, n.rand(path{l.addr, to})
	delays := []time.Duration{c.Latency}
	if !l.reliable {
		// Every message draws the same numbers, whatever comes of them, so
		// that changing one probability leaves the others' outcomes alone.
		lost, twice, late, jitter := r.Float64(), r.Float64(), r.Float64(), r.Float64()
		if lost < c.Loss {
			n.mu.Unlock()
			return
		}
		delays[0] += time.Duration(jitter * float64(c.Jitter))
		if late < c.Reorder {
			delays[0] += c.ReorderBy
		}
		if twice < c.Duplicate {
			delays = append(delays, delays[0]+c.ReorderBy)
		}
	}
	n.mu.Unlock()
	for _, d := range delays {
		if d == 0 {
			n.deliver(to, m)
		} else {
			time.AfterFunc(d, func() { n.deliver(to, m) })
		}
	}
}

func (n *Network) deliver(to radio.Addr, m message) {
	n.mu.Lock()
	l := n.links[to]
	n.mu.Unlock()
	if l == nil {
		return
	}
	select {
	case l.queue <- m:
	default: // full: lost
	}
}

func (n *Network) rand(p path) *rand.Rand {
	r := n.paths[p]
	if r == nil {
		h := fnv.New64a()
		fmt.Fprint(h, p.from, " ", p.to)
		r = rand.New(rand.NewPCG(n.seed, h.Sum64()))
		n.paths[p] = r
	}
	return r
}

type message struct {
	from radio.Addr
	b    []byte
}

type link struct {
	net      *Network
	addr     radio.Addr
	mtu      int
	reliable bool
	queue    chan message
	close    sync.Once
	done     chan struct{}
}

func (l *link) Send(to radio.Addr, b []byte) error {
	select {
	case <-l.done:
		return net.ErrClosed
	default:
	}
	if len(b) == 0 || len(b) > l.mtu {
		return fmt.Errorf("send to %v: message of %d bytes, the link carries 1 to %d", to, len(b), l.mtu)
	}
	if to.Transport != l.addr.Transport {
		return fmt.Errorf("send to %v: not an address of this link", to)
	}
	l.net.send(l, to, b)
	return nil
}

func (l *link) Receive(b []byte) (int, radio.Addr, error) {
	for {
		select {
		case <-l.done:
			return 0, radio.Addr{}, net.ErrClosed
		default:
		}
		select {
		case <-l.done:
			return 0, radio.Addr{}, net.ErrClosed
		case m := <-l.queue:
			if len(m.b) <= len(b) {
				return copy(b, m.b), m.from, nil
			}
		}
	}
}

func (l *link) MTU() int       { return l.mtu }
func (l *link) Reliable() bool { return l.reliable }

func (l *link) Close() error {
	l.close.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		delete(l.net.links, l.addr)
		l.net.mu.Unlock()
	})
	return nil
}
