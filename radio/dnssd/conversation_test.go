package dnssd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/dnssd/dnssdtest"
)

// home is a Bus with a log of what was said on it.
type home struct {
	t     *testing.T
	bus   *dnssdtest.Bus
	start time.Time

	mu   sync.Mutex
	said []string
	lose func(dnssdtest.Sent) bool
}

// inHome runs f in a bubble of virtual time.
func inHome(t *testing.T, f func(h *home)) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{t: t, bus: dnssdtest.NewBus(), start: time.Now()}
		h.bus.SetLatency(time.Millisecond)
		h.bus.SetTap(func(s dnssdtest.Sent) bool {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.said = append(h.said, h.describe(s))
			return h.lose == nil || !h.lose(s)
		})
		f(h)
	})
}

func (h *home) setLose(f func(dnssdtest.Sent) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lose = f
}

// describe is, for a query, "1s host? QU name TYPE … knows 3", and for a
// response "1s host! name TYPE …"; a unicast one names its target.
func (h *home) describe(s dnssdtest.Sent) string {
	var m dns.Msg
	if err := m.Unpack(s.Data); err != nil {
		h.t.Errorf("a packet that cannot be read: %v", err)
	}
	mark := "?"
	if m.Response {
		mark = "!"
	}
	out := []string{fmt.Sprintf("%v %v%s", s.At.Sub(h.start).Round(10*time.Millisecond), s.From.Addr().WithZone(""), mark)}
	if s.To.IsValid() {
		out = append(out, "to "+s.To.Addr().WithZone("").String())
	}
	for _, q := range m.Question {
		if q.Qclass&(1<<15) != 0 {
			out = append(out, "QU")
		}
		out = append(out, strings.TrimSuffix(q.Name, ".local.")+" "+dns.TypeToString[q.Qtype])
	}
	if m.Response {
		for _, r := range m.Answer {
			out = append(out, strings.TrimSuffix(r.Header().Name, ".local.")+" "+dns.TypeToString[r.Header().Rrtype]+map[bool]string{true: " gone"}[r.Header().Ttl == 0])
		}
	} else if len(m.Answer) > 0 {
		out = append(out, fmt.Sprintf("knows %d", len(m.Answer)))
	}
	return strings.Join(out, " ")
}

// heard is what was said since it was called last, as far as it contains part.
func (h *home) heard(part string) (out []string) {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.said {
		if strings.Contains(s, part) {
			out = append(out, s)
		}
	}
	h.said = nil
	return out
}

// open starts a host whose addresses end in n.
func (h *home) open(n int, at ...dnssdtest.Attachment) (*dnssd.Conn, *dnssdtest.Wire) {
	h.t.Helper()
	if at == nil {
		at = []dnssdtest.Attachment{dnssdtest.Attach("home", 1, "eth0", fmt.Sprintf("fe80::%d/64", n), fmt.Sprintf("fd00::%d/64", n), fmt.Sprintf("192.0.2.%d/24", n))}
	}
	w := h.bus.Wire(at...)
	c, err := dnssd.Open(dnssd.Config{Host: fmt.Sprintf("host%d", n), Now: time.Now, Rand: rand.NewChaCha8([32]byte{byte(n)}), Wire: w})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	return c, w
}

// light advertises a commissionable device at once.
func (h *home) light(c *dnssd.Conn, discriminator uint16) *dnssd.Registration {
	h.t.Helper()
	s := dnssd.CommissionableService(radio.Advertisement{Instance: fmt.Sprintf("LIGHT%d", discriminator), Discriminator: discriminator,
		Vendor: 0xfff1, Product: 0x8000, Mode: radio.BasicCommissioning, DeviceType: 257, DeviceName: "Lamp"}, 5540)
	s.SkipProbe = true
	return h.advertise(c, s)
}

func (h *home) advertise(c *dnssd.Conn, s dnssd.Service) *dnssd.Registration {
	h.t.Helper()
	r, err := c.Advertise(context.Background(), s)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// node advertises a node of fabric 0xF.
func (h *home) node(c *dnssd.Conn, id uint64) *dnssd.Registration {
	h.t.Helper()
	return h.advertise(c, dnssd.OperationalService(radio.Advertisement{CompressedFabric: 0xf, Node: id,
		Session: radio.Session{IdleInterval: 500 * time.Millisecond}}, 5541))
}

// soon is a context for what must not take for ever.
func (h *home) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	h.t.Cleanup(cancel)
	return ctx
}

func name(id uint64) string { return radio.OperationalInstance(0xf, id) }

