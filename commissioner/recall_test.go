package commissioner_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/firmware"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/otaimage"
	"gatehouse/firmware/shelf"
	"gatehouse/radio"
)

// watch is a home whose gateway looks after its lamp, and counts what it
// commits.
type watch struct {
	*home
	u     *keeper.Updates
	knows *changing
	lamp  cert.NodeID

	mu               sync.Mutex
	judged, enforced int
	fail             func(fabric.Command) error
}

func watched(t *testing.T, mode virtual.Mode, images keeper.Images, version uint8) *watch {
	w := &watch{knows: new(changing)}
	w.home = &home{discriminator: 0xABC, firmware: w.knows, version: version, provider: &ota.Provider{Now: time.Now, Log: quiet}}
	w.start(t, mode, 0)
	if images != nil {
		w.u = w.k.Update(images)
		w.provider.Updates = w.u
	}
	w.propose(fabric.Command{AddZone: &fabric.AddZone{Name: "cellar"}})
	w.request.Zone = "cellar"
	d, err := w.pair(t.Context())
	w.check(err)
	w.lamp = d.Node
	w.ledger.mu.Lock()
	w.ledger.fail = w.count
	w.ledger.mu.Unlock()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { w.k.Own(ctx, func() bool { return true }); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	time.Sleep(time.Minute)
	return w
}

func (w *watch) count(c fabric.Command) (before, after error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.Judge != nil {
		w.judged++
	}
	if c.Enforce != nil {
		w.enforced++
	}
	if w.fail != nil {
		return w.fail(c), nil
	}
	return nil, nil
}

// committed is how many times the lamp was judged, and its rights written,
// since the last time.
func (w *watch) committed(judged, enforced int) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.judged != judged || w.enforced != enforced {
		w.t.Errorf("judged %d times, not %d, and enforced %d times, not %d", w.judged, judged, w.enforced, enforced)
	}
	w.judged, w.enforced = 0, 0
}

// learn has the gateway know something else, and do what comes of it.
func (w *watch) learn(k known) {
	w.knows.Store(&k)
	time.Sleep(time.Minute)
}

func (w *watch) is(verdict fabric.Verdict, enforced bool) {
	w.t.Helper()
	if s := w.ledger.State().Devices[w.lamp].Standing; s == nil || s.Verdict != verdict || s.Enforced != enforced {
		w.t.Errorf("its standing is %+v", s)
	}
}

// offers is burning, with an image of version 2.
func offers(o ota.Offer) known {
	k := burning()
	k.Statements[0].Product.Releases = []manifest.Release{{Version: 2, Name: "2.0", SHA256: manifest.Digest(o.Image), Size: 1}}
	return k
}

// TestJudgedOnce recalls a lamp's software and takes that back: each is decided,
// and written, once.
func TestJudgedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", nil, 0)
		w.committed(0, 0)
		time.Sleep(time.Hour)
		w.committed(0, 0)
		w.learn(burning())
		w.is(fabric.QuarantineDevice, true)
		w.committed(1, 1)
		time.Sleep(time.Hour)
		w.committed(0, 0)
		other := known{Statements: []firmware.Statement{{From: "house"}}} // it speaks of the lamp, and well
		w.learn(other)
		w.is(fabric.AdmitDevice, true)
		w.committed(1, 1)
	})
}

// TestKnowingLess has a gateway forget what spoke against a lamp: that lets
// nobody out, unless the home does not believe it any more.
func TestKnowingLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", nil, 0)
		w.propose(fabric.Command{AddFirmwareSource: &fabric.AddFirmwareSource{Name: "house", Where: "/house", Root: []byte("{}")}})
		w.learn(burning())
		w.is(fabric.QuarantineDevice, true)
		w.learn(known{})
		w.is(fabric.QuarantineDevice, true)
		w.propose(fabric.Command{RemoveFirmwareSource: &fabric.RemoveFirmwareSource{Name: "house"}})
		time.Sleep(time.Minute)
		w.is(fabric.AdmitDevice, true)
	})
}

// TestZoneJudges has one zone's policy change: its lamp is judged by that, when
// it is paired and afterwards.
func TestZoneJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", nil, 0)
		w.learn(burning())
		w.is(fabric.QuarantineDevice, true)
		w.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Zone: "cellar", Policy: &fabric.FirmwarePolicy{Recalled: fabric.AdmitDevice}}})
		time.Sleep(time.Minute)
		w.is(fabric.AdmitDevice, true)
	})
	synctest.Test(t, func(t *testing.T) {
		h := &home{discriminator: 0xABC, firmware: burning()}
		h.start(t, "", 0)
		h.propose(fabric.Command{AddZone: &fabric.AddZone{Name: "cellar"}})
		h.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Zone: "cellar", Policy: &fabric.FirmwarePolicy{Recalled: fabric.RefuseDevice}}})
		h.request.Zone = "cellar"
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeFirmware {
			t.Errorf("got %v", err)
		}
	})
}

