package dnssd_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/dnssd/dnssdtest"
)

// ask is a query for one PTR name, or another type, given as "name TYPE".
func ask(qu bool, questions ...string) *dns.Msg {
	m := &dns.Msg{}
	for _, s := range questions {
		f := strings.Fields(s)
		q := dns.Question{Name: f[0] + ".local.", Qtype: dns.StringToType[f[1]], Qclass: dns.ClassINET}
		if qu {
			q.Qclass |= 1 << 15
		}
		m.Question = append(m.Question, q)
	}
	return m
}

// settled is a home with a light on host 2 whose announcements are over.
func settled(t *testing.T, f func(h *home, device *dnssd.Conn)) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		h.light(device, 3840)
		time.Sleep(10 * time.Second)
		h.heard("")
		f(h, device)
	})
}

func TestAnnouncements(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		h.light(device, 3840)
		time.Sleep(time.Minute)
		records := " fe80::2! _matterc._udp PTR LIGHT3840._matterc._udp SRV LIGHT3840._matterc._udp TXT _services._dns-sd._udp PTR " +
			"_L3840._sub._matterc._udp PTR _S15._sub._matterc._udp PTR _V65521._sub._matterc._udp PTR _T257._sub._matterc._udp PTR " +
			"_CM._sub._matterc._udp PTR host2 AAAA host2 AAAA host2 A"
		h.want(h.heard("!"), "0s"+records, "1s"+records, "3s"+records)
	})
}

func TestFlushBitIsForWhatWeOwnAlone(t *testing.T) {
	inHome(t, func(h *home) {
		h.setLose(func(s dnssdtest.Sent) bool {
			var m dns.Msg
			if err := m.Unpack(s.Data); err != nil {
				t.Error(err)
			}
			for _, r := range m.Answer {
				if flush := r.Header().Class&(1<<15) != 0; flush == (r.Header().Rrtype == dns.TypePTR) {
					t.Errorf("flush %v on %v", flush, r)
				}
			}
			return false
		})
		device, _ := h.open(2)
		h.light(device, 1)
	})
}

func TestEachLinkHearsItsOwnAddresses(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2, dnssdtest.Attach("home", 1, "eth0", "fe80::2/64"), dnssdtest.Attach("guest", 2, "wlan0", "fe80::22/64"))
		h.light(device, 1)
		time.Sleep(10 * time.Second)
		h.heard("")
		h.inject("fe80::9", dnssd.Port, ask(true, "host2 ANY"))
		h.want(h.heard("!"), "10s fe80::2! to fe80::9 host2 AAAA")
	})
}

func TestSharedAnswersWaitAMoment(t *testing.T) {
	settled(t, func(h *home, _ *dnssd.Conn) {
		var at time.Duration
		h.setLose(func(s dnssdtest.Sent) bool {
			if s.Data[2]&0x80 != 0 {
				at = s.At.Sub(h.start)
			}
			return false
		})
		h.inject("fe80::9", dnssd.Port, ask(false, "_matterc._udp PTR", "_CM._sub._matterc._udp PTR"))
		time.Sleep(time.Second)
		if got := h.heard("!"); len(got) != 1 || !strings.Contains(got[0], "_CM._sub") || !strings.Contains(got[0], "_matterc._udp PTR") {
			t.Errorf("answered %q", got)
		}
		if d := at - 10*time.Second; d < 20*time.Millisecond || d > 122*time.Millisecond {
			t.Errorf("after %v", d)
		}
	})
}

func TestUniqueAnswersDoNotWait(t *testing.T) {
	settled(t, func(h *home, _ *dnssd.Conn) {
		h.inject("fe80::9", dnssd.Port, ask(false, "LIGHT3840._matterc._udp SRV"))
		h.want(h.heard("!"), "10s fe80::2! LIGHT3840._matterc._udp SRV")
		time.Sleep(500 * time.Millisecond)
		h.inject("fe80::9", dnssd.Port, ask(false, "light3840._MATTERC._udp SRV"))
		h.want(h.heard("!")) // it was multicast half a second ago
		time.Sleep(600 * time.Millisecond)
		h.inject("fe80::9", dnssd.Port, ask(false, "light3840._MATTERC._udp ANY"))
		h.want(h.heard("!"), "11.1s fe80::2! LIGHT3840._matterc._udp SRV LIGHT3840._matterc._udp TXT")
	})
}

