package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/cluster/powercut"
	"gatehouse/cluster/store"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

var (
	cutCommands = flag.Int("cut.commands", 40, "how many commands to record in TestPowerCuts")
	cutEvery    = flag.Int("cut.every", 9, "cut the power at every n-th system call")
	cutSeed     = flag.Uint64("cut.seed", 1, "of what a power cut leaves")
	cutIn       = flag.String("cut.in", "", "the directory in which TestCutScript is recorded")
)

const (
	cutSnapshots = 25 // commands from one snapshot to the next
	cutKeep      = 12 // entries that a snapshot leaves in the log
	cutBatch     = 4  // commands at once, now and then, of nodes above cutBatched
	cutBatched   = 100_000
)

// cutScript is a home's life: devices come, are admitted, renamed, given up and
// sent away; some commands are refused, some are long.
func cutScript(n int) []fabric.Command {
	cmds := []fabric.Command{modern(), {AddZone: &fabric.AddZone{Name: "attic"}}}
	hash, public := bytes.Repeat([]byte{7}, sha256.Size), bytes.Repeat([]byte{4}, len(cert.PublicKey{}))
	for i := 0; len(cmds) < n; i++ {
		d := cert.NodeID(1000 + i)
		cmds = append(cmds, reserve(d), reserve(d), // the second is refused
			fabric.Command{Issue: &fabric.Issue{Node: d, NOCHash: hash, PublicKey: public}},
			fabric.Command{Admit: &fabric.Admit{Node: d}},
			fabric.Command{Rename: &fabric.Rename{Node: d, Name: fmt.Sprint("device ", i)}})
		switch i % 4 {
		case 1:
			cmds = append(cmds, fabric.Command{Remove: &fabric.Remove{Node: d, Reason: "sold"}})
		case 2: // several pages
			cmds = append(cmds, fabric.Command{SetRevocations: &fabric.SetRevocations{JSON: bytes.Repeat([]byte{byte('a' + i%26)}, 9000+i*37%5000)}})
		case 3:
			for j := range cert.NodeID(cutBatch) {
				cmds = append(cmds, reserve(d+cutBatched*(j+1)))
			}
		}
	}
	return cmds[:n]
}

// TestCutScript is the process that TestPowerCuts records. It says which
// command was acknowledged, and at what index.
func TestCutScript(t *testing.T) {
	if *cutIn == "" {
		t.Skip("this is run by TestPowerCuts")
	}
	cfg, notes := config(t, filepath.Join(*cutIn, "log")), os.NewFile(powercut.Notes, "notes")
	if err := Bootstrap(cfg); err != nil {
		t.Fatal(err)
	}
	c := cutOpen(t, cfg)
	propose := func(i int, cmd fabric.Command) {
		s, err := c.Propose(t.Context(), cmd)
		if refused := (*fabric.Refusal)(nil); err != nil && !errors.As(err, &refused) {
			t.Error(err)
			return
		}
		fmt.Fprintf(notes, "%d %d", i, s.Index)
	}
	cmds := cutScript(*cutCommands)
	var wg, batch sync.WaitGroup
	for i := range cmds {
		if i > 0 && i%cutSnapshots == 0 {
			if i%(2*cutSnapshots) == 0 { // as more is proposed, or not
				wg.Go(func() { t.Log(c.Snapshot()) })
			} else if err := c.Snapshot(); err != nil {
				t.Fatal(err)
			}
		}
		if i == len(cmds)/3 || i == len(cmds)*2/3 {
			batch.Wait()
			wg.Wait()
			closed(t, c)
			c = cutOpen(t, cfg)
		}
		if r := cmds[i].Reserve; r != nil && r.Node > cutBatched {
			batch.Go(func() { propose(i, cmds[i]) })
			continue
		}
		batch.Wait()
		propose(i, cmds[i])
	}
	batch.Wait()
	wg.Wait()
	closed(t, c)
}

// cutOpen has the log be short.
func cutOpen(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := c.raft.ReloadableConfig()
	r.TrailingLogs = cutKeep
	if err := c.raft.ReloadConfig(r); err != nil {
		t.Fatal(err)
	}
	return c
}

// cutRecord is what the process did, and each State that there was, by index.
type cutRecord struct {
	ops    []powercut.Op
	notes  []uint64 // indexes acknowledged, in their order
	states map[uint64][]byte
}

