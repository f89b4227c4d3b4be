package backup

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

const (
	restores   = 1000
	lifeEvents = 40  // changes of the trust state in one life
	keepFiles  = 100 // backups that are kept, of whichever life
)

// TestLives restores a home a thousand times, each time from one of the old
// backups of whichever life, and lives on: nothing is ever given twice, nobody
// who was sent away comes back, and the gateway that begins a life beats those
// of every other. Group keys, whose counters must not be used twice either, do
// not exist yet.
func TestLives(t *testing.T) {
	w := &world{t: t, random: rand.New(rand.NewPCG(1, 2)), bytes: seeded(5), clock: now,
		nodes: map[cert.NodeID]bool{}, serials: map[string]bool{}, generations: map[uint32]bool{}}
	w.found()
	for life := range restores {
		for range lifeEvents {
			w.event()
		}
		w.clock = w.clock.Add(3 * 24 * time.Hour)
		w.restore(w.files[w.random.IntN(len(w.files))])
		for len(w.files) > keepFiles { // some get lost, but never the first: it is restored again and again
			i := 1 + w.random.IntN(len(w.files)-1)
			w.files = slices.Delete(w.files, i, i+1)
		}
		if t.Failed() {
			t.Fatalf("in life %d", life+1)
		}
	}
	t.Logf("%d node ids, %d serial numbers, %d backups; at most %d restores of one home in a row", len(w.nodes), len(w.serials), w.taken, w.deepest)
}

// kept is a backup in a drawer, and who was dead when it was taken.
type kept struct {
	file []byte
	dead map[cert.NodeID]bool
}

// world is the home's life that is on, and what all of its lives gave.
type world struct {
	t      *testing.T
	random *rand.Rand
	bytes  *rand.ChaCha8
	clock  time.Time
	kit    *seal.Kit

	state *fabric.State
	dead  map[cert.NodeID]bool // in this life
	files []kept
	taken int

	nodes       map[cert.NodeID]bool
	serials     map[string]bool
	generations map[uint32]bool
	newestTag   uint16 // that any gateway ever had
	deepest     uint8
}

func (w *world) found() {
	f, err := issuer.NewFabric(w.bytes, issuer.Params{Birth: w.clock})
	if err != nil {
		w.t.Fatal(err)
	}
	w.kit = &seal.Kit{Home: "home", FabricID: f.FabricID, Root: f.RCAC, Key: f.RootKey, Made: w.clock}
	if w.kit.Sealing, err = seal.NewSealingKey(seal.FirstSuite.Envelopes(), w.bytes); err != nil {
		w.t.Fatal(err)
	}
	w.state, w.dead = &fabric.State{}, map[cert.NodeID]bool{}
	keys := w.keys(w.node())
	begin := &fabric.Found{
		Home: fabric.Home{Name: "home", FabricID: f.FabricID, Root: f.RCAC, Birth: w.clock.UnixMilli(), GatewayCAT: cert.NewCAT(1, 1),
			Recovery: w.kit.Sealing.Public()},
		Generation: fabric.Generation{Number: 1, ICAC: f.ICAC},
		Gateway:    fabric.Gateway{Node: keys.Node, NOC: []byte("noc"), SealKey: keys.Sealing[0].Public(), Version: fabric.Version}}
	s := &fabric.State{Home: begin.Home, Gateways: map[cert.NodeID]*fabric.Gateway{keys.Node: &begin.Gateway}}
	sealed, err := (&vault.Vault{Random: w.bytes}).Seal(s, 1, vault.Founding(f.IssuerKey, f.IPK))
	if err != nil {
		w.t.Fatal(err)
	}
	begin.Keyring, begin.Generation.Key, begin.Home.IPK = &sealed.Keyring, sealed.IssuerKey, sealed.IPK
	w.gave(keys.Node, nil)
	w.generations[1] = true
	w.must(fabric.Command{Found: begin})
	w.backup() // there is always one
}

