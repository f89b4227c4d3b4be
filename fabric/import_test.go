package fabric

import (
	"bytes"
	"testing"

	"gatehouse/fabric/cert"
)

// before is the node id of the controller that a home was taken over from.
const before = cert.NodeID(112233)

// takingOver is a home's first command with three devices of another's: one
// whose key is known, two whose keys are not.
func takingOver(published bool) Command {
	key, hash := bytes.Repeat([]byte{4}, 65), bytes.Repeat([]byte{1}, 32)
	return Command{Time: start, Found: &Found{
		Home:       Home{Name: "home", FabricID: 1, Root: []byte("root"), Birth: start, GatewayCAT: cert.NewCAT(1, 1), Recovery: []byte("kit")},
		Generation: Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed")},
		Gateway:    Gateway{Node: gateway, Name: "hall", NOC: []byte("noc"), Version: Version, CAT: 1},
		Import:     &Import{Controller: before, Published: published},
		Devices: []Inherited{{Node: 1, Name: "lamp", Facts: Facts{VendorID: 0xFFF1, ProductName: "Lamp"}, Serial: []byte{1}, NOCHash: hash, PublicKey: key},
			{Node: 2}, {Node: 3}}}}
}

func adopted(n cert.NodeID, t Terms) Command {
	c := Command{Adopt: &Adopt{Node: n, Gateway: gateway, Terms: t}}
	switch t {
	case SharedTerms:
		c.Adopt.Serial, c.Adopt.NOCHash, c.Adopt.PublicKey = []byte{1}, bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{4}, 65)
	case HomeTerms, PublishedTerms:
		c.Adopt.Access = 1
	}
	return c
}

// heirs is a home with devices of another's, on their way.
func heirs(t *testing.T) *told {
	h := newTold(t)
	h.must(takingOver(true), adopted(1, SharedTerms), adopted(1, PublishedTerms), adopted(1, RotatingTerms), adopted(1, HomeTerms), adopted(2, SharedTerms))
	return h
}

func TestTakeOverFabric(t *testing.T) {
	l := &ledger{t, &State{}}
	l.must(takingOver(true))
	s := l.state
	if d := s.Devices[1]; len(s.Devices) != 3 || d.Phase != Admitted || d.Gateway != gateway || d.Terms != ForeignTerms || d.Name != "lamp" || d.Zone != defaultZone || s.RenewalDue(d) {
		t.Errorf("%+v", d)
	}
	if !s.Used(before) || !s.Used(3) || !s.Foreign() || s.Version != Version {
		t.Errorf("%+v", s)
	}
	var known, other cert.PublicKey
	copy(known[:], bytes.Repeat([]byte{4}, 65))
	if !s.Knows(1, known, false) || s.Knows(1, other, false) || !s.Knows(2, other, false) {
		t.Error("a device is taken by another key, or one that nobody knows is refused")
	}
	for _, terms := range []Terms{SharedTerms, PublishedTerms, RotatingTerms, HomeTerms} {
		for _, wrong := range []Terms{HomeTerms, ForeignTerms, SharedTerms, PublishedTerms, RotatingTerms, 9} {
			if wrong != terms {
				if code := l.apply(adopted(1, wrong)); code != CodePhase {
					t.Errorf("to %v before %v: %q", wrong, terms, code)
				}
			}
		}
		l.must(adopted(1, terms))
		d := l.state.Devices[1]
		if d.Terms != terms || l.state.RenewalDue(d) != terms.Administered() {
			t.Errorf("%v: %+v", terms, d)
		}
	}
	if code := l.apply(adopted(1, SharedTerms)); code != CodePhase {
		t.Errorf("adopted twice: %q", code)
	}
	unknown := adopted(2, SharedTerms)
	unknown.Adopt.PublicKey = nil
	if code := l.apply(unknown); code != CodeInvalid {
		t.Errorf("met without a key: %q", code)
	}
	l.must(adopted(2, SharedTerms))
	if !l.state.Knows(2, known, false) || l.state.Knows(2, other, false) {
		t.Error("its key was not learnt")
	}
	access := adopted(2, PublishedTerms)
	access.Adopt.Access = 2
	if code := l.apply(access); code != CodeInvalid {
		t.Errorf("a tag that there is not: %q", code)
	}
	stranger := adopted(3, SharedTerms)
	stranger.Adopt.Gateway = 5
	if code := l.apply(stranger); code != CodeOwner {
		t.Errorf("adopted for another: %q", code)
	}
	if code := l.apply(Command{Reserve: &Reserve{Node: before, Gateway: gateway, FailSafe: 60_000}}); code != CodeUsed {
		t.Errorf("the old controller's id was given again: %q", code)
	}
}

// TestAnotherKey has a device met with a key that the storage did not have.
func TestAnotherKey(t *testing.T) {
	l := &ledger{t, &State{}}
	l.must(takingOver(false))
	c := adopted(1, SharedTerms)
	c.Adopt.PublicKey = bytes.Repeat([]byte{5}, 65)
	if code := l.apply(c); code != CodeInvalid {
		t.Errorf("%q", code)
	}
	l.must(adopted(1, SharedTerms))
	l.must(adopted(1, HomeTerms)) // its IPK is the home's already
	if d := l.state.Devices[1]; d.Terms != HomeTerms || d.Access != 1 {
		t.Errorf("%+v", d)
	}
}

// TestForeignReroot changes no root while there are devices that only the
// controller of before reaches, and lets a move end what is left of it.
func TestForeignReroot(t *testing.T) {
	l := &ledger{t, &State{}}
	l.must(takingOver(true))
	if code := l.apply(Command{Reroot: &Reroot{}}); code != CodeForeign {
		t.Errorf("%q", code)
	}
	s := *l.state
	for _, spoil := range []func(*State, *Device){
		func(_ *State, d *Device) { d.Terms = RotatingTerms + 1 },
		func(s *State, _ *Device) { s.Import = nil },
		func(_ *State, d *Device) { d.Phase = Issued },
		func(s *State, _ *Device) { s.Import = &Import{} },
	} {
		spoilt, d := s, *s.Devices[1]
		spoilt.Devices = map[cert.NodeID]*Device{1: &d}
		spoil(&spoilt, &d)
		if spoilt.importFlaw() == "" || s.importFlaw() != "" {
			t.Errorf("%+v, %+v", spoilt.Import, d)
		}
	}
}

func TestTakeOverRefused(t *testing.T) {
	for what, spoil := range map[string]func(*Found){
		"no controller":           func(f *Found) { f.Import.Controller = 0 },
		"devices of nobody":       func(f *Found) { f.Import = nil },
		"the controller is here":  func(f *Found) { f.Import.Controller = gateway },
		"a device is the gateway": func(f *Found) { f.Devices[1].Node = gateway },
		"a device twice":          func(f *Found) { f.Devices[1].Node = 3 },
		"a device is the other":   func(f *Found) { f.Devices[1].Node = before },
		"half a key":              func(f *Found) { f.Devices[0].PublicKey = []byte{4} },
		"a key without its hash":  func(f *Found) { f.Devices[0].NOCHash = nil },
		"no node id":              func(f *Found) { f.Devices[0].Node = 0 },
		"too many":                func(f *Found) { f.Devices = make([]Inherited, MaxDevices+1) },
	} {
		l, c := &ledger{t, &State{}}, takingOver(true)
		spoil(c.Found)
		if code := l.apply(c); code == "" || l.state.Founded() {
			t.Errorf("%s: %q", what, code)
		}
	}
}
