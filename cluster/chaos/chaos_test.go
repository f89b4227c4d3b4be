package chaos

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

var (
	seedFlag     = flag.Uint64("seed", 1, "of faults and workload; with -rounds, the first")
	hoursFlag    = flag.Float64("hours", 0, "simulated hours of a round; 0: a short run")
	roundsFlag   = flag.Int("rounds", 1, "how many seeds")
	gatewaysFlag = flag.Int("gateways", 3, "in the home")
	recordFlag   = flag.String("record", "", "append the report, as a line of JSON, to a file")
	hastyFlag    = flag.Bool("hasty", false, "evict without waiting for the one before to be made good")
	sabotageFlag = flag.String("sabotage", "", "what to break that must be noticed: lies, early, stale or hasty")
	journalFlag  = flag.Bool("journal", false, "print what was broken when")
)

// plan is what a round is to be.
type plan struct {
	gateways int
	d        time.Duration
	hurried  bool // more of all in less time
	sabotage sabotage
}

const clients = 3

// pauses are the mean times between what a client does, and between faults.
func (p plan) pauses() (client, fault time.Duration) {
	if p.hurried {
		return 3 * time.Second, 5 * time.Second
	}
	return 20 * time.Second, 15 * time.Second
}

// raced is whether the race detector is on.
var raced = false

// life is one home's, from one seed, in a bubble of its own.
func life(t *testing.T, seed uint64, p plan) (w *world) {
	if raced {
		t.Skip("the race detector crashes in a bubble when a timer is due at once")
	}
	func() {
		defer func() {
			// Raft leaves some of its promises open when it is shut down.
			if p := recover(); p != nil && (w == nil || w.over == 0 || !strings.Contains(fmt.Sprint(p), "blocked goroutines remain")) {
				panic(p)
			}
		}()
		synctest.Test(t, func(t *testing.T) {
			w = newWorld(t, seed, p)
			w.live()
			w.heal()
			w.final()
			w.end()
		})
	}()
	if w.last != nil {
		w.trial.Verify(w.last)
	}
	return w
}

// live has clients and faults go on for a while.
func (w *world) live() {
	ctx, cancel := context.WithTimeout(w.t.Context(), w.plan.d)
	defer cancel()
	clientPause, faultPause := w.plan.pauses()
	for i := range clients {
		c := &Client{Trial: w.trial, ID: 10 + i, Rand: w.rand(uint64(10 + i)), Pause: clientPause, Early: w.plan.sabotage.early, Pick: w.pick}
		w.busy.Go(func() { c.Run(ctx) })
	}
	w.nemesis(ctx, w.rand(1), faultPause)
	w.busy.Wait()
}

// heal ends all faults and has every gateway run.
func (w *world) heal() {
	w.note("all faults end")
	w.mu.Lock()
	clear(w.cuts)
	clear(w.latency)
	w.connect()
	w.mu.Unlock()
	w.until("the home is whole again", func() error {
		for _, b := range w.all() {
			if p := w.processOf(b); p != nil {
				p.disk.set(func(d *disk) { d.full, d.cut = false, false })
			}
			w.on(b)
		}
		return w.whole()
	})
}

// final holds all gateways against each other and against the record.
func (w *world) final() {
	all := w.running(false)
	if len(all) == 0 || len(w.trial.Violations()) > 0 && all[0].State() == nil {
		return
	}
	states := w.same(all)
	for i, p := range all {
		if states[i] == nil {
			continue
		}
		if diff := cmp.Diff(states[0], states[i]); diff != "" {
			w.trial.Broken("%s and %s differ in the end: %s", all[0].box.name, p.box.name, diff)
		}
		w.trial.Observe(p.Node(), states[i])
		if len(w.trial.Violations()) == 0 { // else it may never be, and that takes long
			w.until("the secrets open for exactly the members", func() error { return w.secrets(p) })
		}
	}
	for _, p := range all {
		w.until("all records of the audit trail are there", func() error { return w.recorded(p) })
	}
	w.thieves()
	w.last = states[0]
}

// same are the States that gateways read at one index. A gateway that has come
// back only now may still have its devices taken over.
func (w *world) same(all []*process) []*fabric.State {
	states := make([]*fabric.State, len(all))
	w.until("all gateways read the same", func() (err error) {
		for i, p := range all {
			if states[i], err = p.Current(w.t.Context()); err != nil {
				return fmt.Errorf("%s: %w", p.box.name, err)
			}
			if states[i].Index != states[0].Index {
				return fmt.Errorf("%s is at %d, %s at %d", all[0].box.name, states[0].Index, p.box.name, states[i].Index)
			}
		}
		return nil
	})
	return states
}

