package enroll

import (
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/radiotest"
)

func addr(s string) radio.Addr { return radio.UDPAddr(netip.MustParseAddrPort(s)) }

var (
	boxAddr    = addr("[fe80::b%eth0]:5540")
	memberAddr = addr("[fe80::a%eth0]:5540")
	secondAddr = addr("[fe80::c%eth0]:5540")
)

// place is a network in memory, what is announced there, and all that was
// logged.
type place struct {
	t   *testing.T
	net *radiotest.Network

	mu   sync.Mutex
	ads  []radio.Advertisement
	news chan struct{} // closed when one comes
	log  strings.Builder
}

func newPlace(t *testing.T) *place {
	p := &place{t: t, net: radiotest.NewNetwork(1), news: make(chan struct{})}
	p.net.SetConditions(radiotest.Conditions{Latency: time.Millisecond})
	return p
}

func (p *place) check(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *place) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// announce makes an advertisement known until withdraw.
func (p *place) announce(ad radio.Advertisement) (withdraw func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ads = append(p.ads, ad)
	close(p.news)
	p.news = make(chan struct{})
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ads = slices.DeleteFunc(p.ads, func(o radio.Advertisement) bool { return o.Instance == ad.Instance })
	}
}

// advertise is a box's, whose service goes through its wire form.
func (p *place) advertise(_ context.Context, s dnssd.Service) (func(), error) {
	ad := radio.Advertisement{Kind: radio.Commissionable, Instance: s.Instance, Addrs: []radio.Addr{addr("[fd00::dead]:1"), boxAddr}}
	ad.SetTXT(s.TXT)
	return p.announce(ad), nil
}

// Browse yields what there is and what comes.
func (p *place) Browse(ctx context.Context, q dnssd.Query) iter.Seq[dnssd.Event] {
	return func(yield func(dnssd.Event) bool) {
		for {
			p.mu.Lock()
			ads, news := slices.Clone(p.ads), p.news
			p.mu.Unlock()
			for _, ad := range ads {
				if q != dnssd.LongDiscriminator(ad.Discriminator) && q != dnssd.ShortDiscriminator(ad.ShortDiscriminator()) {
					continue
				}
				if !yield(dnssd.Event{Change: dnssd.Added, Advertisement: ad}) {
					return
				}
			}
			select {
			case <-news:
			case <-ctx.Done():
				return
			}
		}
	}
}

// steward is a home in memory: its trust state and its keys.
type steward struct {
	*place
	state   *fabric.State
	fabric  *issuer.Fabric
	peers   []found.Peer
	enrolls int
	before  func(ctx context.Context, c *fabric.ReserveGateway) error // nil, or what happens on the way
	spoil   func(*found.Membership)                                   // nil, or what is wrong with it
}

func newSteward(p *place) *steward {
	s := &steward{place: p, state: &fabric.State{}, peers: []found.Peer{{Node: 0xA1, Addrs: []netip.AddrPort{memberAddr.IP, netip.MustParseAddrPort("192.0.2.1:5541")}}}}
	birth := time.Now().Truncate(time.Second)
	var err error
	s.fabric, err = issuer.NewFabric(rand.Reader, issuer.Params{Birth: birth})
	p.check(err)
	s.must(fabric.Command{Found: &fabric.Found{
		Home:       fabric.Home{Name: "home", FabricID: s.fabric.FabricID, Root: s.fabric.RCAC, Birth: birth.UnixMilli(), GatewayCAT: cert.NewCAT(1, 1)},
		Generation: fabric.Generation{Number: 1, ICAC: s.fabric.ICAC}, Gateway: fabric.Gateway{Node: 0xA1, NOC: []byte("noc"), Version: fabric.Version}}})
	return s
}

func (s *steward) propose(c fabric.Command) error {
	c.Version, c.Time = c.Needs(), time.Now().UnixMilli()
	next, err := fabric.Apply(s.state, s.state.Index+1, &c)
	s.state = next
	return err
}

func (s *steward) must(c fabric.Command) {
	s.t.Helper()
	s.check(s.propose(c))
}

// Enroll is what the integrator's does, without a log.
func (s *steward) Enroll(ctx context.Context, c fabric.ReserveGateway) (m found.Membership, err error) {
	s.enrolls++
	if s.before != nil {
		if err := s.before(ctx, &c); err != nil {
			return m, err
		}
	}
	g := s.state.Gateways[c.Node]
	if g == nil || string(g.PublicKey) != string(c.PublicKey) || string(g.SealKey) != string(c.SealKey) {
		if err := s.propose(fabric.Command{ReserveGateway: &c}); err != nil {
			return m, err
		}
		g = s.state.Gateways[c.Node]
	}
	if !g.Member() {
		if err := s.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: c.Node, NOC: s.issue(c.Node, c.PublicKey), CAT: 1}}); err != nil {
			return m, err
		}
	}
	m = found.Membership{Root: s.state.Home.Root, ICAC: s.fabric.ICAC, NOC: s.state.Gateways[c.Node].NOC, Peers: s.peers}
	if s.spoil != nil {
		s.spoil(&m)
	}
	return m, nil
}

