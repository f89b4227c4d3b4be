package commissioner_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
	"gatehouse/radio"
	"gatehouse/radio/btp"
	"gatehouse/radio/radiotest"
	"gatehouse/radio/thread"
)

const (
	airMTU     = 247
	airLatency = 15 * time.Millisecond // half a connection interval
)

var (
	airAddr   = radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:01"}
	decoyAddr = radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:02"}
)

// air is Bluetooth in memory between the gateway and its device, which is on
// no network yet.
type air struct {
	h        *home
	network  virtual.Network
	failSafe uint16 // s; 0: the device's usual one
	loud     bool   // it is advertised for ever
	decoy    bool   // somebody else advertises the same, and does not answer

	mu       sync.Mutex
	beacon   *radio.Advertisement
	prepare  func(nth int, c *radiotest.Connection) error // each connection
	dialled  int
	restarts int
	odd      bool
}

func (a *air) advertise(ad *radio.Advertisement) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ad != nil || !a.loud {
		a.beacon = ad
	}
}

func (a *air) Scan(ctx context.Context, seen func(radio.Advertisement)) error {
	for ctx.Err() == nil {
		a.mu.Lock()
		beacon := a.beacon
		a.mu.Unlock()
		if a.decoy && !a.turn() {
			seen(radio.Advertisement{Kind: radio.Commissionable, Discriminator: a.h.discriminator, HasDiscriminator: true, Addrs: []radio.Addr{decoyAddr}})
		}
		if beacon != nil {
			ad := *beacon
			ad.Instance, ad.Addrs = "", []radio.Addr{airAddr}
			seen(ad)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}

// turn is false and true by turns.
func (a *air) turn() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.odd = !a.odd
	return !a.odd
}

func (a *air) Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error) {
	if addr == decoyAddr {
		<-ctx.Done() // nobody is there
		return nil, context.Cause(ctx)
	}
	a.mu.Lock()
	a.dialled++
	nth, prepare := a.dialled, a.prepare
	a.mu.Unlock()
	c := radiotest.NewConnection(airMTU)
	c.SetLatency(airLatency)
	if prepare != nil {
		if err := prepare(nth, c); err != nil {
			return nil, err
		}
	}
	go func() {
		if link, err := btp.Accept(a.h.t.Context(), c.Server, btp.Config{Peer: radio.Addr{Transport: radio.BLE, Peer: "gateway"}, Now: time.Now}); err == nil {
			a.h.device.Serve(link)
		}
	}()
	return c.Client, nil
}

func (a *air) Restart(string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.restarts++
}

const (
	homeSSID     = "home"
	homePassword = "correct horse"
)

// wifi is the radio of a device that sees two networks, of which one lets it
// in with the password.
func wifi() virtual.Network {
	return virtual.Network{Feature: datamodel.FeatureWiFi, ConnectTime: 20, Delay: 3 * time.Second,
		WiFi: []datamodel.WiFiScanned{
			{Security: 8, SSID: []byte("neighbour"), Channel: 1, RSSI: -80},
			{Security: 8, SSID: []byte(homeSSID), Channel: 6, RSSI: -70},
			{Security: 8, SSID: []byte(homeSSID), Channel: 11, RSSI: -40},
			{Security: 8, SSID: nil, Channel: 11, RSSI: -30},
		},
		Join: func(id, credentials []byte) datamodel.NetworkingStatus {
			switch {
			case string(id) != homeSSID:
				return datamodel.NetworkingNotFound
			case string(credentials) != homePassword:
				return datamodel.NetworkingAuthFailure
			}
			return datamodel.NetworkingOK
		}}
}

// newAirHome has a device that is found over Bluetooth only.
func newAirHome(t *testing.T, n virtual.Network) *home {
	return (&home{discriminator: 0xABC, air: &air{network: n}}).start(t, "", 0)
}