func recordCuts(t *testing.T, commands int) *cutRecord {
	t.Helper()
	dir := powercut.TempDir(t)
	ops, err := powercut.Record(dir, os.Stderr, os.Args[0], "-test.run=^TestCutScript$", "-cut.in="+dir, fmt.Sprint("-cut.commands=", commands))
	if errors.Is(err, powercut.ErrNotPermitted) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	r := &cutRecord{ops: ops, states: map[uint64][]byte{}}
	cmds, numbers := cutScript(commands), map[uint64]int{}
	for _, o := range ops {
		var i int
		var index uint64
		if o.Kind != powercut.Note {
			continue
		} else if _, err := fmt.Sscan(string(o.Data), &i, &index); err != nil {
			t.Fatal(err)
		}
		numbers[index] = i
		r.notes = append(r.notes, index)
	}
	if len(numbers) != commands {
		t.Fatalf("%d of %d commands were acknowledged", len(numbers), commands)
	}
	s := &fabric.State{}
	r.put(t, s)
	for _, index := range slices.Sorted(maps.Keys(numbers)) {
		cmd := cmds[numbers[index]]
		if s.Version >= fabric.TrailVersion {
			cmd.By = gateway
		}
		cmd.Version, cmd.Time = cmd.Needs(), start
		s, _ = fabric.Apply(s, index, &cmd)
		r.put(t, s)
	}
	return r
}

func (r *cutRecord) put(t *testing.T, s *fabric.State) {
	b, err := encodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	r.states[s.Index] = b
}

// recovered is what became of a directory that a power cut left.
type recovered struct {
	index uint64 // of the State
	none  bool   // nothing was there
	err   error  // it was refused, or is not right
}

// cutTally is what all cuts came to.
type cutTally struct {
	mu         sync.Mutex
	cuts       map[string]int // by way
	known      map[[sha256.Size]byte]recovered
	none, bad  int
	refused    int
	violations []string
}

// TestPowerCuts cuts the power at the system calls of a gateway that is set up,
// takes commands, elects itself, makes snapshots and forgets old entries. What
// is left always opens, with the State of some prefix of the commands, of no
// fewer than were acknowledged, and goes on.
func TestPowerCuts(t *testing.T) {
	r := recordCuts(t, *cutCommands)
	began := time.Now()
	tally := r.cut(t, r.ops, *cutEvery)
	t.Logf("%d commands, %d calls; cuts %v, %d directories that differ, in %v: %d refused, %d with nothing acknowledged and nothing there",
		*cutCommands, len(r.ops), tally.cuts, len(tally.known), time.Since(began).Round(time.Second/10), tally.refused, tally.none)
	for _, v := range tally.violations[:min(20, len(tally.violations))] {
		t.Error(v)
	}
	if tally.bad > 0 {
		t.Errorf("%d cuts were not survived", tally.bad)
	}
}

// TestPowerCutsAreNoticed breaks the recording: a check that finds nothing in
// it would find nothing in a store that does the same.
func TestPowerCutsAreNoticed(t *testing.T) {
	r := recordCuts(t, 30)
	random := rand.New(rand.NewPCG(1, 1))
	for what, ops := range map[string][]powercut.Op{
		"a file is not synced now and then": slices.DeleteFunc(slices.Clone(r.ops), func(o powercut.Op) bool { return o.Kind == powercut.Sync && random.IntN(4) == 0 }),
		"no directory is synced":            slices.DeleteFunc(slices.Clone(r.ops), func(o powercut.Op) bool { return o.Kind == powercut.SyncDir }),
		"acknowledged before it is synced":  early(r.ops),
	} {
		tally := r.cut(t, ops, 3)
		if tally.bad == 0 {
			t.Errorf("%s: nobody noticed", what)
			continue
		}
		t.Logf("%s: %d violations, %d of them refusals: %s", what, tally.bad, tally.refused, tally.violations[0])
	}
}

// early moves every note before the sync that it came after.
func early(ops []powercut.Op) []powercut.Op {
	ops = slices.Clone(ops)
	for i := 1; i < len(ops); i++ {
		for j := i; j > 0 && ops[j].Kind == powercut.Note && ops[j-1].Kind != powercut.Note; j-- {
			ops[j], ops[j-1] = ops[j-1], ops[j]
			if ops[j].Kind == powercut.Sync {
				break
			}
		}
	}
	return ops
}