func TestUnicastAnswers(t *testing.T) {
	settled(t, func(h *home, device *dnssd.Conn) {
		h.inject("fe80::9", dnssd.Port, ask(true, "_CM._sub._matterc._udp PTR"))
		h.want(h.heard("!"), "10s fe80::2! to fe80::9 _CM._sub._matterc._udp PTR")
		time.Sleep(time.Second)
		h.heard("")
		// When a quarter of its life has passed, everybody is told as well.
		time.Sleep(40 * time.Second)
		h.inject("fe80::9", dnssd.Port, ask(true, "LIGHT3840._matterc._udp SRV"))
		h.want(h.heard("!"), "51s fe80::2! to fe80::9 LIGHT3840._matterc._udp SRV", "51s fe80::2! LIGHT3840._matterc._udp SRV")
		// On the same host a unicast answer might go to another program.
		time.Sleep(2 * time.Second)
		h.inject("fe80::2", dnssd.Port, ask(true, "LIGHT3840._matterc._udp SRV"))
		h.want(h.heard("!"), "53s fe80::2! LIGHT3840._matterc._udp SRV")
	})
}

func TestLegacyAnswers(t *testing.T) {
	settled(t, func(h *home, _ *dnssd.Conn) {
		var m dns.Msg
		h.setLose(func(s dnssdtest.Sent) bool {
			if s.Data[2]&0x80 == 0 {
				return false
			}
			if s.To != netip.MustParseAddrPort("[fe80::9%eth0]:40000") {
				t.Errorf("answered to %v", s.To)
			}
			if err := m.Unpack(s.Data); err != nil {
				t.Error(err)
			}
			return true
		})
		q := ask(false, "LIGHT3840._matterc._udp SRV")
		q.Id = 99
		h.inject("fe80::9", 40000, q)
		h.setLose(nil)
		if m.Id != 99 || len(m.Question) != 1 || len(m.Answer) != 1 || len(m.Extra) != 3 {
			t.Fatalf("answer %v", m.String())
		}
		for _, r := range append(m.Answer, m.Extra...) {
			if r.Header().Ttl > 10 || r.Header().Class != dns.ClassINET {
				t.Errorf("a plain resolver is told %v", r)
			}
		}
	})
}

func TestKnownAnswersAreNotRepeated(t *testing.T) {
	const known = "_matterc._udp.local. %TTL IN PTR light3840._matterc._udp.local."
	for _, tt := range []struct {
		name, ttl string
		answers   int
	}{{"known for long enough", "2250", 0}, {"known for a little", "2249", 1}} {
		t.Run(tt.name, func(t *testing.T) {
			settled(t, func(h *home, _ *dnssd.Conn) {
				q := ask(false, "_matterc._udp PTR")
				r, err := dns.NewRR(strings.Replace(known, "%TTL", tt.ttl, 1))
				if err != nil {
					t.Fatal(err)
				}
				q.Answer = append(q.Answer, r)
				h.inject("fe80::9", dnssd.Port, q)
				time.Sleep(time.Second)
				if got := h.heard("!"); len(got) != tt.answers {
					t.Errorf("answered %q", got)
				}
			})
		})
	}
	t.Run("in a second packet", func(t *testing.T) {
		settled(t, func(h *home, _ *dnssd.Conn) {
			q := ask(false, "_matterc._udp PTR", "_CM._sub._matterc._udp PTR")
			q.Truncated = true
			h.inject("fe80::9", dnssd.Port, q)
			time.Sleep(100 * time.Millisecond)
			r, _ := dns.NewRR(strings.Replace(known, "%TTL", "4500", 1))
			h.inject("fe80::9", dnssd.Port, &dns.Msg{Answer: []dns.RR{r}})
			time.Sleep(time.Second)
			if got := h.heard("!"); len(got) != 1 || strings.Contains(got[0], "! _matterc._udp PTR") || !strings.Contains(got[0], "_CM") {
				t.Errorf("answered %q", got)
			}
		})
	})
	t.Run("in a second packet that never comes", func(t *testing.T) {
		settled(t, func(h *home, _ *dnssd.Conn) {
			q := ask(false, "LIGHT3840._matterc._udp SRV")
			q.Truncated = true
			h.inject("fe80::9", dnssd.Port, q)
			time.Sleep(390 * time.Millisecond)
			h.want(h.heard("!"))
			time.Sleep(200 * time.Millisecond)
			if got := h.heard("!"); len(got) != 1 {
				t.Errorf("answered %q", got)
			}
		})
	})
}

