package dnssd

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio"
)

// deaf is a Wire on which packets are handed to the Conn by hand, and what it
// sends is counted.
type deaf struct {
	iface Interface
	sent  [][]byte
}

func (d *deaf) Start(func(Packet))               {}
func (d *deaf) Interfaces() ([]Interface, error) { return []Interface{d.iface}, nil }
func (d *deaf) Multicast(_ int, b []byte) error  { d.sent = append(d.sent, b); return nil }
func (d *deaf) Unicast(_ int, _ netip.AddrPort, b []byte) error {
	d.sent = append(d.sent, b)
	return nil
}
func (d *deaf) Shared() bool { return false }
func (d *deaf) Close() error { return nil }

// busyConn advertises two services, browses for one kind and resolves a node.
func busyConn(t testing.TB) (*Conn, *deaf, *time.Time) {
	now := t0
	w := &deaf{iface: Interface{Index: 1, Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("192.0.2.1/24")}}}
	c, err := Open(Config{Host: "gate", Now: func() time.Time { return now }, Rand: rand.NewChaCha8([32]byte{}), Wire: w})
	if err != nil {
		t.Fatal(err)
	}
	c.timer.Stop()
	c.poll.Stop()
	for _, s := range []Service{
		CommissionableService(radio.Advertisement{Instance: "LIGHT", Discriminator: 3840, Mode: 1}, 5540),
		OperationalService(radio.Advertisement{CompressedFabric: 1, Node: 2}, 5540),
	} {
		s.SkipProbe = true
		if _, err := c.Advertise(context.Background(), s); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []Query{Commissionables(), Operationals(), BorderRouters()} {
		b := newBrowse(c, q.name())
		c.locked(b.start)
	}
	c.locked(func(time.Time) {
		c.watch(instanceName(radio.OperationalInstance(3, 4), operationalType), make(resolve, 1))
	})
	return c, w, &now
}

// FuzzPackets hands a busy Conn what could come in from the link: packets with
// two bytes of length before each, their first byte saying from where.
func FuzzPackets(f *testing.F) {
	frame := func(from byte, packets ...[]byte) (out []byte) {
		for _, p := range packets {
			out = append(append(out, byte((len(p)+1)>>8), byte(len(p)+1), from), p...)
		}
		return out
	}
	light := []string{"_matterc._udp.local. 4500 IN PTR A\\ B._matterc._udp.local.", "A\\ B._matterc._udp.local. 120 IN SRV 0 0 5540 h.local. FLUSH",
		`A\ B._matterc._udp.local. 4500 IN TXT "D=3840" "CM=1"`, "h.local. 120 IN AAAA fe80::9 FLUSH", "h.local. 120 IN A 192.0.2.9"}
	query := func(m dns.Msg) []byte {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(frame(0, response(f, light...), response(f, "_matterc._udp.local. 0 IN PTR A\\ B._matterc._udp.local.")))
	f.Add(frame(1, response(f, radio.OperationalInstance(3, 4)+"._matter._tcp.local. 120 IN SRV 0 0 5540 h.local.", light[3])))
	f.Add(frame(2, query(dns.Msg{Question: []dns.Question{{Name: "_matterc._udp.local.", Qtype: dns.TypePTR, Qclass: 1 | unicastBit}}, Compress: true})))
	f.Add(frame(0, query(dns.Msg{MsgHdr: dns.MsgHdr{Truncated: true}, Question: []dns.Question{{Name: "LIGHT._matterc._udp.local.", Qtype: dns.TypeANY, Qclass: 1}}}),
		query(dns.Msg{Answer: []dns.RR{rr(f, "LIGHT._matterc._udp.local. 120 IN SRV 0 0 5540 gate.local.")}})))
	f.Add(frame(0, query(dns.Msg{Question: []dns.Question{{Name: "LIGHT._matterc._udp.local.", Qtype: dns.TypeANY, Qclass: 1}},
		Ns: []dns.RR{rr(f, "LIGHT._matterc._udp.local. 120 IN SRV 0 0 9 z.local.")}})))
	f.Add(frame(3, slices.Repeat([]byte{0xc0, 0x0c}, 50)))

	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 4*maxPacket {
			return
		}
		c, w, now := busyConn(t)
		defer c.Close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for rest := in; len(rest) >= 3; {
			n := min(int(rest[0])<<8|int(rest[1]), len(rest)-2)
			packet := rest[2 : 2+n]
			rest = rest[2+n:]
			if n == 0 {
				continue
			}
			from, b := packet[0], packet[1:]
			checkRoundTrip(t, b)
			w.sent = nil
			c.deliver(Packet{Iface: int(from&1 ^ 1), Multicast: from&4 == 0, Data: b,
				From: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, from}), Port+uint16(from>>1&1))})
			if most := 8 + 2*maxRecords*100/maxOutgoing; len(w.sent) > most {
				t.Fatalf("one packet made us send %d", len(w.sent))
			}
			*now = now.Add(time.Duration(from) * 10 * time.Millisecond)
			c.locked(func(time.Time) {})
			for _, b := range w.sent {
				if err := new(dns.Msg).Unpack(b); err != nil {
					t.Fatalf("we sent what cannot be read: %v\n%x", err, b)
				}
			}
		}
		runtime.ReadMemStats(&after)
		// A name of 255 bytes can be called by a pointer of two, and a
		// question for it asked for each record: no more than that.
		if got, most := after.TotalAlloc-before.TotalAlloc, uint64(1<<20+len(in)*4096); got > most {
			t.Errorf("%d bytes allocated for %d, more than %d", got, len(in), most)
		}
		c.cache.checkBooks(t)
		*now = now.Add(maxTTL + time.Second)
		c.locked(func(time.Time) {})
		if n := len(c.cache.records); n != 0 {
			t.Errorf("%d records live for ever", n)
		}
	})
}