// cut tries all cuts, two at a time.
func (r *cutRecord) cut(t *testing.T, ops []powercut.Op, every int) *cutTally {
	tally := &cutTally{cuts: map[string]int{}, known: map[[sha256.Size]byte]recovered{}}
	work, dir := make(chan powercut.Cut), powercut.TempDir(t)
	var wg sync.WaitGroup
	for worker := range 2 {
		wg.Go(func() {
			n := 0
			for c := range work {
				n++
				tally.take(r, c, filepath.Join(dir, fmt.Sprintf("%d-%d", worker, n)), n%8 == 0)
			}
		})
	}
	for c := range powercut.Cuts(ops, every, *cutSeed) {
		work <- c
	}
	close(work)
	wg.Wait()
	return tally
}

func (tally *cutTally) take(r *cutRecord, c powercut.Cut, dir string, twice bool) {
	sum := c.Tree.Sum()
	tally.mu.Lock()
	got, known := tally.known[sum]
	tally.mu.Unlock()
	if !known {
		got = r.recover(c.Tree, dir, twice)
	}
	acknowledged := uint64(0)
	for _, index := range r.notes[:c.Notes] {
		acknowledged = max(acknowledged, index)
	}
	err := got.err
	if err == nil && (got.none || got.index < acknowledged) && c.Notes > 0 {
		err = fmt.Errorf("command %d was acknowledged, recovered was %d", acknowledged, got.index)
	}
	tally.mu.Lock()
	defer tally.mu.Unlock()
	tally.known[sum] = got
	tally.cuts[c.Way]++
	if got.none && c.Notes == 0 {
		tally.none++
	}
	if errors.Is(err, errCutRefused) {
		tally.refused++
	}
	if err != nil {
		tally.bad++
		tally.violations = append(tally.violations, fmt.Sprintf("%v: %v", c, err))
	}
}

var errCutRefused = errors.New("refused")

// recover opens what is left, and has one more command committed.
func (r *cutRecord) recover(left powercut.Tree, base string, twice bool) (got recovered) {
	defer os.RemoveAll(base)
	defer func() {
		if p := recover(); p != nil {
			got.err = fmt.Errorf("panic: %v", p)
		}
	}()
	if got.err = left.Put(base); got.err != nil {
		return got
	}
	var fatal error
	cfg := Config{Dir: filepath.Join(base, "log"), Node: gateway, Now: func() time.Time { return time.UnixMilli(start) }, Fatal: func(err error) { fatal = err }}
	c, err := Open(cfg)
	if got.none = errors.Is(err, store.ErrNone); got.none {
		if Exists(cfg) {
			got.err = errors.New("there is a log, but none to open")
			return got
		}
		if err = Bootstrap(cfg); err == nil {
			c, err = Open(cfg)
		}
	}
	if err != nil {
		if got.err = fmt.Errorf("%w: %w", errCutRefused, err); !strings.Contains(err.Error(), "replace this gateway") {
			got.err = fmt.Errorf("%w, without a way out", got.err)
		}
		return got
	}
	s := c.State()
	got.index = s.Index
	next := reserve(999)
	if !s.Founded() {
		next = modern()
	}
	trail := c.cutTrail(s)
	have, err1 := encodeState(s)
	after, err2 := c.Propose(context.Background(), next)
	got.err = errors.Join(trail, err1, err2, c.Close(), fatal)
	switch {
	case got.err != nil:
	case !bytes.Equal(have, r.states[s.Index]):
		got.err = fmt.Errorf("the State at index %d is not that of the commands up to there", s.Index)
	case after.Index <= s.Index:
		got.err = fmt.Errorf("the next command has index %d after %d", after.Index, s.Index)
	case twice:
		got.err = again(cfg, after)
	}
	return got
}

// cutTrail checks that all records are there, and that none was damaged.
func (c *Cluster) cutTrail(s *fabric.State) error {
	l, err := c.Trail().Leaves()
	if err == nil && (c.Trail().First() != 0 || !l.Tree().Same(s.TrailTree())) {
		err = fmt.Errorf("records %d to %d of %d are there", c.Trail().First(), l.Tree().Size, s.TrailSize())
	}
	if n := c.Trail().Lost(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d files of records are of no use", n))
	}
	return err
}

// again opens what was opened before: what was written since must have
// destroyed nothing.
func again(cfg Config, want *fabric.State) error {
	c, err := Open(cfg)
	if err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	have, err1 := encodeState(c.State())
	wanted, err2 := encodeState(want)
	if err := errors.Join(err1, err2, c.Close()); err != nil || !bytes.Equal(have, wanted) {
		return fmt.Errorf("opened again, the State is another: %v", err)
	}
	return nil
}
