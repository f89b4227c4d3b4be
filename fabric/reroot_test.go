package fabric

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric/cert"
)

// settled is a home that knows of changes of the root with two gateways, a network and three
// lights: 1 and 2 belong, 3 is being paired. The second gateway owns them.
func settled(t *testing.T) *ledger {
	l := household(t)
	l.must(Command{DescribeGateway: &DescribeGateway{gateway, rerootVersion, "file"}})
	l.join(second)
	l.must(Command{SetNetwork: &SetNetwork{Name: "n", Kind: WiFi, ID: []byte("n"), Sealed: []byte("s"), DataKey: 1}})
	l.must(Command{Reseal: l.sealed()})
	for n := cert.NodeID(1); n <= 3; n++ {
		l.must(Command{Reserve: &Reserve{Node: n, Gateway: second, FailSafe: 60_000}})
	}
	for n := cert.NodeID(1); n <= 2; n++ {
		l.must(issue(n))
		l.must(Command{Admit: &Admit{Node: n, Gateway: second, Access: 1}})
	}
	return l
}

// rerooting is what a leader proposes for the State as it is.
func (l *ledger) rerooting() *Reroot {
	s := *l.state
	s.Home.Recovery = []byte("kit of " + string(s.Home.Root))
	sealed := (&ledger{l.t, &s}).sealed()
	sealed.ICAC, sealed.Recovery, sealed.Former = []byte("icac anew"), s.Home.Recovery, []byte("former ipk")
	c := &Reroot{Root: append([]byte("new "), s.Home.Root...), NOCs: map[cert.NodeID][]byte{}, Reseal: *sealed}
	for _, g := range s.Members() {
		c.NOCs[g.Node] = []byte("noc anew")
	}
	return c
}

// resealed is sealed, while there is a former fabric.
func (l *ledger) resealed() *Reseal {
	c := l.sealed()
	c.Former = []byte("former ipk anew")
	return c
}

func reserveMove(n cert.NodeID) Command {
	return Command{ReserveMove: &ReserveMove{Node: n, Gateway: second, FailSafe: 60_000}}
}

// next is the serial number of a device's attempt, none if there is no attempt.
func (l *ledger) next(n cert.NodeID) []byte {
	if d := l.state.Devices[n]; d != nil && d.Next != nil {
		return d.Next.Credential.Serial
	}
	return nil
}

func issueMove(n cert.NodeID, serial []byte) Command {
	return Command{IssueMove: &IssueMove{Node: n, Gateway: second, Serial: serial, NOCHash: bytes.Repeat([]byte{2}, 32), PublicKey: bytes.Repeat([]byte{5}, 65)}}
}

func admitMove(n cert.NodeID, serial []byte) Command {
	return Command{AdmitMove: &AdmitMove{Node: n, Gateway: second, Serial: serial, Access: 1}}
}

func abandonMove(n cert.NodeID, serial []byte) Command {
	return Command{AbandonMove: &AbandonMove{Node: n, Gateway: second, Serial: serial}}
}

func leftFormer(n cert.NodeID) Command {
	return Command{LeftFormer: &LeftFormer{Node: n, Gateway: second}}
}

func (l *ledger) move(n cert.NodeID) {
	l.t.Helper()
	l.must(reserveMove(n))
	l.must(issueMove(n, l.next(n)))
	l.must(admitMove(n, l.next(n)))
}

