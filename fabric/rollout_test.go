package fabric

import (
	"bytes"
	"encoding/hex"
	"testing"

	"gatehouse/fabric/cert"
)

// fleet is a home with lamps 1 to 4, 1 to 3 of which are in quarantine until
// they have an image; 4 need not have it.
func fleet(t *testing.T) *ledger {
	return fleetOf(t, RolloutVersion)
}

// fleetOf is a fleet whose gateway knows a version.
func fleetOf(t *testing.T, version uint8) *ledger {
	l := household(t)
	l.must(Command{DescribeGateway: &DescribeGateway{Node: gateway, Version: version}})
	for n := cert.NodeID(1); n <= 4; n++ {
		l.admitted(n, nil)
		v := QuarantineDevice
		if n == 4 {
			v = AdmitDevice
		}
		l.runs(n, v, 1)
	}
	return l
}

var image = bytes.Repeat([]byte{7}, 32)

// runs decides on a lamp that runs a version, of which the image's is 2.
func (l *ledger) runs(n cert.NodeID, v Verdict, version uint32) {
	l.t.Helper()
	s := Standing{Verdict: v, Version: version}
	if version < 2 {
		s.Update = &FirmwareImage{From: "house", Version: 2, Name: "2", SHA256: image, Size: 1}
	}
	l.must(Command{Judge: &Judge{Node: n, Gateway: gateway, Standing: s}})
}

func begin(n cert.NodeID) Command {
	return Command{BeginUpdate: &BeginUpdate{Node: n, Gateway: gateway, SHA256: image}}
}

func asked(n cert.NodeID) Command {
	return Command{BeginUpdate: &BeginUpdate{Node: n, Gateway: gateway, SHA256: image, Asked: true}}
}

func fail(n cert.NodeID) Command {
	return Command{FailUpdate: &FailUpdate{Node: n, Gateway: gateway, SHA256: image, Failure: "it fell silent"}}
}

func (l *ledger) failed(n cert.NodeID) {
	l.t.Helper()
	for range MaxTries {
		l.must(begin(n))
		l.must(fail(n))
	}
}

func TestRollout(t *testing.T) {
	l := fleet(t)
	l.must(begin(2))
	if r := l.state.Rollout(image); r.First != 2 || r.Passed || r.Since != l.state.Time || !l.state.Devices[2].Updating(image) {
		t.Fatalf("%+v", r)
	}
	if got := l.apply(begin(1)); got != CodeFirst {
		t.Errorf("another at the same time: %q", got)
	}
	l.must(fail(2))
	l.must(begin(2))
	if a := l.state.Devices[2].Attempt; a.Tries != 2 || a.Failure != "" || a.Version != 2 {
		t.Errorf("%+v", a)
	}
	l.runs(2, AdmitDevice, 2)
	if r, d := l.state.Rollout(image), l.state.Devices[2]; !r.Passed || d.Attempt != nil {
		t.Errorf("%+v, %+v", r, d.Attempt)
	}
	l.must(begin(1))
	l.must(begin(3))
	if r := l.state.Rollout(image); r.First != 0 {
		t.Errorf("%+v", r)
	}
	l.runs(1, AdmitDevice, 2)
	if got := l.apply(begin(4)); got != CodeNotAsked {
		t.Errorf("one that need not have it: %q", got)
	}
	l.runs(3, AdmitDevice, 2)
	if l.state.Rollout(image) == nil {
		t.Error("it is over, with one device left")
	}
	l.runs(4, AdmitDevice, 2)
	if l.state.Rollout(image) != nil {
		t.Error("it goes on, with nobody left")
	}
}

// TestRolloutStops has devices fail.
func TestRolloutStops(t *testing.T) {
	l := fleet(t)
	l.failed(1)
	if r := l.state.Rollout(image); r.Stopped == "" {
		t.Fatalf("%+v", r)
	}
	for n := cert.NodeID(1); n <= 2; n++ {
		if got := l.apply(begin(n)); got != CodeStopped {
			t.Errorf("device %d: %q", n, got)
		}
	}
	l.must(asked(1)) // a person may try
	l.must(fail(1))
	other := fleet(t)
	other.must(asked(3))
	other.must(fail(3))
	other.must(begin(3))
	if a := other.state.Devices[3].Attempt; a.Tries != 1 || a.Asked {
		t.Errorf("what a person asked for counts: %+v", a)
	}
	fatal := fail(3)
	fatal.FailUpdate.Stop = true
	other.must(fatal)
	if r := other.state.Rollout(image); r.Stopped == "" {
		t.Errorf("%+v", r)
	}
	for n := cert.NodeID(1); n <= 4; n++ {
		other.must(remove(n))
	}
	if other.state.Rollout(image) != nil {
		t.Error("it is there still, with nobody left")
	}
	l.must(Command{BeginRollout: &BeginRollout{image}})
	if d, r := l.state.Devices[1], l.state.Rollout(image); d.Attempt != nil || r.Stopped != "" || !r.All || r.Since != l.state.Time {
		t.Errorf("%+v, %+v", d.Attempt, r)
	}
	l.must(begin(1))
	l.runs(1, AdmitDevice, 2)
	l.must(begin(4)) // all, a person said
	l.failed(2)
	if r := l.state.Rollout(image); r.Stopped == "" || !r.Passed {
		t.Errorf("one of the rest fails: %+v", r)
	}
	if !l.state.Devices[4].Updating(image) {
		t.Error("who is on the way does not go on")
	}
	l.must(Command{BeginRollout: &BeginRollout{image}})
	l.must(Command{StopRollout: &StopRollout{image, "the lamps flicker"}})
	if got := l.apply(begin(3)); got != CodeStopped {
		t.Errorf("%q", got)
	}
}

