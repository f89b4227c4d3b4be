//go:build interop

package interop

import (
	"context"
	"encoding/json"
	"log"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"gatehouse/commissioner/interop/lab"
)

// TestNameMoves finds the home under its one host name, as a browser's
// resolver does: at the gateway that leads, and, when that one is lost, at
// another.
func TestNameMoves(t *testing.T) {
	t.Parallel()
	ctx := within(t, limit)
	n := network(t)
	first, err := host(t, n, "gate1").Gateway(ctx, gatehouseBin)
	check(t, err)
	for _, name := range []string{"gate2", "gate3"} {
		_, err := host(t, n, name).Join(ctx, first)
		check(t, err)
	}
	browser, err := host(t, n, "browser").Start([]string{resolver + "=1"}, os.Args[0])
	check(t, err)
	where := func() (addr string) {
		t.Helper()
		check(t, browser.Event(ctx, func(line json.RawMessage) bool {
			var e struct{ Found string }
			ok := json.Unmarshal(line, &e) == nil && e.Found != ""
			addr = e.Found
			return ok
		}))
		return addr
	}
	before := where()
	check(t, voters(ctx, first, 3))
	first.Proc.Kill()
	killed := time.Now()
	browser.Forget()
	for where() == before {
	}
	t.Logf("the name was at another gateway %v after its own was lost", time.Since(killed).Round(time.Millisecond))
}

// voters waits until a home has so many.
func voters(ctx context.Context, g *lab.Gateway, want int) error {
	for {
		var list struct{ Gateways []struct{ Role string } }
		line, err := g.Run(ctx, "gateways")
		if err == nil {
			err = json.Unmarshal(line, &list)
		}
		if err != nil {
			return err
		}
		n := 0
		for _, v := range list.Gateways {
			if v.Role == "voter" {
				n++
			}
		}
		if n == want {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// resolver makes this binary ask for gatehouse.local, over and over.
const resolver = "GATEHOUSE_TEST_RESOLVER"

// resolve asks the link once every 100 ms, from a port of its own, and prints
// each answer's global address.
func resolve() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := net.ListenUDP("udp6", nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		query := new(dns.Msg)
		query.SetQuestion("gatehouse.local.", dns.TypeAAAA)
		packet, _ := query.Pack()
		for ctx.Err() == nil {
			c.WriteToUDP(packet, &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: 5353, Zone: "eth0"})
			time.Sleep(100 * time.Millisecond)
		}
		c.Close()
	}()
	answer := make([]byte, 1500)
	for {
		n, err := c.Read(answer)
		if err != nil {
			return // it is over
		}
		var m dns.Msg
		if m.Unpack(answer[:n]) != nil {
			continue
		}
		for _, r := range m.Answer {
			if a, ok := r.(*dns.AAAA); ok && !a.AAAA.IsLinkLocalUnicast() {
				json.NewEncoder(os.Stdout).Encode(map[string]string{"found": a.AAAA.String()})
			}
		}
	}
}