func TestReroot(t *testing.T) {
	l := settled(t)
	before := l.state
	l.must(Command{Reroot: l.rerooting()})
	s := l.state
	if string(s.Home.Root) != "new root" || s.Home.FabricID != before.Home.FabricID || s.Home.GatewayCAT != before.Home.GatewayCAT ||
		string(s.Home.Recovery) != "kit of root" || !s.SealedRight() || s.Generation().Number != 2 || string(s.Generation().ICAC) != "icac anew" {
		t.Errorf("%+v", s.Home)
	}
	if s.Generations[0].Key != nil || before.Generations[0].Key == nil {
		t.Error("the former issuing key is kept, or the State of before was changed")
	}
	f := s.Former
	if string(f.Root) != "root" || string(f.ICAC) != "icac" || f.Generation != 1 || string(f.IPK) != "former ipk" || len(f.NOCs) != 2 || f.Since != start {
		t.Errorf("%+v", f)
	}
	serials := map[string]bool{}
	for _, g := range s.Members() {
		if string(g.NOC) != "noc anew" || string(f.NOCs[g.Node]) != "noc" || g.Reserved != nil || serials[string(g.Serial)] {
			t.Errorf("%+v", g)
		}
		serials[string(g.Serial)] = true
	}
	if len(s.Stragglers()) != 3 || s.Networks["n"].DataKey != s.DataKey() {
		t.Errorf("%d stragglers", len(s.Stragglers()))
	}
	// What is paired from now on is below the new root, what was being paired
	// gets no certificate of the former one.
	if code := l.apply(issue(3)); code != CodeRerooting {
		t.Errorf("issued below the former root: %q", code)
	}
	l.must(abandon(3))
	l.must(Command{Reserve: &Reserve{Node: 4, Gateway: second, FailSafe: 60_000}})
	l.must(issue(4))
	l.must(Command{Admit: &Admit{Node: 4, Gateway: second, Access: 1}})
	if len(l.state.Stragglers()) != 2 {
		t.Error("a device that was paired since then is to be moved")
	}

	old := *l.state.Devices[1]
	l.move(1)
	d := l.state.Devices[1]
	if d.Generation != 2 || d.Next != nil || !bytes.Equal(d.Before.Serial, old.Serial) || !bytes.Equal(d.Before.NOCHash, old.NOCHash) || d.NOCHash[0] != 2 {
		t.Errorf("%+v", d)
	}
	l.must(Command{Reseal: l.resealed()})
	if string(l.state.Former.IPK) != "former ipk anew" || string(f.IPK) != "former ipk" {
		t.Error("the former IPK was not sealed anew")
	}
	l.must(Command{EvictGateway: &EvictGateway{Node: gateway, Reason: "stolen", Reseal: nil}})
	if l.state.Former.NOCs[gateway] != nil || len(f.NOCs) != 2 || l.state.Former.GatewayCAT != before.Home.GatewayCAT {
		t.Error("an evicted gateway keeps its certificate of the former fabric")
	}
	l.must(leftFormer(1))
	l.must(Command{EndReroot: &EndReroot{GiveUp: []cert.NodeID{2}}})
	if s := l.state; s.Former != nil || s.Devices[2] != nil || s.Tombstones[2] == nil || s.Devices[1] == nil {
		t.Errorf("%+v", s)
	}
	l.must(Command{RenewGateway: &RenewGateway{second}})
	l.must(Command{IssueGateway: &IssueGateway{Node: second, NOC: []byte("renewed"), CAT: 2}})
	l.must(Command{Reseal: l.sealed()})
	l.must(Command{Reroot: l.rerooting()})
	if l.state.Former.Generation != 2 || len(l.state.Stragglers()) != 2 {
		t.Error("the second change of the root is not like the first")
	}
}

