package dnssd

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func rr(t testing.TB, s string) dns.RR {
	t.Helper()
	r, err := dns.NewRR(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return r
}

// response packs records, in zone file form, as the answers of a response.
func response(t testing.TB, records ...string) []byte {
	t.Helper()
	m := dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Compress: true}
	for _, s := range records {
		flush := strings.HasSuffix(s, " FLUSH")
		r := rr(t, strings.TrimSuffix(s, " FLUSH"))
		if flush {
			r.Header().Class |= flushBit
		}
		m.Answer = append(m.Answer, r)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func all(question) bool   { return true }
func allAsked(asked) bool { return true }

func TestParseResponse(t *testing.T) {
	m, err := parse(response(t,
		"_Matterc._udp.local. 4500 IN PTR A\\ B._matterc._udp.local.",
		"A\\ B._matterc._udp.local. 120 IN SRV 0 0 5540 Host.local. FLUSH",
		`A\ B._matterc._udp.local. 4500 IN TXT "D=3840" "DN=K\195\188che"`,
		"host.local. 120 IN AAAA fe80::1",
		"host.local. 120 IN A 192.0.2.1",
		"host.local. 120 IN NSEC host.local. A AAAA"), nil, all)
	if err != nil {
		t.Fatal(err)
	}
	q := func(name string, rrtype uint16) question { return question{name, rrtype} }
	const instance = `a\ b._matterc._udp.local.`
	want := []answer{
		{data: data{question: q("_matterc._udp.local.", dns.TypePTR), target: instance}, spelled: `A\ B._matterc._udp.local.`, ttl: 4500},
		{data: data{question: q(instance, dns.TypeSRV), target: "host.local.", port: 5540}, spelled: "Host.local.", ttl: 120, flush: true},
		{data: data{question: q(instance, dns.TypeTXT), txt: "\x06D=3840\x09DN=Küche"}, ttl: 4500},
		{data: data{question: q("host.local.", dns.TypeAAAA), addr: netip.MustParseAddr("fe80::1")}, ttl: 120},
		{data: data{question: q("host.local.", dns.TypeA), addr: netip.MustParseAddr("192.0.2.1")}, ttl: 120},
	}
	if !m.response || !slices.Equal(m.answers, want) {
		t.Errorf("got  %+v\nwant %+v", m.answers, want)
	}
	if got := txtStrings(m.answers[2].txt); !slices.Equal(got, []string{"D=3840", "DN=Küche"}) {
		t.Errorf("TXT is %q", got)
	}
}

func TestParseQuery(t *testing.T) {
	m := dns.Msg{
		MsgHdr: dns.MsgHdr{Id: 7, Truncated: true},
		Question: []dns.Question{{Name: "X._matter._tcp.local.", Qtype: dns.TypeSRV, Qclass: dns.ClassINET | unicastBit},
			{Name: "other.local.", Qtype: dns.TypeA, Qclass: dns.ClassINET}, {Name: "x._matter._tcp.local.", Qtype: dns.TypeANY, Qclass: dns.ClassCHAOS}},
		Answer: []dns.RR{rr(t, "x._matter._tcp.local. 60 IN SRV 0 0 1 h.local.")},
		Ns:     []dns.RR{rr(t, "x._matter._tcp.local. 120 IN SRV 0 0 2 h.local.")},
		Extra:  []dns.RR{rr(t, "x._matter._tcp.local. 120 IN SRV 0 0 3 h.local.")},
	}
	b, _ := m.Pack()
	got, err := parse(b, func(q asked) bool { return q.key != "other.local." }, all)
	if err != nil || got.response || !got.truncated || got.id != 7 {
		t.Fatalf("%+v, %v", got, err)
	}
	if len(got.questions) != 1 || !got.questions[0].unicast || got.questions[0].name != "X._matter._tcp.local." {
		t.Errorf("questions %+v", got.questions)
	}
	if len(got.answers) != 1 || got.answers[0].port != 1 || len(got.proposed) != 1 || got.proposed[0].port != 2 {
		t.Errorf("known %+v, proposed %+v", got.answers, got.proposed)
	}
}

func TestParseMalformed(t *testing.T) {
	good := response(t, "_matterc._udp.local. 4500 IN PTR a._matterc._udp.local.")
	patch := func(off int, b ...byte) []byte {
		c := slices.Clone(good)
		copy(c[off:], b)
		return c
	}
	for name, b := range map[string][]byte{
		"empty":               nil,
		"half a header":       good[:6],
		"half a name":         good[:20],
		"half a record":       good[:len(good)-3],
		"a name in a circle":  patch(headerLen, 0xc0, headerLen),
		"a pointer past it":   patch(headerLen, 0xff, 0xff),
		"opcode 5":            patch(2, 0x28),
		"an error code":       patch(3, 3),
		"more than it counts": patch(6, 0, 2),
	} {
		if _, err := parse(b, allAsked, all); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	// What came before the fault is of use.
	m, err := parse(patch(6, 0, 2), nil, all)
	if err == nil || len(m.answers) != 1 {
		t.Errorf("%d answers and %v of a packet that lacks its second", len(m.answers), err)
	}
}

func TestParseKeepsLimits(t *testing.T) {
	var b []byte
	b = binary.BigEndian.AppendUint16(append(b, 0, 0, 0x84, 0, 0, 0), 2*maxRecords)
	b = append(b, 0, 0, 0, 0)
	for i := range 2 * maxRecords {
		b = append(b, 1, 'x', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, byte(i>>8), byte(i))
	}
	if m, err := parse(b, nil, all); err != nil || len(m.answers) != maxRecords {
		t.Errorf("%d records, %v", len(m.answers), err)
	}
	b = binary.BigEndian.AppendUint16([]byte{0, 0, 0, 0}, 2*maxQuestions)
	b = append(b, 0, 0, 0, 0, 0, 0)
	for range 2 * maxQuestions {
		b = append(b, 1, 'x', 0, 0, 1, 0, 1)
	}
	if m, err := parse(b, allAsked, nil); err != nil || len(m.questions) != maxQuestions {
		t.Errorf("%d questions, %v", len(m.questions), err)
	}
}

func TestParseSkipsALongTXT(t *testing.T) {
	txt := "x.local. 120 IN TXT" + strings.Repeat(" \""+strings.Repeat("a", 255)+"\"", 6)
	m, err := parse(response(t, txt, "h.local. 120 IN A 192.0.2.1"), nil, all)
	if err != nil || len(m.answers) != 1 || m.answers[0].rrtype != dns.TypeA {
		t.Errorf("%d records, %v", len(m.answers), err)
	}
}

func TestParseSkipsWhatLeadsNowhere(t *testing.T) {
	b := response(t, "x.local. 120 IN SRV 0 0 1 .", "x.local. 120 IN SRV 0 0 1 h.local.", "x.local. 120 IN PTR .")
	m, err := parse(b, nil, all)
	if err != nil || len(m.answers) != 1 || m.answers[0].target != "h.local." {
		t.Errorf("%+v, %v", m.answers, err)
	}
	short := response(t, "x.local. 120 IN SRV 0 0 1 .")
	short = short[:len(short)-1]
	short[len(short)-7]-- // its length: the target is missing
	if m, err = parse(short, nil, all); err != nil || len(m.answers) != 0 {
		t.Errorf("without a target: %+v, %v", m.answers, err)
	}
}

func TestEscape(t *testing.T) {
	for _, label := range []string{"plain", "Otbr #1 (küche)", `a.b\c"d'e@f;g`, "\x00\xff", "123", `\065`} {
		name := instanceName(label, borderRouterType)
		m := dns.Msg{Question: []dns.Question{{Name: name, Qtype: dns.TypeSRV, Qclass: dns.ClassINET}}}
		b, err := m.Pack()
		if err != nil {
			t.Errorf("%q: %v", label, err)
			continue
		}
		got, err := parse(b, allAsked, nil)
		if err != nil || got.questions[0].name != name {
			t.Errorf("%q: %q became %+v, %v", label, name, got.questions, err)
		}
		first, rest := firstLabel(name)
		if first != label || rest != borderRouterType+"."+domain {
			t.Errorf("%q: first label %q, rest %q", label, first, rest)
		}
		if unescape(escape(label)) != label {
			t.Errorf("%q became %q", label, unescape(escape(label)))
		}
	}
}

func TestTXTWire(t *testing.T) {
	pairs := []string{"D=3840", `PI=say "a\b"`, "xp=\x00\xff\x80"}
	b, err := (&dns.Msg{Answer: []dns.RR{newTXT(dns.RR_Header{Name: "x.local.", Rrtype: dns.TypeTXT, Class: dns.ClassINET}, pairs)},
		MsgHdr: dns.MsgHdr{Response: true}}).Pack()
	if err != nil {
		t.Fatal(err)
	}
	m, err := parse(b, nil, all)
	if err != nil || m.answers[0].txt != txtWire(pairs) || !slices.Equal(txtStrings(txtWire(pairs)), pairs) {
		t.Errorf("%q became %+v, %v", pairs, m.answers, err)
	}
	if got := txtStrings("\x05ab"); got != nil {
		t.Errorf("a string cut short gave %q", got)
	}
}

func TestPackSplits(t *testing.T) {
	known := make([]dns.RR, 100)
	for i := range known {
		known[i] = rr(t, "_matterc._udp.local. 4500 IN PTR "+strings.Repeat(string(rune('a'+i%26)), 10+i%50)+"._matterc._udp.local.")
	}
	questions := []dns.Question{{Name: "_matterc._udp.local.", Qtype: dns.TypePTR, Qclass: dns.ClassINET}}
	var many []dns.Question
	for _, r := range known {
		many = append(many, dns.Question{Name: r.(*dns.PTR).Ptr, Qtype: dns.TypeSRV, Qclass: dns.ClassINET})
	}
	for _, tt := range []struct {
		name string
		m    dns.Msg
		tc   bool
	}{
		{"query", dns.Msg{Question: questions, Answer: known}, true},
		{"response", dns.Msg{MsgHdr: dns.MsgHdr{Response: true}, Answer: known[:60], Extra: known[60:]}, false},
		{"questions", dns.Msg{Question: many}, false},
	} {
		packets := pack(&tt.m)
		records, asked := 0, 0
		for i, b := range packets {
			var m dns.Msg
			if err := m.Unpack(b); err != nil || len(b) > maxOutgoing {
				t.Fatalf("%s: packet of %d bytes: %v", tt.name, len(b), err)
			}
			records += len(m.Answer) + len(m.Extra)
			asked += len(m.Question)
			if want := tt.tc && i < len(packets)-1; m.Truncated != want {
				t.Errorf("%s: packet %d of %d has TC %v", tt.name, i+1, len(packets), m.Truncated)
			}
			if i > 0 && tt.tc && len(m.Question) > 0 {
				t.Errorf("%s: packet %d repeats the question", tt.name, i+1)
			}
		}
		if len(packets) < 2 || records != len(tt.m.Answer)+len(tt.m.Extra) || asked != len(tt.m.Question) {
			t.Errorf("%s: %d packets with %d records and %d questions", tt.name, len(packets), records, asked)
		}
	}
}