func TestQueriesThatAreNotForUs(t *testing.T) {
	settled(t, func(h *home, _ *dnssd.Conn) {
		h.inject("fe80::9", dnssd.Port, ask(true, "other._matterc._udp SRV", "_googlecast._tcp PTR", "host2 TXT", "host3 A"))
		time.Sleep(time.Second)
		h.want(h.heard("!"))
		// An answer from another port is no answer.
		b := h.browse(h.gate(), dnssd.Commissionables())
		time.Sleep(time.Second)
		b.got("11s added LIGHT3840")
		h.inject("fe80::9", 40000, bye(t))
		time.Sleep(2 * time.Second)
		b.got()
		h.inject("fe80::9", dnssd.Port, bye(t))
		time.Sleep(2 * time.Second)
		b.got("15s removed LIGHT3840")
	})
}

func (h *home) gate() *dnssd.Conn {
	c, _ := h.open(1)
	return c
}

// bye is a goodbye for the light.
func bye(t *testing.T) *dns.Msg {
	r, err := dns.NewRR("_matterc._udp.local. 0 IN PTR LIGHT3840._matterc._udp.local.")
	if err != nil {
		t.Fatal(err)
	}
	return &dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Answer: []dns.RR{r}}
}

func TestProbe(t *testing.T) {
	gateway := dnssd.Service{Instance: "Gatehouse (küche)", Type: "_gatehouse._tcp", Port: 443, TXT: []string{"v=1"}}
	t.Run("a free name", func(t *testing.T) {
		inHome(t, func(h *home) {
			c, _ := h.open(1)
			h.advertise(c, gateway)
			time.Sleep(2 * time.Second)
			const name = `Gatehouse\ \(k\195\188che\)._gatehouse._tcp`
			records := "! _gatehouse._tcp PTR " + name + " SRV " + name + " TXT _services._dns-sd._udp PTR host1 AAAA host1 AAAA host1 A"
			h.want(h.heard(""), "0s fe80::1? QU "+name+" ANY", "250ms fe80::1? QU "+name+" ANY", "500ms fe80::1? QU "+name+" ANY",
				"750ms fe80::1"+records, "1.75s fe80::1"+records)
		})
	})
	t.Run("a name that is taken", func(t *testing.T) {
		inHome(t, func(h *home) {
			first, _ := h.open(1)
			h.advertise(first, gateway)
			second, _ := h.open(2)
			if _, err := second.Advertise(context.Background(), gateway); !errors.Is(err, dnssd.ErrConflict) {
				t.Errorf("%v", err)
			}
			if _, err := first.Advertise(context.Background(), gateway); !errors.Is(err, dnssd.ErrConflict) {
				t.Errorf("twice on one Conn: %v", err)
			}
		})
	})
	t.Run("two at once", func(t *testing.T) {
		inHome(t, func(h *home) {
			errs := make(chan error, 2)
			for n := range 2 {
				c, _ := h.open(n + 1)
				go func() {
					_, err := c.Advertise(context.Background(), gateway)
					errs <- err
				}()
			}
			a, b := <-errs, <-errs
			if a != nil || !errors.Is(b, dnssd.ErrConflict) {
				t.Errorf("%v and %v; want one to win and then one to lose", a, b)
			}
		})
	})
	t.Run("given up", func(t *testing.T) {
		inHome(t, func(h *home) {
			c, _ := h.open(1)
			ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
			defer cancel()
			if _, err := c.Advertise(ctx, gateway); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			h.heard("")
			time.Sleep(10 * time.Second)
			h.want(h.heard(""))
		})
	})
}

