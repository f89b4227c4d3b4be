// Package several makes one radio of all that a gateway can use: its own
// Bluetooth adapter and other people's (radio/ble/proxy), which come and go.
//
// It promises that a device is looked for through all of them, and connected
// to through the one that hears it best, or else the next; and that a device
// which several hear is one device. It never believes a radio for more than
// where to knock.
package several

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/btp"
)

// Limits.
const (
	maxDevices = 1024             // addresses that are remembered; the one heard longest ago makes room
	recent     = 30 * time.Second // for which it counts how well a device was heard
	scanAgain  = 3 * time.Second  // until a radio that could not scan is asked again
	queue      = 64               // advertisements a scan's callback may be behind; more are lost

	notTold = -127 // dBm, of a radio that does not say how well it hears
)

// ErrNone says that there is no radio.
var ErrNone = errors.New("there is neither a Bluetooth adapter nor a Bluetooth proxy")

// Radio is one way into the air.
type Radio interface {
	// Scan yields what advertises itself for pairing, again and again, until
	// ctx ends. The error says why it cannot.
	Scan(ctx context.Context, seen func(radio.Advertisement)) error
	// Connect opens a connection, whole or not at all. The address is one
	// that this radio has heard, or might.
	Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error)
}

// Several is a Radio of many. Its methods may be called from several
// goroutines.
type Several struct {
	now func() time.Time

	mu      sync.Mutex
	members []*member
	changed chan struct{} // closed and replaced when members change
	devices map[string]*device
}

// member is a radio, from Add until it is taken away.
type member struct {
	Radio
	name string
	gone chan struct{}
}

// device is one that was heard.
type device struct {
	addr radio.Addr // that it was heard under first: others know it by that
	by   map[*member]hearing
	last time.Time
}

// hearing is how a radio heard a device.
type hearing struct {
	addr radio.Addr // as this radio writes it
	rssi float64    // dBm, the last counting a quarter
	at   time.Time
}

// New is of no radio yet.
func New(now func() time.Time) *Several {
	return &Several{now: now, changed: make(chan struct{}), devices: map[string]*device{}}
}

// Add adds a radio, to scans under way as well. Its name is for errors; remove
// takes it away.
func (s *Several) Add(name string, r Radio) (remove func()) {
	m := &member{r, name, make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = append(s.members, m)
	s.change()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.members = slices.DeleteFunc(s.members, func(other *member) bool { return other == m })
		for key, d := range s.devices {
			if delete(d.by, m); len(d.by) == 0 {
				delete(s.devices, key)
			}
		}
		close(m.gone)
		s.change()
	})
}

// change tells who waits for other members. s.mu is held.
func (s *Several) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Scan calls seen with what any radio hears, under one address for each device
// however many hear it, until ctx ends. Then it fails if no radio could be
// used, and says why. seen is called from this goroutine; while it works
// advertisements are lost.
func (s *Several) Scan(ctx context.Context, seen func(radio.Advertisement)) error {
	ctx, cancel := context.WithCancel(ctx)
	found := make(chan radio.Advertisement, queue)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	scanning := map[*member]*verdict{}
	for {
		s.mu.Lock()
		members, changed := slices.Clone(s.members), s.changed
		s.mu.Unlock()
		for _, m := range members {
			if scanning[m] == nil {
				v := new(verdict)
				scanning[m] = v
				wg.Go(func() { s.scan(ctx, m, v, found) })
			}
		}
		for same := true; same; {
			select {
			case ad := <-found:
				seen(ad)
			case <-changed:
				same = false
			case <-ctx.Done():
				return whole(members, scanning)
			}
		}
	}
}

// verdict is why a radio does not scan, or nil.
type verdict struct {
	mu  sync.Mutex
	err error
}

func (v *verdict) set(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.err = err
}