// TestEnforcedWhenWritten recalls the software of a lamp that is away: it counts
// as enforced once the lamp was told.
func TestEnforcedWhenWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", nil, 0)
		w.net.SetDrop(func(from, to radio.Addr, _ []byte) bool { return from == deviceAddr || to == deviceAddr })
		k := burning()
		w.knows.Store(&k)
		time.Sleep(10 * time.Second)
		w.is(fabric.QuarantineDevice, false)
		time.Sleep(5 * time.Minute)
		w.is(fabric.QuarantineDevice, false)
		w.net.SetDrop(nil)
		time.Sleep(5 * time.Minute)
		w.is(fabric.QuarantineDevice, true)
	})
}

// TestJudgedAgain has the commit of a decision fail: it is taken again.
func TestJudgedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", nil, 0)
		w.mu.Lock()
		w.fail = func(c fabric.Command) error {
			if c.Judge != nil || c.Enforce != nil {
				return errors.New("no quorum")
			}
			return nil
		}
		w.mu.Unlock()
		w.learn(burning())
		w.is(fabric.AdmitDevice, true)
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		w.is(fabric.QuarantineDevice, true)
	})
}

// TestNotJudged has the home be one that knows no verdicts, and the lamp be on
// the home's former fabric, and on its way to the present one: nothing is
// decided then.
func TestNotJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", nil, fabric.FirmwareVersion-1)
		w.learn(burning())
		w.committed(0, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", nil, 0)
		w.mu.Lock()
		w.fail = func(c fabric.Command) error {
			if c.ReserveMove != nil {
				return errors.New("no quorum")
			}
			return nil
		}
		w.mu.Unlock()
		w.reroot()
		w.learn(burning())
		w.committed(0, 0)
		w.mu.Lock()
		w.fail = nil
		w.mu.Unlock()
		time.Sleep(30 * time.Minute)
		w.is(fabric.QuarantineDevice, true)
	})
}

// TestMeetsAgain has a lamp say that it runs what it was given: it was started
// anew, so the gateway meets it anew, and does not wait for its reports.
func TestMeetsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := watched(t, "", new(fetched), 0)
		before := w.gateway.Sessions(func(s *exchange.Session) bool { return s.PeerNode() == uint64(w.lamp) })
		w.u.Report(w.lamp, ota.Progress{State: ota.Applied})
		time.Sleep(10 * time.Second)
		after := w.gateway.Sessions(func(s *exchange.Session) bool { return s.PeerNode() == uint64(w.lamp) })
		if len(before) != 1 || len(after) != 1 || before[0] == after[0] || !w.reachable(w.lamp) {
			t.Errorf("%d sessions before, %d after, reachable: %v", len(before), len(after), w.reachable(w.lamp))
		}
	})
}

// TestSaysWhy has a lamp refused: the failure names the reasons that count, and
// what can be done.
func TestSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		known  known
		remedy string
	}{
		"without an update": {burning(), "ask its maker"},
		"with one":          {offers(ota.Offer{}), "update it to version 2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.known.Statements[0].Product.Minimum = 2 // another reason, that is not enough
				h := &home{discriminator: 0xABC, firmware: c.known}
				h.start(t, "", 0)
				h.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Policy: &fabric.FirmwarePolicy{Recalled: fabric.RefuseDevice}}})
				_, err := h.pair(t.Context())
				var f *commissioner.Failure
				if !errors.As(err, &f) || len(f.Reasons) != 1 || f.Reasons[0].Code != string(firmware.Recalled) || !strings.Contains(f.Reasons[0].Remedy, c.remedy) {
					t.Errorf("got %+v", f)
				}
			})
		})
	}
}

// TestClaim holds a device's facts against what is decided on.
func TestClaim(t *testing.T) {
	c := commissioner.New(commissioner.Config{Firmware: known{}, Now: time.Now})
	f := fabric.Facts{VendorID: 0xFFF1, ProductID: 0x8001, HardwareVersion: 3, SoftwareVersion: 4, SoftwareString: "5"}
	for hardware, want := range map[uint16]bool{3: true, 4: false} {
		f.HardwareVersion = hardware
		k := burning()
		k.Statements[0].Product.Bad[0] = manifest.Bad{From: 4, To: 4, Reason: "it burns"}
		k.Statements[0].Product.Releases = []manifest.Release{{Version: 5, Hardware: &manifest.Hardware{Min: 3, Max: 3}}}
		c.Firmware = k
		d, s := c.Judge(new(fabric.State), "", f, nil)
		if d.Verdict != firmware.Quarantine || s.Version != 4 || (s.Update != nil) != want || s.Evidence != nil {
			t.Errorf("%+v, %+v", d, s)
		}
	}
}

// slow is a source of images that takes its time, and fails as often as it is
// told to.
type slow struct {
	*fetched
	mu      sync.Mutex
	asked   int
	failing int
}

func (s *slow) Image(ctx context.Context, vendor uint16, i *fabric.FirmwareImage) (*shelf.Image, error) {
	s.mu.Lock()
	s.asked++
	fail := s.asked <= s.failing
	s.mu.Unlock()
	time.Sleep(time.Minute)
	if fail {
		return nil, errors.New("unplugged")
	}
	return s.fetched.Image(ctx, vendor, i)
}

