package commissioner_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/checkin"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/radio"
)

// sleepers is a home with a light that may sleep for an hour, and is looked
// after. It checks in where at says.
type sleepers struct {
	*home
	light cert.NodeID
	at    atomic.Pointer[radio.Addr] // nil: nobody takes check-ins
	end   func()
}

func newSleepers(t *testing.T, mode virtual.Mode) *sleepers {
	s := &sleepers{home: &home{discriminator: 0xABC}}
	s.at.Store(&gatewayAddr)
	s.sleep = &virtual.Sleep{Idle: time.Hour, Active: 10 * time.Second, Threshold: 5 * time.Second,
		Resolve: func(_ context.Context, instance string) (radio.Advertisement, error) {
			if want := radio.OperationalInstance(s.c.CompressedFabric(), uint64(fabric.CheckInNode)); instance != want {
				t.Errorf("it looks for %s, not %s", instance, want)
			}
			if at := s.at.Load(); at != nil {
				return radio.Advertisement{Addrs: []radio.Addr{*at}}, nil
			}
			return radio.Advertisement{}, errors.New("nobody")
		}}
	s.start(t, mode, 0)
	s.propose(fabric.Command{SetPeople: &fabric.SetPeople{Key: []byte("a secret of the home's people...."), DataKey: s.ledger.State().DataKey(), Authority: []byte("der"), Of: s.ledger.State().Personal()}})
	d, err := s.pair(t.Context())
	s.check(err)
	s.light = d.Node
	s.look()
	time.Sleep(5 * time.Second)
	return s
}

// look looks after the light.
func (s *sleepers) look() { s.end = looking(s.t, s.k) }

func looking(t *testing.T, k *keeper.Keeper) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan bool)
	go func() {
		k.Own(ctx, func() bool { return true })
		close(ended)
	}()
	return func() { cancel(); <-ended }
}

func (s *sleepers) checkIn() *fabric.CheckIn { return s.ledger.State().Devices[s.light].CheckIn }

// asleep has the light registered, and asleep.
func (s *sleepers) asleep() {
	s.t.Helper()
	s.check(s.k.RegisterCheckIn(s.t.Context(), s.light))
	if now := s.k.Sleeper(s.light); !now.Awake || now.Expected.IsZero() {
		s.t.Errorf("as it is registered: %+v", now)
	}
	time.Sleep(10 * time.Minute)
	if c := s.checkIn(); c == nil || c.Phase != fabric.CheckInKept || c.Idle != 3600 || !s.device.Asleep() {
		s.t.Fatalf("%+v, asleep %v", c, s.device.Asleep())
	}
}

// restart starts the gateway anew, as after a crash.
func (s *sleepers) restart() {
	s.end()
	s.startGateway()
	s.look()
}

// met reports whether the light is subscribed to, having slept.
func met(k *keeper.Keeper, n cert.NodeID) bool {
	h, ok := k.Health(n)
	return ok && h.Reachable && !h.Asleep
}

func TestSleeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSleepers(t, "")
		defer func() { s.end() }()
		if s.device.Asleep() || s.k.Sleeper(s.light).Registered {
			t.Error("it sleeps though nobody is told when it wakes up")
		}
		s.asleep()
		want := datamodel.Registration{CheckInNode: uint64(fabric.CheckInNode), Subject: uint64(cert.NewCAT(1, 1).Subject())}
		if have := s.device.Clients(); len(have) != 1 || have[0].CheckInNode != want.CheckInNode || have[0].Subject != want.Subject {
			t.Errorf("%+v", have)
		}
		// As long as there is a subscription it need not check in, and is not
		// missed in between.
		for range 12 {
			time.Sleep(30 * time.Minute)
			if !s.reachable(s.light) {
				t.Fatal("it is missed while it sleeps")
			}
		}
		if n := s.device.CheckIns(); n != 0 {
			t.Errorf("it checked in %d times", n)
		}
		now := s.k.Sleeper(s.light)
		if !now.Registered || now.Awake || now.Expected.Before(time.Now()) || now.Expected.After(time.Now().Add(2*time.Hour)) {
			t.Errorf("%+v", now)
		}
		// What it is asked while it sleeps costs no session.
		toggle := interaction.Invocation{Path: interaction.Command(1, 6, 2)}
		_, err := s.k.Invoke(t.Context(), s.light, 0, toggle)
		if f := new(commissioner.Failure); !errors.As(err, &f) || f.Code != commissioner.CodeAsleep || !met(s.k, s.light) {
			t.Errorf("%v", err)
		}
		s.device.Wake()
		time.Sleep(time.Second)
		if _, err := s.k.Invoke(t.Context(), s.light, 0, toggle); err != nil {
			t.Errorf("awake: %v", err)
		}

		time.Sleep(time.Minute)
		s.restart()
		time.Sleep(20 * time.Second)
		if h, ok := s.k.Health(s.light); !ok || !h.Reachable || !h.Asleep {
			t.Errorf("after a restart: %+v", h)
		}
		time.Sleep(2 * time.Hour)
		if n := s.device.CheckIns(); n != 1 || !met(s.k, s.light) {
			h, _ := s.k.Health(s.light)
			t.Errorf("it checked in %d times and fares %+v", n, h)
		}
		time.Sleep(6 * time.Hour)
		if n := s.device.CheckIns(); n != 1 || !met(s.k, s.light) {
			t.Errorf("it checked in %d times, though somebody is subscribed", n)
		}

		// One that does not come back is missed.
		s.net.SetDrop(func(_, _ radio.Addr, _ []byte) bool { return true })
		time.Sleep(5 * time.Hour)
		if s.reachable(s.light) {
			t.Error("one that is gone is not missed")
		}
		s.net.SetDrop(nil)
		time.Sleep(3 * time.Hour)
		if !met(s.k, s.light) {
			t.Error("one that is back is not met")
		}

		s.device.Wake()
		time.Sleep(time.Second)
		s.check(s.k.UnregisterCheckIn(t.Context(), s.light, false))
		time.Sleep(3 * time.Hour)
		if s.checkIn() != nil || len(s.device.Clients()) != 0 || s.device.Asleep() || !met(s.k, s.light) {
			t.Errorf("it checks in still: %+v", s.checkIn())
		}
	})
}

// TestRegistrations: what a device may have been given is known, and is made
// good when it is met.
func TestRegistrations(t *testing.T) {
	for name, c := range map[string]struct {
		mode   virtual.Mode
		change func(*sleepers)
		kept   bool
		anew   bool // with another key
		checks bool // in, and is met by that
	}{
		"it lost it": {"", func(s *sleepers) { s.device.ForgetClients(); s.restart() }, true, true, false},
		"the key was used for long": {"", func(s *sleepers) {
			s.device.SetCounter(s.checkIn().Counter + 1<<31)
			s.restart()
		}, true, true, true},
		"a gateway was evicted": {"", func(s *sleepers) {
			s.propose(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: otherGateway, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: fabric.Version}})
			s.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: otherGateway, NOC: []byte("noc"), CAT: 1}})
			s.propose(fabric.Command{EvictGateway: &fabric.EvictGateway{Node: otherGateway, Reason: "stolen"}})
			s.certify(2)
		}, true, true, false},
		"it was registered as the gateway died": {"", func(s *sleepers) {
			s.propose(fabric.Command{SetCheckIn: &fabric.SetCheckIn{Node: s.light, Phase: fabric.CheckInDue}})
			s.restart()
		}, true, true, true},
		"it is to have another key, asleep": {"", func(s *sleepers) {
			err := s.k.RegisterCheckIn(s.t.Context(), s.light)
			if f := new(commissioner.Failure); !errors.As(err, &f) || f.Code != commissioner.CodeAsleep {
				s.t.Errorf("%v", err)
			}
			s.restart()
		}, true, true, true},
		"it was to end as the gateway died": {"", func(s *sleepers) {
			s.propose(fabric.Command{SetCheckIn: &fabric.SetCheckIn{Node: s.light, Phase: fabric.CheckInEnding}})
			s.restart()
		}, false, false, true},
		"it was forgotten asleep": {"", func(s *sleepers) {
			if err := s.k.UnregisterCheckIn(s.t.Context(), s.light, false); err == nil {
				s.t.Error("it is told while it sleeps")
			}
			s.check(s.k.UnregisterCheckIn(s.t.Context(), s.light, true))
		}, false, false, false},
		"it was forgotten asleep, and the gateway died": {"", func(s *sleepers) {
			s.check(s.k.UnregisterCheckIn(s.t.Context(), s.light, true))
			s.restart()
		}, false, false, true},
		"it lies about its counter": {virtual.WrongCounter, func(s *sleepers) { s.restart() }, true, true, true}, // which looks like a key that is spent
		"it says everything twice":  {virtual.Repeat, func(s *sleepers) { s.restart() }, true, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSleepers(t, c.mode)
				defer func() { s.end() }()
				s.asleep()
				before := *s.checkIn()
				c.change(s)
				for i := 0; s.device.CheckIns() == 0 && i < 2*3600; i++ {
					time.Sleep(time.Second)
				}
				time.Sleep(5 * time.Second)
				if checks := s.device.CheckIns() > 0; checks != c.checks || checks && !met(s.k, s.light) {
					t.Errorf("it checks in: %v, and is met: %v", checks, met(s.k, s.light))
				}
				time.Sleep(6 * time.Hour)
				is, listed := s.checkIn(), s.device.Clients()
				if !met(s.k, s.light) || (is != nil) != c.kept || (len(listed) == 1) != c.kept {
					h, _ := s.k.Health(s.light)
					t.Fatalf("it fares %+v, registered %+v, listed %+v", h, is, listed)
				}
				if c.kept && (is.Phase != fabric.CheckInKept || (is.Epoch != before.Epoch) != c.anew || listed[0].Subject != uint64(s.ledger.State().Home.GatewayCAT.Subject())) {
					t.Errorf("%+v, listed %+v", is, listed)
				}
			})
		})
	}
}

