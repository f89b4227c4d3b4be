package commissioner_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/ble/proxy"
	"gatehouse/radio/ble/several"
	"gatehouse/radio/btp"
	"gatehouse/radio/radiotest/bleproxy"
)

// place is somewhere in the house: what a proxy there hears of the air.
type place struct {
	*air
	signal  int8 // dBm
	dialled int
}

func (p *place) Scan(ctx context.Context, seen func(radio.Advertisement)) error {
	return p.air.Scan(ctx, func(ad radio.Advertisement) {
		ad.RSSI = p.signal
		seen(ad)
	})
}

func (p *place) Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error) {
	p.dialled++
	return p.air.Connect(ctx, addr)
}

// deaf is an adapter that there is none of.
type deaf struct{ restarts int }

func (*deaf) Scan(context.Context, func(radio.Advertisement)) error { return ble.ErrNoAdapter }
func (*deaf) Connect(context.Context, radio.Addr) (btp.Bearer, error) {
	return nil, ble.ErrNoAdapter
}
func (d *deaf) Restart(string) { d.restarts++ }

// house is a gateway without Bluetooth of its own, and proxies for it.
type house struct {
	t      *testing.T
	all    *several.Several
	server *proxy.Server
	wg     sync.WaitGroup
}

func newHouse(t *testing.T) *house {
	h := &house{t: t, all: several.New(time.Now)}
	h.all.Add("hci0", &deaf{})
	h.server = proxy.New(proxy.Config{Now: time.Now, Log: quiet, Joined: func(r *proxy.Radio) func() { return h.all.Add(r.Name(), r) }})
	t.Cleanup(func() {
		h.server.Close()
		h.wg.Wait()
	})
	return h
}

// put puts a proxy somewhere; what it returns switches it off.
func (h *house) put(p *place) (off func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(h.t.Context())
	ws, served, err := bleproxy.Dial(ctx, h.server)
	if err != nil {
		h.t.Fatal(err)
	}
	h.wg.Go(func() {
		defer served()
		defer cancel()
		if err := bleproxy.Serve(ctx, ws, p); err != nil {
			h.t.Error("what no gateway may do:", err)
		}
	})
	synctest.Wait()
	return func() { ws.CloseNow() }
}

// newProxyHome has a device that is found by way of proxies only.
func newProxyHome(t *testing.T) (*home, *house) {
	house := newHouse(t)
	h := (&home{discriminator: 0xABC, air: &air{network: wifi()}, radios: func(*air) commissioner.Bluetooth { return house.all }}).start(t, "", 0)
	h.addNetwork("hall", homeSSID, homePassword)
	return h, house
}

// TestPairByProxy pairs a device through the proxy that hears it best, over a
// WebSocket and BTP.
func TestPairByProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, house := newProxyHome(t)
		attic, hall := &place{air: h.air, signal: -90}, &place{air: h.air, signal: -50}
		house.put(attic)
		house.put(hall)
		if _, err := h.pair(t.Context()); err != nil {
			t.Fatal(err)
		}
		if h.device.Fabrics() != 1 || len(h.retries()) != 0 || hall.dialled != 1 || attic.dialled != 0 {
			t.Errorf("on %d fabrics, after %q, %d connections from the hall and %d from the attic", h.device.Fabrics(), h.retries(), hall.dialled, attic.dialled)
		}
	})
}

// TestNoProxy says why the device was looked for in vain; a proxy that comes
// while it is looked for is as good as one that was there.
func TestNoProxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, house := newProxyHome(t)
		_, err := h.pair(t.Context())
		f := commissioner.Explain(err, "")
		if code(err) != commissioner.CodeNotFound || len(f.Reasons) != 1 || f.Reasons[0].Code != string(commissioner.CodeBluetooth) {
			t.Errorf("without a radio: %+v", f)
		}
		go func() {
			time.Sleep(20 * time.Second)
			house.put(&place{air: h.air, signal: -50})
		}()
		if _, err := h.pair(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestProxyGoes switches the proxy off in the middle of a pairing: the pairing
// begins anew with the other one.
func TestProxyGoes(t *testing.T) {
	for _, step := range []string{"pase", "read-information", "attestation"} {
		synctest.Test(t, func(t *testing.T) {
			h, house := newProxyHome(t)
			attic, hall := &place{air: h.air, signal: -90}, &place{air: h.air, signal: -50}
			house.put(attic)
			off := house.put(hall)
			_, _, err := h.c.Pair(t.Context(), commissioner.PairRequest{Code: h.code}, func(p commissioner.Progress) {
				h.progress = append(h.progress, p)
				if p.Name == step && p.State == commissioner.StepStarted && hall.dialled < 2 {
					time.AfterFunc(100*time.Millisecond, off)
				}
			})
			if err != nil || h.device.Fabrics() != 1 || hall.dialled != 1 || attic.dialled == 0 {
				t.Errorf("%s: %v, on %d fabrics, after %q, %d connections from the hall and %d from the attic", step, err, h.device.Fabrics(), h.retries(), hall.dialled, attic.dialled)
			}
		})
	}
}
