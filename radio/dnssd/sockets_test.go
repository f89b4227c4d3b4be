package dnssd_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// needLoopbackMulticast skips the test where the loopback interface does not
// carry IPv4 multicast between two sockets of this user.
func needLoopbackMulticast(t *testing.T) {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Skipf("this host has no loopback interface named lo: %v", err)
	}
	group := net.IPv4(224, 0, 0, 251)
	c, err := net.ListenPacket("udp4", "0.0.0.0:0")
	if err != nil {
		t.Skipf("this host has no IPv4: %v", err)
	}
	defer c.Close()
	p := ipv4.NewPacketConn(c)
	if err := p.JoinGroup(lo, &net.UDPAddr{IP: group}); err != nil {
		t.Skipf("this host does not let us join a multicast group on lo: %v", err)
	}
	cm := ipv4.ControlMessage{IfIndex: lo.Index, Src: net.IPv4(127, 0, 0, 1)}
	if _, err := p.WriteTo([]byte("x"), &cm, &net.UDPAddr{IP: group, Port: c.LocalAddr().(*net.UDPAddr).Port}); err != nil {
		t.Skipf("this host does not let us send multicast on lo: %v", err)
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	if _, _, err := c.ReadFrom(make([]byte, 1)); err != nil {
		t.Skipf("this host does not deliver multicast on lo: %v", err)
	}
}

func openLoopback(t *testing.T) *dnssd.Conn {
	t.Helper()
	c, err := dnssd.Open(dnssd.Config{Interfaces: []string{"lo"}, Now: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Skipf("this host does not let us share port %d: %v", dnssd.Port, err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Two gateways and devices on one host with nothing but the loopback
// interface find each other, as in the demo.
func TestLoopback(t *testing.T) {
	needLoopbackMulticast(t)
	gate, device := openLoopback(t), openLoopback(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var id [8]byte
	rand.Read(id[:])
	light := dnssd.CommissionableService(radio.Advertisement{Instance: fmt.Sprintf("%016X", id), Discriminator: 3840}, 5540)
	light.SkipProbe = true
	registered, err := device.Advertise(ctx, light)
	if err != nil {
		t.Fatal(err)
	}
	node := radio.Advertisement{CompressedFabric: uint64(id[0])<<56 | 1, Node: 2}
	if _, err := device.Advertise(ctx, dnssd.OperationalService(node, 5541)); err != nil {
		t.Fatal(err)
	}

	ad, err := gate.Resolve(ctx, radio.OperationalInstance(node.CompressedFabric, node.Node))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ad.Addrs); got != "[udp:127.0.0.1:5541 udp:[::1]:5541]" && got != "[udp:127.0.0.1:5541]" {
		t.Errorf("addresses %s", got)
	}
	for e := range gate.Browse(ctx, dnssd.LongDiscriminator(3840)) {
		if e.Instance != light.Instance {
			continue // another test's
		}
		if e.Change == dnssd.Added {
			registered.Close()
		}
		if e.Change == dnssd.Removed {
			return
		}
	}
	t.Error("the light was not found and lost within 20 s")
}

func TestOpenTwiceAndClose(t *testing.T) {
	a, b := openLoopback(t), openLoopback(t)
	if a.Host() == b.Host() || len(a.Host()) != 12 {
		t.Errorf("hosts are named %q and %q", a.Host(), b.Host())
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}
