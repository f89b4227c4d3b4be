package fabric

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric/cert"
)

const (
	start   = int64(1_800_000_000_000)
	gateway = cert.NodeID(0xA1)
)

// ledger applies commands the way a log does.
type ledger struct {
	t     *testing.T
	state *State
}

func (l *ledger) apply(c Command) Code {
	l.t.Helper()
	if c.Version == 0 {
		c.Version = c.Needs()
	}
	if c.Time == 0 {
		c.Time = l.state.Time
	}
	next, err := Apply(l.state, l.state.Index+1, &c)
	l.state = next
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	if err != nil {
		l.t.Fatal(err)
	}
	return ""
}

func (l *ledger) must(c Command) {
	l.t.Helper()
	if code := l.apply(c); code != "" {
		l.t.Fatalf("refused: %s", code)
	}
}

func founded(t *testing.T) *ledger {
	l := &ledger{t, &State{}}
	l.must(Command{Time: start, Found: &Found{
		Home:       Home{Name: "home", FabricID: 1, Root: []byte("root"), Birth: start, GatewayCAT: cert.NewCAT(1, 1)},
		Generation: Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed")},
		Gateway:    Gateway{Node: gateway, Name: "hall", NOC: []byte("noc")},
	}})
	return l
}

func reserve(n cert.NodeID) Command {
	return Command{Reserve: &Reserve{Node: n, Gateway: gateway, Deadline: start + 60_000, Facts: Facts{VendorID: 0xFFF1}}}
}

func issue(n cert.NodeID) Command {
	return Command{Issue: &Issue{Node: n, NOCHash: bytes.Repeat([]byte{1}, 32), PublicKey: bytes.Repeat([]byte{4}, 65)}}
}

func admit(n cert.NodeID) Command   { return Command{Admit: &Admit{Node: n}} }
func abandon(n cert.NodeID) Command { return Command{Abandon: &Abandon{Node: n, Reason: "test"}} }
func remove(n cert.NodeID) Command  { return Command{Remove: &Remove{n, "test"}} }

func TestPairing(t *testing.T) {
	l := founded(t)
	l.must(reserve(7))
	l.must(issue(7))
	l.must(admit(7))
	d := l.state.Devices[7]
	if d.Phase != Admitted || d.Zone != defaultZone || d.AdmittedAt != start || len(d.Serial) != 13 {
		t.Errorf("%+v", d)
	}
	l.must(remove(7))
	if l.state.Devices[7] != nil || !bytes.Equal(l.state.Tombstones[7].Serial, d.Serial) {
		t.Error("the device was not buried")
	}
}

