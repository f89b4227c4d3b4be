package dnssd

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// Specification constants (RFC 6762).
const (
	maxPacket  = 9000    // section 17: the longest message, headers included
	flushBit   = 1 << 15 // of a record's class, section 10.2
	unicastBit = 1 << 15 // of a question's class, section 5.4
	headerLen  = 12
)

// Our own limits.
const (
	// maxOutgoing keeps a packet whole on every IPv6 link; only a single
	// record that is longer goes beyond it.
	maxOutgoing = 1280 - 40 - 8
	// maxQuestions and maxRecords are read of one packet, the rest is not.
	maxQuestions = 128
	maxRecords   = 512
	maxTXTLen    = 1300 // bytes of one TXT record, section 6.2 of RFC 6763
)

var errShort = errors.New("packet is cut short")

// question is one entry of the question section, and the key of an ask.
type question struct {
	key    string // the name in lower case
	rrtype uint16
}

// asked is a question as it stands in a packet.
type asked struct {
	question
	name    string
	unicast bool // the answer may come to us alone
}

// data is what a record says: comparable, so that it can be found again.
type data struct {
	question
	target string // PTR and SRV, in lower case
	port   uint16 // SRV
	addr   netip.Addr
	txt    string // TXT, still in wire form
}

// answer is a record as it stands in a packet.
type answer struct {
	data
	spelled string // the target with its case kept
	ttl     uint32 // seconds
	flush   bool
}

// message is a packet as far as somebody wanted to know it.
type message struct {
	id        uint16
	response  bool
	truncated bool
	questions []asked
	answers   []answer // of a response, those of all sections; of a query, what it knows already
	proposed  []answer // of a query: the authority section, which a probe fills
}

// parse reads a packet. Questions that ask is false for, and records that
// tell is false for, are skipped unread; either may be nil to skip all.
func parse(b []byte, ask func(asked) bool, tell func(question) bool) (m message, err error) {
	if len(b) < headerLen {
		return m, errShort
	}
	bits := binary.BigEndian.Uint16(b[2:])
	m.id = binary.BigEndian.Uint16(b)
	m.response = bits&(1<<15) != 0
	m.truncated = bits&(1<<9) != 0
	if opcode, rcode := bits>>11&0xf, bits&0xf; opcode != 0 || rcode != 0 {
		return m, errors.New("packet is no query and no answer") // RFC 6762, sections 18.3 and 18.11
	}
	counts := [4]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(b[4+2*i:]))
	}
	off := headerLen
	for i := range counts[0] {
		if i == maxQuestions {
			return m, nil // what follows cannot be found without reading on
		}
		var q asked
		q.name, off, err = dns.UnpackDomainName(b, off)
		if err != nil || off+4 > len(b) {
			return m, errShort
		}
		class := binary.BigEndian.Uint16(b[off+2:])
		q.key, q.rrtype, q.unicast = keyOf(q.name), binary.BigEndian.Uint16(b[off:]), class&unicastBit != 0
		off += 4
		if c := class &^ unicastBit; (c == dns.ClassINET || c == dns.ClassANY) && ask != nil && ask(q) {
			m.questions = append(m.questions, q)
		}
	}
	if tell == nil || counts[0] > 0 && len(m.questions) == 0 && !m.response {
		return m, nil
	}
	seen := 0
	for section, n := range counts[1:] {
		for range n {
			if seen++; seen > maxRecords {
				return m, nil
			}
			var a answer
			var ok bool
			if a, off, ok, err = parseRecord(b, off, tell); err != nil {
				return m, err
			}
			switch {
			case !ok:
			case m.response && section != 1, !m.response && section == 0:
				m.answers = append(m.answers, a)
			case !m.response && section == 1:
				m.proposed = append(m.proposed, a)
			}
		}
	}
	return m, nil
}

