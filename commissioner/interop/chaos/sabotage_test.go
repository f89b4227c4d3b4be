//go:build interop

package chaos

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sabotage is a change of gateways that must be noticed: they are built from
// their sources but for that.
type sabotage struct {
	file    string // in the repository
	changes []string
	noticed []string // any of these is said
}

var sabotages = map[string]sabotage{
	// A list that is said to be current is of what the gateway happens to know.
	"stale": {"commissioner/portal/level.go", []string{
		"p.C.Ledger.Current(r.Context())", "p.C.Ledger.State(), error(nil)",
	}, []string{"no order of these calls", "older than"}},
	// A device gets its certificate before that is committed: some time before,
	// or to die in between would be too rare.
	"early": {"commissioner/pair.go", []string{
		"_, err = p.propose(ctx, fabric.Command{Issue:", "_ = (fabric.Command{Issue:",
		"(*pairing).addNetwork, nil}", `func(p *pairing, ctx context.Context) error {
			time.Sleep(300 * time.Millisecond)
			if _, err := p.propose(ctx, fabric.Command{Issue: &fabric.Issue{Node: p.node, NOCHash: hash(p.noc), PublicKey: p.key[:], Gateway: p.Identity().Node}}); err != nil {
				return err
			}
			return p.addNetwork(ctx)
		}, nil}`,
	}, []string{"does not know"}},
	// "Admitted" is said before a quorum has it, some time before too.
	"unsaid": {"commissioner/pair.go", []string{
		"state, err := p.propose(ctx, fabric.Command{Admit:", `state, err := p.Ledger.State(), error(nil)
	go func(c fabric.Command) {
		time.Sleep(time.Second)
		p.propose(context.WithoutCancel(ctx), c)
	}(fabric.Command{Admit:`,
	}, []string{"no order of these calls", "is lost"}},
}

// overlay makes the file that has the go command build the sabotage.
func (s sabotage) overlay(t *testing.T, dir string) string {
	t.Helper()
	replace := map[string]string{}
	if s.file != "" {
		out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(strings.TrimSpace(string(out)), s.file)
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(s.changes); i += 2 {
			if strings.Count(string(source), s.changes[i]) != 1 {
				t.Fatalf("%s does not have %q once", s.file, s.changes[i])
			}
			source = []byte(strings.Replace(string(source), s.changes[i], s.changes[i+1], 1))
		}
		replace[file] = filepath.Join(dir, "sabotage.go")
		if err := os.WriteFile(replace[file], source, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestSabotage has the checkers fail: each sabotage is noticed for what it is,
// in six rounds. It takes long, and is run with -sabotage all.
func TestSabotage(t *testing.T) {
	if *sabotageFlag != "all" {
		t.Skip("it takes long: run it with -sabotage all")
	}
	for name, s := range sabotages {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			noticed := 0
			campaign(t, s, *seedFlag, *roundsFlag, func(seed uint64, err error) {
				mu.Lock()
				defer mu.Unlock()
				for _, part := range s.noticed {
					if strings.Contains(err.Error(), part) {
						noticed++
						t.Logf("seed %d: %.700v", seed, err)
						return
					}
				}
			})
			if noticed == 0 {
				t.Errorf("not noticed in %d rounds", *roundsFlag)
			}
		})
	}
}
