//go:build interop

package interop

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/commissioner/interop/lab"
	"gatehouse/radio"
	"gatehouse/radio/ble"
)

// What the neighbour does.
const (
	advertiseEvery = 5 * time.Millisecond  // a hostile advertisement
	decoys         = 400                   // of which one in so many claims to be the device that is being paired
	pesterEvery    = 20 * time.Millisecond // a malformed packet into a link of the gateway's
	breakEvery     = 10 * time.Second      // one that ends the link, or the radio process
)

// pests are malformed L2CAP frames that go-ble bears.
var pests = []string{
	"050004001dffff0102", // an indication of what is not there
	"040005007f010000",   // an unknown signal
	"03007700010203",     // an unknown channel
}

// breakers are those that it does not bear: a link ends, or the process.
var breakers = []struct{ kind, what string }{
	{"acl", "01"},               // shorter than a header
	{"acl", "00000400"},         // an empty attribute packet
	{"acl", "ff0004001d"},       // a frame that never ends
	{"acl", "020005001201"},     // a signal cut short
	{"acl", "040005001201ffff"}, // a signal longer than its frame
	{"acl", "020006000b00"},     // a security request
	{"acl", "020004001d01"},     // an indication cut short
	{"acl", "010004001b"},       // a notification cut short
	{"packet", "043e00"},        // an LE event of no kind
	{"packet", "043e0202ff"},    // 255 reports in no octets
	{"packet", "040e00"},        // an answer to no command
	{"packet", "041301ff"},      // 255 handles in no octets
	{"packet", "040500"},        // the end of no connection
}

// neighbour attacks a gateway.
type neighbour struct {
	air    *lab.Air
	r      *rand.Rand
	wanted atomic.Uint32 // discriminator
	ads    int
	pested int
	broken int
}

func (n *neighbour) order(o map[string]any) error {
	_, err := n.air.Order(o)
	return err
}

// attack goes on until ctx ends.
func (n *neighbour) attack(ctx context.Context) error {
	advertise, pester := time.NewTicker(advertiseEvery), time.NewTicker(pesterEvery)
	defer advertise.Stop()
	defer pester.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-advertise.C:
			if err := n.advertise(); err != nil {
				return err
			}
		case <-pester.C:
			hard := time.Since(last) >= breakEvery
			done, err := n.pester(hard)
			if err != nil {
				return err
			}
			if hard && done {
				last = time.Now()
			}
		}
	}
}

// advertise broadcasts something: noise of any length, a piece of a Matter
// device's advertisement with errors, or a whole one from an invented address.
func (n *neighbour) advertise() error {
	n.ads++
	ad := radio.Advertisement{Discriminator: uint16(n.r.IntN(4096)), Vendor: 0xfff1, Product: 0x8001}
	if n.ads%decoys == 0 {
		ad.Discriminator = uint16(n.wanted.Load())
	}
	data := ble.Advertising(ad)
	switch {
	case n.ads%decoys == 0:
	case n.ads%4 == 0:
		data = make([]byte, n.r.IntN(240))
		n.scramble(data, len(data))
	case n.ads%4 == 1:
		data = data[:n.r.IntN(len(data)+1)]
		n.scramble(data, n.r.IntN(3))
	}
	from := make([]byte, 6)
	for i := range from {
		from[i] = byte(n.r.Uint32())
	}
	return n.order(map[string]any{"do": "broadcast", "from": hex.EncodeToString(from), "random": n.r.IntN(2) == 0,
		"data": hex.EncodeToString(data), "rssi": -n.r.IntN(100)})
}

// scramble overwrites some octets.
func (n *neighbour) scramble(b []byte, times int) {
	for range times {
		if len(b) > 0 {
			b[n.r.IntN(len(b))] = byte(n.r.Uint32())
		}
	}
}

// pester injects something at the gateway's controller if it is connected.
func (n *neighbour) pester(hard bool) (bool, error) {
	links, err := n.air.Order(map[string]any{"do": "links"})
	if err != nil {
		return false, err
	}
	for _, l := range links {
		if !l.Central {
			continue
		}
		kind, what := "acl", pests[n.r.IntN(len(pests))]
		if hard {
			b := breakers[n.broken%len(breakers)]
			kind, what = b.kind, b.what
		}
		if n.order(map[string]any{"do": "inject", "controller": l.Controller, kind: what}) != nil {
			continue // the link has just ended
		}
		if hard {
			n.broken++
		} else {
			n.pested++
		}
		return true, nil
	}
	return false, nil
}

// TestHostileNeighbour pairs light after light over Bluetooth while a neighbour
// does to the gateway's radio what it can.
func TestHostileNeighbour(t *testing.T) {
	t.Parallel()
	length := 30 * time.Second
	if long {
		length = 10 * time.Minute
	}
	ctx := within(t, length+limit)
	net := network(t)
	g, a := airHome(t, ctx, net)
	check(t, g.AddNetwork(ctx, "wifi", lab.SSID, lab.Password))
	pid, err := g.PID()
	check(t, err)
	lights := host(t, net, "lights")
	n := &neighbour{air: a, r: rand.New(rand.NewPCG(1, 2))}
	attacking, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.attack(attacking) }()

	admitted, retries := 0, map[int]int{}
	var longest time.Duration
	for i, end := 0, time.Now().Add(length); time.Now().Before(end); i++ {
		name := fmt.Sprintf("light%d", i)
		n.wanted.Store(uint32(i))
		light, err := lights.VirtualOn(ctx, a, virtualBin, i)
		check(t, err)
		if i == 0 {
			check(t, g.TrustVirtual(ctx, lights))
		}
		began := time.Now()
		again, err := pairStubbornly(ctx, g, light.QR, name)
		took := time.Since(began)
		longest = max(longest, took)
		retries[len(again)]++
		if len(again) > 0 || err != nil {
			t.Logf("%s: %v after %v, %q", name, err, took, again)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			admitted++
		}
		light.Kill()
	}
	stop()
	check(t, <-ended)
	if now, err := g.PID(); err != nil || now != pid {
		t.Errorf("the daemon was process %d, now it is %d, %v", pid, now, err)
	}
	r, err := g.Radio(ctx)
	check(t, err)
	if r.Restarts == 0 {
		t.Errorf("the radio: %+v", r)
	}
	t.Logf("%v of attack: %d advertisements, %d malformed packets into links and %d that break them; %d lights were admitted, the longest in %v, retries: %v; %d restarts of the radio, the last because %s",
		length, n.ads, n.pested, n.broken, admitted, longest, retries, r.Restarts, r.Reason)
}

// pairStubbornly pairs a device and tells why it was begun anew.
func pairStubbornly(ctx context.Context, g *lab.Gateway, code, name string) (again []string, err error) {
	p, err := g.Stream("pair", "--name", name, code)
	if err != nil {
		return nil, err
	}
	failed := p.Event(ctx, func(line json.RawMessage) bool {
		var e struct {
			State, Detail string
			Admitted      *lab.Device
			Error         *lab.Failure
		}
		if json.Unmarshal(line, &e) != nil {
			return false
		}
		if e.State == "retrying" {
			again = append(again, e.Detail)
		}
		if e.Error != nil {
			err = e.Error
		}
		return e.Error != nil || e.Admitted != nil
	})
	return again, errors.Join(failed, err)
}