// TestRolloutFirst has the first device not come back.
func TestRolloutFirst(t *testing.T) {
	later := begin(2)
	later.Time = start + firstLimit.Milliseconds()
	for name, c := range map[string]struct {
		before func(*ledger)
		last   Command
		want   Code
	}{
		"it is at it":          {nil, begin(2), CodeFirst},
		"for a day":            {nil, later, ""},
		"it failed once":       {func(l *ledger) { l.must(fail(1)) }, begin(2), CodeFirst},
		"it was removed":       {func(l *ledger) { l.must(remove(1)) }, begin(2), ""},
		"it got another image": {func(l *ledger) { l.runs(1, AdmitDevice, 3) }, begin(2), ""},
		"it has it":            {func(l *ledger) { l.runs(1, AdmitDevice, 2) }, begin(2), ""},
		"again":                {nil, begin(1), CodePhase},
	} {
		t.Run(name, func(t *testing.T) {
			l := fleet(t)
			l.must(begin(1))
			if c.before != nil {
				c.before(l)
			}
			if got := l.apply(c.last); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if r := l.state.Rollout(image); r.Passed != (name == "it has it") || c.want == "" && !r.Passed && r.First != 2 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestRolloutPolicy(t *testing.T) {
	for updates, want := range map[Updates][2]Code{0: {"", CodeNotAsked}, UpdateRequired: {"", CodeNotAsked}, UpdateNone: {CodeNotAsked, CodeNotAsked}, UpdateAll: {"", ""}} {
		for i, n := range []cert.NodeID{1, 4} {
			l := fleet(t)
			l.must(Command{SetFirmwarePolicy: &SetFirmwarePolicy{Policy: &FirmwarePolicy{Updates: updates}}})
			if got := l.apply(begin(n)); got != want[i] {
				t.Errorf("%v, device %d: %q", updates, n, got)
			}
		}
	}
	l := fleet(t)
	l.must(Command{Judge: &Judge{Node: 4, Gateway: gateway, Standing: Standing{Verdict: AdmitDevice, Version: 1, Deadline: 1, Update: l.state.Devices[1].Standing.Update}}})
	l.must(begin(4)) // its deadline is near
}

func TestRolloutRefusals(t *testing.T) {
	other := bytes.Repeat([]byte{8}, 32)
	for name, c := range map[string]struct {
		command Command
		want    Code
	}{
		"another image":         {Command{BeginUpdate: &BeginUpdate{Node: 1, Gateway: gateway, SHA256: other}}, CodeNoUpdate},
		"another, asked for":    {Command{BeginUpdate: &BeginUpdate{Node: 1, Gateway: gateway, SHA256: other, Asked: true}}, CodeNoUpdate},
		"by another":            {Command{BeginUpdate: &BeginUpdate{Node: 1, Gateway: second, SHA256: image}}, CodeOwner},
		"a stranger":            {begin(9), CodeUnknown},
		"failed, not begun":     {fail(1), CodePhase},
		"failed for no reason":  {Command{FailUpdate: &FailUpdate{Node: 1, Gateway: gateway, SHA256: image}}, CodeInvalid},
		"roll-out of nothing":   {Command{BeginRollout: &BeginRollout{other}}, CodeNoUpdate},
		"stopped, not begun":    {Command{StopRollout: &StopRollout{image, "x"}}, CodeNoRollout},
		"a policy of our dream": {Command{SetFirmwarePolicy: &SetFirmwarePolicy{Policy: &FirmwarePolicy{Updates: UpdateAll + 1}}}, CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fleet(t).apply(c.command); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	old := fleetOf(t, RolloutVersion-1)
	if err := old.state.MayUpdate(old.state.Devices[1]); err == nil {
		t.Error("a gateway of an older release is not told, and it begins")
	}
	l := fleet(t)
	f := *l.state.firmware()
	f.Rollouts = make(map[string]*Rollout)
	for i := range MaxRollouts {
		f.Rollouts[string(rune('a'+i))] = &Rollout{Image: FirmwareImage{SHA256: other}}
	}
	l.state.Firmware = &f
	for _, c := range []Command{begin(1), {BeginRollout: &BeginRollout{image}}} {
		if got := l.apply(c); got != CodeFull {
			t.Errorf("one too many: %q", got)
		}
	}
}

// TestRolloutRestored: a backup brings back how far it was; one that makes no
// sense is refused.
func TestRolloutRestored(t *testing.T) {
	l := caged(t, Version)
	l.must(Command{Judge: &Judge{Node: 1, Gateway: second, Standing: Standing{Verdict: QuarantineDevice, Update: &FirmwareImage{SHA256: image, Size: 1, Version: 2}}}})
	l.must(Command{BeginUpdate: &BeginUpdate{Node: 1, Gateway: second, SHA256: image}})
	r := restoration(t, l)
	c := Command{Time: start, Version: RolloutVersion, Restore: r}
	s, err := Apply(&State{}, 1, &c)
	if err != nil || !s.Devices[1].Updating(image) || s.Rollout(image).First != 1 {
		t.Fatalf("%v, %+v", err, s)
	}
	for name, broken := range map[string]map[string]*Rollout{"nil": {hex.EncodeToString(image): nil}, "of another image": {"00": s.Rollout(image)}} {
		f := *r.State.Firmware
		f.Rollouts = broken
		state := *r.State
		state.Firmware = &f
		again := *r
		again.State = &state
		if _, err := Apply(&State{}, 1, &Command{Time: start, Version: RolloutVersion, Restore: &again}); err == nil {
			t.Errorf("%s: it was restored", name)
		}
	}
}