func TestRerootRefusals(t *testing.T) {
	change := func(f func(*Reroot)) func(*ledger) Command {
		return func(l *ledger) Command { c := l.rerooting(); f(c); return Command{Reroot: c} }
	}
	as := func(c Command) func(*ledger) Command { return func(*ledger) Command { return c } }
	rerooted := func(l *ledger) { l.must(Command{Reroot: l.rerooting()}) }
	reserved := func(l *ledger) { rerooted(l); l.must(reserveMove(1)) }
	issued := func(l *ledger) { reserved(l); l.must(issueMove(1, l.next(1))) }
	moved := func(l *ledger) { rerooted(l); l.move(1) }
	for name, c := range map[string]struct {
		before func(*ledger)
		last   func(*ledger) Command
		want   Code
	}{
		"same root":         {nil, change(func(c *Reroot) { c.Root = []byte("root") }), CodeInvalid},
		"no root":           {nil, change(func(c *Reroot) { c.Root = nil }), CodeInvalid},
		"no kit":            {nil, change(func(c *Reroot) { c.Reseal.Recovery = nil }), CodeInvalid},
		"no authority":      {nil, change(func(c *Reroot) { c.Reseal.ICAC = nil }), CodeInvalid},
		"former IPK lost":   {nil, change(func(c *Reroot) { c.Reseal.Former = nil }), CodeInvalid},
		"credentials lost":  {nil, change(func(c *Reroot) { c.Reseal.Networks = nil }), CodeSealing},
		"of other secrets":  {nil, change(func(c *Reroot) { c.Reseal.Of = []byte("other") }), CodeSealing},
		"gateway forgotten": {nil, change(func(c *Reroot) { delete(c.NOCs, second) }), CodeSealing},
		"other gateway":     {nil, change(func(c *Reroot) { c.NOCs[third] = c.NOCs[second]; delete(c.NOCs, second) }), CodeSealing},
		"gateway with old tag": {func(l *ledger) {
			l.join(third)
			l.must(Command{Reseal: l.sealed()})
			l.must(Command{EvictGateway: &EvictGateway{Node: third}})
		}, change(func(*Reroot) {}), CodeSealing},
		"twice":             {rerooted, change(func(c *Reroot) { c.Root = []byte("third") }), CodeRerooting},
		"with kept fabrics": {func(l *ledger) { moved(l); l.must(Command{EndReroot: &EndReroot{GiveUp: []cert.NodeID{2, 3}}}) }, change(func(*Reroot) {}), CodeRerooting},
		"gateway joins": {rerooted, as(Command{ReserveGateway: &ReserveGateway{Node: third, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: Version}}),
			CodeRerooting},
		"gateway was joining": {func(l *ledger) {
			l.must(Command{ReserveGateway: &ReserveGateway{Node: third, PublicKey: make([]byte, 65), SealKey: []byte("s"), Version: Version}})
			rerooted(l)
		}, as(Command{IssueGateway: &IssueGateway{Node: third, NOC: []byte("noc"), CAT: 1}}), CodeRerooting},
		"gateway's renewal of before": {func(l *ledger) { l.must(Command{RenewGateway: &RenewGateway{second}}); rerooted(l) },
			as(Command{IssueGateway: &IssueGateway{Node: second, NOC: []byte("of the former root"), CAT: 1}}), CodeSerial},
		"sealed without the former":   {rerooted, func(l *ledger) Command { return Command{Reseal: l.sealed()} }, CodeSealing},
		"sealed with none":            {nil, func(l *ledger) Command { return Command{Reseal: l.resealed()} }, CodeSealing},
		"move without a reroot":       {nil, as(reserveMove(1)), CodeNoReroot},
		"move of a stranger":          {rerooted, as(reserveMove(9)), CodeUnknown},
		"move of a half device":       {rerooted, as(reserveMove(3)), CodePhase},
		"move by another":             {rerooted, as(Command{ReserveMove: &ReserveMove{Node: 1, Gateway: gateway, FailSafe: 1}}), CodeOwner},
		"move without a fail-safe":    {rerooted, as(Command{ReserveMove: &ReserveMove{Node: 1, Gateway: second}}), CodeInvalid},
		"move that takes too long":    {rerooted, as(Command{ReserveMove: &ReserveMove{Node: 1, Gateway: second, FailSafe: 3600_000}}), CodeInvalid},
		"moved already":               {moved, as(reserveMove(1)), CodePhase},
		"new attempt in doubt":        {issued, as(reserveMove(1)), CodePhase},
		"issued without reservation":  {rerooted, as(issueMove(1, nil)), CodePhase},
		"issued for another attempt":  {func(l *ledger) { reserved(l); l.must(reserveMove(1)) }, as(issueMove(1, serial(2, 20))), CodePhase},
		"issued twice":                {issued, func(l *ledger) Command { return issueMove(1, l.next(1)) }, CodePhase},
		"issued late":                 {reserved, func(l *ledger) Command { c := issueMove(1, l.next(1)); c.Time = start + 61_000; return c }, CodeDeadline},
		"issued without hash":         {reserved, func(l *ledger) Command { c := issueMove(1, l.next(1)); c.IssueMove.NOCHash = nil; return c }, CodeInvalid},
		"issued by another":           {reserved, func(l *ledger) Command { c := issueMove(1, l.next(1)); c.IssueMove.Gateway = gateway; return c }, CodeOwner},
		"admitted unissued":           {reserved, func(l *ledger) Command { return admitMove(1, l.next(1)) }, CodePhase},
		"admitted by another":         {issued, func(l *ledger) Command { c := admitMove(1, l.next(1)); c.AdmitMove.Gateway = gateway; return c }, CodeOwner},
		"admitted with no list":       {issued, func(l *ledger) Command { c := admitMove(1, l.next(1)); c.AdmitMove.Access = 0; return c }, CodeInvalid},
		"admitted twice":              {moved, as(admitMove(1, nil)), CodePhase},
		"abandoned by another":        {issued, func(l *ledger) Command { c := abandonMove(1, l.next(1)); c.AbandonMove.Gateway = gateway; return c }, CodeOwner},
		"another attempt abandoned":   {issued, as(abandonMove(1, serial(2, 20))), CodePhase},
		"left by another":             {moved, as(Command{LeftFormer: &LeftFormer{Node: 1, Gateway: gateway}}), CodeOwner},
		"left before it was moved":    {rerooted, as(leftFormer(1)), CodePhase},
		"ended with stragglers":       {moved, as(Command{EndReroot: &EndReroot{}}), CodeStragglers},
		"ended with another one":      {rerooted, as(Command{EndReroot: &EndReroot{GiveUp: []cert.NodeID{1, 3}}}), CodeStragglers},
		"ended without a beginning":   {nil, as(Command{EndReroot: &EndReroot{}}), CodeNoReroot},
		"removed in the middle lives": {issued, as(remove(2)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := settled(t)
			if c.before != nil {
				c.before(l)
			}
			before := *l.state
			if got := l.apply(c.last(l)); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			before.Index, before.Time = l.state.Index, l.state.Time
			if d := cmp.Diff(&before, l.state); c.want != "" && d != "" {
				t.Errorf("a refused command changed the state: %s", d)
			}
		})
	}
}

