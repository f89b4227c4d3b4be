package chaos

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"gatehouse/fabric"
	"gatehouse/fabric/audit"
)

// TestTrailsAreCompared has two gateways disagree about the past.
func TestTrailsAreCompared(t *testing.T) {
	state := func(index uint64, what string, n int) (*fabric.State, *audit.Leaves) {
		l, s := &audit.Leaves{}, &fabric.State{Index: index, Trail: &fabric.Trail{}}
		for i := range n {
			record := fmt.Appendf(nil, "%s %d", what, i)
			s.Trail.Tree = s.Trail.Tree.Append(record)
			l.Hashes = append(l.Hashes, tlog.RecordHash(record))
		}
		return s, l
	}
	for _, test := range []struct {
		what string
		tell func(*Trial)
		bad  bool
	}{
		{"all the same", func(trial *Trial) {
			s, l := state(2, "a", 7)
			trial.Observe(2, s)
			trial.Recorded(2, l)
		}, false},
		{"another trail of the same size", func(trial *Trial) {
			s, _ := state(2, "b", 5)
			trial.Observe(2, s)
		}, true},
		{"a longer one that is no continuation", func(trial *Trial) {
			s, l := state(2, "b", 7)
			trial.Observe(2, s)
			trial.Recorded(2, l)
		}, true},
		{"other records on the disk", func(trial *Trial) {
			_, l := state(2, "b", 5)
			trial.Recorded(2, l)
		}, true},
		{"too few on the disk", func(trial *Trial) {
			_, l := state(2, "a", 4)
			trial.Recorded(2, l)
		}, true},
	} {
		trial := NewTrial(time.Now)
		s, _ := state(1, "a", 5)
		trial.Observe(1, s)
		test.tell(trial)
		if got := len(trial.Violations()) > 0; got != test.bad {
			t.Errorf("%s: %v", test.what, trial.Violations())
		}
	}
}
