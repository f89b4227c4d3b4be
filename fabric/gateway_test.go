package fabric

import (
	"bytes"
	"slices"
	"testing"

	"gatehouse/fabric/cert"
)

const second, third = cert.NodeID(0xA2), cert.NodeID(0xA3)

// household is a home of version 2 with one gateway.
func household(t *testing.T) *ledger {
	l := &ledger{t, &State{}}
	first := Gateway{Node: gateway, Name: "hall", NOC: []byte("noc"), SealKey: []byte("seal A1"), Version: 2}
	alone := Addressee{gateway, 0, first.SealKey, nil}
	kit := Addressee{recoveryKit, 0, []byte("kit"), nil}
	one := Envelope{gateway, 0, alone.To(), []byte("closed")}
	l.must(Command{Time: start, Found: &Found{
		Home:       Home{Name: "home", FabricID: 1, Root: []byte("root"), Birth: start, GatewayCAT: cert.NewCAT(1, 1), Recovery: kit.GatewayKey},
		Generation: Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed")},
		Gateway:    first,
		Keyring:    &Keyring{Number: 1, Issuing: []Envelope{one}, Shared: []Envelope{one, {recoveryKit, 0, kit.To(), []byte("closed")}}},
	}})
	return l
}

func (l *ledger) join(n cert.NodeID) {
	l.t.Helper()
	l.must(Command{ReserveGateway: &ReserveGateway{Node: n, Name: "box", PublicKey: make([]byte, 65), SealKey: []byte("seal " + n.String()),
		Version: max(2, l.state.Version)}})
	l.must(Command{IssueGateway: &IssueGateway{Node: n, NOC: []byte("noc"), CAT: l.state.Home.GatewayCAT.Version()}})
}

// sealed is what a leader proposes for the State as it is.
func (l *ledger) sealed() *Reseal {
	c := &Reseal{Of: l.state.Sealed(), Keyring: Keyring{Number: l.state.DataKey() + 1}, IssuerKey: []byte("k"), IPK: []byte("i"), Networks: map[string][]byte{}}
	close := func(to []Addressee) (envelopes []Envelope) {
		for _, a := range to {
			envelopes = append(envelopes, Envelope{a.Gateway, a.Helper, a.To(), []byte("closed")})
		}
		return envelopes
	}
	issuing, shared := l.state.Addressees()
	c.Keyring.Issuing, c.Keyring.Shared = close(issuing), close(shared)
	for name := range l.state.Networks {
		c.Networks[name] = []byte("sealed anew")
	}
	if l.state.People != nil {
		c.People = []byte("sealed anew")
	}
	return c
}

func TestGatewayJoins(t *testing.T) {
	l := household(t)
	if !l.state.SealedRight() || l.state.OpensAlone(gateway) || l.state.Version != 2 {
		t.Fatalf("%+v", l.state)
	}
	l.must(Command{ReserveGateway: &ReserveGateway{Node: second, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: 2}})
	if len(l.state.Members()) != 1 || !l.state.SealedRight() {
		t.Error("a gateway is a member without a certificate")
	}
	reserved := l.state.Gateways[second].Reserved
	l.must(Command{IssueGateway: &IssueGateway{Node: second, NOC: []byte("noc"), CAT: 1}})
	if g := l.state.Gateways[second]; !g.Member() || !bytes.Equal(g.Serial, reserved) || g.Reserved != nil {
		t.Errorf("%+v", g)
	}
	if l.state.SealedRight() || !l.state.OpensAlone(gateway) || l.state.OpensAlone(second) {
		t.Error("with two gateways, the first still opens all by itself")
	}
	if !l.state.SealedFor(gateway) || l.state.SealedFor(second) {
		t.Error("nothing is sealed for the second yet")
	}
	l.must(Command{SetSealKey: &SetSealKey{gateway, []byte("another")}})
	if l.state.OpensAlone(gateway) {
		t.Error("a key that no envelope is closed to opens one")
	}
	l.must(Command{Reseal: l.sealed()})
	if !l.state.SealedFor(gateway) || !l.state.SealedFor(second) {
		t.Error("the secrets are sealed for both")
	}
	if k := l.state.Keyring; !l.state.SealedRight() || k.Number != 2 || len(k.Issuing) != 2 || len(k.Shared) != 3 {
		t.Errorf("%+v", k)
	}
}