// TestForgetfulSleeper: one that never keeps its registration is not told for
// ever, and one that checks in with another key is not met by that.
func TestForgetfulSleeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSleepers(t, virtual.ForgetClient)
		defer func() { s.end() }()
		s.check(s.k.RegisterCheckIn(t.Context(), s.light))
		time.Sleep(time.Minute)
		before := s.ledger.State().Index
		time.Sleep(24 * time.Hour)
		if commands := s.ledger.State().Index - before; commands > 400 || !met(s.k, s.light) {
			t.Errorf("%d commands in a day, met %v", commands, met(s.k, s.light))
		}
	})
}

// TestFullSleeper: a device that has room for nobody else is not asked for ever.
func TestFullSleeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSleepers(t, "")
		defer func() { s.end() }()
		for n := range uint64(2) {
			r, err := s.k.Invoke(t.Context(), s.light, 0, interaction.Invocation{Path: interaction.Command(0, datamodel.ICDManagement, datamodel.RegisterClientID),
				Fields: &datamodel.RegisterClient{CheckInNode: 7 + n, Subject: 7, Key: make([]byte, 16)}})
			s.check(err)
			s.check(r.Err)
		}
		err := s.k.RegisterCheckIn(t.Context(), s.light)
		if status, ok := interaction.StatusOf(err); !ok || status != interaction.ResourceExhausted || s.checkIn() != nil {
			t.Errorf("%v, and it is %+v", err, s.checkIn())
		}
	})
}

// TestForgedCheckIns: what nobody with the key wrote wakes nobody, what was
// written before neither, and who has the key can silence no device.
func TestForgedCheckIns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSleepers(t, virtual.WrongKey)
		defer func() { s.end() }()
		s.asleep()
		s.restart()
		time.Sleep(2 * time.Hour) // then it is overdue, and looked for
		if s.device.CheckIns() == 0 || met(s.k, s.light) {
			t.Errorf("%d check-ins with another key, met %v", s.device.CheckIns(), met(s.k, s.light))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := newSleepers(t, "")
		defer func() { s.end() }()
		s.asleep()
		thief, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
		s.check(err)
		defer thief.Close()
		link := s.net.Link(gatewayAddr2)
		thief.Serve(link)
		authority := s.c.Authority
		keys, err := authority.CheckInKeys(t.Context(), []fabric.CheckInKey{{Node: s.light, Epoch: s.checkIn().Epoch}})
		s.check(err)
		stolen, err := checkin.New(message.Key(keys[0].Reveal()))
		s.check(err)
		s.restart()
		time.Sleep(time.Minute)
		for _, far := range []uint32{1, 1, 1000, 1 << 30, 1<<31 - 1} {
			s.check(thief.SendUnsecured(link, gatewayAddr, message.SecureChannel, checkin.Opcode, stolen.Seal(checkin.Message{Counter: s.checkIn().Counter + far})))
			time.Sleep(time.Minute)
		}
		if h, _ := s.k.Health(s.light); !h.Reachable {
			t.Errorf("it is missed before its time: %+v", h)
		}
		time.Sleep(2 * time.Hour)
		if !met(s.k, s.light) || s.device.CheckIns() == 0 {
			t.Errorf("%d check-ins, met %v", s.device.CheckIns(), met(s.k, s.light))
		}
	})
}

