package several

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/btp"
	"gatehouse/radio/radiotest"
)

const deaf = 1 // dBm, of a radio that hears nothing

// fake is a radio that hears one device, under an address of its own.
type fake struct {
	addr string
	fail error         // why it does not connect
	hang bool          // it does not answer at all
	mute error         // why it cannot scan
	each time.Duration // between advertisements

	mu        sync.Mutex
	rssi      int8
	scans     int
	dialled   []string
	took      time.Duration
	restarted int
}

func (f *fake) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fake) Scan(ctx context.Context, seen func(radio.Advertisement)) error {
	f.mu.Lock()
	mute, each := f.mute, f.each
	f.mu.Unlock()
	if mute != nil {
		return mute
	}
	f.set(func() { f.scans++ })
	defer f.set(func() { f.scans-- })
	for ctx.Err() == nil {
		f.mu.Lock()
		rssi := f.rssi
		f.mu.Unlock()
		if rssi == deaf {
			<-ctx.Done()
			break
		}
		seen(radio.Advertisement{Kind: radio.Commissionable, RSSI: rssi, Addrs: []radio.Addr{{Transport: radio.BLE, Peer: f.addr}}})
		select {
		case <-time.After(each):
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func (f *fake) Connect(ctx context.Context, addr radio.Addr) (btp.Bearer, error) {
	began := time.Now()
	f.set(func() { f.dialled = append(f.dialled, addr.Peer) })
	if f.hang {
		<-ctx.Done()
		f.set(func() { f.took = time.Since(began) })
		return nil, ctx.Err()
	}
	if f.fail != nil {
		return nil, f.fail
	}
	return radiotest.NewConnection(23).Client, nil
}

func (f *fake) Restart(string) { f.restarted++ }

func hearing1(addr string, rssi int8) *fake {
	return &fake{addr: addr, rssi: rssi, each: 100 * time.Millisecond}
}

// listen scans for a while and tells what is heard.
func listen(t *testing.T, s *Several, d time.Duration) (ads []radio.Advertisement, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	err = s.Scan(ctx, func(ad radio.Advertisement) { ads = append(ads, ad) })
	return ads, err
}

func addrOf(t *testing.T, ads []radio.Advertisement) radio.Addr {
	t.Helper()
	var addrs []radio.Addr
	for _, ad := range ads {
		if !slices.Contains(addrs, ad.Addrs[0]) {
			addrs = append(addrs, ad.Addrs[0])
		}
	}
	if len(addrs) != 1 {
		t.Fatalf("one device is known as %v", addrs)
	}
	return addrs[0]
}

// TestBest connects through the radio that hears the device best, by the
// address that radio knows, and through the next where that fails.
func TestBest(t *testing.T) {
	errFails := errors.New("it fails")
	tests := []struct {
		name   string
		radios []*fake
		want   []int // the radios that are tried, in their order
		ok     bool
	}{
		{"one", []*fake{hearing1("random/c2:00:00:00:00:01", -80)}, []int{0}, true},
		{"the strongest", []*fake{hearing1("random/c2:00:00:00:00:01", -80), hearing1("C2:00:00:00:00:01", -50), hearing1("C2-00-00-00-00-01", -60)}, []int{1}, true},
		{"the next", []*fake{hearing1("c2:00:00:00:00:01", -70), {addr: "C2:00:00:00:00:01", rssi: -50, fail: errFails, each: time.Second}, hearing1("C2:00:00:00:00:01", -60)}, []int{1, 2}, true},
		{"one that does not say", []*fake{hearing1("c2:00:00:00:00:01", 0), hearing1("C2:00:00:00:00:01", -90)}, []int{1}, true},
		{"one that hangs", []*fake{hearing1("c2:00:00:00:00:01", -90), {addr: "C2:00:00:00:00:01", rssi: -50, hang: true, each: time.Second}}, []int{1, 0}, true},
		{"none", []*fake{{addr: "c2:00:00:00:00:01", rssi: -60, fail: errFails, each: time.Second}, {addr: "C2:00:00:00:00:01", rssi: -50, fail: errFails, each: time.Second}}, []int{1, 0}, false},
		{"not one that is deaf", []*fake{{mute: errFails}, {addr: "C2:00:00:00:00:01", rssi: -50, fail: errFails, each: time.Second}}, []int{1}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(time.Now)
				for i, f := range tt.radios {
					s.Add(fmt.Sprint(i), f)
				}
				ads, err := listen(t, s, 3*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				_, err = s.Connect(ctx, addrOf(t, ads))
				if (err == nil) != tt.ok || !tt.ok && !errors.Is(err, errFails) {
					t.Error(err)
				}
				for i, f := range tt.radios {
					if f.scans != 0 {
						t.Errorf("radio %d still scans", i)
					}
					if slices.Contains(tt.want, i) != (len(f.dialled) == 1) || len(f.dialled) == 1 && f.dialled[0] != f.addr {
						t.Errorf("radio %d was asked for %q", i, f.dialled)
					}
					if f.hang && f.took != 4*time.Second {
						t.Errorf("radio %d had %v", i, f.took)
					}
				}
			})
		})
	}
}

// TestRecent forgets how well a device was heard a while ago, and goes by what
// is heard by and large.
func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, near, far := New(time.Now), hearing1("AA:00:00:00:00:01", -40), hearing1("aa:00:00:00:00:01", -80)
		remove := s.Add("near", near)
		s.Add("far", far)
		ads, _ := listen(t, s, 2*time.Second)
		if strongest := ads[len(ads)-1].RSSI; strongest != -40 {
			t.Errorf("heard at %d dBm", strongest)
		}
		near.set(func() { near.rssi = -90 })
		go listen(t, s, 150*time.Millisecond) // two bad ones do not make up for many good ones
		time.Sleep(200 * time.Millisecond)
		if _, err := s.Connect(t.Context(), addrOf(t, ads)); err != nil || len(near.dialled) != 1 {
			t.Errorf("%v: %q, %q", err, near.dialled, far.dialled)
		}
		if ads, _ = listen(t, s, 5*time.Second); ads[len(ads)-1].RSSI != -80 {
			t.Errorf("heard at %d dBm", ads[len(ads)-1].RSSI)
		}
		if _, err := s.Connect(t.Context(), addrOf(t, ads)); err != nil || len(far.dialled) != 1 {
			t.Errorf("%v: %q, %q", err, near.dialled, far.dialled)
		}
		near.set(func() { near.rssi = -30 })
		listen(t, s, 5*time.Second)
		time.Sleep(recent)
		near.set(func() { near.rssi = deaf })
		listen(t, s, time.Second)
		if _, err := s.Connect(t.Context(), addrOf(t, ads)); err != nil || len(far.dialled) != 2 {
			t.Errorf("%v: %q, %q", err, near.dialled, far.dialled)
		}
		remove()
		remove()
	})
}