// checkRoundTrip packs what was read of a response and reads it again.
func checkRoundTrip(t *testing.T, b []byte) {
	m, _ := parse(b, nil, all)
	if !m.response {
		return
	}
	for _, a := range m.answers {
		r := record{recordKey: recordKey{data: a.data}, spelled: a.spelled}
		out := dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Answer: []dns.RR{r.rr(a.key, time.Duration(a.ttl)*time.Second)}}
		packed, err := out.Pack()
		if err != nil {
			t.Fatalf("%+v cannot be packed: %v", a, err)
		}
		again, err := parse(packed, nil, all)
		if err != nil || len(again.answers) != 1 {
			t.Fatalf("%+v became %+v, %v", a, again, err)
		}
		got := again.answers[0]
		if a.rrtype == dns.TypeTXT && slices.Equal(txtStrings(a.txt), txtStrings(got.txt)) {
			continue // empty strings are not kept
		}
		if a.flush = false; got != a {
			t.Fatalf("%+v became %+v", a, got)
		}
	}
}

func BenchmarkAnnouncement(b *testing.B) {
	c, _, now := busyConn(b)
	var packets [][]byte
	for i := range 500 {
		name := string(rune('A'+i%26)) + string(rune('A'+i/26)) + "0011223344"
		packets = append(packets, response(b, "_services._dns-sd._udp.local. 120 IN PTR _matterc._udp.local.", "_matterc._udp.local. 120 IN PTR "+name+"._matterc._udp.local.",
			"_L1._sub._matterc._udp.local. 120 IN PTR "+name+"._matterc._udp.local.", "_S1._sub._matterc._udp.local. 120 IN PTR "+name+"._matterc._udp.local.",
			"_CM._sub._matterc._udp.local. 120 IN PTR "+name+"._matterc._udp.local.", name+"._matterc._udp.local. 120 IN SRV 0 0 5540 "+name+".local.",
			name+`._matterc._udp.local. 120 IN TXT "D=3840" "CM=1" "VP=1+2" "DN=Light" "DT=257" "PH=33"`, name+".local. 120 IN AAAA fe80::9",
			name+".local. 120 IN AAAA fd00::9", name+".local. 120 IN A 192.0.2.9"))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		c.deliver(Packet{Iface: 1, Multicast: true, From: netip.MustParseAddrPort("192.0.2.9:5353"), Data: packets[i%500]})
		*now = now.Add(time.Millisecond)
		i++
	}
}