func TestRefusals(t *testing.T) {
	late := issue(7)
	late.Time = start + 61_000
	for name, c := range map[string]struct {
		before []Command
		last   Command
		want   Code
	}{
		"second founding":    {nil, Command{Found: &Found{}}, CodeFounded},
		"no kind":            {nil, Command{}, CodeUnknownKind},
		"newer release":      {nil, Command{Version: Version + 1, Admit: &Admit{Node: 7}}, CodeUnknownKind},
		"node id 0":          {nil, reserve(0), CodeInvalid},
		"group node id":      {nil, reserve(0xFFFF_FFFF_FFFF_0001), CodeInvalid},
		"gateway's node id":  {nil, reserve(gateway), CodeUsed},
		"node id twice":      {[]Command{reserve(7)}, reserve(7), CodeUsed},
		"abandoned node id":  {[]Command{reserve(7), abandon(7)}, reserve(7), CodeUsed},
		"removed node id":    {[]Command{reserve(7), issue(7), admit(7), remove(7)}, reserve(7), CodeUsed},
		"stranger":           {nil, Command{Reserve: &Reserve{Node: 7, Gateway: 9, Deadline: start + 1}}, CodeNotAMember},
		"unknown zone":       {nil, Command{Reserve: &Reserve{Node: 7, Gateway: gateway, Zone: "attic", Deadline: start + 1}}, CodeZone},
		"past deadline":      {nil, Command{Reserve: &Reserve{Node: 7, Gateway: gateway, Deadline: start}}, CodeInvalid},
		"far deadline":       {nil, Command{Reserve: &Reserve{Node: 7, Gateway: gateway, Deadline: start + MaxReservation.Milliseconds() + 1}}, CodeInvalid},
		"issue unreserved":   {nil, issue(7), CodeUnknown},
		"issue twice":        {[]Command{reserve(7), issue(7)}, issue(7), CodePhase},
		"issue late":         {[]Command{reserve(7)}, late, CodeDeadline},
		"issue no hash":      {[]Command{reserve(7)}, Command{Issue: &Issue{Node: 7}}, CodeInvalid},
		"admit reserved":     {[]Command{reserve(7)}, admit(7), CodePhase},
		"admit twice":        {[]Command{reserve(7), issue(7), admit(7)}, admit(7), CodePhase},
		"abandon admitted":   {[]Command{reserve(7), issue(7), admit(7)}, abandon(7), CodePhase},
		"remove issued":      {[]Command{reserve(7), issue(7)}, remove(7), CodePhase},
		"zone twice":         {nil, Command{AddZone: &AddZone{defaultZone}}, CodeExists},
		"no zone":            {nil, Command{AddZone: &AddZone{}}, CodeInvalid},
		"unknown anchor":     {nil, Command{RemoveAnchor: &RemoveAnchor{"x"}}, CodeNoAnchor},
		"empty anchor":       {nil, Command{AddAnchors: &AddAnchors{[]Anchor{{Kind: PAA}}}}, CodeInvalid},
		"past exception":     {nil, Command{AddException: &Exception{Name: "x", Expires: start}}, CodeInvalid},
		"no SSID":            {nil, wifi("attic", ""), CodeInvalid},
		"long SSID":          {nil, wifi("attic", strings.Repeat("x", 33)), CodeInvalid},
		"short PAN id":       {nil, Command{SetNetwork: &SetNetwork{Name: "mesh", Kind: Thread, ID: []byte("1234567"), Sealed: []byte("x"), DataKey: 1}}, CodeInvalid},
		"no kind of network": {nil, Command{SetNetwork: &SetNetwork{Name: "mesh", ID: []byte("12345678"), Sealed: []byte("x"), DataKey: 1}}, CodeInvalid},
		"nameless network":   {nil, wifi("", "ssid"), CodeInvalid},
		"no credentials":     {nil, Command{SetNetwork: &SetNetwork{Name: "a", Kind: WiFi, ID: []byte("ssid"), DataKey: 1}}, CodeInvalid},
		"other data key":     {nil, Command{SetNetwork: &SetNetwork{Name: "a", Kind: WiFi, ID: []byte("ssid"), Sealed: []byte("x"), DataKey: 2}}, CodeSealing},
		"other kind":         {[]Command{wifi("a", "ssid")}, Command{SetNetwork: &SetNetwork{Name: "a", Kind: Thread, ID: []byte("12345678"), Sealed: []byte("x"), DataKey: 1}}, CodeExists},
		"unknown network":    {nil, Command{RemoveNetwork: &RemoveNetwork{"x"}}, CodeNoNetwork},
		"unknown preferred":  {nil, Command{PreferNetwork: &PreferNetwork{"x"}}, CodeNoNetwork},
		"unknown exception":  {nil, Command{RemoveException: &RemoveException{"x"}}, CodeNoException},
	} {
		t.Run(name, func(t *testing.T) {
			l := founded(t)
			for _, b := range c.before {
				l.must(b)
			}
			before := *l.state
			if got := l.apply(c.last); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			before.Index, before.Time = l.state.Index, l.state.Time
			if d := cmp.Diff(&before, l.state); d != "" {
				t.Errorf("a refused command changed the state: %s", d)
			}
		})
	}
	l := &ledger{t, &State{}}
	if got := l.apply(Command{Time: start, Admit: &Admit{Node: 7}}); got != CodeNotFounded {
		t.Errorf("without a fabric: %q", got)
	}
}

func wifi(name, ssid string) Command {
	return Command{SetNetwork: &SetNetwork{Name: name, Kind: WiFi, ID: []byte(ssid), Sealed: []byte("sealed"), DataKey: 1}}
}