// second is another gateway of the home.
func (h *home) second() (*keeper.Keeper, *exchange.Manager) {
	h.t.Helper()
	key, err := issuer.GenerateKey(rand.Reader)
	h.check(err)
	public := key.PublicKey()
	h.propose(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: otherGateway, PublicKey: public[:], SealKey: []byte("s"), Version: fabric.Version}})
	s := h.ledger.State()
	signing, err := h.vault.IssuerKey(h.t.Context(), s)
	h.check(err)
	id := *h.id
	id.Node, id.Key = otherGateway, key
	id.NOC, err = issuer.Issue(s.Generation().ICAC, signing, issuer.Reservation{Node: otherGateway, Fabric: s.Home.FabricID, Serial: s.Gateways[otherGateway].Reserved,
		CATs: []cert.CAT{s.Home.GatewayCAT}, PublicKey: public, NotBefore: time.UnixMilli(s.Home.Birth)})
	h.check(err)
	h.propose(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: otherGateway, NOC: id.NOC, CAT: 1}})
	m, err := exchange.New(exchange.Config{Now: time.Now, Random: rand.Reader, Log: quiet})
	h.check(err)
	link := h.net.Link(gatewayAddr2)
	cfg := h.c.Config
	cfg.Identity, cfg.Manager, cfg.Engine, cfg.Link = func() *securechannel.Identity { return &id }, m, interaction.New(m), link
	cfg.Addresses = commissioner.OpenAddressBook(filepath.Join(h.t.TempDir(), "addresses"), quiet)
	m.Serve(link)
	return keeper.New(commissioner.New(cfg)), m
}

// TestSleeperFailsOver: the light sleeps, its gateway dies, and the light is met
// by the other one when it wakes up, whichever of them it checks in with first.
func TestSleeperFailsOver(t *testing.T) {
	for name, early := range map[string]bool{"taken over before it wakes up": true, "taken over as it wakes up": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSleepers(t, "")
				k, m := s.second()
				defer m.Close()
				asked := 0
				k.HandOver(func(_ context.Context, owner, n cert.NodeID) error {
					if asked++; owner != s.id.Node || n != s.light {
						t.Errorf("%v is told of %v", owner, n)
					}
					return errors.New("it is gone")
				})
				end := looking(t, k)
				defer func() { end() }()
				s.asleep()
				time.Sleep(20 * time.Minute)
				s.end() // with a goodbye that the light sleeps through
				s.gateway.Close()
				s.at.Store(&gatewayAddr2)
				take := func() {
					s.propose(fabric.Command{TakeOver: &fabric.TakeOver{From: s.id.Node, To: []cert.NodeID{otherGateway}}})
				}
				if early {
					take()
					time.Sleep(time.Minute)
					if h, ok := k.Health(s.light); !ok || !h.Reachable || !h.Asleep {
						t.Errorf("it is shown as failing: %+v", h)
					}
				}
				for i := 0; s.device.CheckIns() == 0 && i < 3*3600; i++ {
					time.Sleep(time.Second)
				}
				woke := time.Now()
				if !early {
					time.Sleep(time.Second)
					take()
				}
				for i := 0; !met(k, s.light) && i < 60; i++ {
					time.Sleep(250 * time.Millisecond)
				}
				if took := time.Since(woke); !met(k, s.light) || took > 5*time.Second || s.device.Asleep() {
					t.Errorf("met %v after %v, asleep %v", met(k, s.light), took, s.device.Asleep())
				}
				if early != (asked == 0) {
					t.Errorf("the dead gateway was told %d times", asked)
				}
				time.Sleep(6 * time.Hour)
				if n := s.device.CheckIns(); n != 1 || !met(k, s.light) {
					t.Errorf("it checked in %d times, met %v", n, met(k, s.light))
				}
			})
		})
	}
}
