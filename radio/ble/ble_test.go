package ble_test

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"gatehouse/radio/ble"
)

func TestScanConnectWriteRead(t *testing.T) {
	l := newLab(t)
	d := l.device()
	start := time.Now()
	ad := l.find()
	if len(ad.Addrs) != 1 || ad.RSSI != -56 || ad.Addrs[0].Peer != strings.TrimSuffix(d.Address().String(), " public") {
		t.Errorf("found %+v", ad)
	}
	c := l.connect(ad.Addrs[0])
	if c.MTU() != ble.MTU {
		t.Errorf("MTU %d, want %d", c.MTU(), ble.MTU)
	}
	l.exchange(c, "handshake")
	t.Logf("from scan to subscribed and answered: %v", time.Since(start))
	l.exchange(c, strings.Repeat("x", c.MTU()-3))

	if links := l.central.Links(); len(links) != 1 || links[0].Timeout != 6*time.Second {
		t.Errorf("links %+v, want one with a supervision timeout of 6 s", links)
	}
	if err := c.Write(make([]byte, c.MTU()-2)); err == nil {
		t.Error("a value longer than the MTU allows is written")
	}
	c.Close()
	if _, err := c.Read(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	again := l.connect(ad.Addrs[0])
	l.exchange(again, "a second time")
	again.Write([]byte("go away")) // which it may do before it has confirmed
	if _, err := again.Read(); err != io.EOF {
		t.Errorf("Read after the device has disconnected: %v", err)
	}
	if s := l.radio.Stats(); !s.Up || s.Restarts != 0 {
		t.Errorf("stats %+v", s)
	}
}