// TestNetworks keeps exactly one network of a kind preferred, whatever
// happens to the others.
func TestNetworks(t *testing.T) {
	l := founded(t)
	order := func(kind NetworkKind) string {
		var names []string
		for i, n := range l.state.NetworksOf(kind) {
			if n.Preferred != (i == 0) {
				t.Errorf("%s is preferred: %v, in place %d", n.Name, n.Preferred, i)
			}
			names = append(names, n.Name)
		}
		return strings.Join(names, " ")
	}
	mesh := Command{SetNetwork: &SetNetwork{Name: "mesh", Kind: Thread, ID: []byte("12345678"), Sealed: []byte("sealed"), DataKey: 1}}
	for _, s := range []struct {
		c    Command
		want string
	}{
		{wifi("b", "ssid"), "b"},
		{wifi("a", "ssid"), "b a"},
		{mesh, "b a"},
		{wifi("c", "ssid"), "b a c"},
		{Command{PreferNetwork: &PreferNetwork{"c"}}, "c a b"},
		{wifi("c", "other"), "c a b"},
		{wifi("a", "other"), "c a b"},
		{Command{RemoveNetwork: &RemoveNetwork{"c"}}, "a b"},
		{Command{RemoveNetwork: &RemoveNetwork{"b"}}, "a"},
		{Command{RemoveNetwork: &RemoveNetwork{"a"}}, ""},
	} {
		before, names := l.state, len(l.state.Networks)
		l.must(s.c)
		if got := order(WiFi); got != s.want {
			t.Errorf("%q, want %q", got, s.want)
		}
		if len(before.Networks) != names {
			t.Error("Apply changed its argument")
		}
	}
	if got := order(Thread); got != "mesh" {
		t.Errorf("Thread networks %q", got)
	}
	l.must(Command{RemoveNetwork: &RemoveNetwork{"mesh"}})
	if l.state.Networks != nil {
		t.Error("no networks are not nil")
	}
	for i := range MaxNetworks {
		l.must(wifi(string(rune('A'+i)), "ssid"))
	}
	if code := l.apply(wifi("one more", "ssid")); code != CodeFull {
		t.Errorf("one too many: %q", code)
	}
}

func TestTimeNeverRunsBackwards(t *testing.T) {
	l := founded(t)
	c := reserve(7)
	c.Time = start - 1000
	l.must(c)
	if l.state.Time != start {
		t.Errorf("time is %d", l.state.Time)
	}
}

func TestTextsAreBounded(t *testing.T) {
	l := founded(t)
	c := reserve(7)
	c.Reserve.Facts.VendorName = strings.Repeat("ü", MaxText)
	l.must(c)
	if got := l.state.Devices[7].Facts.VendorName; len(got) > MaxText || strings.ToValidUTF8(got, "") != got {
		t.Errorf("%d octets kept", len(got))
	}
}

// TestRandomCommands holds the invariants over random logs: no node id and no
// serial number comes twice, a State once made never changes, and the same
// log gives the same State.
func TestRandomCommands(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		var log []Command
		l, given := founded(t), map[string]cert.NodeID{}
		for range 300 {
			n := cert.NodeID(random.IntN(40) + 1)
			c := []Command{reserve(n), issue(n), admit(n), abandon(n), remove(n)}[random.IntN(5)]
			c.Time = l.state.Time + int64(random.IntN(100))
			if c.Reserve != nil {
				c.Reserve.Deadline = c.Time + 1000
			}
			log = append(log, c)
			before, copied := l.state, *l.state
			devices := len(before.Devices)
			taken := before.Used(n)
			refused := l.apply(c) != ""
			if c.Reserve != nil && !refused {
				s := string(l.state.Devices[n].Serial)
				if _, again := given[s]; again || taken {
					t.Fatalf("seed %d: node %v or its serial was given before", seed, n)
				}
				given[s] = n
			}
			if devices != len(before.Devices) || before.Index != copied.Index {
				t.Fatalf("seed %d: Apply changed its argument", seed)
			}
		}
		again := founded(t)
		for _, c := range log {
			again.apply(c)
		}
		if d := cmp.Diff(l.state, again.state); d != "" {
			t.Fatalf("seed %d: replay differs: %s", seed, d)
		}
	}
}

func BenchmarkReserve(b *testing.B) {
	l := founded(&testing.T{})
	for n := range cert.NodeID(100) {
		l.must(reserve(n + 1000))
	}
	c := reserve(7)
	c.Version, c.Time = c.Needs(), start
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Apply(l.state, 200, &c); err != nil {
			b.Fatal(err)
		}
	}
}