// browser collects the events of a Browse.
type browser struct {
	h      *home
	cancel context.CancelFunc
	mu     sync.Mutex
	events []string
	last   radio.Advertisement
}

func (h *home) browse(c *dnssd.Conn, q dnssd.Query) *browser {
	ctx, cancel := context.WithCancel(context.Background())
	b := &browser{h: h, cancel: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for e := range c.Browse(ctx, q) {
			b.mu.Lock()
			b.events = append(b.events, fmt.Sprintf("%v %v %s", time.Since(h.start).Round(10*time.Millisecond), e.Change, e.Instance))
			b.last = e.Advertisement
			b.mu.Unlock()
		}
	}()
	h.t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return b
}

// ad is the advertisement of the event that came last.
func (b *browser) ad() radio.Advertisement {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// got checks the events since it was called last.
func (b *browser) got(want ...string) {
	b.h.t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.events, want) {
		b.h.t.Errorf("events %q\nwant   %q", b.events, want)
	}
	b.events = nil
}

func (h *home) want(got []string, want ...string) {
	h.t.Helper()
	if !slices.Equal(got, want) {
		h.t.Errorf("heard %s\nwant  %s", strings.Join(got, "\n      "), strings.Join(want, "\n      "))
	}
}

func TestBrowseFindsWhatIsThere(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		h.light(device, 3840)
		time.Sleep(10 * time.Second)
		gate, _ := h.open(1)
		h.heard("")
		b := h.browse(gate, dnssd.LongDiscriminator(3840))
		time.Sleep(50 * time.Millisecond)
		b.got("10s added LIGHT3840")
		h.want(h.heard("::1?"), "10s fe80::1? QU _L3840._sub._matterc._udp PTR")
		ad := b.ad()
		if ad.Discriminator != 3840 || ad.Vendor != 0xfff1 || ad.Product != 0x8000 || ad.DeviceName != "Lamp" || ad.Host != "host2" || ad.Mode != 1 {
			t.Errorf("%+v", ad)
		}
		want := []string{"udp:[fe80::2%eth0]:5540", "udp:[fd00::2]:5540", "udp:192.0.2.2:5540"}
		if got := fmt.Sprint(ad.Addrs); got != fmt.Sprint(want) {
			t.Errorf("addresses %v, want %v", got, want)
		}
	})
}

func TestBrowseEndsWithItsContextOrConn(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		b := h.browse(gate, dnssd.Operationals())
		b.cancel()
		h.browse(gate, dnssd.BorderRouters())
		gate.Close()
		for range gate.Browse(context.Background(), dnssd.Operationals()) {
			t.Error("a closed Conn yields something")
		}
		if _, err := gate.Resolve(h.soon(), name(1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("resolve on a closed Conn: %v", err)
		}
		if _, err := gate.Advertise(context.Background(), dnssd.Service{Instance: "x", Type: "_x._udp"}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("advertise on a closed Conn: %v", err)
		}
	})
}

func TestBackOffAndKnownAnswers(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		b := h.browse(gate, dnssd.Commissionables())
		time.Sleep(20 * time.Second)
		h.want(h.heard("?"), "0s fe80::1? QU _matterc._udp PTR", "1s fe80::1? _matterc._udp PTR", "3s fe80::1? _matterc._udp PTR",
			"7s fe80::1? _matterc._udp PTR", "15s fe80::1? _matterc._udp PTR")
		device, _ := h.open(2)
		h.light(device, 1)
		time.Sleep(15 * time.Second)
		h.want(h.heard("?"), "31s fe80::1? _matterc._udp PTR knows 1")
		b.cancel()
		time.Sleep(time.Hour)
		h.want(h.heard("?"))
	})
}

func TestResolveAsksAtOnceAndRemembers(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		h.node(device, 7)
		time.Sleep(10 * time.Second)
		gate, _ := h.open(1)
		h.heard("")
		ad, err := gate.Resolve(h.soon(), name(7))
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(h.start); d != 10*time.Second+2*time.Millisecond {
			t.Errorf("it took until %v, one round trip is 2 ms", d)
		}
		if ad.Node != 7 || ad.CompressedFabric != 0xf || ad.Session.IdleInterval != 500*time.Millisecond || len(ad.Addrs) != 3 {
			t.Errorf("%+v", ad)
		}
		h.want(h.heard("?"), "10s fe80::1? QU "+name(7)+"._matter._tcp SRV QU "+name(7)+"._matter._tcp TXT")
		time.Sleep(time.Minute)
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := gate.Resolve(cancelled, strings.ToLower(name(7))); err != nil {
			t.Errorf("memory does not help: %v", err)
		}
		h.want(h.heard("?"))
	})
}

