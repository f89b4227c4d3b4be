package chaos

import (
	"strings"
	"testing"
	"time"
)

// TestSabotage has the checkers fail: each sabotage is noticed within a few
// seeds, for what it is, and the seed that shows it is clean without it.
func TestSabotage(t *testing.T) {
	const seeds = 10
	for _, c := range []struct {
		name     string
		sabotage sabotage
		noticed  []string // any of these is said
	}{
		{"disks that lose what they said was synced", sabotage{lies: true}, []string{"is lost", "no order", "older than"}},
		{"a certificate that is handed out before it is committed", sabotage{early: true}, []string{"does not know"}},
		{"a read of what a gateway happens to know", sabotage{stale: true}, []string{"no order", "older than"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := plan{gateways: 3, d: 4 * time.Minute, hurried: true, sabotage: c.sabotage}
			for seed := uint64(1); seed <= seeds; seed++ {
				said := life(t, seed, p).say()
				if !containsAny(said, c.noticed) {
					continue
				}
				t.Logf("seed %d: %.600s", seed, said)
				p.sabotage = sabotage{}
				if w := life(t, seed, p); len(w.trial.Violations()) > 0 {
					t.Errorf("seed %d, without sabotage: %s", seed, w.say())
				}
				return
			}
			t.Errorf("not noticed in %d seeds", seeds)
		})
	}
}

func containsAny(s string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
