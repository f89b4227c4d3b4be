package fabric

import (
	"bytes"
	"testing"

	"gatehouse/fabric/cert"
)

// sleeper has a device that is reserved belong, and check in.
func (h *told) sleeper(n cert.NodeID) {
	h.must(Command{Issue: &Issue{Node: n, NOCHash: bytes.Repeat([]byte{1}, 32), PublicKey: bytes.Repeat([]byte{4}, 65)}}, Command{Admit: &Admit{Node: n}},
		Command{SetCheckIn: &SetCheckIn{Node: n, Phase: CheckInDue}})
	h.must(Command{SetCheckIn: &SetCheckIn{Node: n, Phase: CheckInKept, Epoch: h.state.Devices[n].CheckIn.Epoch, Counter: 7, Idle: 3600}})
}

// TestCheckIns: what may have reached a device is known until it was seen what
// it has.
func TestCheckIns(t *testing.T) {
	h := crowd(t)
	due, kept, ending, none := &SetCheckIn{Node: 1, Phase: CheckInDue}, &SetCheckIn{Node: 1, Phase: CheckInKept, Counter: 7, Idle: 60}, &SetCheckIn{Node: 1, Phase: CheckInEnding}, &SetCheckIn{Node: 1}
	set := func(c *SetCheckIn) Code { return h.say(Command{SetCheckIn: c}) }
	now := func() *CheckIn { return h.state.Devices[1].CheckIn }
	if now() != nil || h.state.CheckInsIn() || set(ending) != CodePhase || set(kept) != CodeChanged {
		t.Fatalf("it checks in already: %+v", now())
	}
	h.must(Command{SetCheckIn: due})
	first := *now()
	if first.Phase != CheckInDue || first.Epoch != h.state.Index || first.Before != 0 || !h.state.CheckInsIn() {
		t.Errorf("%+v at %d", first, h.state.Index)
	}
	h.must(Command{SetCheckIn: due})
	if *now() != first {
		t.Errorf("asked again, it is another key: %+v", now())
	}
	kept.Epoch = first.Epoch + 1
	if set(kept) != CodeChanged {
		t.Error("another key than it was given is kept")
	}
	kept.Epoch = first.Epoch
	h.must(Command{SetCheckIn: kept})
	if want := (CheckIn{Phase: CheckInKept, Epoch: first.Epoch, Counter: 7, Idle: 60}); *now() != want {
		t.Errorf("%+v", now())
	}
	h.must(Command{SetCheckIn: due})
	if again := *now(); again.Epoch == first.Epoch || again.Before != first.Epoch || again.BeforeCounter != 7 || again.Idle != 60 {
		t.Errorf("the key before is not known: %+v", again)
	}
	h.must(Command{SetCheckIn: ending})
	if ended := *now(); ended.Phase != CheckInEnding || ended.Before != first.Epoch {
		t.Errorf("%+v", ended)
	}
	h.must(Command{SetCheckIn: none})
	if now() != nil || set(&SetCheckIn{Node: 1, Phase: 9}) != CodeInvalid || set(&SetCheckIn{Node: 2, Phase: CheckInDue}) != CodeUnknown {
		t.Errorf("%+v", now())
	}
	if (&CheckIn{Phase: CheckInEnding}).moved(9) != nil || (&CheckIn{Phase: CheckInKept, Epoch: 3}).moved(9).Before != 3 {
		t.Error("on another fabric it is not registered anew")
	}
	if code := h.say(Command{Reserve: &Reserve{Node: CheckInNode, Gateway: gateway, FailSafe: 60_000}}); code != CodeUsed {
		t.Errorf("the node id of check-ins is given away: %q", code)
	}
	for _, spoil := range []func(*State){
		func(s *State) { s.Devices[1].CheckIn.Epoch = 0 },
		func(s *State) { s.Devices[1].CheckIn.Phase = 9 },
		func(s *State) { s.People = nil },
	} {
		s := *h.state
		s.Devices = map[cert.NodeID]*Device{1: {Node: 1, Phase: Admitted, CheckIn: &CheckIn{Phase: CheckInKept, Epoch: 1}}}
		if s.checkInFlaw() != "" {
			t.Error("a sound one is refused")
		}
		if spoil(&s); s.checkInFlaw() == "" {
			t.Errorf("%+v is taken", s.Devices[1].CheckIn)
		}
	}
}

// TestCheckInsNeedPeople: there is no key without their secret, nor for who is
// not on the home's terms.
func TestCheckInsNeedPeople(t *testing.T) {
	h := heirs(t)
	for n, want := range map[cert.NodeID]Code{1: CodeInvalid, 2: CodeInvalid} {
		if code := h.say(Command{SetCheckIn: &SetCheckIn{Node: n, Phase: CheckInDue}}); code != want {
			t.Errorf("device %v: %q", n, code)
		}
	}
	h.must(Command{SetPeople: &SetPeople{Key: []byte("k"), DataKey: h.state.DataKey(), Authority: []byte("der"), Of: h.state.Personal()}})
	for n, want := range map[cert.NodeID]Code{1: "", 2: CodePhase, 3: CodePhase} {
		if code := h.say(Command{SetCheckIn: &SetCheckIn{Node: n, Phase: CheckInDue}}); code != want {
			t.Errorf("device %v: %q", n, code)
		}
	}
}