// parseRecord reads the record at off. It is not ok when it is of no use; err
// says that what follows cannot be read either.
func parseRecord(b []byte, off int, tell func(question) bool) (a answer, next int, ok bool, err error) {
	name, off, err := dns.UnpackDomainName(b, off)
	if err != nil || off+10 > len(b) {
		return a, 0, false, errShort
	}
	h := dns.RR_Header{
		Name:     name,
		Rrtype:   binary.BigEndian.Uint16(b[off:]),
		Class:    binary.BigEndian.Uint16(b[off+2:]),
		Ttl:      binary.BigEndian.Uint32(b[off+4:]),
		Rdlength: binary.BigEndian.Uint16(b[off+8:]),
	}
	off += 10
	next = off + int(h.Rdlength)
	if next > len(b) {
		return a, 0, false, errShort
	}
	if h.Class&^flushBit != dns.ClassINET || h.Rdlength == 0 {
		return a, next, false, nil
	}
	switch h.Rrtype {
	case dns.TypePTR, dns.TypeSRV, dns.TypeTXT, dns.TypeA, dns.TypeAAAA:
	default:
		return a, next, false, nil
	}
	a.key, a.rrtype, a.ttl, a.flush = keyOf(name), h.Rrtype, h.Ttl, h.Class&flushBit != 0
	if !tell(a.question) {
		return a, next, false, nil
	}
	if h.Rrtype == dns.TypeTXT {
		a.txt = string(b[off:next])
		return a, next, len(a.txt) <= maxTXTLen, nil
	}
	// The codec reads to the end of what it is given, not of the record.
	rr, _, err := dns.UnpackRRWithHeader(h, b[:next], off)
	if err != nil {
		return a, next, false, nil
	}
	switch rr := rr.(type) {
	case *dns.PTR:
		a.spelled = rr.Ptr
	case *dns.SRV:
		a.spelled, a.port = rr.Target, rr.Port
	case *dns.A:
		a.addr, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a.addr, _ = netip.AddrFromSlice(rr.AAAA)
	}
	a.target = keyOf(a.spelled)
	// The codec takes a record without its end for one with an empty target,
	// and "." says that there is none.
	return a, next, a.addr.IsValid() || len(a.target) > len("."), nil
}

// txtStrings splits the wire form of a TXT record. What is cut short is left out.
func txtStrings(wire string) []string {
	var out []string
	for len(wire) > 0 {
		n := int(wire[0])
		if len(wire) < 1+n {
			break
		}
		if n > 0 {
			out = append(out, wire[1:1+n])
		}
		wire = wire[1+n:]
	}
	return out
}

// txtWire is the inverse of txtStrings; a record has at least one string.
func txtWire(pairs []string) string {
	var b strings.Builder
	for _, p := range pairs {
		b.WriteByte(byte(len(p)))
		b.WriteString(p)
	}
	if b.Len() == 0 {
		return "\x00"
	}
	return b.String()
}

// pack writes m as one packet or, when it is longer than maxOutgoing, as
// several. A query's further ones carry only known answers, and all but the
// last of such a row are marked as truncated (RFC 6762, section 7.2); a
// response's stand each for itself.
func pack(m *dns.Msg) [][]byte {
	m.Compress = true
	b, err := m.Pack()
	if err != nil {
		return nil // our own names are checked before they come here
	}
	records := slices.Concat(m.Answer, m.Extra)
	if len(b) <= maxOutgoing || len(m.Question)+len(records) < 2 {
		return [][]byte{b}
	}
	first, second := *m, *m
	first.Extra, second.Extra, second.Ns = nil, nil, nil
	if len(records) > 0 {
		half := len(records) / 2
		first.Answer, second.Answer = records[:half], records[half:]
		first.Truncated = !m.Response
		second.Question = nil
	} else {
		half := len(m.Question) / 2
		first.Question, second.Question = m.Question[:half], m.Question[half:]
	}
	return append(pack(&first), pack(&second)...)
}