func (v *verdict) get() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// whole is why none of the radios scans.
func whole(members []*member, scanning map[*member]*verdict) error {
	if len(members) == 0 {
		return ErrNone
	}
	var errs []error
	for _, m := range members {
		err := scanning[m].get()
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// scan scans by one radio until ctx ends or it is taken away.
func (s *Several) scan(ctx context.Context, m *member, v *verdict, found chan<- radio.Advertisement) {
	for {
		err := m.Scan(ctx, func(ad radio.Advertisement) {
			v.set(nil)
			if ad, ok := s.heard(m, ad); ok {
				select {
				case found <- ad:
				default:
				}
			}
		})
		if ctx.Err() != nil {
			return
		}
		v.set(fmt.Errorf("%s: %w", m.name, err))
		select {
		case <-time.After(scanAgain):
		case <-m.gone:
			return
		case <-ctx.Done():
			return
		}
	}
}

// key is what two radios have in common of what they call a device. One tells
// public addresses and random ones apart, the next may not.
func key(a radio.Addr) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(a.Peer, "random/"), "-", ":"))
}

// heard notes how a radio heard a device, and gives the advertisement the
// address that the device is known by and the strength of who hears it best.
func (s *Several) heard(m *member, ad radio.Advertisement) (radio.Advertisement, bool) {
	if len(ad.Addrs) == 0 {
		return ad, false
	}
	rssi, now := float64(ad.RSSI), s.now()
	if ad.RSSI == 0 {
		rssi = notTold
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.members, m) {
		return ad, false
	}
	k := key(ad.Addrs[0])
	d := s.devices[k]
	if d == nil {
		if len(s.devices) >= maxDevices {
			s.forget()
		}
		d = &device{addr: ad.Addrs[0], by: map[*member]hearing{}}
		s.devices[k] = d
	}
	if h, ok := d.by[m]; ok && now.Sub(h.at) < recent && h.rssi != notTold && rssi != notTold {
		rssi = (3*h.rssi + rssi) / 4
	}
	d.by[m] = hearing{ad.Addrs[0], rssi, now}
	d.last = now
	ad.Addrs = []radio.Addr{d.addr}
	for _, h := range d.by {
		if now.Sub(h.at) < recent && h.rssi != notTold && (ad.RSSI == 0 || int8(h.rssi) > ad.RSSI) {
			ad.RSSI = int8(h.rssi)
		}
	}
	return ad, true
}

// forget forgets the device heard longest ago. s.mu is held.
func (s *Several) forget() {
	oldest := ""
	for k, d := range s.devices {
		if oldest == "" || d.last.Before(s.devices[oldest].last) {
			oldest = k
		}
	}
	delete(s.devices, oldest)
}

// way is a radio to try, and what it calls the device.
type way struct {
	*member
	addr radio.Addr
}

// ways are the radios that have heard a device recently, the one that hears it
// best first; or all, if none has.
func (s *Several) ways(to radio.Addr) []way {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	var ways []way
	if d := s.devices[key(to)]; d != nil {
		for _, m := range s.members {
			if h, ok := d.by[m]; ok && now.Sub(h.at) < recent {
				ways = append(ways, way{m, h.addr})
			}
		}
		slices.SortStableFunc(ways, func(a, b way) int { return cmp.Compare(d.by[b.member].rssi, d.by[a.member].rssi) })
	}
	if len(ways) == 0 {
		for _, m := range s.members {
			ways = append(ways, way{m, to})
		}
	}
	return ways
}

// Connect connects to a device through the radio that hears it best, or else
// the next. Where ctx says until when, each but the last has half of what is
// left of the time.
func (s *Several) Connect(ctx context.Context, to radio.Addr) (btp.Bearer, error) {
	ways := s.ways(to)
	if len(ways) == 0 {
		return nil, ErrNone
	}
	var errs []error
	for i, w := range ways {
		b, err := w.try(ctx, s.now, i == len(ways)-1)
		if err == nil {
			return b, nil
		}
		errs = append(errs, fmt.Errorf("through %s: %w", w.name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

func (w way) try(ctx context.Context, now func() time.Time, last bool) (btp.Bearer, error) {
	if end, ok := ctx.Deadline(); ok && !last {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, end.Sub(now())/2)
		defer cancel()
	}
	return w.Connect(ctx, w.addr)
}

// Restart begins anew with the radios that can do that: a proxy looks after
// itself.
func (s *Several) Restart(why string) {
	s.mu.Lock()
	members := slices.Clone(s.members)
	s.mu.Unlock()
	for _, m := range members {
		if r, ok := m.Radio.(interface{ Restart(why string) }); ok {
			r.Restart(why)
		}
	}
}