func (s *slow) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// TestOffers asks for updates in all ways.
func TestOffers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		images := &slow{fetched: &fetched{updates: newUpdates(t, 1000, nil)}, failing: 1}
		w := watched(t, "", images, fabric.RolloutVersion-1) // nobody has to begin
		query := func(vendor uint16, version uint32) *datamodel.QueryImage {
			return &datamodel.QueryImage{VendorID: vendor, ProductID: 0x8001, SoftwareVersion: version}
		}
		offer := func(n cert.NodeID, q *datamodel.QueryImage, wait time.Duration, ok bool) {
			t.Helper()
			o, gotWait, got := w.u.Offer(t.Context(), n, q)
			if got != ok || gotWait != wait || ok && o != images.offer {
				t.Errorf("%+v, %v, %v", o, gotWait, got)
			}
		}
		offer(w.lamp, query(0xFFF1, 1), 0, false)
		offer(w.lamp, nil, 0, false)
		w.learn(offers(images.offer))
		offer(77, query(0xFFF1, 1), 0, false)
		w.requestor(7, requestorAddr) // about which nothing was decided
		offer(7, query(0xFFF1, 1), 0, false)
		offer(w.lamp, query(0xFFF2, 1), 0, false)
		offer(w.lamp, query(0xFFF1, 2), 0, false)
		offer(w.lamp, nil, 0, true)
		if images.times() != 0 {
			t.Error("an image is fetched that nobody asks for")
		}
		offer(w.lamp, query(0xFFF1, 1), 2*time.Minute, true)
		offer(w.lamp, query(0xFFF1, 1), 2*time.Minute, true)
		synctest.Wait()
		if n := images.times(); n != 1 {
			t.Errorf("it is fetched %d times at once", n)
		}
		time.Sleep(2 * time.Minute)
		offer(w.lamp, query(0xFFF1, 1), 2*time.Minute, true) // the fetch failed
		synctest.Wait()
		if n := images.times(); n != 1 {
			t.Errorf("after it failed, it is fetched %d times at once", n)
		}
		time.Sleep(15 * time.Minute)
		offer(w.lamp, query(0xFFF1, 1), 2*time.Minute, true)
		time.Sleep(2 * time.Minute)
		if n := images.times(); n != 2 {
			t.Errorf("it was fetched %d times", n)
		}
		offer(w.lamp, query(0xFFF1, 1), 0, true)

		if _, err := w.u.Image(t.Context(), ota.Digest{1}); !errors.Is(err, shelf.ErrAbsent) {
			t.Errorf("an image that nobody is to have: %v", err)
		}
		f, err := w.u.Image(t.Context(), images.offer.Image)
		w.check(err)
		w.check(f.Close())
		for _, c := range []struct {
			n    cert.NodeID
			o    ota.Offer
			want datamodel.ApplyAction
		}{{w.lamp, images.offer, datamodel.ApplyProceed}, {w.lamp, ota.Offer{Version: 2}, datamodel.ApplyDiscontinue}, {77, images.offer, datamodel.ApplyDiscontinue}, {7, images.offer, datamodel.ApplyDiscontinue}} {
			if got, wait := w.u.Apply(t.Context(), c.n, c.o); got != c.want || wait != 0 {
				t.Errorf("device %v may install %+v: %d after %v", c.n, c.o, got, wait)
			}
		}
		w.learn(known{Statements: []firmware.Statement{{From: "house"}}})
		if _, err := w.u.Image(t.Context(), images.offer.Image); !errors.Is(err, shelf.ErrAbsent) {
			t.Errorf("an image that nobody is to have any more: %v", err)
		}
		if err := w.u.Ask(t.Context(), 77); code(err) != commissioner.CodeUnknownDevice {
			t.Errorf("an update of nobody: %v", err)
		}
	})
}

// TestImageForAnother has the image that a lamp is to have say itself that it is
// for another device, or of another version.
func TestImageForAnother(t *testing.T) {
	for name, change := range map[string]func(*otaimage.Header){
		"vendor":  func(h *otaimage.Header) { h.VendorID++ },
		"product": func(h *otaimage.Header) { h.ProductID++ },
		"version": func(h *otaimage.Header) { h.Version++ },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				images := &fetched{updates: newUpdates(t, 1000, change)}
				w := watched(t, "", images, 0)
				w.learn(offers(images.offer))
				if err := w.u.Ask(t.Context(), w.lamp); code(err) != commissioner.CodeNoImage {
					t.Errorf("got %v", err)
				}
				w.check(w.k.Announce(t.Context(), w.lamp))
				time.Sleep(time.Hour)
				if p, told := w.u.Progress(w.lamp); told || w.ledger.State().Devices[w.lamp].Attempt != nil {
					t.Errorf("told %+v", p)
				}
				w.is(fabric.QuarantineDevice, true)
			})
		})
	}
}
