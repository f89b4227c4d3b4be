package fabric

import (
	"bytes"
	"fmt"
	"testing"

	"gatehouse/fabric/cert"
)

// peopled is a home with an administrator, Anna, and a resident, Bert.
func peopled(t *testing.T) *ledger {
	l := household(t)
	l.must(Command{DescribeGateway: &DescribeGateway{gateway, Version, "file"}})
	l.must(Command{SetPeople: &SetPeople{Key: []byte("key"), DataKey: 1, Authority: []byte("der"), Of: l.state.Personal()}})
	l.must(Command{SetPerson: &SetPerson{ID: "a", Name: "Anna", Role: Administrator, Sealed: []byte("anna's"), First: true}})
	l.must(Command{SetPerson: &SetPerson{ID: "b", Name: "Bert", Role: Resident, Sealed: []byte("bert's")}})
	return l
}

func pass(person, id string, ends int64) Command {
	return Command{AddPass: &AddPass{Person: person, Pass: Pass{ID: id, Name: "browser", Role: Resident, Expires: ends}, Of: []byte(map[string]string{"a": "anna's", "b": "bert's"}[person])}}
}

func TestPeopleRefusals(t *testing.T) {
	set := func(c SetPerson) Command { return Command{SetPerson: &c} }
	token := pass("a", "t", 0)
	token.AddPass.Pass.Token = true
	stale := pass("a", "s", 0)
	stale.AddPass.Of = []byte("before")
	for what, c := range map[string]struct {
		Command
		want Code
	}{
		"a second first":            {set(SetPerson{ID: "c", Name: "Carl", Role: Administrator, Sealed: []byte("x"), First: true}), CodeExists},
		"no name":                   {set(SetPerson{ID: "c", Role: Guest, Sealed: []byte("x")}), CodeInvalid},
		"no proof":                  {set(SetPerson{ID: "c", Name: "Carl", Role: Guest}), CodeInvalid},
		"no role":                   {set(SetPerson{ID: "c", Name: "Carl", Sealed: []byte("x")}), CodeInvalid},
		"a role there is not":       {set(SetPerson{ID: "c", Name: "Carl", Role: 9, Sealed: []byte("x")}), CodeInvalid},
		"a large proof":             {set(SetPerson{ID: "c", Name: "Carl", Role: Guest, Sealed: make([]byte, maxPersonal+1)}), CodeInvalid},
		"somebody's name":           {set(SetPerson{ID: "c", Name: "Anna", Role: Guest, Sealed: []byte("x")}), CodeExists},
		"changed meanwhile":         {set(SetPerson{ID: "b", Name: "Bert", Role: Guest, Sealed: []byte("x"), Of: []byte("before")}), CodeChanged},
		"taken for somebody new":    {set(SetPerson{ID: "b", Name: "Bert", Role: Guest, Sealed: []byte("x")}), CodeChanged},
		"removed meanwhile":         {set(SetPerson{ID: "c", Name: "Carl", Role: Guest, Sealed: []byte("x"), Of: []byte("y")}), CodeChanged},
		"last administrator":        {set(SetPerson{ID: "a", Name: "Anna", Role: Resident, Sealed: []byte("x"), Of: []byte("anna's")}), CodeLastAdministrator},
		"last administrator leaves": {Command{RemovePerson: &RemovePerson{"a"}}, CodeLastAdministrator},
		"nobody leaves":             {Command{RemovePerson: &RemovePerson{"c"}}, CodeNoPerson},
		"nobody's pass":             {pass("c", "1", 0), CodeNoPerson},
		"pass without an id":        {pass("a", "", 0), CodeInvalid},
		"pass that is over":         {pass("a", "1", start), CodeInvalid},
		"pass of before a change":   {stale, CodeChanged},
		"pass given twice":          {pass("b", "given", 0), CodeUsed},
		"nobody's passes end":       {Command{EndPasses: &EndPasses{Person: "c"}}, CodeNoPerson},
		"auditors approve":          {Command{SetApproval: &SetApproval{Auditor}}, CodeInvalid},
		"key under an old one":      {Command{SetPeople: &SetPeople{Key: []byte("key"), DataKey: 7, Authority: []byte("der")}}, CodeSealing},
		"key for others":            {Command{SetPeople: &SetPeople{Key: []byte("key"), DataKey: 1, Authority: []byte("der")}}, CodeSealing},
		"key without an authority":  {Command{SetPeople: &SetPeople{Key: []byte("key"), DataKey: 1}}, CodeInvalid},
		"no hook":                   {Command{RemoveHook: &RemoveHook{"phone"}}, CodeNoHook},
		"nameless hook":             {Command{SetHook: &SetHook{Sealed: []byte("x")}}, CodeInvalid},
		"hook to nowhere":           {Command{SetHook: &SetHook{Name: "phone"}}, CodeInvalid},
		"room of nobody":            {Command{SetRoom: &SetRoom{7, "kitchen"}}, CodeUnknown},
	} {
		l := peopled(t)
		l.must(pass("a", "given", 0))
		if code := l.apply(c.Command); code != c.want {
			t.Errorf("%s: %q, want %q", what, code, c.want)
		}
	}
	l := household(t)
	l.must(Command{DescribeGateway: &DescribeGateway{gateway, Version, "file"}})
	for _, c := range []Command{set(SetPerson{ID: "c", Name: "Carl", Role: Administrator, Sealed: []byte("x")}), {RemovePerson: &RemovePerson{"a"}}, token, {SetApproval: &SetApproval{}}} {
		if code := l.apply(c); code != CodeNoPerson {
			t.Errorf("without a list: %q", code)
		}
	}
	if code := l.apply(set(SetPerson{ID: "c", Name: "Carl", Role: Administrator, Sealed: []byte("x")})); code == "" {
		t.Error("a person before there is a list")
	}
}