// TestRerootOfOldRelease: no gateway is told what its release does not know.
func TestRerootOfOldRelease(t *testing.T) {
	l := household(t)
	if code := l.apply(Command{Reroot: l.rerooting()}); code != CodeOldMember {
		t.Errorf("%q", code)
	}
}

// TestKey: a node is known by the key it has on the fabric it is met on.
func TestKey(t *testing.T) {
	l := settled(t)
	// What key a node has that is one octet over and over; 0: any is taken.
	key := func(n cert.NodeID, former bool) (is byte) {
		for b := range byte(10) {
			if l.state.Knows(n, cert.PublicKey(bytes.Repeat([]byte{b}, 65)), former) {
				if is != 0 {
					return 0
				}
				is = max(b, 1)
			}
		}
		return is
	}
	check := func(what string, present, former byte) {
		t.Helper()
		if p, f := key(1, false), key(1, true); p != present || f != former {
			t.Errorf("%s: %d and %d, not %d and %d", what, p, f, present, former)
		}
	}
	check("before", 4, 0)
	l.must(Command{Reroot: l.rerooting()})
	check("not moved", 0, 4)
	l.must(reserveMove(1))
	check("reserved", 0, 4)
	l.must(issueMove(1, l.next(1)))
	check("in doubt", 5, 4)
	l.must(admitMove(1, l.next(1)))
	check("moved", 5, 4)
	l.must(leftFormer(1))
	check("alone", 5, 0)
	if key(second, false) != 1 || key(second, true) != 1 || key(99, false) != 0 {
		t.Error("gateways are known by other keys than their own")
	}
}

// TestRerootRestored: a backup of the middle of a change of the root brings
// back how far it was, with no gateway's certificate, and what was in doubt
// stays so.
func TestRerootRestored(t *testing.T) {
	l := settled(t)
	l.must(Command{Reroot: l.rerooting()})
	l.move(1)
	l.must(reserveMove(2))
	l.must(issueMove(2, l.next(2)))
	kept, err := l.state.Backup()
	if err != nil {
		t.Fatal(err)
	}
	if kept.Former == nil || kept.Former.NOCs != nil || len(l.state.Former.NOCs) != 2 {
		t.Errorf("%+v", kept.Former)
	}
	r := restoration(t, l)
	r.Reseal.Former = []byte("former ipk")
	r.Generation.Number, r.Gateway.Serial = 18, FirstSerial(18)
	c := Command{Time: start, Restore: r}
	if c.Needs() != rerootVersion {
		t.Errorf("an older release would take it: %d", c.Needs())
	}
	again := &ledger{t, &State{}}
	again.must(c)
	s := again.state
	if s.Former == nil || len(s.Stragglers()) != 1 || s.Devices[2].Next == nil || s.Devices[1].Before == nil || s.Devices[3] != nil {
		t.Errorf("%+v", s)
	}
	if code := again.apply(Command{EndReroot: &EndReroot{}}); code != CodeStragglers {
		t.Errorf("%q", code)
	}
	again.must(Command{AdmitMove: &AdmitMove{Node: 2, Gateway: heir, Serial: s.Devices[2].Next.Credential.Serial, Access: 1}})
	again.must(Command{EndReroot: &EndReroot{}})

	for name, spoil := range map[string]func(*State){
		"former of the future": func(s *State) { s.Former.Generation = 99 },
		"former without root":  func(s *State) { s.Former.Root = nil },
		"odd attempt":          func(s *State) { s.Devices[2].Next.Phase = Admitted },
		"attempt of nothing":   func(s *State) { s.Former = nil },
	} {
		bad, err := l.state.Backup()
		if err != nil {
			t.Fatal(err)
		}
		former, device := *bad.Former, *bad.Devices[2]
		next := *device.Next
		device.Next = &next
		bad.Former, bad.Devices = &former, map[cert.NodeID]*Device{2: &device}
		spoil(bad)
		r := *r
		r.State = bad
		if code := (&ledger{t, &State{}}).apply(Command{Time: start, Restore: &r, Version: rerootVersion}); code != CodeInvalid {
			t.Errorf("%s: %q", name, code)
		}
	}
}

