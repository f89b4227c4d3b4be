package radiotest

import (
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConnection(23)
		c.SetLatency(5 * time.Millisecond)
		start := time.Now()
		if err := c.Client.Write([]byte("one")); err != nil || time.Since(start) != 10*time.Millisecond {
			t.Errorf("write: %v after %v, want a round trip", err, time.Since(start))
		}
		if err := c.Client.Write(make([]byte, 21)); err == nil {
			t.Error("a packet longer than the MTU allows was accepted")
		}
		if p, err := c.Server.Read(); string(p) != "one" || err != nil {
			t.Errorf("read: %q, %v", p, err)
		}
		if got := c.Packets(); got != 1 {
			t.Errorf("%d packets", got)
		}
	})
}

func TestConnectionCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConnection(0)
		c.SetFate(Cut.At(2))
		c.Client.Write([]byte("one"))
		if err := c.Server.Write([]byte("two")); err == nil {
			t.Error("the cut packet was confirmed")
		}
		if p, err := c.Server.Read(); string(p) != "one" || err != nil {
			t.Errorf("what came before the cut: %q, %v", p, err)
		}
		for _, b := range []*Bearer{c.Client, c.Server} {
			if _, err := b.Read(); err != io.EOF {
				t.Errorf("read after the cut: %v", err)
			}
		}
	})
}

func TestConnectionMute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewConnection(0)
		c.SetFate(Mute.At(1))
		wrote, read := make(chan error, 1), make(chan error, 1)
		go func() { wrote <- c.Client.Write([]byte("one")) }()
		go func() { _, err := c.Server.Read(); read <- err }()
		time.Sleep(time.Hour)
		if len(wrote)+len(read) > 0 {
			t.Fatal("somebody was told")
		}
		c.Client.Close()
		if err := <-wrote; !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		time.Sleep(time.Hour)
		if len(read) > 0 {
			t.Fatal("the other side learnt of a close it cannot hear")
		}
		c.Server.Close()
		if err := <-read; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	})
}