func TestFirstIsAnAdministrator(t *testing.T) {
	l := household(t)
	l.must(Command{DescribeGateway: &DescribeGateway{gateway, Version, "file"}})
	l.must(Command{SetPeople: &SetPeople{Key: []byte("key"), DataKey: 1, Authority: []byte("der"), Of: l.state.Personal()}})
	if code := l.apply(Command{SetPerson: &SetPerson{ID: "a", Name: "Anna", Role: Resident, Sealed: []byte("x"), First: true}}); code != CodeLastAdministrator {
		t.Errorf("%q", code)
	}
}

func TestPasses(t *testing.T) {
	l := peopled(t)
	token := pass("a", "token", 0)
	token.AddPass.Pass.Token = true
	l.must(token)
	l.must(pass("a", "short", start+1000))
	if p, pass := l.state.Bearer("short", start+999); p == nil || p.Name != "Anna" || pass.Since != start {
		t.Errorf("%+v %+v", p, pass)
	}
	if p, _ := l.state.Bearer("short", start+1000); p != nil {
		t.Error("a pass outlives its end")
	}
	l.state.Time += 1000
	for i := range MaxPasses - 1 {
		l.must(pass("a", fmt.Sprintf("%02d", i), 0))
	}
	a := l.state.Person("a")
	if len(a.Passes) != MaxPasses || a.Passes["short"] != nil {
		t.Fatalf("%d passes", len(a.Passes))
	}
	l.state.Time += 1000
	l.must(pass("a", "newest", 0))
	if a = l.state.Person("a"); len(a.Passes) != MaxPasses || a.Passes["00"] != nil || a.Passes["token"] == nil {
		t.Error("the oldest session makes room, and no token does")
	}
	l.must(Command{EndPasses: &EndPasses{Person: "a", Except: "newest"}})
	if a = l.state.Person("a"); len(a.Passes) != 2 || a.Passes["newest"] == nil || a.Passes["token"] == nil {
		t.Errorf("%v are left", a.Passes)
	}
	l.must(Command{EndPasses: &EndPasses{Person: "a", IDs: []string{"token", "newest"}}})
	if a = l.state.Person("a"); a.Passes != nil {
		t.Errorf("%v are left", a.Passes)
	}
	for i := range MaxPasses {
		token.AddPass.Pass.ID = fmt.Sprintf("t%02d", i)
		l.must(Command{AddPass: &AddPass{Person: "a", Pass: token.AddPass.Pass, Of: []byte("anna's")}})
	}
	if code := l.apply(pass("a", "one more", 0)); code != CodeFull {
		t.Errorf("beside %d tokens: %q", MaxPasses, code)
	}
	l.must(pass("b", "bert's", 0))
	l.must(Command{RemovePerson: &RemovePerson{"b"}})
	if p, _ := l.state.Bearer("bert's", l.state.Time); p != nil {
		t.Error("a pass outlives its person")
	}
}