// TestComeAndGo scans by radios that come while it scans and go again, and
// asks one anew that could not scan.
func TestComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(time.Now)
		if _, err := listen(t, s, time.Second); err != ErrNone {
			t.Errorf("without a radio: %v", err)
		}
		if _, err := s.Connect(t.Context(), radio.Addr{}); err != ErrNone {
			t.Errorf("without a radio: %v", err)
		}
		broken := errors.New("there is no adapter")
		s.Add("own", &fake{mute: broken})
		if _, err := listen(t, s, 10*time.Second); !errors.Is(err, broken) {
			t.Errorf("without a radio that can scan: %v", err)
		}
		time.AfterFunc(time.Second, func() {
			remove := s.Add("proxy", hearing1("AA:00:00:00:00:01", -40))
			time.AfterFunc(time.Second, remove)
		})
		ads, err := listen(t, s, 1500*time.Millisecond)
		if err != nil || len(ads) < 4 {
			t.Errorf("%v, %d heard", err, len(ads))
		}
		time.Sleep(time.Second)
		if ads, err := listen(t, s, 10*time.Second); !errors.Is(err, broken) || len(ads) > 0 {
			t.Errorf("after it has gone: %v, %d heard", err, len(ads))
		}
		own := &fake{mute: broken}
		s.Add("later", own)
		time.AfterFunc(time.Second, func() { own.set(func() { own.mute, own.addr, own.each = nil, "AA:00:00:00:00:02", time.Second }) })
		if ads, err := listen(t, s, 10*time.Second); err != nil || len(ads) < 5 {
			t.Errorf("mended: %v, %d heard", err, len(ads))
		}
		s.Restart("test")
		if own.restarted != 1 {
			t.Error("it was not begun anew with")
		}
	})
}

// TestManyDevices remembers so many devices and no more.
func TestManyDevices(t *testing.T) {
	now := time.Unix(1, 0)
	s := New(func() time.Time { return now })
	s.Add("liar", &fake{})
	for i := range 2 * maxDevices {
		now = now.Add(time.Millisecond)
		s.heard(s.members[0], radio.Advertisement{Addrs: []radio.Addr{{Transport: radio.BLE, Peer: fmt.Sprintf("02:00:00:00:%02x:%02x", i>>8, i&255)}}})
	}
	if len(s.devices) != maxDevices || len(s.ways(radio.Addr{Peer: fmt.Sprintf("02:00:00:00:%02x:ff", (2*maxDevices-1)>>8)})) != 1 {
		t.Errorf("%d are remembered", len(s.devices))
	}
	if _, ok := s.heard(s.members[0], radio.Advertisement{}); ok {
		t.Error("a device without an address was heard")
	}
}