func TestResolveGivesUpWithItsContext(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
		defer cancel()
		_, err := gate.Resolve(ctx, name(7))
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), name(7)) {
			t.Errorf("%v", err)
		}
		if got := h.heard("?"); len(got) != 3 {
			t.Errorf("asked %q", got)
		}
		time.Sleep(time.Minute)
		h.want(h.heard("?"))
		if _, err := gate.Resolve(ctx, "no node"); err == nil {
			t.Error("a name that is no node's was accepted")
		}
	})
}

func TestResolveAsksForAddressesThatWereNotTold(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		done := make(chan error)
		go func() {
			ad, err := gate.Resolve(h.soon(), name(7))
			if err == nil && (len(ad.Addrs) != 1 || ad.Addrs[0].IP.String() != "[fd00::9]:5541") {
				err = fmt.Errorf("addresses %v", ad.Addrs)
			}
			done <- err
		}()
		synctest.Wait()
		h.heard("")
		h.say("fe80::9", name(7)+"._matter._tcp.local. 120 IN SRV 0 0 5541 Far.local.")
		time.Sleep(10 * time.Millisecond)
		h.want(h.heard("?"), "0s fe80::1? QU Far AAAA QU Far A")
		h.say("fe80::9", "far.local. 120 IN AAAA fd00::9")
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// say multicasts a response made of records in zone file form.
func (h *home) say(from string, records ...string) {
	h.t.Helper()
	m := dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Compress: true}
	for _, s := range records {
		flush := strings.HasSuffix(s, " FLUSH")
		r, err := dns.NewRR(strings.TrimSuffix(s, " FLUSH"))
		if err != nil {
			h.t.Fatal(err)
		}
		if flush {
			r.Header().Class |= 1 << 15
		}
		m.Answer = append(m.Answer, r)
	}
	h.inject(from, 5353, &m)
}

func (h *home) inject(from string, port uint16, m *dns.Msg) {
	h.t.Helper()
	b, err := m.Pack()
	if err != nil {
		h.t.Fatal(err)
	}
	h.bus.Inject("home", netip.AddrPortFrom(netip.MustParseAddr(from), port), b)
	time.Sleep(time.Millisecond) // the latency
	synctest.Wait()
}

func TestManyResolvesShareOneQuestion(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		for id := range uint64(10) {
			h.node(device, id)
		}
		time.Sleep(10 * time.Second)
		gate, _ := h.open(1)
		h.heard("")
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				if _, err := gate.Resolve(h.soon(), name(uint64(i%10))); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := h.heard("?"); len(got) != 10 {
			t.Errorf("%d queries for ten nodes", len(got))
		}
	})
}

func TestASecondResolveDoesNotWaitForTheFirst(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		go gate.Resolve(ctx, name(7))
		time.Sleep(20 * time.Second) // the first asks again at 31 s
		h.heard("")
		go gate.Resolve(ctx, name(7))
		time.Sleep(2 * time.Second)
		if got := h.heard("?"); len(got) != 2 || !strings.HasPrefix(got[0], "20s") {
			t.Errorf("asked %q", got)
		}
		time.Sleep(time.Minute)
	})
}

func TestDoubtConfirmed(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		h.node(device, 7)
		gate, _ := h.open(1)
		time.Sleep(10 * time.Second)
		for range 2 {
			asked := time.Now()
			if _, err := gate.Resolve(h.soon(), name(7)); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(asked); d > 2*time.Millisecond {
				t.Errorf("it took %v", d)
			}
			gate.Doubt(name(7))
		}
	})
}

