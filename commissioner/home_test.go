package commissioner_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/cluster/steward"
	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/setup"
	"gatehouse/commissioner/virtual"
	"gatehouse/commissioner/webrtc"
	"gatehouse/fabric"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/radiotest"
)

var (
	gatewayAddr  = radio.UDPAddr(netip.MustParseAddrPort("[fd00::a]:5540"))
	gatewayAddr2 = radio.UDPAddr(netip.MustParseAddrPort("[fd00::d]:5540"))
	deviceAddr   = radio.UDPAddr(netip.MustParseAddrPort("[fd00::b]:5540"))
	quiet        = slog.New(slog.DiscardHandler)
	maker        = attesttest.New("the tests' own")
)

// ledger is a trust state in memory. fail makes proposals fail, before or
// after they took effect.
type ledger struct {
	mu    sync.Mutex
	state *fabric.State
	fail  func(fabric.Command) (before, after error)
}

func (l *ledger) Propose(ctx context.Context, c fabric.Command) (*fabric.State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var before, after error
	if l.fail != nil {
		before, after = l.fail(c)
	}
	if before != nil {
		return nil, before
	}
	c.Version, c.Time = c.Needs(), time.Now().UnixMilli()
	next, err := fabric.Apply(l.state, l.state.Index+1, &c)
	l.state = next
	return next, errors.Join(err, after)
}

func (l *ledger) State() *fabric.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state
}

func (l *ledger) Leads() bool         { return true }
func (l *ledger) Leader() cert.NodeID { return 0xA1 }

func (l *ledger) Current(context.Context) (*fabric.State, error) { return l.State(), nil }

// discovery knows one device, and on its fabric whoever is announced.
type discovery struct {
	ad        radio.Advertisement
	hidden    bool                 // until it is asked for as a node of the fabric
	router    *radio.Advertisement // a border router; nil: there is none
	announced chan radio.Advertisement
}

