package commissioner_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/radio"
)

const otherGateway = cert.NodeID(0xA2)

// owned is a home with another gateway and a light that is looked after.
func owned(t *testing.T) (h *home, light cert.NodeID, touch *atomic.Bool, end func()) {
	h = newHome(t, "")
	h.propose(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: otherGateway, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}})
	h.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: otherGateway, NOC: []byte("noc"), CAT: 1}})
	d, err := h.pair(t.Context())
	h.check(err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	touch = new(atomic.Bool)
	touch.Store(true)
	go func() {
		h.k.Own(ctx, touch.Load)
		close(ended)
	}()
	return h, d.Node, touch, func() { cancel(); <-ended }
}

// sessions are those that the gateway has with devices.
func (h *home) sessions() int {
	return len(h.gateway.Sessions(func(s *exchange.Session) bool { return s.Kind() == exchange.CASE }))
}

func (h *home) reachable(n cert.NodeID) bool {
	health, owned := h.k.Health(n)
	return owned && health.Reachable
}

// TestOwner looks after a light, loses it, and takes it up again.
func TestOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light, touch, end := owned(t)
		defer end()
		time.Sleep(10 * time.Second)
		if !h.reachable(light) || h.sessions() != 1 {
			t.Fatalf("reachable %v, %d sessions", h.reachable(light), h.sessions())
		}
		h.net.SetDrop(func(_, _ radio.Addr, _ []byte) bool { return true })
		time.Sleep(5 * time.Minute)
		if h.reachable(light) {
			t.Error("a light that is unplugged is reachable")
		}
		h.net.SetDrop(nil)
		time.Sleep(5 * time.Minute)
		if !h.reachable(light) {
			t.Error("a light that is back is not reachable")
		}

		touch.Store(false) // the other gateways are out of reach
		time.Sleep(10 * time.Second)
		if _, mine := h.k.Health(light); mine || h.sessions() != 0 {
			t.Errorf("without the others it keeps the light: %v, %d sessions", mine, h.sessions())
		}
		touch.Store(true)
		h.propose(fabric.Command{TakeOver: &fabric.TakeOver{From: 0xA1, To: []cert.NodeID{otherGateway}}})
		time.Sleep(10 * time.Second)
		if _, mine := h.k.Health(light); mine || h.sessions() != 0 {
			t.Errorf("it keeps another gateway's light: %v, %d sessions", mine, h.sessions())
		}

		// It still may switch it, and leaves room for others afterwards.
		toggle := interaction.Invocation{Path: interaction.Command(1, 6, 2)}
		if _, err := h.k.Invoke(t.Context(), light, 0, toggle); err != nil || !h.device.On() || h.sessions() != 1 {
			t.Errorf("%v, on %v, %d sessions", err, h.device.On(), h.sessions())
		}
		time.Sleep(time.Minute)
		if h.sessions() != 0 {
			t.Error("a session with another gateway's light is kept")
		}
		h.propose(fabric.Command{TakeOver: &fabric.TakeOver{From: otherGateway, To: []cert.NodeID{0xA1}}})
		time.Sleep(10 * time.Second)
		if !h.reachable(light) || h.sessions() != 1 {
			t.Errorf("taken over: reachable %v, %d sessions", h.reachable(light), h.sessions())
		}
	})
}

// TestEviction rewrites a light's access list for the tag that the evicted
// gateway never got, but not before this gateway has it itself.
func TestEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, light, _, end := owned(t)
		defer end()
		time.Sleep(10 * time.Second)
		subject := func() uint64 {
			t.Helper()
			var acl []datamodel.ACLEntry
			path := interaction.Attribute(0, datamodel.AccessControl, datamodel.AccessControlACL)
			r, err := h.k.Read(t.Context(), light, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}, FabricFiltered: true})
			h.check(err)
			h.check(r.Decode(path, &acl))
			return acl[0].Subjects.Value[0]
		}
		if got := subject(); got != uint64(cert.NewCAT(1, 1).Subject()) {
			t.Fatalf("administrators are %x", got)
		}
		h.propose(fabric.Command{EvictGateway: &fabric.EvictGateway{Node: otherGateway, Reason: "stolen"}})
		time.Sleep(time.Minute)
		if got := subject(); got != uint64(cert.NewCAT(1, 1).Subject()) || len(h.ledger.State().TrustingEvicted()) != 1 {
			t.Errorf("it locked itself out: administrators are %x", got)
		}
		before := h.sessions()
		h.certify(2)
		time.Sleep(time.Minute)
		if got := subject(); got != uint64(cert.NewCAT(1, 2).Subject()) || len(h.ledger.State().TrustingEvicted()) != 0 {
			t.Errorf("administrators are %x, %d devices still trust the evicted gateway", got, len(h.ledger.State().TrustingEvicted()))
		}
		if !h.reachable(light) || h.sessions() != before {
			t.Errorf("afterwards: reachable %v, %d sessions", h.reachable(light), h.sessions())
		}
	})
}

// TestPairingMeetsEviction settles a pairing while the home's tag is newer than
// this gateway's certificate: the light's list names what the gateway has, and
// is mended once it has the newer one.
func TestPairingMeetsEviction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		h.propose(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: otherGateway, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}})
		h.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: otherGateway, NOC: []byte("noc"), CAT: 1}})
		h.propose(fabric.Command{EvictGateway: &fabric.EvictGateway{Node: otherGateway, Reason: "stolen"}})
		d, err := h.pair(t.Context())
		h.check(err)
		if d.AccessVersion() != 1 || len(h.ledger.State().TrustingEvicted()) != 1 {
			t.Errorf("its list names version %d", d.AccessVersion())
		}
		h.certify(2)
		h.own(time.Minute)
		if len(h.ledger.State().TrustingEvicted()) != 0 {
			t.Error("it still trusts the evicted gateway")
		}
	})
}

// certify gives the gateway a certificate with a version of the gateways' CAT.
func (h *home) certify(version uint16) {
	h.t.Helper()
	h.propose(fabric.Command{RenewGateway: &fabric.RenewGateway{Node: h.id.Node}})
	s := h.ledger.State()
	key, err := h.vault.IssuerKey(h.t.Context(), s)
	h.check(err)
	public, err := cert.PublicKeyOf(h.id.Key.Public())
	h.check(err)
	next := *h.id
	next.NOC, err = issuer.Issue(s.Generation().ICAC, key, issuer.Reservation{Node: h.id.Node, Fabric: s.Home.FabricID, Serial: s.Gateways[h.id.Node].Reserved,
		CATs: []cert.CAT{cert.NewCAT(1, version)}, PublicKey: public, NotBefore: time.UnixMilli(s.Home.Birth)})
	h.check(err)
	h.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: h.id.Node, NOC: next.NOC, CAT: version}})
	h.renewed.Store(&next)
}
