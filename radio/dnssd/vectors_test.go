package dnssd

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/radio"
)

const vectorDir = "../../../shared/vectors/thread"

// Packets captured from otbr-agent, the border router that most Thread
// networks have, and what a browser makes of them.
func TestBorderRouterVectors(t *testing.T) {
	if _, err := os.Stat(vectorDir); err != nil {
		t.Skip("the captured packets in shared/vectors/thread are not beside this checkout")
	}
	lab := func(partition, timestamp, state int) string {
		return fmt.Sprintf(" Lab-Thread a1b2c3d4e5f60708 pt %d at %d sb %#x fd2f:65a7:7e6b:1::/64", partition, timestamp, state)
	}
	const node = "operational 87E1B004E235A130-0000000000000002 [udp:[fd2f:65a7:7e6b:1:17ed:3696:a5a6:dbfa]:5540] {5s 300ms 4s}"
	const first, second = "border router LabVendor LabBR #B890", "border router LabVendor LabBR #7CFA"
	const firstAt = " [udp:[fe80::6429:57ff:fe68:f559%eth0]:49154 udp:[fda1:b2c3:d4e5:708:6429:57ff:fe68:f559]:49154 udp:10.77.0.1:49154]"
	const secondAt = " [udp:[fe80::8089:d2ff:fe96:aa67%eth0]:4915# udp:[fda1:b2c3:d4e5:708:8089:d2ff:fe96:aa67]:4915# udp:10.77.0.2:4915#]"
	port := func(digit string) string { return strings.ReplaceAll(secondAt, "#", digit) }
	for file, want := range map[string][]string{
		"mdns-01-single-br-leader.txt":             {first + firstAt + lab(828699576, 65536, 0x1fb1)},
		"mdns-02-srp-matter-advertising-proxy.txt": {node},
		"mdns-03-browse-matter-from-host.txt":      {node},
		"mdns-04-srp-remove-goodbye.txt":           nil,
		"mdns-05-two-brs-second-unprovisioned.txt": {second + port("2"), first + firstAt + lab(828699576, 65536, 0x1fb1)},
		"mdns-06-two-networks-fragmented.txt": {
			second + port("4") + " Other-Net f6668334acb18aef pt 31936201 at 65536 sb 0x1fb1 fd4a:cac5:1ac0:1::/64",
			first + firstAt + lab(828699576, 65536, 0x1fb1)},
	} {
		t.Run(file, func(t *testing.T) {
			if got := browseCapture(t, file); !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// browseCapture hands the responses of a capture to a Conn that browses for
// everything, and lists what it found.
func browseCapture(t *testing.T, file string) (found []string) {
	b, err := os.ReadFile(filepath.Join(vectorDir, file))
	if err != nil {
		t.Fatal(err)
	}
	c, _, now := busyConn(t)
	var browses []*browse
	for _, q := range []Query{BorderRouters(), Operationals()} {
		b := newBrowse(c, q.name())
		c.locked(b.start)
		browses = append(browses, b)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		raw, ok := strings.CutPrefix(lines.Text(), "raw: ")
		if !ok {
			continue
		}
		packet, err := hex.DecodeString(strings.TrimSpace(raw))
		if err != nil {
			t.Fatal(err)
		}
		c.deliver(Packet{Iface: 1, Multicast: true, From: netip.MustParseAddrPort("[fe80::9%eth0]:5353"), Data: packet})
		*now = now.Add(2 * time.Second)
	}
	c.locked(func(time.Time) {
		for _, b := range browses {
			for _, e := range b.take() {
				s := fmt.Sprintf("%v %s %v", e.Kind, e.Instance, e.Addrs)
				if e.Kind == radio.Operational {
					s += fmt.Sprint(" ", e.Session)
				}
				if n := e.Thread; n.NetworkName != "" {
					s += fmt.Sprintf(" %s %x pt %d at %d sb %#x %v", n.NetworkName, n.ExtendedPANID, n.Partition, n.ActiveTimestamp, n.State, n.Mesh)
				}
				found = append(found, s)
			}
		}
	})
	return found
}