func TestAdvertiseRefusesWhatDoesNotFit(t *testing.T) {
	inHome(t, func(h *home) {
		c, _ := h.open(1)
		long := strings.Repeat("x", 64)
		for name, s := range map[string]dnssd.Service{
			"no instance":   {Type: "_x._udp"},
			"long instance": {Instance: long, Type: "_x._udp"},
			"no type":       {Instance: "x"},
			"empty label":   {Instance: "x", Type: "_x.._udp"},
			"long subtype":  {Instance: "x", Type: "_x._udp", Subtypes: []string{long}},
			"long TXT":      {Instance: "x", Type: "_x._udp", TXT: []string{strings.Repeat(long, 4)}},
			"much TXT":      {Instance: "x", Type: "_x._udp", TXT: strings.Split(strings.Repeat(long+",", 30), ",")},
		} {
			if _, err := c.Advertise(context.Background(), s); err == nil {
				t.Errorf("%s was accepted", name)
			}
		}
	})
}

func TestOurAddressesChange(t *testing.T) {
	inHome(t, func(h *home) {
		device, wire := h.open(2)
		h.light(device, 1)
		b := h.browse(h.gate(), dnssd.Commissionables())
		time.Sleep(time.Minute)
		b.got("0s added LIGHT1")
		wire.SetAttachments(dnssdtest.Attach("home", 1, "eth0", "fd00::22/64"))
		time.Sleep(10 * time.Second)
		b.got("1m3s updated LIGHT1", "1m4s updated LIGHT1")
		if len(b.ad().Addrs) != 2 || b.ad().Addrs[0].IP.Addr() != netip.MustParseAddr("fd00::22") {
			t.Errorf("addresses %v", b.ad().Addrs)
		}
	})
}

func TestServiceRoundTrip(t *testing.T) {
	inHome(t, func(h *home) {
		device, _ := h.open(2)
		want := radio.Advertisement{Kind: radio.Commissionable, Instance: "ABCDEF0123456789", Discriminator: 0xabc, HasDiscriminator: true,
			Vendor: 1, Product: 2, Mode: radio.EnhancedCommissioning, DeviceType: 3, DeviceName: `a "b" \c.d`, RotatingID: []byte{1, 2},
			PairingHint: 4, PairingInstruction: "5;(6)", ICD: radio.LongIdle, JointFabric: radio.JointFabricAnchor, TCPServer: true,
			Session: radio.Session{IdleInterval: 7 * time.Millisecond, ActiveInterval: 8 * time.Millisecond, ActiveThreshold: 9 * time.Millisecond}}
		s := dnssd.CommissionableService(want, 5540)
		s.SkipProbe = true
		h.advertise(device, s)
		gate := h.gate()
		for _, q := range []dnssd.Query{dnssd.Commissionables(), dnssd.LongDiscriminator(0xabc), dnssd.ShortDiscriminator(0xa), dnssd.Vendor(1),
			dnssd.DeviceType(3), dnssd.Commissioning()} {
			b := h.browse(gate, q)
			time.Sleep(2 * time.Second)
			if got := b.ad(); got.Instance != want.Instance || strings.Join(got.TXT(), " ") != strings.Join(want.TXT(), " ") {
				t.Errorf("%v found %+v\nwant %+v", q, got, want)
			}
		}
	})
}
