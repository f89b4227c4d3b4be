package dnssd_test

import (
	"errors"
	"testing"
	"time"

	"github.com/miekg/dns"

	"gatehouse/radio/dnssd"
	"gatehouse/radio/dnssd/dnssdtest"
)

// TestAlias moves a name from one host to another, whose addresses change, and
// gives it up.
func TestAlias(t *testing.T) {
	inHome(t, func(h *home) {
		float := func(c *dnssd.Conn) *dnssd.Registration {
			t.Helper()
			r, err := c.Alias("gatehouse")
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		h.setLose(func(s dnssdtest.Sent) bool {
			var m dns.Msg
			if err := m.Unpack(s.Data); err != nil {
				t.Error(err)
			}
			for _, r := range m.Answer {
				if r.Header().Class&(1<<15) == 0 {
					t.Errorf("others keep what they heard before: %v", r)
				}
			}
			return false
		})
		first, _ := h.open(2)
		float(first)
		if _, err := first.Alias("GATEHOUSE"); !errors.Is(err, dnssd.ErrConflict) {
			t.Errorf("twice: %v", err)
		}
		if _, err := first.Alias(""); err == nil {
			t.Error("an empty name is taken")
		}
		time.Sleep(time.Minute)
		const addresses = " gatehouse AAAA gatehouse AAAA gatehouse A"
		h.want(h.heard("!"), "0s fe80::2!"+addresses, "1s fe80::2!"+addresses, "3s fe80::2!"+addresses)
		first.Close() // as when it dies, but for the goodbye
		h.want(h.heard("!"), "1m0s fe80::2! gatehouse AAAA gone gatehouse AAAA gone gatehouse A gone host2 AAAA gone host2 AAAA gone host2 A gone")

		second, wire := h.open(3)
		r := float(second)
		time.Sleep(time.Minute)
		h.want(h.heard("!"), "1m0s fe80::3!"+addresses, "1m1s fe80::3!"+addresses, "1m3s fe80::3!"+addresses)
		h.inject("fe80::9", dnssd.Port, ask(true, "Gatehouse AAAA"))
		time.Sleep(time.Second)
		h.want(h.heard("to fe80::9"), "2m0s fe80::3! to fe80::9 gatehouse AAAA gatehouse AAAA")
		wire.SetAttachments(dnssdtest.Attach("home", 1, "eth0", "fd00::33/64"))
		time.Sleep(time.Minute)
		h.want(h.heard("!"), "2m3s fd00::33! gatehouse AAAA", "2m4s fd00::33! gatehouse AAAA", "2m6s fd00::33! gatehouse AAAA")
		r.Close()
		r.Close()
		h.inject("fe80::9", dnssd.Port, ask(true, "gatehouse AAAA"))
		time.Sleep(time.Second)
		h.want(h.heard("!"), "3m1s fd00::33! gatehouse AAAA gone")
	})
}
