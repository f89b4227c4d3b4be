package fabric

import (
	"bytes"
	"slices"
	"testing"

	"gatehouse/fabric/cert"
)

// caged is a settled home whose light 1 was quarantined after it was paired,
// and whose light 4 was paired into quarantine.
func caged(t *testing.T, version uint8) *ledger {
	l := settled(t)
	for _, n := range []cert.NodeID{gateway, second} {
		l.must(Command{DescribeGateway: &DescribeGateway{n, version, "file"}})
	}
	l.must(Command{Judge: &Judge{Node: 1, Gateway: second, Standing: Standing{Verdict: QuarantineDevice}}})
	l.must(Command{Reserve: &Reserve{Node: 4, Gateway: second, FailSafe: 60_000, Standing: &Standing{Verdict: QuarantineDevice}}})
	l.must(issue(4))
	l.must(Command{Admit: &Admit{Node: 4, Gateway: second, Access: 1}})
	return l
}

func renewal(n cert.NodeID) Command {
	return Command{ReserveMove: &ReserveMove{Node: n, Gateway: second, FailSafe: 60_000, Renewal: true}}
}

// renewed says that a renewed device keeps its certificate.
func renewed(n cert.NodeID, serial []byte) Command {
	return Command{AdmitMove: &AdmitMove{Node: n, Gateway: second, Serial: serial}}
}

func TestRenewal(t *testing.T) {
	l := caged(t, Version)
	due := func() (nodes []cert.NodeID) {
		for _, d := range l.state.which(l.state.RenewalDue) {
			nodes = append(nodes, d.Node)
		}
		return nodes
	}
	if got := due(); !slices.Equal(got, []cert.NodeID{1}) || !l.state.Devices[4].Untagged {
		t.Fatalf("due %v", got)
	}
	before := *l.state.Devices[1]
	l.must(renewal(1))
	l.must(Command{Judge: &Judge{Node: 1, Gateway: second, Standing: Standing{Verdict: AdmitDevice}}}) // meanwhile
	l.must(issueMove(1, l.next(1)))
	key := cert.PublicKey(bytes.Repeat([]byte{5}, 65))
	for _, k := range []cert.PublicKey{key, cert.PublicKey(before.PublicKey)} {
		if !l.state.Knows(1, k, false) || l.state.Knows(1, cert.PublicKey{9}, false) {
			t.Errorf("in doubt, key %x is refused, or any taken", k[:1])
		}
	}
	next := l.next(1)
	l.must(renewed(1, next))
	d := l.state.Devices[1]
	if !bytes.Equal(d.Serial, next) || bytes.Equal(d.Serial, before.Serial) || d.Before != nil || d.Next != nil || !d.Untagged || d.Access != before.Access || l.state.Knows(1, cert.PublicKey(before.PublicKey), false) {
		t.Errorf("%+v", d)
	}
	if got := due(); !slices.Equal(got, []cert.NodeID{1}) {
		t.Errorf("it was decided anew meanwhile, and due is %v", got)
	}
}

// TestRenewalMeetsReroot changes the root while a device may have either of two
// certificates: that is settled on the fabric of before.
func TestRenewalMeetsReroot(t *testing.T) {
	l := caged(t, Version)
	l.must(renewal(1))
	l.must(issueMove(1, l.next(1)))
	former := cert.PublicKey(l.state.Devices[1].PublicKey)
	l.must(Command{Reroot: l.rerooting()})
	key := cert.PublicKey(bytes.Repeat([]byte{5}, 65))
	if !l.state.Knows(1, key, true) || !l.state.Knows(1, former, true) || l.state.Knows(1, cert.PublicKey{9}, true) {
		t.Error("it is not met on the former fabric with either key")
	}
	if got := l.apply(reserveMove(1)); got != CodePhase {
		t.Errorf("moved in doubt: %q", got)
	}
	l.must(renewed(1, l.next(1)))
	if d := l.state.Devices[1]; !l.state.OnFormer(d) || d.PublicKey[0] != 5 || !d.Untagged {
		t.Errorf("%+v", d)
	}
	l.move(1)
	if d := l.state.Devices[1]; d.Before == nil || !d.Untagged {
		t.Errorf("%+v", d)
	}
}

func TestRenewalRefusals(t *testing.T) {
	as := func(c Command) func(*ledger) Command { return func(*ledger) Command { return c } }
	reserved := func(l *ledger) { l.must(renewal(1)) }
	issued := func(l *ledger) { reserved(l); l.must(issueMove(1, l.next(1))) }
	for name, c := range map[string]struct {
		before func(*ledger)
		last   func(*ledger) Command
		want   Code
	}{
		"not due":              {nil, as(renewal(2)), CodePhase},
		"of a stranger":        {nil, as(renewal(9)), CodeUnknown},
		"of a half device":     {nil, as(renewal(3)), CodePhase},
		"by another":           {nil, as(Command{ReserveMove: &ReserveMove{Node: 1, Gateway: gateway, FailSafe: 1, Renewal: true}}), CodeOwner},
		"in doubt":             {issued, as(renewal(1)), CodePhase},
		"while it is to move":  {func(l *ledger) { l.must(Command{Reroot: l.rerooting()}) }, as(renewal(1)), CodePhase},
		"of before a new root": {reserved, func(l *ledger) Command { l.must(Command{Reroot: l.rerooting()}); return issueMove(1, l.next(1)) }, CodeRerooting},
		"ended with a list":    {issued, func(l *ledger) Command { return admitMove(1, l.next(1)) }, CodeInvalid},
		"ended unissued":       {reserved, func(l *ledger) Command { return renewed(1, l.next(1)) }, CodePhase},
		"ended for another":    {issued, as(renewed(1, serial(1, 99))), CodePhase},
		"abandoned by another": {issued, func(l *ledger) Command { c := abandonMove(1, l.next(1)); c.AbandonMove.Gateway = gateway; return c }, CodeOwner},
		"abandoned":            {issued, func(l *ledger) Command { return abandonMove(1, l.next(1)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := caged(t, Version)
			if c.before != nil {
				c.before(l)
			}
			if got := l.apply(c.last(l)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestRenewalOldMember keeps all of it from a home with a gateway that does not
// know it.
func TestRenewalOldMember(t *testing.T) {
	l := caged(t, renewalVersion-1)
	if got := l.apply(renewal(1)); got != CodeOldMember || l.state.Devices[4].Untagged || l.state.RenewalDue(l.state.Devices[1]) {
		t.Errorf("got %q, %+v", got, l.state.Devices[4])
	}
}

// TestRenewalRestored: a backup of the middle of a renewal brings back the
// doubt, and no release that knows of none takes it.
func TestRenewalRestored(t *testing.T) {
	l := caged(t, Version)
	l.must(renewal(1))
	l.must(issueMove(1, l.next(1)))
	c := Command{Time: start, Restore: restoration(t, l)}
	if c.Needs() != renewalVersion {
		t.Errorf("needs %d", c.Needs())
	}
	c.Version = c.Needs()
	s, err := Apply(&State{}, 1, &c)
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Devices[1]; d.Next == nil || !d.Next.Renewal || !s.Devices[4].Untagged {
		t.Errorf("%+v", d)
	}
}