func (h *home) addNetwork(name, ssid, password string) {
	h.t.Helper()
	h.check(h.c.SetNetwork(h.t.Context(), fabric.Network{Name: name, Kind: fabric.WiFi, ID: []byte(ssid)}, seal.NewSecret([]byte(password))))
}

// retries are the reasons for which the last pairing began anew.
func (h *home) retries() (details []string) {
	for _, p := range h.progress {
		if p.State == commissioner.StepRetrying {
			details = append(details, p.Detail)
		}
	}
	return details
}

func TestPairOverBluetooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAirHome(t, wifi())
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeNoNetwork {
			t.Fatalf("without a network: %v", err)
		}
		synctest.Wait()
		h.addNetwork("hall", homeSSID, homePassword)
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h.device.Fabrics() != 1 || len(h.retries()) != 0 {
			t.Errorf("on %d fabrics, after %q", h.device.Fabrics(), h.retries())
		}
		for n := range h.ledger.State().Devices {
			h.check(h.k.Remove(t.Context(), n, false)) // over the network
		}
	})
}

// TestNetworkBeforeAir pairs a device that is both on the network and on the
// air: the network wins, and needs no credentials.
func TestNetworkBeforeAir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAirHome(t, wifi())
		h.device.Close()
		h.air, h.device = nil, nil
		h.startDevice("", 0)
		h.air = &air{}
		h.startGateway()
		h.discovery.hidden = false
		h.air.advertise(&radio.Advertisement{Kind: radio.Commissionable, Discriminator: 0xABC, HasDiscriminator: true})
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h.air.dialled != 0 {
			t.Error("Bluetooth was used")
		}
	})
}

// TestStaleNetworkAddress pairs over the air a device whose old announcement
// on the network leads nowhere.
func TestStaleNetworkAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAirHome(t, wifi())
		h.addNetwork("hall", homeSSID, homePassword)
		h.discovery.hidden = false
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestChooseNetwork(t *testing.T) {
	for name, c := range map[string]struct {
		networks [][3]string // name, SSID, password
		named    string
		want     commissioner.Code
	}{
		"the only one":                     {[][3]string{{"hall", homeSSID, homePassword}}, "", ""},
		"the one that is seen":             {[][3]string{{"attic", "attic", "irrelevant"}, {"hall", homeSSID, homePassword}}, "", ""},
		"by name":                          {[][3]string{{"attic", "neighbour", "irrelevant"}, {"hall", homeSSID, homePassword}}, "hall", ""},
		"the preferred one, though weaker": {[][3]string{{"attic", "neighbour", "irrelevant"}, {"hall", homeSSID, homePassword}}, "", commissioner.CodeNetworkUnseen},
		"the strongest one":                {[][3]string{{"cellar", "cellar", "irrelevant"}, {"attic", "neighbour", "irrelevant"}, {"hall", homeSSID, homePassword}}, "", ""},
		"unknown name":                     {[][3]string{{"hall", homeSSID, homePassword}}, "cellar", commissioner.CodeNetworkUnknown},
		"out of reach":                     {[][3]string{{"attic", "attic", "irrelevant"}}, "", commissioner.CodeNetworkUnseen},
		"wrong password":                   {[][3]string{{"hall", homeSSID, "wrong horse"}}, "", commissioner.CodeNetworkPassword},
		"malformed password":               {[][3]string{{"hall", homeSSID, "short"[:3]}}, "", commissioner.CodeNetworkRefused},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newAirHome(t, wifi())
				for _, n := range c.networks {
					h.addNetwork(n[0], n[1], n[2])
				}
				h.request.Network = c.named
				_, err := h.pair(t.Context())
				if code(err) != c.want || c.want == "" && err != nil {
					t.Fatalf("got %v", err)
				}
				if c.want == "" {
					return
				}
				synctest.Wait()
				if a, q := h.phases(); a+q != 0 || h.device.Fabrics() != 0 {
					t.Errorf("%d, %d devices and %d fabrics are left", a, q, h.device.Fabrics())
				}
				h.addNetwork("hall", homeSSID, homePassword)
				h.request.Network = "hall"
				if _, err := h.pair(t.Context()); err != nil {
					t.Errorf("the next attempt: %v", err)
				}
			})
		})
	}
}