func (s *steward) issue(n cert.NodeID, key []byte) []byte {
	s.t.Helper()
	noc, err := issuer.Issue(s.fabric.ICAC, s.fabric.IssuerKey, issuer.Reservation{Node: n, Fabric: s.fabric.FabricID, Serial: []byte("G0000001"),
		CATs: []cert.CAT{s.state.Home.GatewayCAT}, PublicKey: cert.PublicKey(key), NotBefore: time.UnixMilli(s.state.Home.Birth)})
	s.check(err)
	return noc
}

// member starts a gateway of the home.
func (s *steward) member(at radio.Addr) *Member {
	link := s.net.Link(at)
	m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: s.logger()})
	s.check(err)
	engine := interaction.New(m)
	(&securechannel.Responder{Manager: m, Log: s.logger(), Resumptions: new(securechannel.Resumptions), Identities: func() []*securechannel.Identity { return nil }}).Register()
	m.Serve(link)
	s.t.Cleanup(m.Close)
	return &Member{Steward: s, Discovery: s.place, Root: func() []byte { return s.state.Home.Root }, Manager: m, Engine: engine, Link: link, Now: time.Now, Random: rand.Reader, Log: s.logger()}
}

// gateway is a box, whose keys outlive each of its runs.
type gateway struct {
	*place
	keys     keyfile.Keys
	name     string
	codes    chan SetupCode
	accepted []found.Membership
	accept   func(context.Context, found.Membership) error // nil: yes
	ended    chan ending
	stop     context.CancelFunc
}

type ending struct {
	m   found.Membership
	err error
}

func newGateway(p *place) *gateway {
	keys, err := keyfile.New(0xB0, keyfile.Options{TPM: keyfile.NoTPM}, rand.Reader)
	p.check(err)
	return &gateway{place: p, keys: keys, name: "attic"}
}

// start runs the box until it has joined or its power fails, and gives its
// first code.
func (g *gateway) start() setup.Payload {
	g.t.Helper()
	ctx, stop := context.WithCancel(g.t.Context())
	g.codes, g.ended, g.stop = make(chan SetupCode, 8), make(chan ending, 1), stop
	c := &Candidate{Name: g.name, Keys: g.keys, Offer: func(c SetupCode) { g.codes <- c }, Advertise: g.advertise,
		Accept: func(ctx context.Context, m found.Membership) error {
			g.accepted = append(g.accepted, m)
			if g.accept != nil {
				return g.accept(ctx, m)
			}
			return nil
		},
		Link: g.net.Link(boxAddr), Port: 5540, Now: time.Now, Random: rand.Reader, Log: g.logger()}
	go func() {
		m, err := c.Run(ctx)
		g.ended <- ending{m, err}
	}()
	g.t.Cleanup(stop)
	return g.code(false)
}

// code is the next code that the box shows, by its QR code's text.
func (g *gateway) code(renewed bool) setup.Payload {
	g.t.Helper()
	shown := <-g.codes
	if shown.Renewed != renewed {
		g.t.Errorf("renewed: %v", shown.Renewed)
	}
	return g.parse(shown.QR)
}

func (p *place) parse(text string) setup.Payload {
	p.t.Helper()
	payloads, err := setup.Parse(text)
	p.check(err)
	return payloads[0]
}

// manual is a code as its digits say it.
func (p *place) manual(code setup.Payload) setup.Payload {
	p.t.Helper()
	digits, err := code.Manual()
	p.check(err)
	return p.parse(digits)
}

// joinedBy waits for the box to end as a member.
func (g *gateway) joinedBy(within time.Duration) found.Membership {
	g.t.Helper()
	select {
	case e := <-g.ended:
		g.check(e.err)
		return e.m
	case <-time.After(within):
		g.t.Fatal("the box does not end")
	}
	panic("unreachable")
}

// fails takes the failure of an admission apart.
func (p *place) fails(err error, code Code, step string) *Failure {
	p.t.Helper()
	var f *Failure
	if !errors.As(err, &f) {
		p.t.Fatalf("%v, not a failure", err)
	}
	if f.Code != code || f.Step != step || f.Message == "" || f.Remedy == "" {
		p.t.Errorf("%+v, want %s in step %s", f, code, step)
	}
	return f
}

func (m *Member) admit(t *testing.T, code setup.Payload) (cert.NodeID, error) {
	return m.Admit(t.Context(), code, func(Progress) {})
}
