package fabric

import (
	"bytes"
	"slices"
	"testing"

	"gatehouse/fabric/cert"
)

// judging is a home of version 4 with an admitted device, 7.
func judging(t *testing.T) *ledger {
	l := household(t)
	l.must(Command{DescribeGateway: &DescribeGateway{Node: gateway, Version: FirmwareVersion}})
	l.admitted(7, nil)
	return l
}

// admitted pairs a device.
func (l *ledger) admitted(n cert.NodeID, s *Standing) {
	l.t.Helper()
	l.must(Command{Reserve: &Reserve{Node: n, Gateway: gateway, FailSafe: 60_000, Standing: s}})
	l.must(Command{Issue: &Issue{Node: n, NOCHash: make([]byte, 32), PublicKey: make([]byte, 65), Gateway: gateway}})
	l.must(Command{Admit: &Admit{Node: n, Gateway: gateway, Access: 1}})
}

func judge(v Verdict, version uint32) Command {
	return Command{Judge: &Judge{Node: 7, Gateway: gateway, Standing: Standing{Verdict: v, Version: version}, Facts: &Facts{SoftwareVersion: version}}}
}

func (l *ledger) standing() Standing { return *l.state.Devices[7].Standing }

func TestJudge(t *testing.T) {
	l := judging(t)
	if d := l.state.Devices[7]; d.Standing != nil || d.Quarantined() {
		t.Errorf("%+v", d.Standing)
	}
	l.must(judge(AdmitDevice, 1))
	if s := l.standing(); !s.Enforced {
		t.Error("a device that was as any other has something to be enforced")
	}
	since := l.state.Time + 1000
	bad := judge(QuarantineDevice, 2)
	bad.Time = since
	l.must(bad)
	if s, d := l.standing(), l.state.Devices[7]; s.Enforced || s.Since != since || !d.Quarantined() || d.Facts.SoftwareVersion != 2 {
		t.Errorf("%+v", d)
	}
	l.must(Command{Enforce: &Enforce{7, gateway, QuarantineDevice}})
	again := judge(QuarantineDevice, 3)
	again.Time = since + 1000
	l.must(again)
	if s := l.standing(); !s.Enforced || s.Since != since || s.Version != 3 {
		t.Errorf("the same verdict for another reason: %+v", s)
	}
	l.must(judge(AdmitDevice, 4))
	if s := l.standing(); s.Enforced {
		t.Error("released without anybody doing it")
	}
	if got := l.apply(Command{Enforce: &Enforce{7, gateway, QuarantineDevice}}); got != CodePhase {
		t.Errorf("a verdict of before is enforced: %q", got)
	}
}

// TestReserveJudged admits a device into quarantine.
func TestReserveJudged(t *testing.T) {
	l := judging(t)
	l.admitted(8, &Standing{Verdict: QuarantineDevice, Version: 1, Enforced: true, Since: 5})
	if s := l.state.Devices[8].Standing; !s.Enforced || s.Since != l.state.Time || !l.state.Devices[8].Quarantined() {
		t.Errorf("%+v", s)
	}
}

func TestFirmwarePolicy(t *testing.T) {
	l := judging(t)
	home, zone := FirmwarePolicy{Recalled: RefuseDevice}, FirmwarePolicy{Unknown: QuarantineDevice, Grace: 1000}
	l.must(Command{AddZone: &AddZone{"attic"}})
	for _, step := range []struct {
		set         Command
		home, attic FirmwarePolicy
	}{
		{Command{SetFirmwarePolicy: &SetFirmwarePolicy{Policy: &home}}, home, home},
		{Command{SetFirmwarePolicy: &SetFirmwarePolicy{Zone: "attic", Policy: &zone}}, home, zone},
		{Command{SetFirmwarePolicy: &SetFirmwarePolicy{}}, FirmwarePolicy{}, zone},
		{Command{SetFirmwarePolicy: &SetFirmwarePolicy{Zone: "attic"}}, FirmwarePolicy{}, FirmwarePolicy{}},
	} {
		l.must(step.set)
		if a, b := l.state.FirmwarePolicy(defaultZone), l.state.FirmwarePolicy("attic"); a != step.home || b != step.attic {
			t.Errorf("after %+v: %+v and %+v", step.set.SetFirmwarePolicy, a, b)
		}
	}
}

func TestFirmwareSources(t *testing.T) {
	l := judging(t)
	add := func(name, where string) Command {
		return Command{AddFirmwareSource: &AddFirmwareSource{name, where, []byte("{}")}}
	}
	l.must(add("house", "/media/stick"))
	before := l.state
	l.must(add("house", "https://example.org"))
	if s := l.state.Firmware.Sources["house"]; s.Where != "https://example.org" || before.Firmware.Sources["house"].Where != "/media/stick" {
		t.Errorf("%+v", s)
	}
	for i := range MaxSources - 1 {
		l.must(add(string(rune('a'+i)), "x"))
	}
	if got := l.apply(add("one more", "x")); got != CodeFull {
		t.Errorf("got %q", got)
	}
	l.must(Command{RemoveFirmwareSource: &RemoveFirmwareSource{"house"}})
	l.must(Command{SetFirmwareLedger: &SetFirmwareLedger{"https://ledger.example"}})
	if f := l.state.Firmware; len(f.Sources) != MaxSources-1 || f.Ledger == "" {
		t.Errorf("%+v", f)
	}
}