// recorded checks the records that a gateway has on its disk.
func (w *world) recorded(p *process) error {
	if first := p.Trail().First(); first > 0 {
		return fmt.Errorf("%s: they begin with %d", p.box.name, first)
	}
	l, err := p.Trail().Leaves()
	if err == nil {
		w.trial.Recorded(p.Node(), l)
	}
	return err
}

// secrets checks that a member opens what members must open, and the issuing
// key if it leads.
func (w *world) secrets(p *process) error {
	ctx, s := w.t.Context(), p.State()
	k, err := p.Vault.IPK(ctx, s)
	if err != nil {
		return fmt.Errorf("%s: %w", p.box.name, err)
	}
	k.Erase()
	for name := range s.Networks {
		if _, err := p.OpenNetwork(ctx, s, name); err != nil {
			return fmt.Errorf("%s: %w", p.box.name, err)
		}
	}
	issuing, err := p.Vault.IssuerKey(ctx, s)
	if err == nil {
		issuing.Erase()
	}
	if (err == nil) != p.Leads() {
		return fmt.Errorf("%s leads: %v, and the issuing key: %v", p.box.name, p.Leads(), err)
	}
	return nil
}

// thieves checks that no evicted gateway's disk opens anything of now, nor any
// one disk alone.
func (w *world) thieves() {
	s := w.running(false)[0].State()
	for _, b := range w.boxes {
		keys, err := keyfile.Load(b.dir, keyfile.Options{TPM: keyfile.NoTPM})
		if err != nil {
			w.trial.Broken("%s: %v", b.name, err)
			continue
		}
		v := vault.Vault{Node: keys.Node, Sealing: func() []seal.SealingKey { return keys.Sealing }}
		if _, err := v.IPK(w.t.Context(), s); err == nil {
			w.trial.Broken("the disk of %s alone opens the IPK", b.name)
		}
	}
}

// end switches everything off.
func (w *world) end() {
	close(w.ended)
	for _, p := range w.running(true) {
		w.kill(p.box, false, "the end")
	}
	w.over = time.Since(w.trial.began)
	ended := make(chan struct{})
	go func() { w.wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(endTime):
		// The bubble would go on for ever.
		panic(fmt.Sprintf("seed %d: a gateway that was switched off has not ended after %v\n%s", w.seed, endTime, w.say()))
	}
}

// endTime is in what every gateway must have ended.
const endTime = 10 * time.Minute

func (w *world) say() string {
	var b strings.Builder
	for _, err := range w.trial.Violations() {
		fmt.Fprintf(&b, "%v\n", err)
	}
	if *journalFlag {
		fmt.Fprintln(&b, strings.Join(w.journal, "\n"))
	}
	return b.String()
}

// TestSimulation lives homes of several gateways from their seeds.
func TestSimulation(t *testing.T) {
	rounds := []plan{{gateways: 3, d: 10 * time.Minute}, {gateways: 2, d: 3 * time.Minute}, {gateways: 4, d: 3 * time.Minute}, {gateways: 5, d: 3 * time.Minute}}
	if *hoursFlag > 0 {
		rounds = nil
		for range *roundsFlag {
			rounds = append(rounds, plan{gateways: *gatewaysFlag, d: time.Duration(*hoursFlag * float64(time.Hour)), sabotage: sabotage{
				lies: *sabotageFlag == "lies", early: *sabotageFlag == "early", stale: *sabotageFlag == "stale", hasty: *sabotageFlag == "hasty"}})
		}
	}
	var sum Report
	for i, r := range rounds {
		seed := *seedFlag + uint64(i)
		began := time.Now()
		w := life(t, seed, r)
		if len(w.trial.Violations()) > 0 {
			t.Errorf("seed %d, %d gateways, %v: %s", seed, r.gateways, r.d, w.say())
		} else if *journalFlag {
			t.Log(w.say())
		}
		sum.Add(w.trial, &w.report, w.over, time.Since(began))
	}
	line, err := json.Marshal(&sum)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v%s", &sum, line)
	if *recordFlag != "" {
		f, err := os.OpenFile(*recordFlag, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "%s\n", line)
	}
}