func TestWhatIsYielded(t *testing.T) {
	ptr := "_matterc._udp.local. 120 IN PTR x._matterc._udp.local."
	srv := "x._matterc._udp.local. 120 IN SRV 0 0 5540 h.local."
	txt := `x._matterc._udp.local. 120 IN TXT "D=1"`
	ip := "h.local. 120 IN AAAA fd00::9"
	for _, tt := range []struct {
		name    string
		records []string
		addrs   string // of what is yielded, if anything
	}{
		{"all there is", []string{ptr, srv, txt, ip}, "[udp:[fd00::9]:5540]"},
		{"in any order", []string{ip, txt, srv, ptr}, "[udp:[fd00::9]:5540]"},
		{"no TXT", []string{ptr, srv, ip}, ""},
		{"no address", []string{ptr, srv, txt}, ""},
		{"no SRV", []string{ptr, txt, ip}, ""},
		{"no PTR", []string{srv, txt, ip}, ""},
		{"another host's address", []string{ptr, srv, txt, "other.local. 120 IN A 192.0.2.9"}, ""},
		{"a PTR to another service", []string{"_matterc._udp.local. 120 IN PTR x._matter._tcp.local.", srv, txt, ip}, ""},
		{"a PTR to a subtype", []string{"_matterc._udp.local. 120 IN PTR _CM._sub._matterc._udp.local.", srv, txt, ip}, ""},
		{"an address that leads to ourselves", []string{ptr, srv, txt, "h.local. 120 IN AAAA ::1", "h.local. 120 IN A 127.0.0.1"}, ""},
		{"an address that is none", []string{ptr, srv, txt, "h.local. 120 IN AAAA ::", "h.local. 120 IN AAAA ff02::1", "h.local. 120 IN A 224.0.0.1"}, ""},
		{"the best address first", []string{ptr, srv, txt, "h.local. 120 IN A 192.0.2.9", "h.local. 120 IN AAAA fd99::1", "h.local. 120 IN AAAA 2001:db8::1", ip,
			"h.local. 120 IN AAAA fe80::9"}, "[udp:[fe80::9%eth0]:5540 udp:[fd00::9]:5540 udp:[2001:db8::1]:5540 udp:[fd99::1]:5540 udp:192.0.2.9:5540]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inHome(t, func(h *home) {
				gate, _ := h.open(1)
				b := h.browse(gate, dnssd.Commissionables())
				h.say("fe80::9", tt.records...)
				if tt.addrs == "" {
					b.got()
					return
				}
				b.got("0s added x")
				if got := fmt.Sprint(b.ad().Addrs); got != tt.addrs {
					t.Errorf("addresses %v\nwant      %v", got, tt.addrs)
				}
			})
		})
	}
}

// A stranger that invents instances cannot make us ask for all of them, nor
// keep us from asking for a node.
func TestInventedInstances(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		h.browse(gate, dnssd.Commissionables())
		for i := range 40 {
			var records []string
			for j := range 50 {
				records = append(records, fmt.Sprintf("_matterc._udp.local. 4500 IN PTR %d-%d._matterc._udp.local.", i, j))
			}
			h.say("fe80::66", records...)
		}
		questions := 0
		for _, s := range h.heard("?") {
			questions += strings.Count(s, " SRV") + strings.Count(s, " TXT")
		}
		if questions == 0 || questions > 1024 {
			t.Errorf("%d questions for 2000 invented instances", questions)
		}
		device, _ := h.open(2)
		h.node(device, 7)
		if _, err := gate.Resolve(h.soon(), name(7)); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		gate.Resolve(ctx, name(8))
		if got := h.heard(name(8)); len(got) != 1 {
			t.Errorf("a node was asked for with %q", got)
		}
	})
}

func TestDoubt(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		b := h.browse(gate, dnssd.Fabric(0xf))
		records := []string{"_IF._sub._matter._tcp.local. 4500 IN PTR x.local.", "_I000000000000000F._sub._matter._tcp.local. 4500 IN PTR " + name(7) + "._matter._tcp.local.",
			name(7) + "._matter._tcp.local. 4500 IN SRV 0 0 5541 far.local. FLUSH", name(7) + `._matter._tcp.local. 4500 IN TXT "SII=1"`, "far.local. 4500 IN AAAA fd00::9 FLUSH"}
		h.say("fe80::9", records...)
		b.got("0s added " + name(7))
		gate.Doubt(name(7))
		short, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if ad, err := gate.Resolve(short, name(7)); err == nil {
			t.Errorf("what is doubted was given: %v", ad.Addrs)
		}
		b.got() // a doubt is no news
		time.AfterFunc(time.Second, func() {
			records[4] = "far.local. 4500 IN AAAA fd00::8 FLUSH"
			h.say("fe80::9", records...)
		})
		ad, err := gate.Resolve(h.soon(), name(7))
		if err != nil || ad.Addrs[0].IP.Addr() != netip.MustParseAddr("fd00::8") {
			t.Errorf("after the doubt was settled: %v, %v", ad.Addrs, err)
		}
		time.Sleep(10 * time.Second)
		b.got("4s updated "+name(7), "5s updated "+name(7))
		if len(b.ad().Addrs) != 1 {
			t.Errorf("the address that was flushed is still there: %v", b.ad().Addrs)
		}
		gate.Doubt(name(7))
		time.Sleep(11 * time.Second)
		b.got("24s removed " + name(7))
	})
}