// TestPeopleKey: the key is sealed anew with the others, is known to be exposed
// when a gateway goes, and is replaced only with everybody's proof.
func TestPeopleKey(t *testing.T) {
	l := peopled(t)
	without := l.sealed()
	without.People = nil
	if code := l.apply(Command{Reseal: without}); code != CodeSealing {
		t.Errorf("the key left out: %q", code)
	}
	before := l.sealed()
	l.must(Command{Reseal: before})
	if string(l.state.People.Key) != "sealed anew" || l.state.People.Exposed {
		t.Errorf("%+v", l.state.People)
	}
	anew := SetPeople{Key: []byte("other"), DataKey: 2, Authority: []byte("other der"), Of: l.state.Personal(), Sealed: map[string][]byte{"a": []byte("anna's anew")}}
	if code := l.apply(Command{SetPeople: &anew}); code != CodeInvalid {
		t.Errorf("without Bert's: %q", code)
	}
	l.must(Command{SetHook: &SetHook{"phone", []byte("to the phone")}})
	l.join(second)
	l.must(Command{Reseal: l.sealed()})
	l.must(Command{EvictGateway: &EvictGateway{Node: second, Reason: "stolen"}})
	if !l.state.People.Exposed {
		t.Error("an evicted gateway knew the key")
	}
	anew.DataKey, anew.Sealed["b"] = l.state.DataKey(), []byte("bert's anew")
	if code := l.apply(Command{SetPeople: &anew}); code != CodeSealing {
		t.Errorf("for other hooks: %q", code)
	}
	anew.Of = l.state.Personal()
	if code := l.apply(Command{SetPeople: &anew}); code != CodeInvalid {
		t.Errorf("without the hook's: %q", code)
	}
	anew.Hooks = map[string][]byte{"phone": []byte("anew")}
	l.must(pass("a", "1", 0))
	l.must(Command{SetApproval: &SetApproval{Resident}})
	l.must(Command{SetPeople: &anew})
	if p := l.state.People; p.Exposed || string(p.Persons["b"].Sealed) != "bert's anew" || string(p.Hooks["phone"].Sealed) != "anew" || p.Approve != Resident || p.Persons["a"].Passes["1"] == nil {
		t.Errorf("%+v", p)
	}
	if code := l.apply(Command{DescribeGateway: &DescribeGateway{gateway, PeopleVersion - 1, "file"}}); code != CodeOldMember {
		t.Errorf("an older release would lose people: %q", code)
	}
}

func TestPeopleInBackups(t *testing.T) {
	l := peopled(t)
	token := pass("a", "token", 0)
	token.AddPass.Pass.Token = true
	l.must(token)
	l.must(pass("a", "session", 0))
	l.must(pass("b", "bert's", 0))
	restored := func() *Restore {
		kept, err := l.state.Backup()
		if err != nil {
			t.Fatal(err)
		}
		r := &Restore{State: kept, Generation: Generation{Number: 40, ICAC: []byte("icac 40")}, CAT: 300,
			Gateway: Gateway{Node: heir, Name: "new", NOC: []byte("noc"), SealKey: []byte("s"), Serial: FirstSerial(40), CAT: 300, Version: Version}}
		after := *kept
		after.Gateways = map[cert.NodeID]*Gateway{heir: &r.Gateway}
		r.Reseal = *(&ledger{t, &after}).sealed()
		return r
	}
	next := &ledger{t, &State{}}
	next.must(Command{Time: start, Restore: restored()})
	a, b := next.state.Person("a"), next.state.Person("b")
	if a == nil || len(a.Passes) != 1 || a.Passes["token"] == nil || b == nil || b.Passes != nil || !next.state.People.Exposed {
		t.Errorf("%+v %+v", a, b)
	}
	if l.state.Person("a").Passes["session"] == nil {
		t.Error("a backup ended somebody's session")
	}
	for what, spoil := range map[string]func(*Restore){
		"no persons":       func(r *Restore) { r.State.People.Persons = nil },
		"no key":           func(r *Restore) { r.State.People.Key = nil },
		"another's id":     func(r *Restore) { r.State.People.Persons["a"].ID = "b" },
		"nobody":           func(r *Restore) { r.State.People.Persons["a"] = nil },
		"no pass":          func(r *Restore) { r.State.People.Persons["a"].Passes["token"] = nil },
		"an older gateway": func(r *Restore) { r.Gateway.Version = PeopleVersion - 1 },
	} {
		r := restored()
		spoil(r)
		if code := (&ledger{t, &State{}}).apply(Command{Time: start, Restore: r}); code != CodeInvalid {
			t.Errorf("%s: %q", what, code)
		}
	}
}

func TestRooms(t *testing.T) {
	l := peopled(t)
	for _, c := range []Command{reserve(7), issue(7), admit(7), {SetRoom: &SetRoom{7, "kitchen"}}} {
		l.must(c)
	}
	if d := l.state.Devices[7]; d.Room != "kitchen" {
		t.Errorf("%+v", d)
	}
	if code := l.apply(Command{SetRoom: &SetRoom{7, string(bytes.Repeat([]byte("x"), MaxText+1))}}); code != CodeInvalid {
		t.Errorf("a long name: %q", code)
	}
}

func TestRoles(t *testing.T) {
	for r := Guest; r <= Administrator; r++ {
		if got, ok := ParseRole(r.String()); !ok || got != r {
			t.Errorf("%v is read as %v", r, got)
		}
	}
	for _, name := range []string{"", "none", "owner"} {
		if _, ok := ParseRole(name); ok {
			t.Errorf("%q is a role", name)
		}
	}
}