// TestAskForNetwork asks a person who errs twice and takes long: all inside
// one fail-safe and one connection.
func TestAskForNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wifi()
		h := newAirHome(t, n)
		var asked []commissioner.Question
		var given []seal.Secret
		h.request.Ask = func(_ context.Context, q commissioner.Question) (commissioner.Answer, error) {
			asked = append(asked, q)
			time.Sleep(2 * time.Minute)
			a := commissioner.Answer{Kind: fabric.WiFi, ID: []byte(homeSSID), SaveAs: "hall"}
			switch len(asked) {
			case 1:
				a.Network = "never heard of"
			case 2:
				a.Secret = seal.NewSecret([]byte("wrong horse"))
			default:
				a.Secret = seal.NewSecret([]byte(homePassword))
			}
			given = append(given, a.Secret)
			return a, nil
		}
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h.air.dialled != 1 || len(h.retries()) != 0 {
			t.Errorf("%d connections, begun anew for %q", h.air.dialled, h.retries())
		}
		var why []commissioner.Code
		for _, q := range asked {
			if q.Failure != nil {
				why = append(why, q.Failure.Code)
			}
		}
		if !slices.Equal(why, []commissioner.Code{commissioner.CodeNetworkUnknown, commissioner.CodeNetworkPassword}) {
			t.Errorf("asked again for %q", why)
		}
		if seen := asked[0].Seen; len(seen) != 2 || seen[0].Name != homeSSID || seen[0].Signal != -40 || seen[1].Name != "neighbour" {
			t.Errorf("shown %+v", seen)
		}
		for i, secret := range given[1:] {
			if len(bytes.Trim(secret.Reveal(), "\x00")) > 0 {
				t.Errorf("answer %d is still in memory", i+2)
			}
		}
		kept := h.ledger.State().Networks["hall"]
		if kept == nil || string(kept.Sealed) != homePassword || len(h.ledger.State().Networks) != 1 {
			t.Errorf("kept %+v", h.ledger.State().Networks)
		}
	})
}

// TestGivingUp fails a pairing for the reason for which somebody was asked.
func TestGivingUp(t *testing.T) {
	for networks, want := range []commissioner.Code{commissioner.CodeNoNetwork, commissioner.CodeNetworkPassword} {
		synctest.Test(t, func(t *testing.T) {
			h := newAirHome(t, wifi())
			if networks > 0 {
				h.addNetwork("hall", homeSSID, "wrong horse")
			}
			h.request.Ask = func(context.Context, commissioner.Question) (commissioner.Answer, error) {
				return commissioner.Answer{}, commissioner.ErrNoAnswer
			}
			if _, err := h.pair(t.Context()); code(err) != want {
				t.Errorf("got %v, want %s", err, want)
			}
			synctest.Wait()
			if a, q := h.phases(); a+q != 0 || h.device.Fabrics() != 0 {
				t.Errorf("%d, %d devices and %d fabrics are left", a, q, h.device.Fabrics())
			}
		})
	}
}

// TestNobodyAnswers gives up, and leaves nothing behind.
func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAirHome(t, wifi())
		h.request.Ask = func(ctx context.Context, _ commissioner.Question) (commissioner.Answer, error) {
			<-ctx.Done()
			return commissioner.Answer{}, context.Cause(ctx)
		}
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeTime {
			t.Errorf("got %v", err)
		}
		h.addNetwork("hall", homeSSID, homePassword)
		if _, err := h.pair(t.Context()); err != nil {
			t.Errorf("the next attempt: %v", err)
		}
	})
}

