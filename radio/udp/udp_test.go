package udp

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

func listen(t testing.TB, cfg Config) *Link {
	t.Helper()
	l, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// at is the address of l as seen through ip.
func at(l *Link, ip string) radio.Addr {
	return radio.UDPAddr(netip.AddrPortFrom(netip.MustParseAddr(ip), l.LocalAddr().Port()))
}

// linkLocal is a link-local address of this host with its zone.
func linkLocal(t *testing.T) string {
	ifaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range ifaces {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && i.Flags&net.FlagUp != 0 && n.IP.To4() == nil && n.IP.IsLinkLocalUnicast() {
				return n.IP.String() + "%" + i.Name
			}
		}
	}
	t.Skip("no interface of this host has a link-local address")
	return ""
}

func hasIPv6(t *testing.T) {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		t.Skip("this host has no IPv6 loopback address")
	}
	c.Close()
}

func TestConformance(t *testing.T) {
	each := func(ip string) func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
		return func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
			x, y := listen(t, Config{}), listen(t, Config{})
			return x, y, at(x, ip), at(y, ip)
		}
	}
	t.Run("IPv6", func(t *testing.T) { hasIPv6(t); radiotest.TestLink(t, each("::1")) })
	t.Run("IPv4", func(t *testing.T) { radiotest.TestLink(t, each("127.0.0.1")) })
	t.Run("link-local", func(t *testing.T) { radiotest.TestLink(t, each(linkLocal(t))) })
	t.Run("bound to an address", func(t *testing.T) {
		radiotest.TestLink(t, func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
			local := Config{Addr: netip.MustParseAddrPort("127.0.0.1:0")}
			x, y := listen(t, local), listen(t, local)
			return x, y, radio.UDPAddr(x.LocalAddr()), radio.UDPAddr(y.LocalAddr())
		})
	})
}

func TestBoundToInterface(t *testing.T) {
	l, err := Listen(Config{Interface: "lo"})
	if err != nil {
		t.Skipf("this host does not let us bind to lo: %v", err)
	}
	defer l.Close()
	other := listen(t, Config{})
	if err := other.Send(at(l, "127.0.0.1"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Receive(make([]byte, MTU)); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{Interface: "nosuchinterface"}); err == nil {
		t.Error("an interface that does not exist was accepted")
	}
}

func TestPortTaken(t *testing.T) {
	l := listen(t, Config{})
	if _, err := Listen(Config{Addr: netip.AddrPortFrom(netip.Addr{}, l.LocalAddr().Port())}); err == nil {
		t.Error("two links share a port")
	}
}

func TestEmptyDatagramIsNoMessage(t *testing.T) {
	l := listen(t, Config{})
	c, err := net.Dial("udp", at(l, "127.0.0.1").IP.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write(nil)
	c.Write([]byte("x"))
	b := make([]byte, MTU)
	if n, _, err := l.Receive(b); err != nil || n != 1 {
		t.Errorf("received %d bytes, %v; want the one of the second datagram", n, err)
	}
}

// A dead peer's ICMP error must not come out of Receive and end the loop that
// serves all the others.
func TestUnreachablePeer(t *testing.T) {
	l, other := listen(t, Config{}), listen(t, Config{})
	gone := listen(t, Config{})
	dead := at(gone, "127.0.0.1")
	gone.Close()
	for range 3 {
		l.Send(dead, []byte("anybody there?"))
		time.Sleep(time.Millisecond)
	}
	if err := other.Send(at(l, "127.0.0.1"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Receive(make([]byte, MTU)); err != nil {
		t.Error(err)
	}
}

func TestNoAllocation(t *testing.T) {
	for name, ip := range map[string]func(t *testing.T) string{
		"IPv4":       func(*testing.T) string { return "127.0.0.1" },
		"IPv6":       func(t *testing.T) string { hasIPv6(t); return "::1" },
		"link-local": linkLocal,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := listen(t, Config{}), listen(t, Config{})
			to, msg, buf := at(b, ip(t)), make([]byte, 200), make([]byte, MTU)
			got := testing.AllocsPerRun(100, func() {
				if err := a.Send(to, msg); err != nil {
					t.Fatal(err)
				}
				if _, _, err := b.Receive(buf); err != nil {
					t.Fatal(err)
				}
			})
			if got > 0 {
				t.Errorf("%v allocations for one message sent and received", got)
			}
		})
	}
}

func BenchmarkSendReceive(b *testing.B) {
	x, y := listen(b, Config{}), listen(b, Config{})
	to, msg, buf := at(y, "127.0.0.1"), make([]byte, 200), make([]byte, MTU)
	b.ReportAllocs()
	for b.Loop() {
		x.Send(to, msg)
		y.Receive(buf)
	}
}
