// Package dnssdtest is an in-memory network for multicast DNS: a Bus of named
// links, and a dnssd.Wire for each host on it. It loses nothing unless told
// to, and its goroutines end when their Wire is closed, so it can live in a
// testing/synctest bubble.
//
// Production code never imports it.
package dnssdtest

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/radio/dnssd"
)

// queueLen bounds what a host has not read yet; more is lost.
const queueLen = 4096

// Attachment is one interface of a host and the link it is plugged into.
type Attachment struct {
	Link string
	dnssd.Interface
}

// Attach makes an Attachment of an interface with the given prefixes, such as
// "fe80::1/64". It panics on one that is malformed.
func Attach(link string, index int, name string, prefixes ...string) Attachment {
	a := Attachment{Link: link, Interface: dnssd.Interface{Index: index, Name: name}}
	for _, p := range prefixes {
		a.Prefixes = append(a.Prefixes, netip.MustParsePrefix(p))
	}
	return a
}

// Sent is one packet that somebody put on the Bus.
type Sent struct {
	At   time.Time
	Link string
	From netip.AddrPort
	To   netip.AddrPort // not valid for a multicast
	Data []byte
}

// Bus connects Wires.
type Bus struct {
	mu      sync.Mutex
	wires   []*Wire
	latency time.Duration
	tap     func(Sent) bool
}

// NewBus makes one without latency.
func NewBus() *Bus { return &Bus{} }

// SetLatency holds for packets sent from now on.
func (b *Bus) SetLatency(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latency = d
}

// SetTap lets f see every packet, and lose it by returning false. It may be
// called from several goroutines.
func (b *Bus) SetTap(f func(Sent) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tap = f
}

// Wire adds a host.
func (b *Bus) Wire(at ...Attachment) *Wire {
	w := &Wire{bus: b, at: at, queue: make(chan dnssd.Packet, queueLen), done: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wires = append(b.wires, w)
	return w
}

// Inject puts a packet on a link as if a host with this address had sent it,
// to the group.
func (b *Bus) Inject(link string, from netip.AddrPort, data []byte) {
	b.send(Sent{At: time.Now(), Link: link, From: from, Data: slices.Clone(data)})
}

func (b *Bus) send(s Sent) {
	b.mu.Lock()
	tap, latency, wires := b.tap, b.latency, slices.Clone(b.wires)
	b.mu.Unlock()
	if tap != nil && !tap(s) {
		return
	}
	for _, w := range wires {
		if latency == 0 {
			w.take(s)
		} else {
			time.AfterFunc(latency, func() { w.take(s) })
		}
	}
}

// Wire is one host's. It implements dnssd.Wire.
type Wire struct {
	bus    *Bus
	queue  chan dnssd.Packet
	done   chan struct{}
	once   sync.Once
	reader sync.WaitGroup

	mu     sync.Mutex
	at     []Attachment
	shared bool
}

var _ dnssd.Wire = (*Wire)(nil)

// SetAttachments plugs the host in elsewhere.
func (w *Wire) SetAttachments(at ...Attachment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = at
}

// SetShared sets what Shared returns.
func (w *Wire) SetShared(shared bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shared = shared
}

// take hands s to the host if it is on the link and s is for it.
func (w *Wire) take(s Sent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.at {
		if a.Link != s.Link || s.To.IsValid() && !slices.ContainsFunc(a.Prefixes, func(p netip.Prefix) bool { return p.Addr() == s.To.Addr().WithZone("") }) {
			continue
		}
		from := s.From
		if from.Addr().IsLinkLocalUnicast() && from.Addr().Is6() {
			from = netip.AddrPortFrom(from.Addr().WithZone(a.Name), from.Port())
		}
		select {
		case w.queue <- dnssd.Packet{Iface: a.Index, From: from, Multicast: !s.To.IsValid(), Data: slices.Clone(s.Data)}:
		default: // full: lost
		}
	}
}

// Start implements dnssd.Wire.
func (w *Wire) Start(deliver func(dnssd.Packet)) {
	w.reader.Go(func() {
		for {
			select {
			case p := <-w.queue:
				deliver(p)
			case <-w.done:
				return
			}
		}
	})
}

// Interfaces implements dnssd.Wire.
func (w *Wire) Interfaces() (found []dnssd.Interface, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.at {
		found = append(found, a.Interface)
	}
	return found, nil
}

// Multicast implements dnssd.Wire.
func (w *Wire) Multicast(iface int, data []byte) error {
	return w.transmit(iface, netip.AddrPort{}, data)
}

// Unicast implements dnssd.Wire.
func (w *Wire) Unicast(iface int, to netip.AddrPort, data []byte) error {
	return w.transmit(iface, to, data)
}

func (w *Wire) transmit(iface int, to netip.AddrPort, data []byte) error {
	select {
	case <-w.done:
		return net.ErrClosed
	default:
	}
	w.mu.Lock()
	i := slices.IndexFunc(w.at, func(a Attachment) bool { return a.Index == iface })
	if i < 0 || len(w.at[i].Prefixes) == 0 {
		w.mu.Unlock()
		return errors.New("no such interface")
	}
	s := Sent{At: time.Now(), Link: w.at[i].Link, From: netip.AddrPortFrom(w.at[i].Prefixes[0].Addr(), dnssd.Port), To: to, Data: slices.Clone(data)}
	w.mu.Unlock()
	w.bus.send(s)
	return nil
}

// Shared implements dnssd.Wire.
func (w *Wire) Shared() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shared
}

// Close implements dnssd.Wire.
func (w *Wire) Close() error {
	w.once.Do(func() {
		close(w.done)
		w.reader.Wait()
		w.bus.mu.Lock()
		defer w.bus.mu.Unlock()
		w.bus.wires = slices.DeleteFunc(w.bus.wires, func(other *Wire) bool { return other == w })
	})
	return nil
}
