package store

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"
)

var errBroken = errors.New("input/output error")

// operations are all that write.
var operations = map[string]func(*Store) error{
	"StoreLog":    func(s *Store) error { return s.StoreLog(entry(10)) },
	"StoreLogs":   func(s *Store) error { return s.StoreLogs(entries(10, 70)) },
	"DeleteRange": func(s *Store) error { return s.DeleteRange(1, 5) },
	"Set":         func(s *Store) error { return s.Set([]byte("vote"), []byte("you")) },
	"SetUint64":   func(s *Store) error { return s.SetUint64([]byte("term"), 3) },
	"snapshot":    func(s *Store) error { return errors.Join(putSnapshot(s, 7), putSnapshot(s, 9)) },
}

// breaker lets steps pass, then breaks one and counts on.
type breaker struct {
	pass      int
	persisted bool
	broke     string // the step that was broken
	after     int    // steps tried after it
}

func (b *breaker) step(op string, do func() error) error {
	if b.broke != "" {
		b.after++
		return do()
	}
	if b.pass--; b.pass >= 0 {
		return do()
	}
	b.broke = op
	if b.persisted {
		return errors.Join(do(), errBroken)
	}
	return errBroken
}

// TestBrokenDisk breaks every step of every operation, twice: it failed and
// did not persist, and it failed but did.
func TestBrokenDisk(t *testing.T) {
	for name, do := range operations {
		for _, persisted := range []bool{false, true} {
			for pass := 0; breakOnce(t, name, do, &breaker{pass: pass, persisted: persisted}); pass++ {
			}
		}
	}
}

// breakOnce reports whether there was a step to break.
func breakOnce(t *testing.T, name string, do func(*Store) error, b *breaker) bool {
	cfg := config(t, made(t))
	s := opened(t, cfg)
	before := contents(t, s)
	s.Close()

	after := opened(t, config(t, copied(t, cfg.Dir)))
	if err := do(after); err != nil {
		t.Fatal(err)
	}
	var fatal []error
	cfg.Fatal, cfg.Step = func(err error) { fatal = append(fatal, err) }, b.step
	s = opened(t, cfg)
	err := do(s)
	if b.broke == "" {
		if err != nil || len(fatal) != 0 {
			t.Errorf("%s: %v, fatal %v", name, err, fatal)
		}
		return false
	}
	what := fmt.Sprintf("%s, %s broken, persisted: %v", name, b.broke, b.persisted)
	if !errors.Is(err, errBroken) || len(fatal) == 0 || !errors.Is(fatal[0], errBroken) {
		t.Errorf("%s: acknowledged with %v, fatal %v", what, err, fatal)
	}
	for next, do := range operations {
		if err := do(s); err == nil {
			t.Errorf("%s: then %s was acknowledged", what, next)
		}
	}
	if err := s.GetLog(1, new(raft.Log)); !errors.Is(err, errBroken) {
		t.Errorf("%s: then a read gave %v", what, err)
	}
	if b.after != 0 {
		t.Errorf("%s: then the disk was written %d times", what, b.after)
	}
	s.Close()
	cfg.Fatal, cfg.Step = config(t, "").Fatal, nil
	got := contents(t, opened(t, cfg))
	if isBefore, isAfter := cmp.Equal(got, before), cmp.Equal(got, contents(t, after)); !isBefore && !isAfter && name != "snapshot" {
		t.Errorf("%s: neither as before nor as after: %v", what, got)
	} else if b.broke == "commit" && isAfter != b.persisted {
		t.Errorf("%s: %v", what, got)
	}
	return true
}

// TestPowerCuts copies the directory before and after every step of a script,
// as a power cut would leave it, and opens every copy.
func TestPowerCuts(t *testing.T) {
	acknowledged, cuts := uint64(0), 0
	cfg := config(t, t.TempDir())
	cut := func() {
		cuts++
		s, err := Open(config(t, copied(t, cfg.Dir)))
		if errors.Is(err, ErrNone) && acknowledged == 0 {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		all := contents(t, s)
		last := all["last"].(uint64)
		if m, ok := all["snapshot"].(*raft.SnapshotMeta); ok {
			last = max(last, m.Index)
		}
		if last < acknowledged {
			t.Errorf("entry %d was acknowledged, %d is the last", acknowledged, last)
		}
	}
	cfg.Step = func(_ string, do func() error) error {
		cut()
		err := do()
		cut()
		return err
	}
	if err := Create(cfg, func(s *Store) error { return s.StoreLog(entry(1)) }); err != nil {
		t.Fatal(err)
	}
	acknowledged = 1
	s := opened(t, cfg)
	for i := uint64(2); i < 30; i++ {
		if err := s.StoreLog(entry(i)); err != nil {
			t.Fatal(err)
		}
		acknowledged = i
		if i%7 == 0 {
			if err := errors.Join(putSnapshot(s, i), s.DeleteRange(1, i-3)); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d power cuts", cuts)
}
