package dnssd

import (
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio"
)

// maxInstances is how many instances one Browse follows.
const maxInstances = 4096

// finder is the part of a Conn that looks for others. All of it is under the
// Conn's lock.
type finder struct {
	asks      map[question]*ask
	pending   []asked // to be sent when the lock is released
	instances map[string]*instance
	hosts     map[string]map[*instance]struct{} // instances by the host they are on
	browses   map[string]map[*browse]struct{}   // by the name they ask for
	touched   map[*instance]struct{}            // whose records have changed
}

func newFinder() finder {
	return finder{asks: map[question]*ask{}, instances: map[string]*instance{}, hosts: map[string]map[*instance]struct{}{},
		browses: map[string]map[*browse]struct{}{}, touched: map[*instance]struct{}{}}
}

// instance is a service instance that somebody watches.
type instance struct {
	name, key string
	kind      radio.Kind
	host      string // in lower case; empty while unknown
	ad        radio.Advertisement
	found     bool // ad is complete
	sure      bool // and nothing it rests on is doubted
	watchers  map[watcher]struct{}
	asking    [4]question // SRV, TXT, AAAA, A; zero where nothing is asked
}

// watcher is told, under the lock, that an instance is not what it was.
type watcher interface{ notify(i *instance) }

// watch makes w a watcher of the instance with this name. It is nil when the
// name is none of ours.
func (c *Conn) watch(name string, w watcher) *instance {
	key := keyOf(name)
	i := c.instances[key]
	if i == nil {
		kind, ok := kindOf(key)
		label, rest := firstLabel(name)
		if !ok || keyOf(rest) != serviceType(kind)+"."+domain {
			return nil
		}
		i = &instance{name: name, key: key, kind: kind, watchers: map[watcher]struct{}{}}
		i.ad = radio.Advertisement{Kind: kind, Instance: label}
		if kind == radio.Operational {
			fabric, node, err := radio.ParseOperationalInstance(label)
			if err != nil {
				return nil
			}
			i.ad.CompressedFabric, i.ad.Node = fabric, node
		}
		c.instances[key] = i
	}
	i.watchers[w] = struct{}{}
	c.touched[i] = struct{}{}
	return i
}

func (c *Conn) unwatch(i *instance, w watcher) {
	delete(i.watchers, w)
	if len(i.watchers) > 0 {
		return
	}
	for slot := range i.asking {
		c.require(time.Time{}, i, slot, question{}, "")
	}
	c.moveTo(i, "")
	delete(c.touched, i)
	delete(c.instances, i.key)
}

// moveTo files i under its host.
func (c *Conn) moveTo(i *instance, host string) {
	if i.host == host {
		return
	}
	if i.host != "" {
		delete(c.hosts[i.host], i)
		if len(c.hosts[i.host]) == 0 {
			delete(c.hosts, i.host)
		}
	}
	i.host = host
	if host != "" {
		if c.hosts[host] == nil {
			c.hosts[host] = map[*instance]struct{}{}
		}
		c.hosts[host][i] = struct{}{}
	}
}

// require makes q, or nothing, what i asks in a slot.
func (c *Conn) require(now time.Time, i *instance, slot int, q question, name string) {
	if i.asking[slot] == q {
		return
	}
	if i.asking[slot] != (question{}) {
		c.unwant(i.asking[slot])
		i.asking[slot] = question{}
	}
	if q != (question{}) && (len(c.asks) < maxAsks || i.awaited()) {
		i.asking[slot] = q
		c.want(now, q, name)
	}
}

// awaited says whether a Resolve waits for i.
func (i *instance) awaited() bool {
	for w := range i.watchers {
		if _, ok := w.(resolve); ok {
			return true
		}
	}
	return false
}

// relevant says whether a record is worth keeping.
func (c *Conn) relevant(q question) bool {
	switch q.rrtype {
	case dns.TypePTR, dns.TypeSRV, dns.TypeTXT:
		_, ok := kindOf(q.key)
		return ok || c.probing[q.key] != nil
	}
	return true // addresses are sifted in learn, once all hosts are known
}