// TestLeavesBluetooth pairs a device whose one radio leaves Bluetooth to join.
func TestLeavesBluetooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wifi()
		n.Leaves = true
		h := newAirHome(t, n)
		h.addNetwork("hall", homeSSID, homePassword)
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestFullNetworkList makes room on a device that knows a network from an
// earlier life.
func TestFullNetworkList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newAirHome(t, wifi())
		h.addNetwork("attic", "attic", "irrelevant")
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeNetworkUnseen {
			t.Fatal(err)
		}
		h.request.Ask = func(context.Context, commissioner.Question) (commissioner.Answer, error) {
			return commissioner.Answer{Kind: fabric.WiFi, ID: []byte(homeSSID), Secret: seal.NewSecret([]byte(homePassword))}, nil
		}
		h.request.Network = "attic" // which it has room for, and cannot join
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(h.ledger.State().Networks) != 1 {
			t.Error("a network was kept that nobody named")
		}
	})
}

// TestRetries lets Bluetooth fail at the connection: twice is borne, and the
// second time the adapter is begun anew with.
func TestRetries(t *testing.T) {
	for fails, want := range map[int]commissioner.Code{0: "", 1: "", 2: "", 3: commissioner.CodeBluetooth} {
		synctest.Test(t, func(t *testing.T) {
			h := newAirHome(t, wifi())
			h.addNetwork("hall", homeSSID, homePassword)
			h.air.prepare = func(nth int, c *radiotest.Connection) error {
				switch {
				case nth > fails:
					return nil
				case nth%2 == 0:
					return errors.New("connection failed to be established")
				}
				c.SetFate(radiotest.Mute.At(1))
				return nil
			}
			if _, err := h.pair(t.Context()); code(err) != want || want == "" && err != nil {
				t.Fatalf("%d failures: %v", fails, err)
			}
			if len(h.retries()) != min(fails, 2) || h.air.restarts != min(fails, 2)/2 {
				t.Errorf("%d failures: begun anew for %q, %d restarts", fails, h.retries(), h.air.restarts)
			}
		})
	}
}

// TestLongFailSafe loses a device that keeps to the lost attempt until its long
// fail-safe ends: one that is silent until then, and one that lets us in and
// says that it is busy.
func TestLongFailSafe(t *testing.T) {
	for _, loud := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := (&home{discriminator: 0xABC, air: &air{network: wifi(), failSafe: 300, loud: loud}}).start(t, "", 0)
			h.addNetwork("hall", homeSSID, homePassword)
			var first *radiotest.Connection
			h.air.prepare = func(nth int, c *radiotest.Connection) error {
				if nth == 1 {
					first = c
				}
				return nil
			}
			_, _, err := h.c.Pair(t.Context(), commissioner.PairRequest{Code: h.code}, func(p commissioner.Progress) {
				if p.Name == "attestation" && p.State == commissioner.StepStarted {
					first.Cut()
				}
			})
			if want := map[bool]int{false: 2, true: 3}[loud]; err != nil || h.air.dialled != want {
				t.Errorf("%v, after %d connections, not %d", err, h.air.dialled, want)
			}
		})
	}
}

// TestOnNetworkAlready pairs over the air a device that is on a network: it
// needs no other.
func TestOnNetworkAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wifi()
		n.Joined = []byte("somewhere")
		h := newAirHome(t, n)
		if _, err := h.pair(t.Context()); err != nil || h.air.dialled != 1 {
			t.Errorf("%v, after %d connections", err, h.air.dialled)
		}
	})
}

// TestDecoy pairs beside a neighbour who advertises the device's discriminator.
func TestDecoy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := (&home{discriminator: 0xABC, air: &air{network: wifi(), decoy: true}}).start(t, "", 0)
		h.addNetwork("hall", homeSSID, homePassword)
		if _, err := h.pair(t.Context()); err != nil || len(h.retries()) != 0 {
			t.Errorf("%v, begun anew for %q", err, h.retries())
		}
	})
}

