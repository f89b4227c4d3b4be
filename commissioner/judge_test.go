package commissioner_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/firmware"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/shelf"
)

// known is what is known of the lamp.
type known firmware.Known

func (k known) Known(vendor, product uint16) firmware.Known {
	if vendor != 0xFFF1 || product != 0x8001 {
		return firmware.Known{}
	}
	return firmware.Known(k)
}

func (known) Learn(context.Context, uint16, uint16, uint32) error { return nil }

// burning is a source that says that version 1, which the lamp runs, must not.
func burning() known {
	return known{Statements: []firmware.Statement{{From: "house", Product: manifest.Product{Version: 1, VendorID: 0xFFF1, ProductID: 0x8001,
		Bad: []manifest.Bad{{From: 1, To: 1, Reason: "it burns"}}}}}}
}

// TestGate pairs a lamp whose software the home may not want.
func TestGate(t *testing.T) {
	refuse := &fabric.FirmwarePolicy{Recalled: fabric.RefuseDevice}
	for name, c := range map[string]struct {
		known       commissioner.Firmware
		policy      *fabric.FirmwarePolicy
		want        commissioner.Code
		quarantined bool
	}{
		"nothing is known":       {},
		"nothing speaks of it":   {known: known{}},
		"unknown, and refused":   {known: known{}, policy: &fabric.FirmwarePolicy{Unknown: fabric.RefuseDevice}, want: commissioner.CodeFirmware},
		"recalled":               {known: burning(), quarantined: true},
		"recalled, and refused":  {known: burning(), policy: refuse, want: commissioner.CodeFirmware},
		"recalled, and let pass": {known: burning(), policy: &fabric.FirmwarePolicy{Recalled: fabric.AdmitDevice}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &home{discriminator: 0xABC, firmware: c.known}
				h.start(t, "", 0)
				if c.policy != nil {
					h.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Policy: c.policy}})
				}
				d, err := h.pair(t.Context())
				if got := code(err); got != c.want {
					t.Fatalf("got %v", err)
				}
				if c.want != "" {
					if a, q := h.phases(); a+q != 0 || h.device.Fabrics() != 0 || len(h.ledger.State().Tombstones) != 0 {
						t.Errorf("%d admitted, %d in doubt, %d fabrics", a, q, h.device.Fabrics())
					}
					return
				}
				if d.Quarantined() != c.quarantined || d.Standing == nil || !d.Standing.Enforced {
					t.Errorf("%+v", d.Standing)
				}
				h.reaches(h.requestor(7, requestorAddr), d.Node, !c.quarantined)
			})
		})
	}
}

// reaches holds that another node of the home, of the same zone, can switch a
// device, or cannot.
func (h *home) reaches(other *requestor, n cert.NodeID, want bool) {
	h.t.Helper()
	s, err := other.meet(deviceAddr, n)
	h.check(err)
	before := h.device.On()
	err = other.e.InvokeCommand(h.t.Context(), s, 0, interaction.Command(1, datamodel.OnOff, datamodel.OnOffToggle), nil, nil)
	status, _ := interaction.StatusOf(err)
	if (err == nil) != want || err != nil && status != interaction.UnsupportedAccess || (h.device.On() != before) != want {
		h.t.Errorf("another node switches it: %v", err)
	}
	securechannel.Close(other.m, s)
}

// changing is what is known, which changes.
type changing struct{ atomic.Pointer[known] }

func (c *changing) Known(vendor, product uint16) firmware.Known {
	if k := c.Load(); k != nil {
		return k.Known(vendor, product)
	}
	return firmware.Known{}
}

func (c *changing) Learn(context.Context, uint16, uint16, uint32) error { return nil }

// fetched is a shelf that has the one image, once it was fetched.
type fetched struct {
	*updates
	there   atomic.Bool
	missing atomic.Bool  // it cannot be had
	asked   atomic.Int32 // how often it was to be had
}

func (f *fetched) Has(*fabric.FirmwareImage) bool { return f.there.Load() }

func (f *fetched) Image(_ context.Context, vendor uint16, i *fabric.FirmwareImage) (*shelf.Image, error) {
	f.asked.Add(1)
	if vendor != 0xFFF1 || f.missing.Load() {
		return nil, shelf.ErrAbsent
	}
	f.there.Store(true)
	return f.shelf.Open(shelf.Digest(i.SHA256))
}

