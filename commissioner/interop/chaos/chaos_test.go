//go:build interop

package chaos

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/commissioner/interop/ether"
)

var (
	seedFlag     = flag.Uint64("seed", 1, "of faults and workload; with -rounds, the first")
	roundsFlag   = flag.Int("rounds", 1, "how many seeds")
	homesFlag    = flag.Int("homes", 2, "how many homes have faults at the same time; more may be waiting to become whole")
	liveFlag     = flag.Duration("live", 12*time.Second, "how long a home has faults")
	evidenceFlag = flag.String("evidence", filepath.Join(os.TempDir(), "gatehouse-chaos"), "directory for what a round that failed leaves")
	sabotageFlag = flag.String("sabotage", "", "what to break in the gateways that must be noticed: stale, early or unsaid; all is for TestSabotage")
	recordFlag   = flag.String("record", "", "append the report, as a line of JSON, to a file")
)

// prefix begins the names of our directories; our process id follows.
const prefix = "ghchaos"

// waiting is how many homes there are for each that has faults: the others are
// being founded, or wait for a fail-safe to run out.
const waiting = 8

// programs builds what is tested: gatehouse with a clock that can be set, and
// the lights.
func programs(t *testing.T, dir string, broken sabotage) bins {
	t.Helper()
	b := bins{filepath.Join(dir, "gatehouse-adrift"), filepath.Join(dir, "gatehouse-virtual")}
	for _, args := range [][]string{
		{"test", "-c", "-overlay", broken.overlay(t, dir), "-o", b.gatehouse, "gatehouse/commissioner/cmd/gatehouse"},
		{"build", "-o", b.virtual, "gatehouse/commissioner/cmd/gatehouse-virtual"},
	} {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			t.Fatalf("go %v: %v: %s", args, err, out)
		}
	}
	return b
}

// scratch is a directory that is gone in the end, or when the next run begins.
func scratch(t *testing.T) string {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), prefix), "-")
		if n, err := strconv.Atoi(pid); err == nil {
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", n)); err != nil {
				os.RemoveAll(dir)
			}
		}
	}
	dir, err := os.MkdirTemp("", fmt.Sprintf("%s%d-", prefix, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// round lives one home from its seed.
func round(b bins, dir string, seed uint64, r *report, live *gate) (violations []error, took time.Duration) {
	began := time.Now()
	h := newHome(b, filepath.Join(dir, fmt.Sprint(seed)), seed, r)
	defer func() {
		violations, took = h.violations, time.Since(began)
		if len(violations) > 0 {
			if err := h.evidence(filepath.Join(*evidenceFlag, fmt.Sprint(seed))); err != nil {
				violations = append(violations, fmt.Errorf("the evidence is lost: %w", err))
			}
		}
		os.RemoveAll(h.dir)
	}()
	defer h.close()
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		h.broken("%v", err)
		return
	}
	live.enter()
	err := h.found()
	if err != nil {
		h.broken("the home is not founded: %v", err)
	} else {
		h.live(*liveFlag)
	}
	live.leave()
	if err != nil {
		return
	}
	h.heal()
	h.works()
	given, err := h.lights.certificates()
	if err != nil {
		h.broken("%v", err)
		return
	}
	h.end()
	h.judge(given)
	return
}

// gate lets only so many in.
type gate struct{ room chan struct{} }

func (g *gate) enter() { g.room <- struct{}{} }
func (g *gate) leave() { <-g.room }

// TestProcesses lives homes of real gateways from their seeds.
func TestProcesses(t *testing.T) {
	broken, known := sabotages[*sabotageFlag]
	if *sabotageFlag != "" && !known {
		t.Skipf("there is no sabotage %q", *sabotageFlag)
	}
	sum := campaign(t, broken, *seedFlag, *roundsFlag, func(seed uint64, err error) {
		t.Errorf("seed %d: %v\n\tevidence: %s", seed, err, filepath.Join(*evidenceFlag, fmt.Sprint(seed)))
	})
	line, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v\n%s", sum, line)
	if *recordFlag != "" {
		f, err := os.OpenFile(*recordFlag, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "%s\n", line)
	}
}

// campaign lives homes from their seeds, several at once, and tells of every
// promise that was not kept.
func campaign(t *testing.T, broken sabotage, first uint64, rounds int, tell func(seed uint64, err error)) *report {
	t.Helper()
	if err := ether.Check(); err != nil {
		t.Skip("there can be no homes of processes here: ", err)
	}
	dir := scratch(t)
	b := programs(t, dir, broken)
	sum, began := new(report), time.Now()
	live, all := &gate{make(chan struct{}, *homesFlag)}, &gate{make(chan struct{}, *homesFlag*waiting)}
	var wg sync.WaitGroup
	for i := range rounds {
		seed := first + uint64(i)
		all.enter()
		wg.Go(func() {
			defer all.leave()
			violations, took := round(b, dir, seed, sum, live)
			sum.mu.Lock()
			defer sum.mu.Unlock()
			sum.Rounds++
			sum.Wall = time.Since(began).Seconds()
			sum.Violations += len(violations)
			fmt.Printf("seed %d: %.1f s; %d rounds in %.0f s, %d pairings, %d admitted, %d kills, %d violations\n",
				seed, took.Seconds(), sum.Rounds, sum.Wall, sum.Pairings, sum.Admitted+sum.Settled, sum.Kills, sum.Violations)
			for _, err := range violations {
				tell(seed, err)
			}
		})
	}
	wg.Wait()
	return sum
}