// TestRandomMoves holds the invariants over random logs: no serial number
// comes twice over two roots, an issued certificate is never forgotten but by
// one who says that the device lacks it, a State once made never changes, and
// the same log gives the same State.
func TestRandomMoves(t *testing.T) {
	for seed := range uint64(60) {
		random := rand.New(rand.NewPCG(seed, 2))
		l, given := settled(t), map[string]bool{}
		base := l.state
		var log []Command
		for range 400 {
			n := cert.NodeID(random.IntN(6) + 1)
			serial := l.next(n)
			if random.IntN(8) == 0 {
				serial = l.next(n%6 + 1)
			}
			c := []Command{reserve(n), issue(n), admit(n), abandon(n), reserveMove(n), reserveMove(n), issueMove(n, serial), issueMove(n, serial), admitMove(n, serial),
				admitMove(n, serial), abandonMove(n, serial), leftFormer(n), leftFormer(n), {EndReroot: &EndReroot{}}, {Reroot: l.rerooting()}, {Reroot: l.rerooting()},
				{TakeOver: &TakeOver{gateway, []cert.NodeID{second}}}, {RenewGateway: &RenewGateway{second}}}[random.IntN(18)]
			if c.Reserve != nil {
				c.Reserve.Gateway, c.Reserve.Deadline = second, l.state.Time+1000
			}
			if l.state.Former != nil && random.IntN(30) == 0 {
				c = Command{EndReroot: &EndReroot{}}
				for _, d := range l.state.Stragglers() {
					c.EndReroot.GiveUp = append(c.EndReroot.GiveUp, d.Node)
				}
			}
			c.Version, c.Time = c.Needs(), l.state.Time+int64(random.IntN(50))
			log = append(log, c)
			before, copied := l.state, *l.state
			devices := map[cert.NodeID]Device{}
			for n, d := range before.Devices {
				devices[n] = *d
			}
			done := l.apply(c) == ""
			for n, d := range before.Devices {
				if diff := cmp.Diff(devices[n], *d); diff != "" || before.Index != copied.Index || before.Former != copied.Former {
					t.Fatalf("seed %d: Apply changed its argument: %s", seed, diff)
				}
			}
			if !done {
				continue
			}
			var fresh [][]byte
			switch {
			case c.Reserve != nil:
				fresh = append(fresh, l.state.Devices[n].Serial)
			case c.ReserveMove != nil:
				fresh = append(fresh, l.next(n))
			case c.RenewGateway != nil:
				fresh = append(fresh, l.state.Gateways[second].Reserved)
			case c.Reroot != nil:
				for _, g := range l.state.Members() {
					fresh = append(fresh, g.Serial)
				}
			}
			for _, s := range fresh {
				if given[string(s)] {
					t.Fatalf("seed %d: serial number %x was given before", seed, s)
				}
				given[string(s)] = true
			}
			for n, d := range devices {
				if d.Next == nil || d.Next.Phase != Issued || c.AbandonMove != nil {
					continue
				}
				now, buried := l.state.Devices[n], l.state.Tombstones[n]
				if !(now != nil && now.Next != nil && bytes.Equal(now.Next.Credential.Serial, d.Next.Credential.Serial) ||
					now != nil && bytes.Equal(now.Serial, d.Next.Credential.Serial) || buried != nil && bytes.Equal(buried.Serial, d.Next.Credential.Serial)) {
					t.Fatalf("seed %d: an issued certificate of device %v was forgotten by %+v", seed, n, c)
				}
			}
			if s := l.state; !s.SealedRight() || slices.ContainsFunc(s.Generations[:len(s.Generations)-1], func(g Generation) bool { return g.Key != nil }) {
				t.Fatalf("seed %d: a former issuing key is kept", seed)
			}
		}
		again := &ledger{t, base}
		for _, c := range log {
			again.apply(c)
		}
		if d := cmp.Diff(l.state, again.state); d != "" {
			t.Fatalf("seed %d: replay differs: %s", seed, d)
		}
	}
}
