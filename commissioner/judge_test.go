package commissioner_test

import (
	"context"
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

// fetched is a shelf that has the one image, once it was fetched.
type fetched struct {
	*updates
	there atomic.Bool
}

func (f *fetched) Has(*fabric.FirmwareImage) bool { return f.there.Load() }

func (f *fetched) Image(_ context.Context, vendor uint16, i *fabric.FirmwareImage) (*shelf.Image, error) {
	if vendor != 0xFFF1 {
		return nil, shelf.ErrAbsent
	}
	f.there.Store(true)
	return f.shelf.Open(shelf.Digest(i.SHA256))
}

// TestRecall recalls the software of a lamp that belongs: the lamp goes into
// quarantine, is updated over the air, and is released.
func TestRecall(t *testing.T) {
	for name, update := range map[string]func(*home, *keeper.Updates, cert.NodeID) error{
		"told to": func(h *home, u *keeper.Updates, n cert.NodeID) error { return u.Update(h.t.Context(), n) },
		"by itself": func(h *home, u *keeper.Updates, n cert.NodeID) error { // the image is not here yet
			return h.k.Announce(h.t.Context(), n)
		},
	} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { recalled(t, update) }) })
	}
}

func recalled(t *testing.T, update func(*home, *keeper.Updates, cert.NodeID) error) {
	images, knows := &fetched{updates: newUpdates(t, 50_000, nil)}, new(changing)
	u := &keeper.Updates{Images: images}
	h := &home{discriminator: 0xABC, firmware: knows, provider: &ota.Provider{Updates: u, Now: time.Now, Log: quiet}}
	h.start(t, "", 0)
	u.Keeper = h.k
	d, err := h.pair(t.Context())
	h.check(err)
	other := h.requestor(7, requestorAddr)
	h.reaches(other, d.Node, true)
	is := func(verdict fabric.Verdict, version uint32) {
		t.Helper()
		now := h.ledger.State().Devices[d.Node]
		if s := now.Standing; s == nil || s.Verdict != verdict || !s.Enforced || s.Version != version || now.Facts.SoftwareVersion != version {
			t.Fatalf("%+v", s)
		}
		h.reaches(other, d.Node, verdict == fabric.AdmitDevice)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go h.k.Own(ctx, func() bool { return true })
	time.Sleep(time.Minute)
	is(fabric.AdmitDevice, 1)
	if err := u.Update(t.Context(), d.Node); code(err) != commissioner.CodeNoUpdate {
		t.Errorf("without a newer one: %v", err)
	}
	recall := burning()
	recall.Statements[0].Product.Releases = []manifest.Release{{Version: 2, Name: "2.0", SHA256: manifest.Digest(images.offer.Image), Size: 1}}
	knows.Store(&recall)
	time.Sleep(time.Minute)
	is(fabric.QuarantineDevice, 1)
	h.check(update(h, u, d.Node))
	time.Sleep(10 * time.Minute)
	is(fabric.AdmitDevice, 2)
	if p, ok := u.Progress(d.Node); !ok || p.State != ota.Applied || p.Version != 2 {
		t.Errorf("%+v", p)
	}
}

// TestGateOfOldHome has a home with a gateway that knows no quarantine.
func TestGateOfOldHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &home{discriminator: 0xABC, firmware: burning()}
		h.start(t, "", 0)
		h.propose(fabric.Command{DescribeGateway: &fabric.DescribeGateway{Node: h.id.Node, Version: 3}})
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