func TestGatewayRefusals(t *testing.T) {
	reserve := func(n cert.NodeID, version uint8) Command {
		return Command{ReserveGateway: &ReserveGateway{Node: n, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: version}}
	}
	issue := Command{IssueGateway: &IssueGateway{Node: second, NOC: []byte("noc"), CAT: 1}}
	evict := func(n cert.NodeID) Command { return Command{EvictGateway: &EvictGateway{Node: n}} }
	modern := func(n cert.NodeID) Command { return Command{DescribeGateway: &DescribeGateway{Node: n, Version: 3}} }
	rotate := func(suite uint8) Command { return Command{RotateSealing: &RotateSealing{suite}} }
	stale := (&ledger{t, household(t).state}).sealed()
	other := household(t)
	other.must(Command{SetNetwork: &SetNetwork{Name: "n", Kind: WiFi, ID: []byte("n"), Sealed: []byte("older"), DataKey: 1}})
	withOldPassword := other.sealed()
	for name, c := range map[string]struct {
		before []Command
		last   Command
		want   Code
	}{
		"node id of a device":     {[]Command{{Reserve: &Reserve{Node: second, Gateway: gateway, FailSafe: 60_000}}}, reserve(second, 2), CodeUsed},
		"evicted for ever":        {[]Command{reserve(second, 2), issue, evict(second)}, reserve(second, 2), CodeUsed},
		"of an older release":     {nil, reserve(second, 1), CodeOldMember},
		"no serial reserved":      {nil, Command{IssueGateway: &IssueGateway{Node: gateway, NOC: []byte("noc"), CAT: 1}}, CodeSerial},
		"serial used twice":       {[]Command{reserve(second, 2), issue}, issue, CodeSerial},
		"tag of before":           {[]Command{reserve(second, 2), issue, reserve(third, 2), evict(second)}, Command{IssueGateway: &IssueGateway{Node: third, NOC: []byte("noc"), CAT: 1}}, CodeInvalid},
		"unknown gateway":         {nil, evict(9), CodeNotAMember},
		"the last one":            {nil, evict(gateway), CodeLastGateway},
		"the last member":         {[]Command{reserve(second, 2)}, evict(gateway), CodeLastGateway},
		"paired by a half member": {[]Command{reserve(second, 2)}, Command{Reserve: &Reserve{Node: 7, Gateway: second, FailSafe: 60_000}}, CodeNotAMember},
		"taken over by a stranger": {nil, Command{TakeOver: &TakeOver{gateway, []cert.NodeID{9}}},
			CodeNotAMember},
		"taken over by itself": {nil, Command{TakeOver: &TakeOver{gateway, []cert.NodeID{gateway}}}, CodeNotAMember},
		"taken over by nobody": {nil, Command{TakeOver: &TakeOver{gateway, nil}}, CodeInvalid},
		"given up for reserved, and issued": {[]Command{{Reserve: &Reserve{Node: 7, Gateway: gateway, FailSafe: 60_000}},
			{Issue: &Issue{Node: 7, NOCHash: make([]byte, 32), PublicKey: make([]byte, 65), Gateway: gateway}}}, Command{Abandon: &Abandon{Node: 7, Gateway: gateway, Phase: Reserved}}, CodePhase},
		"tag of the future":       {nil, Command{SetAccess: &SetAccess{nil, 2}}, CodeInvalid},
		"sealed for fewer":        {[]Command{reserve(second, 2), issue}, Command{Reseal: stale}, CodeSealing},
		"sealed without networks": {[]Command{{SetNetwork: &SetNetwork{Name: "n", Kind: WiFi, ID: []byte("n"), Sealed: []byte("s"), DataKey: 1}}}, Command{Reseal: stale}, CodeSealing},
		"credentials lost": {[]Command{{SetNetwork: &SetNetwork{Name: "n", Kind: WiFi, ID: []byte("n"), Sealed: []byte("old"), DataKey: 1}}},
			Command{Reseal: withOldPassword}, CodeSealing},
		"sealed twice":                          {[]Command{{Reseal: stale}}, Command{Reseal: stale}, CodeSealing},
		"network sealed before":                 {[]Command{{Reseal: stale}}, Command{SetNetwork: &SetNetwork{Name: "n", Kind: WiFi, ID: []byte("n"), Sealed: []byte("s"), DataKey: 1}}, CodeSealing},
		"version understated":                   {nil, Command{Version: 1, TakeOver: &TakeOver{}}, CodeUnknownKind},
		"sealed by members of an older release": {[]Command{reserve(second, 2), modern(gateway)}, rotate(2), CodeOldMember},
		"sealed with unknown algorithms":        {[]Command{modern(gateway)}, rotate(3), CodeInvalid},
		"sealed with older algorithms":          {[]Command{modern(gateway), rotate(2)}, rotate(1), CodeInvalid},
		"sealed with the algorithms of before":  {[]Command{modern(gateway), rotate(2)}, Command{Reseal: stale}, CodeSealing},
		"odd request":                           {nil, Command{Request: []byte("short"), AddZone: &AddZone{"attic"}}, CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			l := household(t)
			for _, c := range c.before {
				l.must(c)
			}
			before := *l.state
			if got := l.apply(c.last); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			if len(l.state.Gateways) != len(before.Gateways) || l.state.DataKey() != before.DataKey() || len(l.state.Tombstones) != len(before.Tombstones) {
				t.Error("a refused command changed something")
			}
		})
	}
}

