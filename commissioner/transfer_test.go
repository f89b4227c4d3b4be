package commissioner_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/ota"
	"gatehouse/fabric/cert"
	"gatehouse/radio"
	"gatehouse/radio/btp"
	"gatehouse/radio/radiotest"
)

// lossyTransfers is how many images TestLossyTransfers gives; make bench gives
// more.
var lossyTransfers = flag.Int("transfers", 12, "how many transfers with losses")

// opReceiveInit begins a transfer.
const opReceiveInit = 0x04

// nth is a requestor of the home, of many.
func (h *home) nth(i int) *requestor {
	h.t.Helper()
	return h.requestor(cert.NodeID(0x1000+i), nthAddr(i))
}

func nthAddr(i int) radio.Addr {
	return radio.UDPAddr(netip.MustParseAddrPort(fmt.Sprintf("[fd00::1:%x]:5540", i)))
}

func (r *requestor) offered(u *updates) {
	r.h.t.Helper()
	if q, err := r.query(); err != nil || q.Status != datamodel.UpdateAvailable {
		r.h.t.Errorf("offered %+v, %v", q, err)
	}
}

// obtain asks for the image and fetches all of it, going on where it broke off,
// and returns how often it did.
func (r *requestor) obtain(u *updates) (broke int, err error) {
	r.offered(u)
	sum, done := sha256.New(), uint64(0)
	for {
		n, err := bdx.Fetch(r.h.t.Context(), r.m, r.s, bdx.Request{Designator: fmt.Appendf(nil, "%x", u.offer.Image), Offset: done}, sum)
		if done += n; err == nil {
			break
		}
		if broke++; broke == 3 {
			return broke, err
		}
		if r.s, err = r.meet(gatewayAddr, r.h.id.Node); err != nil {
			return broke, err
		}
	}
	if ota.Digest(sum.Sum(nil)) != u.offer.Image {
		return broke, errors.New("it is another image")
	}
	return broke, nil
}

// TestLossyTransfers gives an image of 1 MiB to several at once, of whose
// datagrams a twentieth is lost.
func TestLossyTransfers(t *testing.T) {
	const atOnce, size = 4, 1 << 20
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, size, nil)
		h := updating(t, u)
		var all []*requestor
		for i := range atOnce {
			all = append(all, h.nth(i))
		}
		h.net.SetConditions(radiotest.Conditions{Loss: 0.05, Latency: time.Millisecond})
		began := time.Now()
		var broke atomic.Int64
		var wg sync.WaitGroup
		for i, r := range all {
			wg.Go(func() {
				for n := i; n < *lossyTransfers; n += atOnce {
					times, err := r.obtain(u)
					if broke.Add(int64(times)); err != nil {
						t.Errorf("transfer %d: %v", n, err)
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(began)
		t.Logf("%d transfers, %d at once, with 1 in 20 datagrams lost: %d broke off and went on; %.1f KiB/s each", *lossyTransfers, atOnce, broke.Load(),
			float64(*lossyTransfers)*size/1024/atOnce/took.Seconds())
	})
}

// TestTwoMessagesABlock holds that a transfer needs a query and a block for
// each block, and nothing besides: no acknowledgement of its own.
func TestTwoMessagesABlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 200*1024, nil)
		h := updating(t, u)
		r := h.nth(0)
		q, err := r.query()
		h.check(err)
		time.Sleep(time.Second)
		var messages, largest int
		var mu sync.Mutex
		h.net.SetDrop(func(_, _ radio.Addr, b []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			messages, largest = messages+1, max(largest, len(b))
			return false
		})
		h.net.SetConditions(radiotest.Conditions{Latency: 50 * time.Millisecond})
		var got bytes.Buffer
		_, name, _ := bytes.Cut([]byte(*q.ImageURI)[len("bdx://"):], []byte("/"))
		_, err = bdx.Fetch(t.Context(), r.m, r.s, bdx.Request{Designator: name}, &got)
		h.check(err)
		blocks := (got.Len() + 1024 - 1) / 1024
		t.Logf("%d octets in %d messages, the largest of %d", got.Len(), messages, largest)
		if messages > 2*blocks+4 { // the beginning, and the end with its acknowledgement
			t.Errorf("%d messages for at most %d blocks", messages, blocks)
		}
	})
}

