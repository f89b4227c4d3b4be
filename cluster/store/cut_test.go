package store

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"gatehouse/cluster/durable"
	"gatehouse/cluster/powercut"
)

var (
	cutEvery = flag.Int("cut.every", 7, "cut the power at every n-th system call")
	cutSeed  = flag.Uint64("cut.seed", 1, "of what a power cut leaves")
	cutIn    = flag.String("cut.in", "", "the directory in which TestCutScript is recorded")
)

// cutScript is what a follower goes through: entries that another leader takes
// back, votes, a snapshot from the leader and some of its own. Each step is
// there as a whole or not at all.
func cutScript() (steps []func(*Store) error) {
	do := func(step func(*Store) error) { steps = append(steps, step) }
	put := func(from, to, term uint64) {
		do(func(s *Store) error {
			logs := entries(from, to)
			for _, l := range logs {
				l.Term, l.Data = term, []byte(strings.Repeat(fmt.Sprint(l.Index, " "), 200))
			}
			return s.StoreLogs(logs)
		})
	}
	remove := func(from, to uint64) { do(func(s *Store) error { return s.DeleteRange(from, to) }) }
	vote := func(term uint64) {
		do(func(s *Store) error { return s.SetUint64([]byte("term"), term) })
		do(func(s *Store) error { return s.Set([]byte("vote"), fmt.Append(nil, "gateway ", term)) })
	}
	snapshot := func(index uint64) { do(func(s *Store) error { return putSnapshot(s, index) }) }
	put(1, 1, 2)
	put(2, 9, 2)
	vote(3)
	remove(6, 9)
	put(6, 12, 3)
	put(13, 20, 3)
	snapshot(18)
	remove(1, 10)
	vote(4)
	snapshot(40) // from the leader
	remove(11, 20)
	for i := uint64(41); i < 80; i += 3 {
		put(i, i+2, 4)
		if i%9 == 5 {
			snapshot(i)
			remove(1, i-5)
		}
	}
	return steps
}

// TestCutScript is the process that TestCuts and TestCutsOfRecovery record. It
// notes each step.
func TestCutScript(t *testing.T) {
	if *cutIn == "" {
		t.Skip("this is run by TestCuts")
	}
	cfg, notes := config(t, filepath.Join(*cutIn, "log")), os.NewFile(powercut.Notes, "notes")
	if Exists(cfg.Dir) { // and is as a power cut left it
		if err := opened(t, cfg).StoreLog(entry(101)); err != nil {
			t.Fatal(err)
		}
		notes.WriteString("recovered")
		return
	}
	if err := Create(cfg, nil); err != nil {
		t.Fatal(err)
	}
	notes.WriteString("created")
	s := opened(t, cfg)
	for i, step := range cutScript() {
		if err := step(s); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(notes, "step ", i)
	}
}

// after is what a store holds after each number of steps, once it is opened.
func after(t *testing.T) (all []map[string]any) {
	cfg := config(t, t.TempDir())
	if err := Create(cfg, nil); err != nil {
		t.Fatal(err)
	}
	s := opened(t, cfg)
	for i := 0; ; i++ {
		again := opened(t, config(t, copied(t, cfg.Dir)))
		all = append(all, contents(t, again))
		again.Close()
		if i == len(cutScript()) {
			return all
		}
		if err := cutScript()[i](s); err != nil {
			t.Fatal(err)
		}
	}
}

func recorded(t *testing.T, dir string) []powercut.Op {
	t.Helper()
	ops, err := powercut.Record(dir, os.Stderr, os.Args[0], "-test.run=^TestCutScript$", "-cut.in="+dir)
	if errors.Is(err, powercut.ErrNotPermitted) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return ops
}

// TestCutsOfRecovery cuts the power as the store recovers from a power cut that
// came before the log which a snapshot covers was removed, and as another
// snapshot was being written.
func TestCutsOfRecovery(t *testing.T) {
	dir, left, cuts := powercut.TempDir(t), powercut.TempDir(t), 0
	if err := os.CopyFS(filepath.Join(dir, "log"), os.DirFS(made(t))); err != nil {
		t.Fatal(err)
	}
	s := opened(t, config(t, filepath.Join(dir, "log")))
	unfinished := filepath.Join(dir, "log", snapshotsDir, head{Index: 200, Term: 2}.name()+durable.Suffix)
	if err := errors.Join(putSnapshot(s, 100), s.Close(), os.WriteFile(unfinished, []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	ops := recorded(t, dir)
	there := slices.IndexFunc(ops, func(o powercut.Op) bool { return !o.There })
	for c := range powercut.Cuts(ops, 1, *cutSeed) {
		if c.At < there {
			continue
		}
		cuts++
		base := filepath.Join(left, fmt.Sprint(cuts))
		if err := c.Tree.Put(base); err != nil {
			t.Fatal(err)
		}
		s := opened(t, config(t, filepath.Join(base, "log")))
		last, err := s.LastIndex()
		m, err2 := s.List()
		if err := errors.Join(err, err2); err != nil || len(m) != 1 || m[0].Index != 100 || last != 101 && (last != 0 || c.Notes > 0) {
			t.Errorf("%v: last entry %d, snapshots %v, %v", c, last, m, err)
		}
		s.Close()
	}
	t.Logf("%d cuts", cuts)
}

// TestCuts cuts the power at the system calls: all steps are there that were
// acknowledged, at most one more, and nothing else.
func TestCuts(t *testing.T) {
	ops, left := recorded(t, powercut.TempDir(t)), powercut.TempDir(t)
	want, cuts, none := after(t), 0, 0
	for c := range powercut.Cuts(ops, *cutEvery, *cutSeed) {
		cuts++
		if err := survived(t, c, filepath.Join(left, fmt.Sprint(cuts)), want); errors.Is(err, ErrNone) && c.Notes == 0 {
			none++
		} else if err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
	t.Logf("%d steps, %d calls, %d cuts, %d of them before there was anything", len(want)-1, len(ops), cuts, none)
}

func survived(t *testing.T, c powercut.Cut, base string, want []map[string]any) error {
	defer os.RemoveAll(base)
	if err := c.Tree.Put(base); err != nil {
		return err
	}
	s, err := Open(config(t, filepath.Join(base, "log")))
	if err != nil {
		return err
	}
	defer s.Close()
	got, err := look(s)
	if err != nil {
		return err
	}
	done := max(c.Notes-1, 0)
	if !cmp.Equal(got, want[done]) && (done+1 == len(want) || !cmp.Equal(got, want[done+1])) {
		return fmt.Errorf("after %d steps: %s", done, cmp.Diff(want[done], got))
	}
	last, _ := s.LastIndex()
	if m, err := s.List(); err == nil && len(m) > 0 {
		last = max(last, m[0].Index)
	}
	return s.StoreLog(&raft.Log{Index: last + 1, Term: 9})
}
