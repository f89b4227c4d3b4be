package fabric

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric/cert"
)

const heir = cert.NodeID(1<<lifeShift | 0xB1)

// lived is a home with something of everything.
func lived(t *testing.T) *ledger {
	l := household(t)
	l.join(second)
	l.must(Command{SetNetwork: &SetNetwork{Name: "n", Kind: WiFi, ID: []byte("n"), Sealed: []byte("s"), DataKey: 1}})
	l.must(Command{Reseal: l.sealed()})
	for n := cert.NodeID(1); n <= 4; n++ {
		l.must(Command{Reserve: &Reserve{Node: n, Gateway: second, FailSafe: 60_000}})
	}
	for n := cert.NodeID(1); n <= 3; n++ {
		l.must(issue(n))
	}
	l.must(Command{Admit: &Admit{Node: 1, Gateway: second, Access: 1}})
	l.must(Command{Admit: &Admit{Node: 2, Gateway: second, Access: 1}})
	l.must(remove(2))
	l.join(third)
	l.must(Command{EvictGateway: &EvictGateway{Node: third, Reason: "stolen"}})
	l.must(Command{Reseal: l.sealed()})
	return l
}

// restoration is what brings a backup back.
func restoration(t *testing.T, l *ledger) *Restore {
	t.Helper()
	b, err := l.state.Backup()
	if err != nil {
		t.Fatal(err)
	}
	r := &Restore{State: b, Generation: Generation{Number: 17, ICAC: []byte("icac 17")}, CAT: 300}
	r.Gateway = Gateway{Node: heir, Name: "new", NOC: []byte("noc"), SealKey: []byte("s"), Serial: FirstSerial(17), CAT: 300, Version: Version}
	after := *b
	after.Gateways = map[cert.NodeID]*Gateway{heir: &r.Gateway}
	r.Reseal = *(&ledger{t, &after}).sealed()
	return r
}

func TestBackup(t *testing.T) {
	l := lived(t)
	before := *l.state
	b, err := l.state.Backup()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&before, l.state); d != "" {
		t.Errorf("the home was changed: %s", d)
	}
	if len(b.Gateways) != 0 || len(b.Recent) != 0 || len(b.Keyring.Issuing) != 0 || len(b.Keyring.Shared) != 1 || b.Keyring.Shared[0].Gateway != recoveryKit {
		t.Errorf("%+v", b)
	}
	for _, g := range b.Generations {
		if g.Key != nil || g.DataKeys != nil || g.ICAC == nil {
			t.Errorf("%+v", g)
		}
	}
	for _, n := range []cert.NodeID{gateway, second, third, 2} {
		if b.Tombstones[n] == nil {
			t.Errorf("%v is not among the former ones", n)
		}
	}
	if !strings.Contains(b.Tombstones[gateway].Reason, "hall") || b.flaw() != "" || !slices.Equal(b.Lost(), []string{"box", "hall"}) {
		t.Errorf("%+v, %q", b.Tombstones[gateway], b.flaw())
	}
	if _, err := founded(t).state.Backup(); !errors.Is(err, ErrNoRecovery) {
		t.Errorf("of an early release's home: %v", err)
	}
	if _, err := new(State).Backup(); err == nil {
		t.Error("of nothing")
	}
	unsealed := household(t)
	unsealed.state.Home.Recovery = []byte("another kit")
	if _, err := unsealed.state.Backup(); err == nil {
		t.Error("that no kit opens")
	}
}

func TestRestore(t *testing.T) {
	old := lived(t)
	l := &ledger{t, &State{}}
	r := restoration(t, old)
	given := cmp.Diff(r, restoration(t, old))
	l.must(Command{Time: start - 5, Restore: r}) // a clock that runs behind
	s := l.state
	if s.Restores != 1 || s.Time < old.state.Time || s.Index != 1 || s.Home.GatewayCAT != cert.NewCAT(1, 300) || s.Generation().Number != 17 ||
		len(s.Generations) != len(old.state.Generations)+1 || string(s.Generation().Key) != "k" || s.Version != Version {
		t.Errorf("%+v", s)
	}
	if len(s.Devices) != 1 || s.Devices[1].Gateway != heir || len(s.TrustingEvicted()) != 1 {
		t.Errorf("%+v", s.Devices)
	}
	for _, n := range []cert.NodeID{2, 3, 4, gateway, second, third} {
		if s.Tombstones[n] == nil {
			t.Errorf("%v is not among the former ones", n)
		}
	}
	if !s.SealedRight() || s.DataKey() != old.state.DataKey()+1 || !s.Networks["n"].Exposed || string(s.Networks["n"].Sealed) != "sealed anew" {
		t.Errorf("%+v", s)
	}
	if d := cmp.Diff(r, restoration(t, old)); d != given {
		t.Errorf("the command was changed: %s", d)
	}
	// Life goes on, and node ids come from another range.
	if l.apply(Command{Reserve: &Reserve{Node: 77, Gateway: heir, FailSafe: 60_000}}) != CodeUsed {
		t.Error("a node id of the life before was given")
	}
	n, err := s.DrawNode(rand.NewChaCha8([32]byte{}))
	if err != nil || n>>lifeShift != 1 {
		t.Fatal(n, err)
	}
	l.must(Command{Reserve: &Reserve{Node: n, Gateway: heir, FailSafe: 60_000}})
	if bytes.Equal(l.state.Devices[n].Serial, FirstSerial(17)) {
		t.Error("a serial number was given twice")
	}
	if _, err := l.state.Backup(); err != nil {
		t.Error(err)
	}
}