// TestEveryAirCut cuts the connection in the place of each of its packets,
// with and without a word: the pairing is begun anew and succeeds, or is
// undone, and then the next one succeeds.
func TestEveryAirCut(t *testing.T) {
	for _, fate := range []radiotest.Fate{radiotest.Cut, radiotest.Mute} {
		succeeded := 0
		for nth := 1; ; nth++ {
			reached := false
			synctest.Test(t, func(t *testing.T) {
				h := newAirHome(t, wifi())
				h.addNetwork("hall", homeSSID, homePassword)
				var first *radiotest.Connection
				h.air.prepare = func(n int, c *radiotest.Connection) error {
					if n == 1 {
						first = c
						c.SetFate(fate.At(nth))
					}
					return nil
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				_, err := h.pair(ctx)
				reached = first.Packets() >= nth
				var f *commissioner.Failure
				if err != nil && (!errors.As(err, &f) || f.Step == "" || f.Remedy == "") {
					t.Fatalf("packet %d: %#v", nth, err)
				}
				if err == nil {
					succeeded++
				} else {
					// A device that was told of its network may have left: it is looked for there.
					if f.Step != "case" {
						t.Errorf("packet %d: not begun anew: %v", nth, err)
					}
				}
				if err == nil && h.device.Fabrics() != 1 {
					t.Fatalf("packet %d: admitted, and on %d fabrics", nth, h.device.Fabrics())
				}
				h.settleAndPair(ctx)
			})
			if !reached {
				t.Logf("%v: %d packets, %d pairings succeeded", fate, nth-1, succeeded-1)
				break
			}
			if nth > 1000 {
				t.Fatal("a pairing has no end")
			}
		}
	}
}

// TestNoBluetooth says why a device was not found.
func TestNoBluetooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome(t, "")
		h.discovery.hidden = true
		_, err := h.pair(t.Context())
		var f *commissioner.Failure
		if !errors.As(err, &f) || f.Code != commissioner.CodeNotFound || len(f.Reasons) != 1 || !strings.Contains(fmt.Sprint(f.Reasons), "Bluetooth") {
			t.Errorf("got %+v", f)
		}
	})
}

// TestDeviceNetworks changes the networks of a device that belongs.
func TestDeviceNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := wifi()
		n.Max = 2
		h := newAirHome(t, n)
		h.addNetwork("hall", homeSSID, homePassword)
		d, err := h.pair(t.Context())
		h.check(err)
		h.addNetwork("attic", "upstairs", "irrelevant")
		h.addNetwork("cellar", "downstairs", "irrelevant")
		networks := func() (list string) {
			t.Helper()
			known, err := h.k.Networks(t.Context(), d.Node)
			h.check(err)
			for _, n := range known {
				list += fmt.Sprintf("%d %s %s %v;", n.Place, n.Kind, n.ID, n.Connected)
			}
			return list
		}
		for _, s := range []struct {
			do   func() error
			want commissioner.Code
			list string
		}{
			{func() error { return h.k.AddNetwork(t.Context(), d.Node, "attic") }, "", "1 wifi home true;2 wifi upstairs false;"},
			{func() error { return h.k.AddNetwork(t.Context(), d.Node, "cellar") }, commissioner.CodeNetworkFull, "1 wifi home true;2 wifi upstairs false;"},
			{func() error { return h.k.AddNetwork(t.Context(), d.Node, "garden") }, commissioner.CodeNetworkUnknown, "1 wifi home true;2 wifi upstairs false;"},
			{func() error { return h.k.MoveNetwork(t.Context(), d.Node, "upstairs", 1) }, "", "1 wifi upstairs false;2 wifi home true;"},
			{func() error { return h.k.MoveNetwork(t.Context(), d.Node, "upstairs", 3) }, commissioner.CodeNetworkRefused, "1 wifi upstairs false;2 wifi home true;"},
			{func() error { return h.k.MoveNetwork(t.Context(), d.Node, "upstairs", 0) }, commissioner.CodeInvalidArgument, "1 wifi upstairs false;2 wifi home true;"},
			{func() error { return h.k.RemoveNetwork(t.Context(), d.Node, "home") }, commissioner.CodeNetworkInUse, "1 wifi upstairs false;2 wifi home true;"},
			{func() error { return h.k.RemoveNetwork(t.Context(), d.Node, "upstairs") }, "", "1 wifi home true;"},
			{func() error { return h.k.RemoveNetwork(t.Context(), d.Node, "upstairs") }, commissioner.CodeNetworkUnknown, "1 wifi home true;"},
		} {
			if err := s.do(); code(err) != s.want || s.want == "" && err != nil {
				t.Errorf("got %v, want %q", err, s.want)
			}
			synctest.Wait()
			if got := networks(); got != s.list {
				t.Errorf("the device knows %s, want %s", got, s.list)
			}
		}
		time.Sleep(5 * time.Minute) // past every fail-safe
		if got := networks(); got != "1 wifi home true;" {
			t.Errorf("later it knows %s", got)
		}
	})
}

