package firmware

import (
	"strings"
	"testing"
	"time"

	"gatehouse/fabric"
	"gatehouse/firmware/dcl"
	"gatehouse/firmware/manifest"
)

func TestStanding(t *testing.T) {
	now := time.UnixMilli(1_000_000)
	const hour = int64(time.Hour / time.Millisecond)
	outdated := Decision{Verdict: Quarantine, Grace: time.Hour, Reasons: []Reason{{Code: Outdated, Verdict: Quarantine, From: "house", Text: "old"}}}
	final := outdated
	final.Grace = 0
	good := &fabric.Standing{Verdict: Admit}
	for name, c := range map[string]struct {
		d        Decision
		had      *fabric.Standing
		after    time.Duration
		want     Verdict
		deadline int64
	}{
		"good":                        {Decision{Verdict: Admit}, nil, 0, Admit, 0},
		"refused, but there":          {Decision{Verdict: Refuse}, good, 0, Quarantine, 0},
		"outdated and new":            {outdated, nil, 0, Quarantine, 0},
		"outdated, in good standing":  {outdated, good, 0, Admit, 1_000_000 + hour},
		"the deadline stays":          {outdated, &fabric.Standing{Verdict: Admit, Deadline: 1_000_000 + hour}, time.Minute, Admit, 1_000_000 + hour},
		"the deadline is over":        {outdated, &fabric.Standing{Verdict: Admit, Deadline: 1_000_000 + hour}, time.Hour, Quarantine, 1_000_000 + hour},
		"outdated, and quarantined":   {outdated, &fabric.Standing{Verdict: Quarantine}, 0, Quarantine, 0},
		"no grace":                    {final, good, 0, Quarantine, 0},
		"updated before the deadline": {Decision{Verdict: Admit}, &fabric.Standing{Verdict: Admit, Deadline: 1_000_000 + hour}, time.Minute, Admit, 0},
	} {
		s := c.d.Standing(c.had, now.Add(c.after), nil)
		if s.Verdict != c.want || s.Deadline != c.deadline || s.Version != c.d.Version || len(s.Reasons) != len(c.d.Reasons) {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestLetOut has a gateway decide that knows less than the one before, or more.
func TestLetOut(t *testing.T) {
	had := &fabric.Standing{Verdict: Quarantine, Version: 1, Reasons: []fabric.FirmwareReason{{Code: string(Recalled), From: "house"}, {Code: string(Revoked), From: Ledger}}}
	believed := func(source string) bool { return source == "house" }
	for name, c := range map[string]struct {
		heard   []string
		version uint32
		settled func(string) bool
		want    Verdict
	}{
		"who spoke is not heard":       {nil, 1, believed, Quarantine},
		"only one of them is":          {[]string{"house"}, 1, believed, Quarantine},
		"only the ledger is":           {[]string{Ledger}, 1, believed, Quarantine},
		"both took it back":            {[]string{"house", Ledger}, 1, believed, Admit},
		"one is not believed any more": {[]string{Ledger}, 1, func(string) bool { return false }, Admit},
		"another version":              {nil, 2, believed, Admit},
	} {
		d := Decision{Verdict: Admit, Version: c.version}
		for _, who := range c.heard {
			d.Evidence = append(d.Evidence, fabric.Evidence{From: who})
		}
		if s := d.Standing(had, time.Now(), c.settled); s.Verdict != c.want {
			t.Errorf("%s: %v", name, s.Verdict)
		}
	}
	if d := Decide(lamp(4), Known{Statements: []Statement{says("house")}, Ledger: recorded(dcl.Version{Version: 4})}, Policy{}); !d.heard("house") || !d.heard(Ledger) || d.heard("vendor") {
		t.Errorf("heard %v", d.Evidence)
	}
}

// TestStandingBounds holds a standing to what the trust state takes.
func TestStandingBounds(t *testing.T) {
	d := Decision{Verdict: Quarantine, Update: &Target{From: "house", Release: manifest.Release{Version: 2, Name: "2", Size: 9}}}
	for range fabric.MaxReasons + 1 {
		d.Reasons = append(d.Reasons, Reason{Recalled, Quarantine, "house", strings.Repeat("ä", fabric.MaxText)})
	}
	s := d.Standing(nil, time.Now(), nil)
	if len(s.Reasons) != fabric.MaxReasons || len(s.Reasons[0].Text) > fabric.MaxText || !strings.HasPrefix(s.Reasons[0].Text, "ää") || len(s.Update.SHA256) != 32 || s.Update.Size != 9 {
		t.Errorf("%+v", s)
	}
}

func TestSame(t *testing.T) {
	base := func() *fabric.Standing {
		return &fabric.Standing{Verdict: Quarantine, Version: 1, Reasons: []fabric.FirmwareReason{{Code: "a"}}, Update: &fabric.FirmwareImage{From: "house", SHA256: []byte{1}}}
	}
	for name, change := range map[string]func(*fabric.Standing){
		"verdict": func(s *fabric.Standing) { s.Verdict = Admit }, "version": func(s *fabric.Standing) { s.Version = 2 }, "attested": func(s *fabric.Standing) { s.Attested = true },
		"deadline": func(s *fabric.Standing) { s.Deadline = 1 }, "reason": func(s *fabric.Standing) { s.Reasons[0].Text = "b" }, "no reason": func(s *fabric.Standing) { s.Reasons = nil },
		"image": func(s *fabric.Standing) { s.Update.SHA256 = []byte{2} }, "no image": func(s *fabric.Standing) { s.Update = nil }, "source": func(s *fabric.Standing) { s.Update.From = "x" },
	} {
		s := base()
		if change(s); Same(base(), s) {
			t.Errorf("another %s is the same", name)
		}
	}
	s := base()
	if s.Since, s.Enforced = 5, true; !Same(base(), s) || Same(base(), nil) || !Same(nil, nil) {
		t.Error("not the same")
	}
}
