package thread

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"gatehouse/radio"
)

// The host of the lab: its own prefix, the mesh behind a border router, and
// what loopback and multicast add.
const labRoutes = `fd2f65a77e6b00010000000000000000 40 00000000000000000000000000000000 00 fe80000000000000642957fffe68f559 00000400 00000001 00000000 00850003     eth0
fda1b2c3d4e507080000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00400001     eth0
fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000002 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000002 00000000 00450003     eth0
00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000004 00000000 80200001       lo
ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000003 00000000 00000001     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
`

var labMesh = netip.MustParsePrefix("fd2f:65a7:7e6b:1::/64")

func routes(t testing.TB, s string) []Route {
	t.Helper()
	r, err := ParseRoutes(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParseRoutes(t *testing.T) {
	got := routes(t, labRoutes)
	if len(got) != 6 { // the last is down
		t.Errorf("%d routes", len(got))
	}
	want := Route{labMesh, netip.MustParseAddr("fe80::6429:57ff:fe68:f559"), 1024, "eth0", false}
	if got[0] != want {
		t.Errorf("the first is %+v", got[0])
	}
	if r := got[1]; r.Via.IsValid() || r.To != netip.MustParsePrefix("fda1:b2c3:d4e5:708::/64") {
		t.Errorf("the second is %+v", r)
	}
	line := strings.SplitAfter(labRoutes, "\n")[0]
	for name, bad := range map[string]string{
		"too few fields":   strings.Replace(line, "eth0", "", 1),
		"short address":    strings.Replace(line, "fd2f", "fd2", 1),
		"not hex":          strings.Replace(line, "fd2f", "xd2f", 1),
		"long prefix":      strings.Replace(line, " 40 ", " 81 ", 1),
		"prefix not hex":   strings.Replace(line, " 40 ", " 4x ", 1),
		"short metric":     strings.Replace(line, "00000400", "400", 1),
		"endless line":     strings.Repeat("x", 2*maxRouteLine),
		"an old interface": "default via fe80::1 dev eth0 proto ra metric 1024 pref medium\n",
	} {
		if _, err := ParseRoutes(strings.NewReader(line + bad)); err == nil || name != "endless line" && !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := routes(t, strings.Repeat(line, maxRoutes+10)); len(got) != maxRoutes {
		t.Errorf("%d of more than %d routes", len(got), maxRoutes)
	}
	if f, err := os.Open(RoutesFile); err == nil {
		defer f.Close()
		if _, err := ParseRoutes(f); err != nil {
			t.Errorf("this host's: %v", err)
		}
	}
}

func TestTowards(t *testing.T) {
	route := func(to string, metric uint32, via string) Route {
		r := Route{To: netip.MustParsePrefix(to), Metric: metric}
		if via != "" {
			r.Via = netip.MustParseAddr(via)
		}
		return r
	}
	all := []Route{route("::/0", 1, "fe80::1"), route("fd00::/8", 5, "fe80::2"), route("fd2f:65a7:7e6b:1::/64", 9, "fe80::3"),
		route("fd2f:65a7:7e6b:1::/64", 7, "fe80::4"), route("fd2f:65a7:7e6b:1::/64", 7, "fe80::5"), route("fd2f:65a7:7e6b:1::/96", 1, "fe80::6"),
		route("fd2f:65a7:7e6b:2::/64", 1, "fe80::7"), route("fc00::/7", 1, "fe80::8")}
	for seed := range len(all) {
		var via []string
		for _, r := range Towards(append(slices.Clone(all[seed:]), all[:seed]...), labMesh) {
			via = append(via, r.Via.String())
		}
		slices.Sort(via)
		if !slices.Equal(via, []string{"fe80::4", "fe80::5"}) {
			t.Errorf("in order %d: %v", seed, via)
		}
	}
}

// lab is a dataset with the identity and the timestamp of the captured network.
var lab = strings.Replace(demo, "1111111122222222", "a1b2c3d4e5f60708", 1)

// router is one that serves the lab's network, changed by each change.
func router(changes ...func(*radio.Advertisement)) radio.Advertisement {
	a := radio.Advertisement{Kind: radio.BorderRouter, Instance: "LabBR",
		Addrs: []radio.Addr{radio.UDPAddr(netip.MustParseAddrPort("[fe80::6429:57ff:fe68:f559%eth0]:49154"))},
		Thread: radio.ThreadRouter{NetworkName: "Lab-Thread", ExtendedPANID: 0xa1b2c3d4e5f60708, Partition: 5,
			ActiveTimestamp: 1 << 16, State: 0x1fb1, Mesh: labMesh}}
	for _, change := range changes {
		change(&a)
	}
	return a
}

func TestCheck(t *testing.T) {
	other := func(a *radio.Advertisement) { a.Thread.ExtendedPANID, a.Thread.NetworkName = 9, "Other" }
	unprovisioned := func(a *radio.Advertisement) { a.Thread = radio.ThreadRouter{State: 0x1820} }
	detached := func(a *radio.Advertisement) { a.Thread.State = 0x1829 }
	silent := func(a *radio.Advertisement) { a.Thread.State = 0 }
	terse := func(a *radio.Advertisement) { a.Thread.Partition, a.Thread.ActiveTimestamp = 0, 0 }
	apart := func(a *radio.Advertisement) { a.Thread.Partition = 6 }
	newer := func(a *radio.Advertisement) { a.Thread.ActiveTimestamp = 2 << 16 }
	older := func(a *radio.Advertisement) { a.Thread.ActiveTimestamp = 1 }
	meshless := func(a *radio.Advertisement) { a.Thread.Mesh = netip.Prefix{} }
	otherMesh := func(a *radio.Advertisement) { a.Thread.Mesh = netip.MustParsePrefix("fd4a:cac5:1ac0:1::/64") }
	moved := func(a *radio.Advertisement) { a.Addrs = nil }
	light := func(a *radio.Advertisement) { a.Kind = radio.Commissionable }

	direct := strings.Replace(labRoutes, "fe80000000000000642957fffe68f559", strings.Repeat("0", 32), 1)
	noRoute := labRoutes[strings.Index(labRoutes, "\n")+1:]
	rejected := strings.Replace(labRoutes, "00850003", "00200201", 1)
	broader := strings.Replace(labRoutes, "fd2f65a77e6b00010000000000000000 40", "fd000000000000000000000000000000 08", 1)
	second := labRoutes + strings.Replace(labRoutes[:strings.Index(labRoutes, "\n")+1], "642957fffe68f559", "8089d2fffe96aa67", 1)

	one := []radio.Advertisement{router()}
	tests := []struct {
		name    string
		dataset string
		routers []radio.Advertisement
		routes  string
		want    string // codes
	}{
		{"all is well", lab, one, labRoutes, ""},
		{"with a device beside it", lab, []radio.Advertisement{router(), router(light)}, labRoutes, ""},
		{"a router that does not tell its state", lab, []radio.Advertisement{router(silent)}, labRoutes, ""},
		{"the host is the router", lab, one, direct, ""},
		{"a broader route", lab, one, broader, ""},
		{"two routes, one of them dead", lab, one, second, ""},

		{"an incomplete dataset", "0208a1b2c3d4e5f60708", one, labRoutes, "thread-dataset-incomplete"},
		{"nobody there", lab, nil, labRoutes, "thread-no-border-router"},
		{"devices only", lab, []radio.Advertisement{router(light)}, labRoutes, "thread-no-border-router"},
		{"another network", lab, []radio.Advertisement{router(other)}, labRoutes, "thread-network-not-served"},
		{"no network", lab, []radio.Advertisement{router(unprovisioned)}, labRoutes, "thread-router-unprovisioned thread-network-not-served"},
		{"one of two without a network", lab, []radio.Advertisement{router(), router(unprovisioned)}, labRoutes, "thread-router-unprovisioned"},
		{"one of two in another network", lab, []radio.Advertisement{router(other), router()}, labRoutes, ""},
		{"one of two that tells little", lab, []radio.Advertisement{router(), router(terse)}, labRoutes, ""},
		{"detached", lab, []radio.Advertisement{router(detached)}, labRoutes, "thread-router-not-attached"},
		{"one of two detached", lab, []radio.Advertisement{router(detached), router()}, labRoutes, ""},
		{"split", lab, []radio.Advertisement{router(), router(apart)}, labRoutes, "thread-network-split"},
		{"newer dataset", lab, []radio.Advertisement{router(newer)}, labRoutes, "thread-dataset-outdated"},
		{"older dataset", lab, []radio.Advertisement{router(older)}, labRoutes, "thread-dataset-not-adopted"},
		{"no mesh prefix", lab, []radio.Advertisement{router(meshless)}, labRoutes, "thread-mesh-unrouted"},
		{"two mesh prefixes, one routed", lab, []radio.Advertisement{router(), router(otherMesh)}, labRoutes, "thread-mesh-prefixes-differ thread-no-route"},
		{"no route", lab, one, noRoute, "thread-no-route"},
		{"no routes at all", lab, one, "", "thread-no-route"},
		{"unreachable route", lab, one, rejected, "thread-no-route"},
		{"route over a router that has gone", lab, []radio.Advertisement{router(moved)}, labRoutes, "thread-route-stale"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			findings := Check(mustParse(t, tt.dataset), tt.routers, routes(t, tt.routes))
			if got := codes(findings); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			for _, f := range findings {
				if f.Message == "" || f.Remedy == "" {
					t.Errorf("%+v says too little", f)
				}
				noSecret(t, fmt.Sprint(f))
			}
		})
	}
}

func codes(findings []Finding) string {
	var s []string
	for _, f := range findings {
		s = append(s, string(f.Code))
	}
	return strings.Join(s, " ")
}

// TestCheckCaptured looks at the lab through the packets captured there.
func TestCheckCaptured(t *testing.T) {
	for file, want := range map[string]string{
		"mdns-01-single-br-leader.txt":             "",
		"mdns-05-two-brs-second-unprovisioned.txt": "thread-router-unprovisioned",
		"mdns-06-two-networks-fragmented.txt":      "",
		"mdns-07-two-brs-one-network.txt":          "thread-dataset-outdated",
	} {
		if got := codes(Check(mustParse(t, lab), captured(t, file), routes(t, labRoutes))); got != want {
			t.Errorf("%s: found %q, want %q", file, got, want)
		}
	}
	other := mustParse(t, demo)
	findings := Check(other, captured(t, "mdns-06-two-networks-fragmented.txt"), nil)
	if codes(findings) != "thread-network-not-served" || !strings.Contains(findings[0].Message, `"Lab-Thread", "Other-Net"`) {
		t.Errorf("for a third network: %+v", findings)
	}
}

// captured are the border routers of a capture, as they were last announced.
func captured(t *testing.T, file string) (routers []radio.Advertisement) {
	last := map[string]radio.Advertisement{}
	addrs := map[string][]radio.Addr{}
	lines := bufio.NewScanner(strings.NewReader(vectorFile(t, file)))
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
		var m dns.Msg
		if err := m.Unpack(packet); err != nil || !m.Response {
			continue
		}
		for _, rr := range append(m.Answer, m.Extra...) {
			name := rr.Header().Name
			instance, isRouter := strings.CutSuffix(name, "._meshcop._udp.local.")
			switch rr := rr.(type) {
			case *dns.TXT:
				if isRouter {
					a := radio.Advertisement{Kind: radio.BorderRouter, Instance: instance, Host: last[instance].Host}
					a.SetTXT(unescape(rr.Txt))
					last[instance] = a
				}
			case *dns.SRV:
				if isRouter {
					a := last[instance]
					a.Host = rr.Target
					last[instance] = a
				}
			case *dns.AAAA:
				ip, _ := netip.AddrFromSlice(rr.AAAA)
				addrs[name] = append(addrs[name], radio.UDPAddr(netip.AddrPortFrom(ip, 0)))
			}
		}
	}
	for _, a := range last {
		a.Kind, a.Addrs = radio.BorderRouter, addrs[a.Host]
		routers = append(routers, a)
	}
	return routers
}

// unescape undoes the presentation form in which miekg/dns has strings.
func unescape(txt []string) (out []string) {
	for _, s := range txt {
		var b []byte
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '\\' && i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
				b = append(b, (s[i+1]-'0')*100+(s[i+2]-'0')*10+s[i+3]-'0')
				i += 3
			case s[i] == '\\' && i+1 < len(s):
				i++
				b = append(b, s[i])
			default:
				b = append(b, s[i])
			}
		}
		out = append(out, string(b))
	}
	return out
}

func FuzzRoutes(f *testing.F) {
	f.Add(labRoutes)
	f.Add("fd2f65a77e6b00010000000000000000 40 0 00 fe80 00000400 1 0 00850003 eth0\n")
	f.Add("\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		routes, err := ParseRoutes(strings.NewReader(s))
		if err != nil {
			return
		}
		if len(routes) > maxRoutes || len(routes) > len(s)/100 {
			t.Fatalf("%d routes of %d bytes", len(routes), len(s))
		}
		for _, r := range routes {
			if !r.To.IsValid() {
				t.Fatalf("%+v", r)
			}
		}
		for _, r := range Towards(routes, labMesh) {
			if !r.To.Contains(labMesh.Addr()) {
				t.Fatalf("%v does not lead to %v", r.To, labMesh)
			}
		}
		Check(mustParse(t, lab), []radio.Advertisement{router()}, routes)
	})
}