// TestThread pairs a device into a Thread network only if it could be reached
// there.
func TestThread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dataset, err := thread.New(rand.Reader, "mesh", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		id, _ := dataset.ExtendedPANID()
		h := newAirHome(t, virtual.Network{Feature: datamodel.FeatureThread, ConnectTime: 20, Delay: time.Second,
			Join: func(_, credentials []byte) datamodel.NetworkingStatus {
				if string(credentials) != string(dataset.Reveal()) {
					return datamodel.NetworkingAuthFailure
				}
				return datamodel.NetworkingOK
			}})
		network := fabric.Network{Name: "mesh", Kind: fabric.Thread, ID: fabric.ThreadID(id)}
		h.check(h.c.SetNetwork(t.Context(), network, seal.NewSecret(dataset.Reveal())))
		_, err = h.pair(t.Context())
		var f *commissioner.Failure
		if !errors.As(err, &f) || f.Code != commissioner.CodeNoBorderRouter || f.Step != "choose-network" || len(f.Reasons) == 0 {
			t.Fatalf("without a border router: %#v", err)
		}
		if a, q := h.phases(); a+q != 0 {
			t.Errorf("%d, %d devices are left", a, q)
		}
		mesh := netip.MustParsePrefix("fd12:3456:789a:1::/64")
		stamp, _ := dataset.ActiveTimestamp()
		h.discovery.router = &radio.Advertisement{Kind: radio.BorderRouter, Instance: "router", Addrs: []radio.Addr{gatewayAddr}, Thread: radio.ThreadRouter{
			NetworkName: "mesh", ExtendedPANID: id, ExtendedAddress: 1, Partition: 1, ActiveTimestamp: stamp.Uint64(), State: 0x1b1, Mesh: mesh}}
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeNoBorderRouter {
			t.Errorf("without a route: %v", err)
		}
		h.c.Routes = func() ([]thread.Route, error) {
			return []thread.Route{{To: mesh, Via: netip.MustParseAddr("fe80::1"), Interface: "eth0"}}, nil
		}
		if _, err := h.pair(t.Context()); err != nil {
			t.Errorf("with both: %v", err)
		}
	})
}

// TestNetworkingStatuses gives each status a code of its own meaning and
// something to do.
func TestNetworkingStatuses(t *testing.T) {
	if err := commissioner.NetworkFailure(datamodel.NetworkingOK, ""); err != nil {
		t.Errorf("success is %v", err)
	}
	for s := datamodel.NetworkingOutOfRange; s <= datamodel.NetworkingUnknownError+1; s++ { // one that nobody knows yet, too
		var f *commissioner.Failure
		err := commissioner.NetworkFailure(s, "its own words")
		if !errors.As(err, &f) || f.Code == "" || f.Remedy == "" || !strings.Contains(f.Message, "its own words") || !strings.Contains(f.Message, s.String()) {
			t.Errorf("%v: %+v", s, f)
		}
	}
}
