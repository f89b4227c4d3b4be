package radiotest

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/radio"
)

var (
	addrA = radio.UDPAddr(netip.MustParseAddrPort("[fe80::a%m0]:5540"))
	addrB = radio.UDPAddr(netip.MustParseAddrPort("[fe80::b%m0]:5540"))
)

func TestConformance(t *testing.T) {
	t.Run("datagrams", func(t *testing.T) {
		TestLink(t, func(*testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
			n := NewNetwork(1)
			return n.Link(addrA), n.Link(addrB), addrA, addrB
		})
	})
	t.Run("reliable", func(t *testing.T) {
		TestLink(t, func(*testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
			n := NewNetwork(1)
			n.SetConditions(Conditions{Loss: 1, Reorder: 1, Duplicate: 1})
			return n.Reliable(addrA, 244), n.Reliable(addrB, 244), addrA, addrB
		})
	})
}

// run sends count numbered messages from a to b and returns those that came,
// with the time each took.
func run(seed uint64, c Conditions, drop DropFunc, count int) (got []string) {
	n := NewNetwork(seed)
	n.SetConditions(c)
	n.SetDrop(drop)
	a, b := n.Link(addrA), n.Link(addrB)
	start := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, MTU)
		for {
			k, _, err := b.Receive(buf)
			if err != nil {
				return
			}
			got = append(got, fmt.Sprintf("%s@%v", buf[:k], time.Since(start)))
		}
	}()
	for i := range count {
		a.Send(addrB, fmt.Appendf(nil, "%d", i))
		time.Sleep(time.Millisecond)
	}
	time.Sleep(time.Second)
	a.Close()
	b.Close()
	<-done
	return got
}

func TestConditions(t *testing.T) {
	tests := []struct {
		name string
		c    Conditions
		drop DropFunc
		want []string
	}{
		{"perfect", Conditions{}, nil, []string{"0@0s", "1@1ms", "2@2ms", "3@3ms"}},
		{"latency", Conditions{Latency: 5 * time.Millisecond}, nil, []string{"0@5ms", "1@6ms", "2@7ms", "3@8ms"}},
		{"all lost", Conditions{Loss: 1}, nil, nil},
		{"all twice", Conditions{Duplicate: 1}, nil, []string{"0@0s", "1@1ms", "2@2ms", "3@3ms", "0@10ms", "1@11ms", "2@12ms", "3@13ms"}},
		{"the second cut", Conditions{}, DropNth(2), []string{"0@0s", "2@2ms", "3@3ms"}},
		{"cut after two", Conditions{}, DropAfter(2), []string{"0@0s", "1@1ms"}},
		{"one direction", Conditions{}, func(from, _ radio.Addr, _ []byte) bool { return from == addrA }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := run(1, tt.c, tt.drop, 4); !slices.Equal(got, tt.want) {
					t.Errorf("got %v\nwant %v", got, tt.want)
				}
			})
		})
	}
}

func TestSeedDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Conditions{Loss: 0.3, Duplicate: 0.3, Reorder: 0.3, Jitter: 7 * time.Millisecond}
		first, again, other := run(7, c, nil, 200), run(7, c, nil, 200), run(8, c, nil, 200)
		if !slices.Equal(first, again) {
			t.Error("the same seed gave two outcomes")
		}
		if slices.Equal(first, other) {
			t.Error("two seeds gave the same outcome")
		}
		if len(first) < 120 || len(first) > 260 {
			t.Errorf("%d messages came of 200 at 30 %% loss and 30 %% duplication", len(first))
		}
	})
}

func TestAddressIsFreeAfterClose(t *testing.T) {
	n := NewNetwork(1)
	n.Link(addrA).Close()
	n.Link(addrA)
	defer func() {
		if recover() == nil {
			t.Error("two open links share an address")
		}
	}()
	n.Link(addrA)
}