// TestOverBTP gives an image over Bluetooth, of 20 kB/s at the most.
func TestOverBTP(t *testing.T) {
	const mtu, size = 247, 64 << 10
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, size, nil)
		h := updating(t, u)
		r := h.nth(0)
		c := radiotest.NewConnection(mtu)
		c.SetLatency(6 * time.Millisecond) // a packet and its confirmation: 244 octets in 12 ms
		peer := radio.Addr{Transport: radio.BLE, Peer: "02:00:00:00:00:01"}
		accepted := make(chan radio.Link, 1)
		go func() {
			l, err := btp.Accept(t.Context(), c.Server, btp.Config{Peer: peer, Now: time.Now})
			if err != nil {
				t.Error(err)
			}
			accepted <- l
		}()
		l, err := btp.Dial(t.Context(), c.Client, btp.Config{Peer: peer, Now: time.Now})
		h.check(err)
		h.gateway.Serve(<-accepted)
		r.m.Serve(l)
		r.link = l
		r.s, err = r.meet(peer, h.id.Node)
		h.check(err)
		began := time.Now()
		if broke, err := r.obtain(u); broke > 0 || err != nil {
			t.Error(broke, err)
		}
		rate := float64(size) / 1000 / time.Since(began).Seconds()
		t.Logf("%.1f kB/s of 20", rate)
		if rate < 13 { // a query for each block, and headers, take the rest
			t.Errorf("only %.1f kB/s of 20", rate)
		}
	})
}

// TestStallersCostNothing holds that one transfer takes as long beside as many
// as may stall as alone, and beside a thousand that one device begins.
func TestStallersCostNothing(t *testing.T) {
	for _, conditions := range []radiotest.Conditions{{Latency: 5 * time.Millisecond}, {Latency: 50 * time.Millisecond}} {
		alone := timed(t, conditions, func(*home, *updates) {})
		if stalled := timed(t, conditions, func(h *home, u *updates) {
			for i := range 7 {
				r := h.nth(i + 1)
				r.offered(u)
				r.begin(u, 1)
			}
		}); stalled != alone {
			t.Errorf("beside seven that stall it takes %v, alone %v", stalled, alone)
		}
		if flooded := timed(t, conditions, func(h *home, u *updates) {
			r := h.nth(1)
			r.offered(u)
			for range 10 {
				r.begin(u, 100)
				var err error
				r.s, err = r.meet(gatewayAddr, h.id.Node)
				h.check(err)
			}
		}); flooded != alone {
			t.Errorf("beside one that begins a thousand it takes %v, alone %v", flooded, alone)
		}
	}
}

// timed is how long a transfer takes, of simulated time, after something.
func timed(t *testing.T, conditions radiotest.Conditions, before func(*home, *updates)) (took time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		u := newUpdates(t, 200_000, nil)
		h := updating(t, u)
		r := h.nth(0)
		h.net.SetConditions(conditions)
		before(h, u)
		began := time.Now()
		if _, err := r.obtain(u); err != nil {
			t.Error(err)
		}
		took = time.Since(began)
	})
	return took
}

// begin begins transfers of the image, and says nothing more.
func (r *requestor) begin(u *updates, times int) {
	r.h.t.Helper()
	init := append([]byte{0x20, 0, 0, 4, 64, 0}, fmt.Sprintf("%x", u.offer.Image)...)
	for range times {
		x, err := r.m.Open(r.s)
		r.h.check(err)
		r.h.check(x.SendOnce(message.BDX, opReceiveInit, init))
	}
}