func (d *discovery) Browse(ctx context.Context, q dnssd.Query) iter.Seq[dnssd.Event] {
	return func(yield func(dnssd.Event) bool) {
		if d.router != nil && q == dnssd.BorderRouters() && !yield(dnssd.Event{Change: dnssd.Added, Advertisement: *d.router}) {
			return
		}
		if !d.hidden && q == dnssd.LongDiscriminator(d.ad.Discriminator) && !yield(dnssd.Event{Change: dnssd.Added, Advertisement: d.ad}) {
			return
		}
		for {
			select {
			case ad := <-d.announced:
				if !yield(dnssd.Event{Change: dnssd.Added, Advertisement: ad}) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}
}

func (d *discovery) Resolve(context.Context, string) (radio.Advertisement, error) { return d.ad, nil }
func (d *discovery) Doubt(string)                                                 {}

// vault keeps the keys in the open, and seals nothing.
type vault struct {
	key []byte
	ipk cert.EpochKey
}

func (v *vault) OpenNetwork(_ context.Context, _ *fabric.State, n *fabric.Network) (seal.Secret, error) {
	return seal.NewSecret(n.Sealed), nil
}

func (v *vault) SealNetwork(_ context.Context, s *fabric.State, n *fabric.Network, credentials seal.Secret) error {
	n.DataKey, n.Sealed = s.Generation().Number, credentials.Reveal()
	return nil
}

func (v *vault) OpenPeople(_ context.Context, s *fabric.State) (seal.Secret, error) {
	return seal.NewSecret(s.People.Key), nil
}

func (v *vault) IssuerKey(context.Context, *fabric.State) (issuer.PrivateKey, error) {
	return issuer.ParsePrivateKey(append([]byte(nil), v.key...))
}
func (v *vault) IPK(context.Context, *fabric.State) (cert.EpochKey, error) {
	return cert.NewEpochKey(v.ipk.Reveal()), nil // whoever gets it may erase it
}

// home is a gateway and one device, on a network in memory.
type home struct {
	version uint8 // of its trust state; 0: the newest
	t       *testing.T
	net     *radiotest.Network
	ledger  *ledger
	vault   *vault
	id      *securechannel.Identity
	renewed atomic.Pointer[securechannel.Identity] // nil: its certificate never was
	former  atomic.Pointer[securechannel.Identity] // on the fabric of before a change of the root
	code    setup.Payload
	device  *virtual.Device
	gateway *exchange.Manager
	c       *commissioner.Commissioner
	k       *keeper.Keeper

	discovery     *discovery
	discriminator uint16                            // that the device announces
	air           *air                              // nil: there is no Bluetooth
	radios        func(*air) commissioner.Bluetooth // by which the gateway has it; nil: it is there itself
	progress      []commissioner.Progress
	request       commissioner.PairRequest // beside the code
	provider      *ota.Provider            // nil: the gateway has no images
	cameras       *webrtc.Requestor        // nil: the device has no camera
	firmware      commissioner.Firmware    // nil: nothing is known
	information   func(uint32) []byte      // firmware information of the device's attestation; nil: none
	sleep         *virtual.Sleep           // of the device; nil: it never does
	onNOC         func(noc []byte)         // when the device gets a certificate; nil: nobody cares
}

func newHome(t *testing.T, mode virtual.Mode) *home { return newHomeWith(t, mode, 0) }

func newHomeWith(t *testing.T, mode virtual.Mode, maxFabrics int) *home {
	return (&home{discriminator: 0xABC}).start(t, mode, maxFabrics)
}

func (h *home) start(t *testing.T, mode virtual.Mode, maxFabrics int) *home {
	time.Sleep(27 * 365 * 24 * time.Hour) // a bubble begins in 2000, before the attestation certificates
	h.t, h.net = t, radiotest.NewNetwork(1)
	h.code = setup.Payload{VendorID: 0xFFF1, ProductID: 0x8001, Discriminator: setup.Long(0xABC), Passcode: setup.NewPasscode(20202021)}
	h.found()
	h.startDevice(mode, maxFabrics)
	h.startGateway()
	t.Cleanup(func() {
		h.gateway.Close()
		h.device.Close()
		time.Sleep(time.Minute) // links that are being closed say their last
	})
	return h
}

// found founds a fabric; when called again, it is another home.
func (h *home) found() {
	h.ledger = &ledger{state: &fabric.State{}}
	birth := time.Now().Add(-time.Hour).Truncate(time.Second)
	f, err := issuer.NewFabric(rand.Reader, issuer.Params{Birth: birth})
	h.check(err)
	key, err := issuer.GenerateKey(rand.Reader)
	h.check(err)
	self, cat := cert.NodeID(0xA1), cert.NewCAT(1, 1)
	noc, err := issuer.Issue(f.ICAC, f.IssuerKey, issuer.Reservation{Node: self, Fabric: f.FabricID, Serial: []byte("G0000001"),
		CATs: []cert.CAT{cat}, PublicKey: key.PublicKey(), NotBefore: birth})
	h.check(err)
	h.vault = &vault{f.IssuerKey.Reveal(), f.IPK}
	h.propose(fabric.Command{Found: &fabric.Found{
		Home:       fabric.Home{Name: "home", FabricID: f.FabricID, Root: f.RCAC, Birth: birth.UnixMilli(), VendorID: 0xFFF1, GatewayCAT: cat},
		Generation: fabric.Generation{Number: 1, ICAC: f.ICAC}, Gateway: fabric.Gateway{Node: self, NOC: noc, Version: cmp.Or(h.version, fabric.Version)}}})
	h.propose(fabric.Command{AddAnchors: &fabric.AddAnchors{Anchors: []fabric.Anchor{
		{Kind: fabric.PAA, DER: maker.PAA(), Test: true}, {Kind: fabric.CDSigner, DER: maker.Signer(), Test: true}}}})
	h.propose(fabric.Command{AddException: &fabric.Exception{Name: "tests", VendorID: 0xFFF1, Expires: time.Now().AddDate(1, 0, 0).UnixMilli()}})
	rcac, err := cert.Parse(f.RCAC)
	h.check(err)
	root, err := cert.NewRoot(rcac)
	h.check(err)
	h.id = &securechannel.Identity{Index: 1, Fabric: f.FabricID, Node: self, Root: root, NOC: noc, ICAC: f.ICAC, Key: key,
		IPK: f.IPK.Operational(f.Compressed), Valid: cert.AnyTime, Knows: h.knowing(f.RCAC)}
}

// knowing tells the keys of the nodes on one of the home's fabrics.
func (h *home) knowing(rcac []byte) func(cert.NodeID, cert.PublicKey) bool {
	ledger := h.ledger
	return func(n cert.NodeID, key cert.PublicKey) bool {
		s := ledger.State()
		return s.Knows(n, key, s.Former != nil && bytes.Equal(s.Former.Root, rcac))
	}
}

func (h *home) check(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *home) propose(c fabric.Command) {
	h.t.Helper()
	_, err := h.ledger.Propose(h.t.Context(), c)
	h.check(err)
}

func (h *home) startDevice(mode virtual.Mode, maxFabrics int) {
	cfg := virtual.Config{Name: "Lamp", Code: h.code, SerialNumber: "V1", Software: 1, SoftwareText: "1.0", Maker: maker, OnNOC: h.onNOC, Firmware: h.information,
		Sleep: h.sleep, Hostile: mode, MaxFabrics: maxFabrics, Camera: h.cameras != nil, Link: h.net.Link(deviceAddr), Port: 5540, Now: time.Now, Random: rand.Reader, Log: quiet}
	if h.air != nil {
		h.air.network.Beacon = h.air.advertise
		cfg.Network, cfg.FailSafe = &h.air.network, h.air.failSafe
	}
	var err error
	h.device, err = virtual.New(cfg)
	h.check(err)
	h.check(h.device.Start())
}

// startGateway starts the gateway anew, as after a crash: only the trust
// state and the keys survive.
func (h *home) startGateway() {
	if h.gateway != nil {
		h.gateway.Close()
	}
	link := h.net.Link(gatewayAddr)
	var err error
	h.gateway, err = exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
	h.check(err)
	ad := radio.Advertisement{Kind: radio.Commissionable, Addrs: []radio.Addr{deviceAddr}, Discriminator: h.discriminator, HasDiscriminator: true, Mode: radio.BasicCommissioning}
	h.discovery = &discovery{ad: ad, hidden: h.air != nil, announced: make(chan radio.Advertisement)}
	var bluetooth commissioner.Bluetooth
	if h.air != nil {
		h.air.h, bluetooth = h, h.air
		if h.radios != nil {
			bluetooth = h.radios(h.air)
		}
	}
	h.c = commissioner.New(commissioner.Config{Firmware: h.firmware, Ledger: h.ledger, Discovery: h.discovery, Bluetooth: bluetooth,
		Authority: &steward.Authority{Ledger: h.ledger, Vault: h.vault},
		Identity:  func() *securechannel.Identity { return cmp.Or(h.renewed.Load(), h.id) }, Former: h.former.Load, Manager: h.gateway, Engine: interaction.New(h.gateway), Link: link,
		Addresses: commissioner.OpenAddressBook(filepath.Join(h.t.TempDir(), "addresses"), quiet), Now: time.Now, Random: rand.Reader, Log: quiet})
	responder := &securechannel.Responder{Manager: h.gateway, Log: quiet, Resumptions: h.c.Resumptions(), Identities: func() []*securechannel.Identity { return []*securechannel.Identity{h.id} }}
	responder.Register()
	if h.provider != nil {
		var parts []datamodel.Part
		if h.cameras != nil {
			h.cameras.Belongs, h.cameras.Now, h.cameras.Log = h.c.Belongs, time.Now, quiet
			parts = append(parts, h.cameras.Part())
		}
		node, err := h.provider.Node(1, "1", rand.Reader, parts...)
		h.check(err)
		h.c.Engine.Serve(node)
		h.gateway.Handle(message.BDX, h.provider.Transfer)
	}
	h.gateway.Serve(link)
	h.k = keeper.New(h.c)
}

func (h *home) pair(ctx context.Context) (*fabric.Device, error) {
	req := h.request
	req.Code = h.code
	h.progress = nil
	d, s, err := h.c.Pair(ctx, req, func(p commissioner.Progress) { h.progress = append(h.progress, p) })
	if err == nil {
		h.k.Adopt(s)
	}
	return d, err
}

// admitted are the devices that belong, and all others that are known.
func (h *home) phases() (admitted, doubtful int) {
	for _, d := range h.ledger.State().Devices {
		if d.Phase == fabric.Admitted {
			admitted++
		} else {
			doubtful++
		}
	}
	return admitted, doubtful
}
