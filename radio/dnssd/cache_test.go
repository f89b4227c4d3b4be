package dnssd

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

var (
	t0   = time.Unix(1_700_000_000, 0)
	eve  = netip.MustParseAddr("192.0.2.66")
	host = question{"h.local.", dns.TypeAAAA}
)

// testCache has its own agenda; advance runs it.
type testCache struct {
	*cache
	agenda    agenda
	now       time.Time
	refreshed []string // seconds since t0
}

func newTestCache() *testCache {
	c := &testCache{now: t0}
	c.cache = newCache(&c.agenda, rand.New(rand.NewPCG(1, 2)))
	c.changed = func(*record, bool) {}
	c.refresh = func(r *record) { c.refreshed = append(c.refreshed, fmt.Sprint(int(c.now.Sub(t0).Seconds()))) }
	return c
}

func (c *testCache) advance(d time.Duration) {
	end := c.now.Add(d)
	for {
		next, ok := c.agenda.next()
		if !ok || next.After(end) {
			break
		}
		c.now = next
		c.agenda.runDue(next)
	}
	c.now = end
}

func (c *testCache) say(iface int, answers ...answer) { c.put(c.now, answers, iface, eve) }

func aaaa(ip string, ttl uint32, flush bool) answer {
	return answer{data: data{question: host, addr: netip.MustParseAddr(ip)}, ttl: ttl, flush: flush}
}

// addrs are the addresses of host, sorted.
func (c *testCache) addrs() (out []string) {
	for _, r := range c.get(host.key, host.rrtype) {
		out = append(out, fmt.Sprintf("%v/%d", r.addr, r.iface))
	}
	slices.Sort(out)
	return out
}

func TestCache(t *testing.T) {
	tests := []struct {
		name string
		run  func(c *testCache)
		want []string
	}{
		{"lives for its TTL", func(c *testCache) { c.say(1, aaaa("fd00::1", 120, false)); c.advance(119 * time.Second) }, []string{"fd00::1/1"}},
		{"and no longer", func(c *testCache) { c.say(1, aaaa("fd00::1", 120, false)); c.advance(120 * time.Second) }, nil},
		{"confirmed, it lives on", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, false))
			c.advance(119 * time.Second)
			c.say(1, aaaa("fd00::1", 120, false))
			c.advance(119 * time.Second)
		}, []string{"fd00::1/1"}},
		{"goodbye leaves it a second", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, false))
			c.say(1, aaaa("fd00::1", 0, false))
			c.advance(999 * time.Millisecond)
		}, []string{"fd00::1/1"}},
		{"and no more", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, false))
			c.say(1, aaaa("fd00::1", 0, false))
			c.advance(time.Second)
		}, nil},
		{"goodbye taken back", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, false))
			c.say(1, aaaa("fd00::1", 0, false))
			c.say(1, aaaa("fd00::1", 120, false))
			c.advance(10 * time.Second)
		}, []string{"fd00::1/1"}},
		{"goodbye of what is not known", func(c *testCache) { c.say(1, aaaa("fd00::1", 0, false)) }, nil},
		{"flush ends the others after a second", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, true))
			c.advance(5 * time.Second)
			c.say(1, aaaa("fd00::2", 120, true))
			c.advance(time.Second)
		}, []string{"fd00::2/1"}},
		{"flush spares what came along", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, true), aaaa("fd00::2", 120, true))
			c.advance(5 * time.Second)
		}, []string{"fd00::1/1", "fd00::2/1"}},
		{"flush spares what came just before", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, true))
			c.advance(time.Second)
			c.say(1, aaaa("fd00::2", 120, true))
			c.advance(5 * time.Second)
		}, []string{"fd00::1/1", "fd00::2/1"}},
		{"flush spares the other interface", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, true))
			c.advance(5 * time.Second)
			c.say(2, aaaa("fd00::2", 120, true))
			c.advance(5 * time.Second)
		}, []string{"fd00::1/1", "fd00::2/2"}},
		{"a life has a ceiling", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 1<<31, false))
			c.advance(maxTTL)
		}, nil},
		{"doubted, it has ten seconds", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, false))
			c.doubt(c.now, host.key, host.rrtype)
			c.advance(doubtGrace)
		}, nil},
		{"unless confirmed", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, false))
			c.doubt(c.now, host.key, host.rrtype)
			c.say(1, aaaa("fd00::1", 120, false))
			c.advance(doubtGrace)
		}, []string{"fd00::1/1"}},
		{"an interface goes", func(c *testCache) {
			c.say(1, aaaa("fd00::1", 120, false))
			c.say(2, aaaa("fd00::1", 120, false))
			c.removeAll(func(r *record) bool { return r.iface == 1 })
		}, []string{"fd00::1/2"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newTestCache()
			tt.run(c)
			if got := c.addrs(); !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
			c.checkBooks(t)
		})
	}
}