// recall is a home whose lamp runs what must not run, as it turns out, and an
// image that may.
type recall struct {
	*home
	images *fetched
	knows  *changing
	u      *keeper.Updates
	lamp   cert.NodeID
}

func newRecall(t *testing.T, mode virtual.Mode, information func(uint32) []byte) *recall {
	r := &recall{images: &fetched{updates: newUpdates(t, 50_000, nil)}, knows: new(changing)}
	provider := &ota.Provider{Now: time.Now, Log: quiet}
	r.home = &home{discriminator: 0xABC, firmware: r.knows, provider: provider, information: information}
	r.start(t, mode, 0)
	r.restart()
	d, err := r.pair(t.Context())
	r.check(err)
	r.lamp = d.Node
	return r
}

// restart starts the gateway's memory anew.
func (r *recall) restart() {
	r.startGateway()
	r.u = r.k.Update(r.images)
	r.provider.Updates = r.u
}

// burns recalls what the lamp runs.
func (r *recall) burns() {
	burns := burning()
	burns.Statements[0].Product.Releases = []manifest.Release{{Version: 2, Name: "2.0", SHA256: manifest.Digest(r.images.offer.Image), Size: 1}}
	r.knows.Store(&burns)
}

// is fails the test unless the lamp is as its standing has it.
func (r *recall) is(verdict fabric.Verdict, version uint32) {
	r.t.Helper()
	d := r.ledger.State().Devices[r.lamp]
	if s := d.Standing; s == nil || s.Verdict != verdict || !s.Enforced || s.Version != version || d.Facts.SoftwareVersion != version {
		r.t.Fatalf("%+v", s)
	}
}

// TestRecall recalls the software of a lamp that belongs: the lamp goes into
// quarantine, is updated over the air, and is released.
func TestRecall(t *testing.T) {
	for _, told := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRecall(t, "", nil)
			other := r.requestor(7, requestorAddr)
			r.reaches(other, r.lamp, true)
			if told { // nobody is updated but by a person's word
				r.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Policy: &fabric.FirmwarePolicy{Updates: fabric.UpdateNone}}})
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			go r.k.Own(ctx, func() bool { return true })
			time.Sleep(time.Minute)
			r.is(fabric.AdmitDevice, 1)
			if err := r.u.Ask(t.Context(), r.lamp); code(err) != commissioner.CodeNoUpdate {
				t.Errorf("without a newer one: %v", err)
			}
			r.burns()
			if told {
				time.Sleep(time.Minute)
				r.is(fabric.QuarantineDevice, 1)
				r.reaches(other, r.lamp, false)
				r.check(r.k.Announce(t.Context(), r.lamp)) // it asks, and is given nothing
				time.Sleep(time.Hour)
				r.is(fabric.QuarantineDevice, 1)
				if p, ok := r.u.Progress(r.lamp); ok {
					t.Errorf("%+v", p)
				}
				r.check(r.u.Ask(t.Context(), r.lamp))
			}
			time.Sleep(10 * time.Minute)
			r.is(fabric.AdmitDevice, 2)
			r.rights(r.lamp, true)
			r.reaches(other, r.lamp, true)
			if text := r.ledger.State().Devices[r.lamp].Facts.SoftwareString; text != "2.0" {
				t.Errorf("it is known to run %q", text)
			}
			if p, ok := r.u.Progress(r.lamp); !ok || p.State != ota.Applied || p.Version != 2 {
				t.Errorf("%+v", p)
			}
		})
	}
}

// TestAttestedSoftware has the lamp's attestation tell what it runs, truly or
// not what it says itself.
func TestAttestedSoftware(t *testing.T) {
	for _, lies := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRecall(t, "", func(version uint32) []byte {
				if lies {
					version = 1
				}
				return []byte{byte(version)}
			})
			d := r.ledger.State().Devices[r.lamp]
			if s := d.Standing; string(d.Facts.Firmware) != "\x01" || s.Attested || s.Version != 1 {
				t.Errorf("%v, %+v", d.Facts.Firmware, s)
			}
			defer r.owning()()
			told := burning()
			told.Statements[0].Signed = time.UnixMilli(5)
			told.Statements[0].Product.Releases = []manifest.Release{{Version: 1, Firmware: "01"},
				{Version: 2, Name: "2.0", SHA256: manifest.Digest(r.images.offer.Image), Size: 1, Firmware: "02"}}
			r.knows.Store(&told)
			time.Sleep(30 * time.Minute)
			now := r.ledger.State().Devices[r.lamp]
			s := now.Standing
			if !s.Attested || now.Facts.SoftwareVersion != 2 || len(s.Evidence) != 1 || s.Evidence[0].From != "house" || s.Evidence[0].At != 5 {
				t.Fatalf("%+v", s)
			}
			if lies && (s.Version != 1 || !now.Quarantined() || s.Reasons[0].Code != string(firmware.Other)) {
				t.Errorf("it lies: %+v", s)
			}
			if !lies && (s.Version != 2 || now.Quarantined() || string(now.Facts.Firmware) != "\x02") {
				t.Errorf("%+v", s)
			}
		})
	}
}