func TestFirmwareRefusals(t *testing.T) {
	standing := func(change func(*Standing)) Command {
		s := Standing{Verdict: QuarantineDevice, Update: &FirmwareImage{SHA256: make([]byte, 32), Size: 1}}
		change(&s)
		return Command{Judge: &Judge{Node: 7, Gateway: gateway, Standing: s}}
	}
	policy := func(p FirmwarePolicy) Command {
		return Command{SetFirmwarePolicy: &SetFirmwarePolicy{Policy: &p}}
	}
	long := string(bytes.Repeat([]byte("x"), MaxText+1))
	for name, c := range map[string]struct {
		c    Command
		want Code
	}{
		"unknown device":        {Command{Judge: &Judge{Node: 9, Standing: Standing{Verdict: AdmitDevice}}}, CodeUnknown},
		"another's device":      {Command{Judge: &Judge{Node: 7, Gateway: 9, Standing: Standing{Verdict: AdmitDevice}}}, CodeOwner},
		"no verdict":            {standing(func(s *Standing) { s.Verdict = 0 }), CodeInvalid},
		"refused, but there":    {standing(func(s *Standing) { s.Verdict = RefuseDevice }), CodeInvalid},
		"many reasons":          {standing(func(s *Standing) { s.Reasons = make([]FirmwareReason, MaxReasons+1) }), CodeInvalid},
		"long reason":           {standing(func(s *Standing) { s.Reasons = []FirmwareReason{{Text: long}} }), CodeInvalid},
		"no digest":             {standing(func(s *Standing) { s.Update.SHA256 = nil }), CodeInvalid},
		"no size":               {standing(func(s *Standing) { s.Update.Size = 0 }), CodeInvalid},
		"enforce undecided":     {Command{Enforce: &Enforce{7, gateway, AdmitDevice}}, CodePhase},
		"enforce by another":    {Command{Enforce: &Enforce{7, 9, AdmitDevice}}, CodeOwner},
		"reserved as refused":   {Command{Reserve: &Reserve{Node: 8, Gateway: gateway, FailSafe: 60_000, Standing: &Standing{Verdict: RefuseDevice}}}, CodeInvalid},
		"unknown verdict":       {policy(FirmwarePolicy{Outdated: RefuseDevice + 1}), CodeInvalid},
		"endless grace":         {policy(FirmwarePolicy{Grace: MaxGrace.Milliseconds() + 1}), CodeInvalid},
		"negative grace":        {policy(FirmwarePolicy{Grace: -1}), CodeInvalid},
		"unknown zone":          {Command{SetFirmwarePolicy: &SetFirmwarePolicy{Zone: "moon"}}, CodeZone},
		"nameless source":       {Command{AddFirmwareSource: &AddFirmwareSource{"", "x", []byte("{}")}}, CodeInvalid},
		"source without root":   {Command{AddFirmwareSource: &AddFirmwareSource{"x", "x", nil}}, CodeInvalid},
		"source with long root": {Command{AddFirmwareSource: &AddFirmwareSource{"x", "x", make([]byte, MaxRoot+1)}}, CodeInvalid},
		"unknown source":        {Command{RemoveFirmwareSource: &RemoveFirmwareSource{"x"}}, CodeNoSource},
		"long ledger":           {Command{SetFirmwareLedger: &SetFirmwareLedger{long}}, CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			l := judging(t)
			before := *l.state
			if got := l.apply(c.c); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			if l.state.Firmware != before.Firmware || len(l.state.Devices) != len(before.Devices) || l.state.Devices[7] != before.Devices[7] {
				t.Error("a refused command changed something")
			}
		})
	}
}

// TestOldMember keeps all of it from a home with a gateway that does not know it.
func TestFirmwareOldMember(t *testing.T) {
	l := household(t)
	for _, c := range []Command{judge(AdmitDevice, 1), {Enforce: &Enforce{7, gateway, AdmitDevice}}, {SetFirmwarePolicy: &SetFirmwarePolicy{}},
		{Reserve: &Reserve{Node: 8, Gateway: gateway, FailSafe: 60_000, Standing: &Standing{Verdict: AdmitDevice}}}} {
		if got := l.apply(c); got != CodeOldMember {
			t.Errorf("got %q", got)
		}
	}
}

func TestVerdicts(t *testing.T) {
	for _, v := range []Verdict{0, AdmitDevice, QuarantineDevice, RefuseDevice} {
		got := Verdict(99)
		if err := got.UnmarshalText([]byte(v.String())); err != nil || got != v {
			t.Errorf("%v became %v, %v", v, got, err)
		}
	}
	if err := new(Verdict).UnmarshalText([]byte("perhaps")); err == nil {
		t.Error("perhaps is a verdict")
	}
	if !slices.Contains(verdicts, Verdict(200).String()) {
		t.Error("an unknown verdict has no name")
	}
}
