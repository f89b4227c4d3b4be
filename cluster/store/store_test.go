package store

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

const owner = "00000000000000A1"

func config(t testing.TB, dir string) Config {
	return Config{Dir: dir, Owner: owner, Fatal: func(err error) { t.Errorf("fatal: %v", err) }}
}

func entry(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 2, Type: raft.LogCommand, Data: fmt.Appendf(nil, "command %d", index),
		AppendedAt: time.Unix(1_800_000_000, int64(index))}
}

func entries(from, to uint64) (logs []*raft.Log) {
	for ; from <= to; from++ {
		logs = append(logs, entry(from))
	}
	return logs
}

// made is a directory with entries 1 to 9 and a snapshot of entry 5.
func made(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	err := Create(config(t, dir), func(s *Store) error {
		return errors.Join(s.SetUint64([]byte("term"), 2), s.Set([]byte("vote"), []byte("me")),
			s.StoreLogs(entries(1, 9)), putSnapshot(s, 5))
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func putSnapshot(s *Store, index uint64) error {
	k, err := s.Create(1, index, 2, raft.Configuration{Servers: []raft.Server{{ID: owner, Address: owner}}}, 1, nil)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(k, "state %d", index); err != nil {
		return errors.Join(err, k.Cancel())
	}
	return k.Close()
}

func opened(t testing.TB, cfg Config) *Store {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// contents is all that a store holds.
func contents(t testing.TB, s *Store) map[string]any {
	t.Helper()
	all, err := look(s)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func look(s *Store) (map[string]any, error) {
	first, err1 := s.FirstIndex()
	last, err2 := s.LastIndex()
	term, err3 := s.GetUint64([]byte("term"))
	vote, err4 := s.Get([]byte("vote"))
	metas, err5 := s.List()
	errs := []error{err1, err2, err3, err4, err5}
	all := map[string]any{"first": first, "last": last, "term": term, "vote": string(vote)}
	for i := first; i <= last && i > 0; i++ {
		var l raft.Log
		errs = append(errs, s.GetLog(i, &l))
		all[fmt.Sprint(i)] = l
	}
	for _, m := range metas {
		_, r, err := s.Open(m.ID)
		if err != nil {
			return nil, err
		}
		state, err := io.ReadAll(r)
		errs = append(errs, err)
		all["snapshot"], all["state"] = m, string(state)
	}
	return all, errors.Join(errs...)
}

func copied(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestKeeps(t *testing.T) {
	s := opened(t, config(t, made(t)))
	if err := s.DeleteRange(8, 9); err != nil {
		t.Fatal(err)
	}
	if err := s.StoreLogs(entries(8, 12)); err != nil {
		t.Fatal(err)
	}
	if err := putSnapshot(s, 10); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteRange(1, 6); err != nil {
		t.Fatal(err)
	}
	want := contents(t, s)
	if want["first"] != uint64(7) || want["last"] != uint64(12) || want["vote"] != "me" || want["snapshot"].(*raft.SnapshotMeta).Index != 10 {
		t.Errorf("%v", want)
	}
	if d := cmp.Diff(*entry(9), want["9"]); d != "" {
		t.Error(d)
	}
	again := opened(t, config(t, copied(t, s.cfg.Dir)))
	if d := cmp.Diff(want, contents(t, again)); d != "" {
		t.Error(d)
	}
	var l raft.Log
	if err := again.GetLog(6, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("a removed entry: %v", err)
	}
	if v, err := again.Get([]byte("none")); v != nil || err != nil {
		t.Errorf("a value never set: %q, %v", v, err)
	}
}

func TestOldSnapshotsAreRemoved(t *testing.T) {
	s := opened(t, config(t, made(t)))
	for i := range uint64(4) {
		if err := putSnapshot(s, 6+i); err != nil {
			t.Fatal(err)
		}
	}
	names, err := snapshotFiles(s.cfg.Dir)
	if err != nil || len(names) != keepSnapshots {
		t.Errorf("%v, %v", names, err)
	}
	if metas, err := s.List(); err != nil || len(metas) != 1 || metas[0].Index != 9 {
		t.Errorf("%v, %v", metas, err)
	}
}

// TestSnapshotFromTheLeader is a crash before the log it covers is removed.
func TestSnapshotFromTheLeader(t *testing.T) {
	dir := made(t)
	s := opened(t, config(t, dir))
	if err := putSnapshot(s, 100); err != nil {
		t.Fatal(err)
	}
	s = opened(t, config(t, copied(t, dir)))
	if last, err := s.LastIndex(); last != 0 || err != nil {
		t.Errorf("last entry %d, %v", last, err)
	}
	if err := s.StoreLog(entry(101)); err != nil {
		t.Error(err)
	}
}

func TestGapsAreFatal(t *testing.T) {
	cfg, fatal := config(t, made(t)), 0
	cfg.Fatal = func(error) { fatal++ }
	s := opened(t, cfg)
	if err := s.StoreLog(entry(11)); err == nil || fatal != 1 {
		t.Errorf("%v, fatal %d times", err, fatal)
	}
}

func TestCreateTwice(t *testing.T) {
	dir := made(t)
	if err := Create(config(t, dir), nil); err == nil {
		t.Error("state was created over state")
	}
	if err := os.Remove(filepath.Join(dir, databaseName)); err != nil {
		t.Fatal(err)
	}
	if err := Create(config(t, dir), nil); err == nil {
		t.Error("state was created beside snapshots of other state")
	}
}

// TestWritersAtOnce: Raft appends, votes and compacts in goroutines of their
// own. What one was told is on the disk, another must not take back.
func TestWritersAtOnce(t *testing.T) {
	cfg := config(t, t.TempDir())
	cfg.Step = func(_ string, do func() error) error {
		err := do()
		time.Sleep(rand.N(2 * time.Millisecond)) // for others to begin once it is committed
		return err
	}
	if err := Create(cfg, nil); err != nil {
		t.Fatal(err)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const rounds = 100
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint64(rounds) {
			if err := s.StoreLog(&raft.Log{Index: i + 1, Data: []byte("entry")}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wg.Go(func() {
		for i := range uint64(rounds) {
			if err := s.SetUint64([]byte("term"), i); err != nil {
				t.Error(err)
			}
			if got, err := s.GetUint64([]byte("term")); err != nil || got != i {
				t.Errorf("term %d, was set to %d: %v", got, i, err)
			}
		}
	})
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Step = nil
	again, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if last, err := again.LastIndex(); err != nil || last != rounds {
		t.Errorf("the log ends at %d, %v", last, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// fresh is an empty state.
func fresh(t *testing.T) Config {
	t.Helper()
	cfg := config(t, t.TempDir())
	if err := Create(cfg, nil); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestRaftsPromises: what loses committed entries in the end is as bad as a
// disk that fails.
func TestRaftsPromises(t *testing.T) {
	vote := func(s *Store, term uint64, candidate string) error {
		if err := s.SetUint64([]byte("LastVoteTerm"), term); err != nil {
			return err
		}
		return s.Set([]byte("LastVoteCand"), []byte(candidate))
	}
	for name, c := range map[string]struct {
		do    func(*Store) error
		fatal bool
	}{
		"the next term":            {func(s *Store) error { return s.SetUint64([]byte("CurrentTerm"), 8) }, false},
		"the term again":           {func(s *Store) error { return s.SetUint64([]byte("CurrentTerm"), 7) }, false},
		"a term taken back":        {func(s *Store) error { return s.SetUint64([]byte("CurrentTerm"), 6) }, true},
		"a vote in the next term":  {func(s *Store) error { return vote(s, 8, "b") }, false},
		"a second vote":            {func(s *Store) error { return vote(s, 7, "b") }, true},
		"a vote in an older term":  {func(s *Store) error { return vote(s, 6, "b") }, true},
		"a vote for nobody":        {func(s *Store) error { return vote(s, 8, "") }, true},
		"entries taken back":       {func(s *Store) error { return s.DeleteRange(6, 6) }, false},
		"committed ones too":       {func(s *Store) error { return s.DeleteRange(5, 6) }, true},
		"committed ones compacted": {func(s *Store) error { return s.DeleteRange(1, 3) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := fresh(t)
			fatal := false
			cfg.Fatal = func(error) { fatal = true }
			s := opened(t, cfg)
			if err := errors.Join(s.SetUint64([]byte("CurrentTerm"), 7), vote(s, 7, "a")); err != nil {
				t.Fatal(err)
			}
			s.Commit(5)
			for i := uint64(1); i <= 6; i++ {
				if err := s.StoreLog(&raft.Log{Index: i, Term: 7}); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.do(s); fatal != c.fatal || (err != nil) != c.fatal {
				t.Errorf("%v; fatal: %v", err, fatal)
			}
		})
	}
}

// TestVoteCutShort: the power goes between a vote's term and its candidate. The
// candidate of the vote before must not get this one.
func TestVoteCutShort(t *testing.T) {
	s := opened(t, fresh(t))
	for _, err := range []error{s.SetUint64([]byte("LastVoteTerm"), 7), s.Set([]byte("LastVoteCand"), []byte("a")), s.SetUint64([]byte("LastVoteTerm"), 8)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if candidate, err := s.Get([]byte("LastVoteCand")); candidate != nil || err != nil {
		t.Errorf("%q, %v", candidate, err)
	}
}