// learn takes the records of a response: of addresses, only those of hosts
// that a service points to.
func (c *Conn) learn(now time.Time, answers []answer, i *Interface, from netip.Addr) {
	hosts := make(map[string]bool)
	for _, a := range answers {
		if a.rrtype == dns.TypeSRV {
			hosts[a.target] = true
		}
	}
	useful := slices.DeleteFunc(answers, func(a answer) bool {
		if a.addr.IsValid() {
			return !hosts[a.key] && c.cache.targets[a.key] == 0 || !usable(a.addr, i)
		}
		_, ok := kindOf(a.key)
		return !ok
	})
	c.cache.put(now, useful, i.Index, from.WithZone(""))
}

// recordChanged follows the cache.
func (c *Conn) recordChanged(r *record, there bool) {
	switch r.rrtype {
	case dns.TypePTR:
		for b := range c.browses[r.key] {
			if there {
				b.add(r.spelled)
			} else if !c.pointsTo(r.key, r.target) {
				b.drop(r.target)
			}
		}
	case dns.TypeSRV, dns.TypeTXT:
		if i := c.instances[r.key]; i != nil {
			c.touched[i] = struct{}{}
		}
	default:
		for i := range c.hosts[r.key] {
			c.touched[i] = struct{}{}
		}
	}
}

func (c *Conn) pointsTo(name, target string) bool {
	for _, r := range c.cache.get(name, dns.TypePTR) {
		if r.target == target {
			return true
		}
	}
	return false
}

// settle looks again at every instance whose records have changed.
func (c *Conn) settle(now time.Time) {
	for i := range c.touched {
		delete(c.touched, i)
		if c.look(now, i) {
			for w := range i.watchers {
				w.notify(i)
			}
		}
	}
}

// look makes i what the cache says it is, asks for what is missing or doubted,
// and returns whether i is another than before.
func (c *Conn) look(now time.Time, i *instance) (changed bool) {
	ad := radio.Advertisement{Kind: i.kind, Instance: i.ad.Instance, CompressedFabric: i.ad.CompressedFabric, Node: i.ad.Node}
	srv, txt := newest(c.cache.get(i.key, dns.TypeSRV)), newest(c.cache.get(i.key, dns.TypeTXT))
	host, spelled, reachable := "", "", false
	if srv != nil {
		host, spelled = srv.target, srv.spelled
		ad.Host, _ = firstLabel(spelled)
		ad.Addrs, reachable = c.addresses(host, srv.port)
	}
	if txt != nil {
		ad.SetTXT(txtStrings(txt.txt))
	}
	c.moveTo(i, host)
	ask := func(slot int, missing bool, key, name string, rrtype uint16) {
		q := question{}
		if missing {
			q = question{key, rrtype}
		}
		c.require(now, i, slot, q, name)
	}
	ask(0, srv == nil || srv.doubted, i.key, i.name, dns.TypeSRV)
	ask(1, txt == nil, i.key, i.name, dns.TypeTXT)
	ask(2, srv != nil && !reachable, host, spelled, dns.TypeAAAA)
	ask(3, srv != nil && !reachable, host, spelled, dns.TypeA)

	// A node is reachable without its TXT record; the others are nobody.
	found := len(ad.Addrs) > 0 && (txt != nil || i.kind == radio.Operational)
	sure := found && reachable && !srv.doubted
	if found == i.found && sure == i.sure && reflect.DeepEqual(ad, i.ad) {
		return false
	}
	i.ad, i.found, i.sure = ad, found, sure
	return true
}

// newest is the record confirmed last.
func newest(set []*record) (last *record) {
	for _, r := range set {
		if last == nil || !r.seen.Before(last.seen) {
			last = r
		}
	}
	return last
}
