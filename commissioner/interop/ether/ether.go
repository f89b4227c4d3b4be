// Package ether is an Ethernet switch in this process, whose cables break on
// demand: hosts are network namespaces, each with a TAP interface that is
// plugged into it. It needs no help of the kernel to lose, delay and cut.
//
// It promises that the frames from one port to another stay in order, that what
// it did not deliver is counted, and that its queues are bounded. It holds no
// frame back but by a Rule.
package ether

import (
	"io"
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of ours.
const (
	maxFrame  = 2048 // octets; an interface's MTU is 1500
	maxQueued = 1024 // frames from one port to another
)

// header is the least that a frame has: to whom, from whom, of what type.
const header = 14

// address is a MAC address.
type address [6]byte

func (a address) group() bool { return a[0]&1 != 0 }

// Rule is how the way from one port to another is.
type Rule struct {
	Cut   bool
	Loss  float64 // of each frame, 0 to 1
	Delay time.Duration
	Rate  int // octets a second; 0: without bound
}

// Stats are how many frames went which way.
type Stats struct {
	Delivered, Cut, Lost int64
	Overrun              int64 // there was no room in a queue
	Failed               int64 // a port did not take them
}

// Switch is an Ethernet switch. Its methods may be called from several
// goroutines.
type Switch struct {
	delivered, cut, lost, overrun, failed atomic.Int64

	mu      sync.Mutex
	rand    *rand.Rand
	ports   map[string]*port
	learned map[address]*port
	rules   map[[2]string]Rule
	wg      sync.WaitGroup
}

type port struct {
	name  string
	cable io.ReadWriteCloser
	gone  chan struct{}
	lanes map[*port]chan frame // to others
}

type frame struct {
	octets []byte
	due    time.Time
	takes  time.Duration // to pass
}

// New is a switch without ports. Losses are drawn from the seed.
func New(seed uint64) *Switch {
	return &Switch{rand: rand.New(rand.NewPCG(seed, 0)), ports: make(map[string]*port), learned: make(map[address]*port), rules: make(map[[2]string]Rule)}
}

// Plug gives a cable, each Read and Write of which is a frame, a port. It
// closes it in the end.
func (s *Switch) Plug(name string, cable io.ReadWriteCloser) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := &port{name: name, cable: cable, gone: make(chan struct{}), lanes: make(map[*port]chan frame)}
	s.ports[name] = p
	s.wg.Go(func() { s.listen(p) })
}

// Unplug ends a port.
func (s *Switch) Unplug(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.ports[name]
	if p == nil {
		return
	}
	close(p.gone)
	p.cable.Close()
	delete(s.ports, name)
	maps.DeleteFunc(s.learned, func(_ address, at *port) bool { return at == p })
	for _, o := range s.ports {
		delete(o.lanes, p)
	}
}

// Close ends all ports.
func (s *Switch) Close() {
	s.mu.Lock()
	var names []string
	for name := range s.ports {
		names = append(names, name)
	}
	s.mu.Unlock()
	for _, name := range names {
		s.Unplug(name)
	}
	s.wg.Wait()
}

// Set has the way from one port to another be as a rule says, from now on: what
// is under way arrives, unless the way is cut.
func (s *Switch) Set(from, to string, r Rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules[[2]string{from, to}] = r
}

// Stats are how many frames went which way so far.
func (s *Switch) Stats() Stats {
	return Stats{s.delivered.Load(), s.cut.Load(), s.lost.Load(), s.overrun.Load(), s.failed.Load()}
}

// listen takes what comes in at a port, until that ends.
func (s *Switch) listen(p *port) {
	b := make([]byte, maxFrame)
	for {
		n, err := p.cable.Read(b)
		if err != nil {
			return
		}
		if n >= header {
			s.forward(p, append([]byte(nil), b[:n]...))
		}
	}
}

// forward sends a frame to the port where its receiver was last heard, or to
// all others.
func (s *Switch) forward(from *port, octets []byte) {
	to, source := address(octets), address(octets[6:])
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ports[from.name] != from {
		return
	}
	if !source.group() {
		s.learned[source] = from
	}
	if at := s.learned[to]; at != nil && !to.group() {
		if at != from {
			s.send(from, at, octets)
		}
		return
	}
	for _, p := range s.ports {
		if p != from {
			s.send(from, p, octets)
		}
	}
}

// send puts a frame on its way, unless a rule says that it has none. s.mu is
// held.
func (s *Switch) send(from, to *port, octets []byte) {
	r := s.rules[[2]string{from.name, to.name}]
	switch {
	case r.Cut:
		s.cut.Add(1)
		return
	case r.Loss > 0 && s.rand.Float64() < r.Loss:
		s.lost.Add(1)
		return
	}
	lane := from.lanes[to]
	if lane == nil {
		lane = make(chan frame, maxQueued)
		from.lanes[to] = lane
		s.wg.Go(func() { s.carry(from, to, lane) })
	}
	f := frame{octets: octets, due: time.Now().Add(r.Delay)}
	if r.Rate > 0 {
		f.takes = time.Duration(len(octets)) * time.Second / time.Duration(r.Rate)
	}
	select {
	case lane <- f:
	default:
		s.overrun.Add(1)
	}
}

// carry delivers what goes from one port to another, each frame when it is due.
func (s *Switch) carry(from, to *port, lane <-chan frame) {
	for {
		var f frame
		select {
		case f = <-lane:
		case <-from.gone:
			return
		case <-to.gone:
			return
		}
		if wait := max(0, time.Until(f.due)) + f.takes; wait > 0 {
			select {
			case <-time.After(wait):
			case <-to.gone:
				return
			}
		}
		s.mu.Lock()
		cut := s.rules[[2]string{from.name, to.name}].Cut
		s.mu.Unlock()
		if cut {
			s.cut.Add(1)
		} else if _, err := to.cable.Write(f.octets); err != nil {
			s.failed.Add(1)
		} else {
			s.delivered.Add(1)
		}
	}
}