func (w *world) keys(n cert.NodeID) keyfile.Keys {
	keys, err := keyfile.New(n, keyfile.Options{TPM: keyfile.NoTPM}, w.bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return keys
}

func (w *world) node() cert.NodeID {
	n, err := w.state.DrawNode(w.bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// gave records a node id and a serial number that were given.
func (w *world) gave(n cert.NodeID, serial []byte) {
	if n != 0 && w.nodes[n] {
		w.t.Errorf("node id %v was given twice", n)
	}
	if serial != nil && w.serials[string(serial)] {
		w.t.Errorf("serial number %x was given twice", serial)
	}
	w.nodes[n], w.serials[string(serial)] = true, true
}

// apply applies a command and looks whether anybody rose from the dead.
func (w *world) apply(c fabric.Command) error {
	w.clock = w.clock.Add(time.Second)
	c.Version, c.Time = c.Needs(), w.clock.UnixMilli()
	next, err := fabric.Apply(w.state, w.state.Index+1, &c)
	w.state = next
	for n := range w.dead {
		if next.Tombstones[n] == nil || next.Devices[n] != nil || next.Gateways[n] != nil {
			w.t.Errorf("%v was sent away and is back", n)
		}
	}
	for n := range next.Tombstones {
		w.dead[n] = true
	}
	w.newestTag = max(w.newestTag, next.Home.GatewayCAT.Version())
	return err
}

func (w *world) must(c fabric.Command) {
	w.t.Helper()
	if err := w.apply(c); err != nil {
		w.t.Fatal(err)
	}
}

// some is one of a map's keys.
func some[V any](w *world, m map[cert.NodeID]V) cert.NodeID {
	return slices.Sorted(maps.Keys(m))[w.random.IntN(len(m))]
}

// event is something that happens in a home.
func (w *world) event() {
	s := w.state
	switch w.random.IntN(20) {
	case 0:
		w.backup()
	case 1:
		w.join()
	case 2:
		if len(s.Members()) > 1 && w.random.IntN(4) == 0 {
			w.must(fabric.Command{EvictGateway: &fabric.EvictGateway{Node: some(w, s.Gateways)}})
		}
	case 3:
		w.must(fabric.Command{RenewGateway: &fabric.RenewGateway{Node: some(w, s.Gateways)}})
		for _, g := range w.state.Gateways {
			if g.Reserved != nil && !w.serials[string(g.Reserved)] {
				w.gave(0, g.Reserved)
			}
		}
	case 4, 5:
		if n, ok := w.in(fabric.Admitted); ok {
			w.must(fabric.Command{Remove: &fabric.Remove{Node: n}})
		}
	case 6:
		if n, ok := w.in(fabric.Reserved); ok {
			w.must(fabric.Command{Abandon: &fabric.Abandon{Node: n}})
		}
	case 7, 8, 9, 10:
		if n, ok := w.in(fabric.Reserved); ok {
			w.apply(fabric.Command{Issue: &fabric.Issue{Node: n, NOCHash: make([]byte, 32), PublicKey: make([]byte, 65)}}) // or it is too late
		}
	case 11, 12, 13:
		if n, ok := w.in(fabric.Issued); ok {
			w.must(fabric.Command{Admit: &fabric.Admit{Node: n}})
		}
	default:
		n := w.node()
		w.must(fabric.Command{Reserve: &fabric.Reserve{Node: n, Gateway: s.Members()[0].Node, FailSafe: 60_000}})
		w.gave(n, w.state.Devices[n].Serial)
	}
}

func (w *world) in(phase fabric.Phase) (cert.NodeID, bool) {
	var all []cert.NodeID
	for n, d := range w.state.Devices {
		if d.Phase == phase {
			all = append(all, n)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return all[w.random.IntN(len(all))], true
}

// join lets a gateway in, whose node id is of its own choice.
func (w *world) join() {
	if len(w.state.Gateways) >= 3 {
		return
	}
	n, err := new(fabric.State).DrawNode(w.bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(fabric.Command{ReserveGateway: &fabric.ReserveGateway{Node: n, PublicKey: make([]byte, 65), SealKey: w.kit.Sealing.Public(), Version: fabric.Version}})
	w.gave(n, w.state.Gateways[n].Reserved)
	w.must(fabric.Command{IssueGateway: &fabric.IssueGateway{Node: n, NOC: []byte("noc"), CAT: w.state.Home.GatewayCAT.Version()}})
}

func (w *world) backup() {
	if w.state.Restores == fabric.MaxRestores {
		return // it could not be restored again
	}
	w.taken++
	w.files = append(w.files, kept{taken(w.t, w.state, w.clock), maps.Clone(w.dead)})
	for n := range w.state.Gateways {
		w.files[len(w.files)-1].dead[n] = true
	}
}

// restore begins a life by what Restore would commit.
func (w *world) restore(from kept) {
	b, err := Open(bytes.NewReader(from.file), w.kit)
	if err != nil {
		w.t.Fatal(err)
	}
	r := &restorer{b, w.kit, "new", w.clock, w.bytes}
	w.state, w.dead = &fabric.State{}, maps.Clone(from.dead)
	n, err := r.next().DrawNode(w.bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd, err := r.first(w.t.Context(), w.keys(n))
	if err != nil {
		w.t.Fatal(err)
	}
	newest := w.newestTag
	if err := w.apply(*cmd); err != nil {
		w.t.Fatal(errors.Join(fmt.Errorf("after %d restores", b.State.Restores), err))
	}
	c := cmd.Restore
	w.gave(n, c.Gateway.Serial)
	if w.generations[c.Generation.Number] {
		w.t.Errorf("generation %d began twice", c.Generation.Number)
	}
	w.generations[c.Generation.Number] = true
	if c.CAT <= newest {
		w.t.Errorf("the gateways' tag is of version %d, another life had %d", c.CAT, newest)
	}
	w.deepest = max(w.deepest, w.state.Restores)
}