func TestRestoreRefusals(t *testing.T) {
	old := lived(t)
	for name, c := range map[string]struct {
		change func(r *Restore)
		want   Code
	}{
		"nothing":             {func(r *Restore) { r.State = nil }, CodeInvalid},
		"an empty one":        {func(r *Restore) { r.State = &State{} }, CodeInvalid},
		"with gateways":       {func(r *Restore) { r.State.Gateways = old.state.Gateways }, CodeInvalid},
		"with requests":       {func(r *Restore) { r.State.Recent = []Outcome{{}} }, CodeInvalid},
		"of a newer release":  {func(r *Restore) { r.State.Version = Version + 1 }, CodeInvalid},
		"no generation":       {func(r *Restore) { r.State.Generations = nil }, CodeInvalid},
		"no keyring":          {func(r *Restore) { r.State.Keyring = nil }, CodeInvalid},
		"no recovery":         {func(r *Restore) { r.State.Home.Recovery = nil }, CodeInvalid},
		"no zone":             {func(r *Restore) { r.State.Zones = nil }, CodeInvalid},
		"no tombstones":       {func(r *Restore) { r.State.Tombstones = nil }, CodeInvalid},
		"a device of nothing": {func(r *Restore) { r.State.Devices = map[cert.NodeID]*Device{5: nil} }, CodeInvalid},
		"a misplaced device": {func(r *Restore) {
			r.State.Devices = map[cert.NodeID]*Device{5: {Node: 6, Phase: Admitted, Zone: "home"}}
		}, CodeInvalid},
		"a device in no phase":  {func(r *Restore) { r.State.Devices = map[cert.NodeID]*Device{5: {Node: 5, Zone: "home"}} }, CodeInvalid},
		"a device in no zone":   {func(r *Restore) { r.State.Devices = map[cert.NodeID]*Device{5: {Node: 5, Phase: Admitted}} }, CodeInvalid},
		"a dead device":         {func(r *Restore) { r.State.Tombstones[1] = &Tombstone{} }, CodeInvalid},
		"a tombstone of nobody": {func(r *Restore) { r.State.Tombstones[9] = nil }, CodeInvalid},
		"an anchor of nothing":  {func(r *Restore) { r.State.Anchors = map[string]*Anchor{"": nil} }, CodeInvalid},
		"a zone of nothing":     {func(r *Restore) { r.State.Zones = map[string]*Zone{"home": {Name: "home"}, "": nil} }, CodeInvalid},
		"an exception":          {func(r *Restore) { r.State.Exceptions = map[string]*Exception{"": nil} }, CodeInvalid},
		"a network of nothing":  {func(r *Restore) { r.State.Networks = map[string]*Network{"n": nil} }, CodeInvalid},
		"too often":             {func(r *Restore) { r.State.Restores = MaxRestores }, CodeFull},
		"its old gateway":       {func(r *Restore) { r.Gateway.Node = gateway }, CodeUsed},
		"an evicted gateway":    {func(r *Restore) { r.Gateway.Node = third }, CodeUsed},
		"a device as gateway":   {func(r *Restore) { r.Gateway.Node = 1 }, CodeUsed},
		"no gateway":            {func(r *Restore) { r.Gateway = Gateway{} }, CodeInvalid},
		"the generation again":  {func(r *Restore) { r.Generation.Number = 1 }, CodeInvalid},
		"the next generation":   {func(r *Restore) { r.Generation.Number = 16 }, CodeInvalid},
		"another's serial":      {func(r *Restore) { r.Gateway.Serial = serial(17, 5) }, CodeSerial},
		"the tag again":         {func(r *Restore) { r.CAT, r.Gateway.CAT = 2, 2 }, CodeInvalid},
		"almost the tag":        {func(r *Restore) { r.CAT, r.Gateway.CAT = 9, 9 }, CodeInvalid},
		"another tag inside":    {func(r *Restore) { r.Gateway.CAT = 299 }, CodeInvalid},
		"unsealed":              {func(r *Restore) { r.Reseal = Reseal{} }, CodeInvalid},
		"sealed for another":    {func(r *Restore) { r.Reseal.Keyring.Issuing = nil }, CodeSealing},
		"a network is lost":     {func(r *Restore) { r.Reseal.Networks = nil }, CodeSealing},
		"another kit":           {func(r *Restore) { r.Reseal.Recovery = []byte("mine") }, CodeInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			l, r := &ledger{t, &State{}}, restoration(t, old)
			c.change(r)
			if got := l.apply(Command{Restore: r}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if l.state.Founded() || l.state.Gateways != nil {
				t.Error("a refused command changed something")
			}
		})
	}
	l := lived(t)
	if got := l.apply(Command{Restore: restoration(t, old)}); got != CodeFounded {
		t.Errorf("over a home that lives: %q", got)
	}
}
