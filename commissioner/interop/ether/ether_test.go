package ether

import (
	"fmt"
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// cable is a host's end of a cable: what it says, and what it hears.
type cable struct {
	says, hears chan []byte
	closed      chan struct{}
}

func (c *cable) Read(b []byte) (int, error) {
	select {
	case f := <-c.says:
		return copy(b, f), nil
	case <-c.closed:
		return 0, io.EOF
	}
}

func (c *cable) Write(b []byte) (int, error) {
	select {
	case c.hears <- append([]byte(nil), b...):
		return len(b), nil
	default:
		return 0, io.ErrShortWrite
	}
}

func (c *cable) Close() error { close(c.closed); return nil }

const everybody = 0xFF

// say has a host send a frame with a number in it.
func (c *cable) say(to, from, number byte) {
	f := make([]byte, header+1)
	for i := range 6 {
		f[i] = to
	}
	f[6], f[11], f[header] = 2, from, number
	if to != everybody {
		copy(f, []byte{2, 0, 0, 0, 0, to})
	}
	c.says <- f
}

// heard are the numbers of the frames that a host has got.
func (c *cable) heard() string {
	synctest.Wait()
	var numbers []byte
	for len(c.hears) > 0 {
		f := <-c.hears
		numbers = append(numbers, f[header])
	}
	return fmt.Sprint(numbers)
}

// hosts is a switch with hosts a, b and c, whose addresses are 1, 2 and 3 and
// known.
func hosts(t *testing.T) (*Switch, []*cable) {
	s := New(1)
	t.Cleanup(s.Close)
	var all []*cable
	for _, name := range []string{"a", "b", "c"} {
		c := &cable{make(chan []byte), make(chan []byte, 2*maxQueued), make(chan struct{})}
		all = append(all, c)
		s.Plug(name, c)
	}
	for i, c := range all {
		c.say(everybody, byte(i+1), 0)
	}
	for _, c := range all {
		if got := c.heard(); got != "[0 0]" {
			t.Fatalf("of two broadcasts a host heard %s", got)
		}
	}
	return s, all
}

func want(t *testing.T, c *cable, numbers string) {
	t.Helper()
	if got := c.heard(); got != numbers {
		t.Errorf("heard %s, want %s", got, numbers)
	}
}

func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := hosts(t)
		h[0].say(2, 1, 7)
		want(t, h[1], "[7]")
		want(t, h[2], "[]")
		h[0].say(9, 1, 8) // nobody knows where 9 is
		want(t, h[1], "[8]")
		want(t, h[2], "[8]")
		h[2].say(1, 2, 9) // 2 has moved
		want(t, h[0], "[9]")
		h[0].say(2, 1, 10)
		want(t, h[1], "[]")
		want(t, h[2], "[10]")
		s.Unplug("c")
		h[0].say(2, 1, 11)
		want(t, h[1], "[11]")
		h[0].says <- make([]byte, header-1)
		want(t, h[1], "[]")
	})
}

// TestRate has frames wait for those before them.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := hosts(t)
		s.Set("a", "b", Rule{Rate: 10 * (header + 1), Delay: time.Second})
		for i := range byte(3) {
			h[0].say(2, 1, i)
		}
		h[0].say(3, 1, 9)
		want(t, h[2], "[9]")
		time.Sleep(time.Second + 99*time.Millisecond)
		want(t, h[1], "[]")
		for _, numbers := range []string{"[0]", "[1]", "[2]"} {
			time.Sleep(time.Second / 10)
			want(t, h[1], numbers)
		}
	})
}

func TestCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := hosts(t)
		s.Set("a", "b", Rule{Cut: true})
		h[0].say(2, 1, 1)
		h[0].say(everybody, 1, 2)
		h[1].say(1, 2, 3)
		want(t, h[0], "[3]")
		want(t, h[1], "[]")
		want(t, h[2], "[2]")
		s.Set("a", "b", Rule{Delay: time.Second})
		h[0].say(2, 1, 4)
		synctest.Wait()
		s.Set("a", "b", Rule{Cut: true}) // what is under way is lost
		time.Sleep(2 * time.Second)
		s.Set("a", "b", Rule{})
		h[0].say(2, 1, 5)
		want(t, h[1], "[5]")
		if got := s.Stats(); got.Cut != 3 {
			t.Errorf("%+v", got)
		}
	})
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := hosts(t)
		s.Set("a", "b", Rule{Delay: 300 * time.Millisecond})
		h[0].say(2, 1, 1)
		h[0].say(3, 1, 2)
		want(t, h[2], "[2]")
		time.Sleep(299 * time.Millisecond)
		want(t, h[1], "[]")
		h[0].say(2, 1, 3)
		synctest.Wait()
		s.Set("a", "b", Rule{}) // later, and no earlier than the one before it
		h[0].say(2, 1, 4)
		time.Sleep(time.Millisecond)
		want(t, h[1], "[1]")
		time.Sleep(299 * time.Millisecond)
		want(t, h[1], "[3 4]")
	})
}

func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := hosts(t)
		const frames, loss = 1000, 0.3
		s.Set("a", "b", Rule{Loss: loss})
		for range frames {
			h[0].say(2, 1, 1)
		}
		synctest.Wait()
		got, stats := len(h[1].hears), s.Stats()
		if got+int(stats.Lost) != frames || math.Abs(float64(got)/frames-(1-loss)) > 0.05 {
			t.Errorf("%d of %d frames came, %+v", got, frames, stats)
		}
	})
}

func TestOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h := hosts(t)
		s.Set("a", "b", Rule{Delay: time.Minute})
		const more = 10
		for range maxQueued + 1 + more { // one is out of the queue, and waits
			h[0].say(2, 1, 1)
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := s.Stats(); len(h[1].hears) != maxQueued+1 || got.Overrun != more {
			t.Errorf("%d frames came, %+v", len(h[1].hears), got)
		}
	})
}