// asking knows what it knows only once it was asked, and may never answer.
type asking struct {
	changing
	silent bool
}

func (a *asking) Learn(ctx context.Context, vendor, product uint16, version uint32) error {
	if a.silent {
		<-ctx.Done()
		return ctx.Err()
	}
	if k := burning(); vendor == 0xFFF1 && product == 0x8001 && version == 1 {
		a.Store(&k)
	}
	return nil
}

// TestGateAsks has a pairing ask about the product, and not wait for ever.
func TestGateAsks(t *testing.T) {
	for _, silent := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := &home{discriminator: 0xABC, firmware: &asking{silent: silent}}
			h.start(t, "", 0)
			began := time.Now()
			d, err := h.pair(t.Context())
			h.check(err)
			if d.Quarantined() == silent || time.Since(began) > 15*time.Second {
				t.Errorf("silent %v: %+v after %v", silent, d.Standing, time.Since(began))
			}
		})
	}
}

// TestGateAsksPerson asks whether a recalled lamp shall come in, and lets the
// person take their time: it is done as they say, and the trail has it.
func TestGateAsksPerson(t *testing.T) {
	for name, c := range map[string]struct {
		answer error
		policy *fabric.FirmwarePolicy
		asked  int
		want   commissioner.Code
	}{
		"let in":        {asked: 1},
		"given up":      {asked: 1, answer: commissioner.ErrNoAnswer, want: commissioner.CodeDeclined},
		"went away":     {asked: 1, answer: context.Canceled, want: commissioner.CodeCancelled},
		"refused":       {policy: &fabric.FirmwarePolicy{Recalled: fabric.RefuseDevice}, want: commissioner.CodeFirmware},
		"nobody minded": {policy: &fabric.FirmwarePolicy{Recalled: fabric.AdmitDevice}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &home{discriminator: 0xABC, firmware: burning()}
				asked := 0
				h.request.Ask = func(_ context.Context, q commissioner.Question) (commissioner.Answer, error) {
					asked++
					if s := q.Software; s == nil || s.Version != "1.0" || len(s.Reasons) != 1 || !strings.Contains(s.Reasons[0].Message, "it burns") || s.Update != "" {
						t.Errorf("asked about %+v", q.Software)
					}
					time.Sleep(9 * time.Minute)
					return commissioner.Answer{}, c.answer
				}
				h.start(t, "", 0)
				if c.policy != nil {
					h.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Policy: c.policy}})
				}
				before := h.ledger.State().TrailSize()
				d, err := h.pair(t.Context())
				if code(err) != c.want || asked != c.asked {
					t.Fatalf("asked %d times: %v", asked, err)
				}
				if c.want != "" {
					if recorded := h.ledger.State().TrailSize() - before; recorded == 0 != (c.want == commissioner.CodeCancelled) {
						t.Errorf("%d records of it", recorded)
					}
					if a, q := h.phases(); a+q != 0 || h.device.Fabrics() != 0 {
						t.Errorf("%d admitted, %d in doubt, %d fabrics", a, q, h.device.Fabrics())
					}
				} else if d.Quarantined() != (asked == 1) {
					t.Errorf("%+v", d.Standing)
				}
			})
		})
	}
}

// TestGateOfOldHome has a home with a gateway that knows no quarantine.
func TestGateOfOldHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{discriminator: 0xABC, firmware: burning(), version: 3}
		h.start(t, "", 0)
		if _, err := h.pair(t.Context()); code(err) != commissioner.CodeFirmware {
			t.Fatalf("got %v", err)
		}
		h.firmware = known{}
		h.startGateway()
		d, err := h.pair(t.Context())
		h.check(err)
		if d.Standing != nil {
			t.Errorf("%+v", d.Standing)
		}
	})
}