func TestEvict(t *testing.T) {
	l := household(t)
	l.join(second)
	l.join(third)
	l.must(Command{SetNetwork: &SetNetwork{Name: "n", Kind: WiFi, ID: []byte("n"), Sealed: []byte("s"), DataKey: 1}})
	for n := cert.NodeID(1); n <= 6; n++ {
		l.must(Command{Reserve: &Reserve{Node: n, Gateway: second, FailSafe: 60_000}})
		l.must(issue(n))
		l.must(Command{Admit: &Admit{Node: n, Gateway: second, Access: 1}})
	}
	serial := l.state.Gateways[second].Serial
	l.must(Command{EvictGateway: &EvictGateway{Node: second, Reason: "stolen"}})
	s := l.state
	if s.Gateways[second] != nil || !bytes.Equal(s.Tombstones[second].Serial, serial) || s.Home.GatewayCAT != cert.NewCAT(1, 2) || !s.Networks["n"].Exposed {
		t.Errorf("%+v", s)
	}
	owned := map[cert.NodeID]int{}
	for _, d := range s.Devices {
		owned[d.Gateway]++
	}
	if owned[gateway] != 3 || owned[third] != 3 {
		t.Errorf("the devices went to %v", owned)
	}
	if trusting := s.TrustingEvicted(); len(trusting) != 6 {
		t.Errorf("%d devices still trust it", len(trusting))
	}
	l.must(Command{SetAccess: &SetAccess{[]cert.NodeID{1, 2, 4, 5, 6, 99}, 2}})
	if trusting := l.state.TrustingEvicted(); len(trusting) != 1 || trusting[0].Node != 3 {
		t.Errorf("%v", trusting)
	}
	if l.state.SealedRight() {
		t.Error("the evicted gateway still has its envelopes")
	}
}

// TestFence: who lost a device to another gateway can do nothing about it.
func TestFence(t *testing.T) {
	l := household(t)
	l.join(second)
	l.must(Command{Reserve: &Reserve{Node: 7, Gateway: gateway, FailSafe: 60_000}})
	l.must(Command{TakeOver: &TakeOver{gateway, []cert.NodeID{second}}})
	late := issue(7)
	late.Issue.Gateway = gateway
	if code := l.apply(late); code != CodeOwner {
		t.Errorf("issued: %q", code)
	}
	late.Issue.Gateway = second
	l.must(late)
	for _, c := range []Command{{Admit: &Admit{Node: 7, Gateway: gateway}}, {Abandon: &Abandon{Node: 7, Gateway: gateway}}} {
		if code := l.apply(c); code != CodeOwner {
			t.Errorf("%+v: %q", c, code)
		}
	}
	l.must(Command{Admit: &Admit{Node: 7, Gateway: second}})
}

// TestClockJumps: no gateway's clock keeps the others from pairing.
func TestClockJumps(t *testing.T) {
	l := household(t)
	l.must(Command{Time: start + 10*365*24*3600*1000, AddZone: &AddZone{"attic"}})
	l.must(Command{Time: start, Reserve: &Reserve{Node: 7, Gateway: gateway, FailSafe: 60_000}})
	c := issue(7)
	c.Time = start
	l.must(c)
}

func TestRequests(t *testing.T) {
	l := household(t)
	request := func(i int) []byte { return bytes.Repeat([]byte{byte(i), byte(i >> 8)}, RequestSize/2) }
	once := Command{Request: request(1), AddZone: &AddZone{"attic"}}
	l.must(once)
	index := l.state.Index
	l.must(once) // done already: not "there is a zone already"
	if l.state.Index != index+1 || len(l.state.Zones) != 2 {
		t.Errorf("%+v", l.state)
	}
	refused := Command{Request: request(2), AddZone: &AddZone{"attic"}}
	before := l.state.Recent
	for range 2 {
		if code := l.apply(refused); code != CodeExists {
			t.Errorf("%q", code)
		}
	}
	if len(before) != 1 || len(l.state.Recent) != 2 {
		t.Errorf("%d requests are remembered", len(l.state.Recent))
	}
	for i := range maxRecent {
		l.apply(Command{Request: request(100 + i), AddZone: &AddZone{}})
	}
	if len(l.state.Recent) != maxRecent || slices.ContainsFunc(l.state.Recent, func(o Outcome) bool { return bytes.Equal(o.Request, once.Request) }) {
		t.Error("the oldest requests are not forgotten")
	}
}

// TestUpgrade: a home of version 1 stays one until its gateway says that it
// knows more.
func TestUpgrade(t *testing.T) {
	l := founded(t)
	l.must(reserve(7))
	if l.state.Version != 1 {
		t.Errorf("version %d", l.state.Version)
	}
	if code := l.apply(Command{RenewGateway: &RenewGateway{gateway}}); code != CodeOldMember {
		t.Errorf("%q", code)
	}
	l.must(Command{DescribeGateway: &DescribeGateway{gateway, 2, "file"}})
	l.must(Command{RenewGateway: &RenewGateway{gateway}})
	if l.state.Version != 2 || l.state.SealedRight() {
		t.Errorf("%+v", l.state)
	}
	l.must(Command{Reseal: l.sealed()})
	if !l.state.SealedRight() || l.state.DataKey() != 2 || l.state.Generation().DataKeys != nil {
		t.Errorf("%+v", l.state)
	}
}