func TestGoodbyeExpiryAndUpdate(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		b := h.browse(gate, dnssd.Commissioning())
		device, _ := h.open(2)
		r := h.light(device, 5)
		time.Sleep(10 * time.Second)
		b.got("0s added LIGHT5")
		if err := r.SetTXT([]string{"D=5", "CM=2"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		b.got("10s updated LIGHT5")
		if b.ad().Mode != radio.EnhancedCommissioning || b.ad().DeviceName != "" {
			t.Errorf("%+v", b.last)
		}
		r.Close()
		time.Sleep(10 * time.Second)
		b.got("21s removed LIGHT5")

		h.light(device, 6)
		time.Sleep(10 * time.Second)
		b.got("30s added LIGHT6")
		device.Close() // a Conn says goodbye for all it has
		time.Sleep(10 * time.Second)
		b.got("41s removed LIGHT6")

		h.setLose(func(dnssdtest.Sent) bool { return h.start.Add(60 * time.Second).Before(time.Now()) })
		other, _ := h.open(3)
		h.light(other, 7)
		time.Sleep(5 * time.Minute) // its SRV record and addresses live for two
		b.got("50s added LIGHT7", "2m53s removed LIGHT7")
	})
}

func TestRefreshOnlyWhileSomebodyBrowses(t *testing.T) {
	inHome(t, func(h *home) {
		gate, _ := h.open(1)
		b := h.browse(gate, dnssd.Commissionables())
		device, _ := h.open(2)
		h.light(device, 5)
		time.Sleep(10 * time.Minute)
		b.got("0s added LIGHT5")
		if got := h.heard("LIGHT5._matterc._udp SRV"); len(got) < 5 {
			t.Errorf("the SRV record, which lives for two minutes, was kept alive by %q", got)
		}
		b.cancel()
		time.Sleep(time.Second)
		h.heard("")
		time.Sleep(10 * time.Minute)
		h.want(h.heard("?"))
	})
}

func TestInterfacesComeAndGo(t *testing.T) {
	inHome(t, func(h *home) {
		gate, wire := h.open(1)
		b := h.browse(gate, dnssd.Commissionables())
		device, _ := h.open(2)
		h.light(device, 5)
		guest, _ := h.open(3, dnssdtest.Attach("guest", 4, "eth0", "fe80::3/64"))
		h.light(guest, 6)
		time.Sleep(10 * time.Second)
		b.got("0s added LIGHT5")

		eth0 := dnssdtest.Attach("home", 1, "eth0", "fe80::1/64")
		wlan0 := dnssdtest.Attach("guest", 2, "wlan0", "fe80::11/64")
		h.heard("")
		wire.SetAttachments(eth0, wlan0)
		time.Sleep(4 * time.Second)
		b.got("12s added LIGHT6")
		if zone := b.ad().Addrs[0].IP.Addr().Zone(); zone != "wlan0" {
			t.Errorf("its zone is %q", zone)
		}
		h.want(h.heard("::11? QU"), "12s fe80::11? QU _matterc._udp PTR")
		wire.SetAttachments(eth0)
		time.Sleep(10 * time.Second)
		b.got("15s removed LIGHT6")
	})
}

func TestSameHostOnTwoLinks(t *testing.T) {
	inHome(t, func(h *home) {
		both := func(n int) []dnssdtest.Attachment {
			return []dnssdtest.Attachment{dnssdtest.Attach("home", 1, "eth0", fmt.Sprintf("fe80::%d/64", n)),
				dnssdtest.Attach("guest", 2, "wlan0", fmt.Sprintf("fe80::1%d/64", n), fmt.Sprintf("192.0.2.%d/24", n))}
		}
		gate, _ := h.open(1, both(1)...)
		device, _ := h.open(2, both(2)...)
		h.node(device, 7)
		ad, err := gate.Resolve(h.soon(), name(7))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		ad, _ = gate.Resolve(h.soon(), name(7))
		want := "[udp:[fe80::2%eth0]:5541 udp:[fe80::12%wlan0]:5541 udp:192.0.2.2:5541]"
		if got := fmt.Sprint(ad.Addrs); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestLossIsOvercome(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		h.node(device, 7)
		time.Sleep(10 * time.Second)
		lost := 0
		h.setLose(func(dnssdtest.Sent) bool { lost++; return lost <= 3 })
		gate, _ := h.open(1)
		if _, err := gate.Resolve(h.soon(), name(7)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(h.start); d > 20*time.Second {
			t.Errorf("three lost packets cost %v", d-10*time.Second)
		}
	})
}