// checkBooks compares what the cache counts with what it holds.
func (c *cache) checkBooks(t testing.TB) {
	t.Helper()
	sets, sources, targets := 0, 0, 0
	for q, set := range c.sets {
		sets += len(set)
		for _, r := range set {
			if r.question != q || c.records[r.recordKey] != r || r.due.index == 0 {
				t.Errorf("record %+v is misfiled", r.recordKey)
			}
		}
	}
	for _, n := range c.sources {
		sources += n
	}
	srv := 0
	for _, r := range c.records {
		if r.rrtype == dns.TypeSRV {
			srv++
		}
	}
	for _, n := range c.targets {
		targets += n
	}
	if n := len(c.records); sets != n || sources != n || c.order.Len() != n || targets != srv || n > maxCached {
		t.Errorf("%d records, but %d in sets, %d by source, %d in order; %d SRV records, but %d targets", n, sets, sources, c.order.Len(), srv, targets)
	}
}

func TestNobodyOwnsAPTRSetAlone(t *testing.T) {
	c := newTestCache()
	for i := range 3 {
		c.say(1, answer{data: data{question: question{"_matterc._udp.local.", dns.TypePTR}, target: fmt.Sprint(i)}, ttl: 120, flush: true})
		c.advance(5 * time.Second)
	}
	if n := len(c.get("_matterc._udp.local.", dns.TypePTR)); n != 3 {
		t.Errorf("%d of three instances are left after flush bits on PTR records", n)
	}
}

func TestRefreshTimes(t *testing.T) {
	c := newTestCache()
	c.say(1, aaaa("fd00::1", 4500, false))
	c.advance(2 * time.Hour)
	if len(c.refreshed) != 4 {
		t.Fatalf("refreshed at %v, want four times", c.refreshed)
	}
	for i, part := range []int{80, 85, 90, 95} {
		var at int
		fmt.Sscan(c.refreshed[i], &at)
		if least := 4500 * part / 100; at < least || at > least+4500*2/100 {
			t.Errorf("refresh %d at %d s, want between %d and 2 %% later", i, at, least)
		}
	}
	c = newTestCache()
	c.say(1, aaaa("fd00::1", 5, false))
	c.advance(time.Minute)
	if len(c.refreshed) != 0 {
		t.Errorf("a life of five seconds was refreshed at %v", c.refreshed)
	}
}

func TestCacheBounds(t *testing.T) {
	c := newTestCache()
	ip := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range 2 * maxPerSet {
		c.say(1, answer{data: data{question: question{"h.local.", dns.TypeA}, addr: ip(i)}, ttl: 120})
	}
	if n := len(c.get("h.local.", dns.TypeA)); n != maxPerSet {
		t.Errorf("%d addresses of one host", n)
	}
	ptr := func(i int) answer {
		return answer{data: data{question: question{"_matterc._udp.local.", dns.TypePTR}, target: fmt.Sprint(i)}, ttl: 120}
	}
	for i := range 2 * maxPerSource {
		c.say(1, ptr(i))
	}
	if n := c.sources[eve]; n != maxPerSource {
		t.Errorf("%d records of one source", n)
	}
	for i := range 2 * maxCached {
		c.put(c.now, []answer{ptr(i + 1<<20)}, 1, ip(i%100))
	}
	if n := len(c.records); n != maxCached {
		t.Errorf("%d records", n)
	}
	last := ptr(2*maxCached - 1 + 1<<20)
	if c.records[recordKey{last.data, 1}] == nil {
		t.Error("what was said last is not known: a flood keeps the truth out")
	}
	c.checkBooks(t)
}
