// Binary bench measures Gatehouse and the matter.js controller side by side,
// in one run, against the same kind of matter.js lights: make bench.
//
// The lights run in processes of ten, each on a host of its own, since a
// matter.js process has one thread. Gatehouse is the real daemon, asked over
// its socket, with its commits to disk; where that is said, its protocol
// stack alone, as a library. What matter.js throttles by default, it does
// without here: its limits on exchanges, its reading of the whole device after
// a pairing and its subscription to it.
//
//	go run ./commissioner/interop/bench [--devices 100] [--pairings 10] [--ops 1000] [--only failover --losses 100]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// limit bounds the whole run, but for the losses of a gateway.
const (
	limit     = 20 * time.Minute
	lossLimit = 40 * time.Second // of each
)

// size says how much is measured.
type size struct {
	devices  int // in the runs with many
	atOnce   int // pairings, in one of these
	pairings int // whose median is taken
	rounds   int // of CASE
	ops      int // reads and invokes
	starts   int
	losses   int    // of the leader
	updates  int    // over the air, of each kind
	only     string // of the parts; empty: all
	profile  string // file for the CPU profile of our sessions, reads and invokes
}

func main() {
	var s size
	flag.IntVar(&s.devices, "devices", 100, "how many devices to pair in a row, and at once")
	flag.IntVar(&s.atOnce, "at-once", 10, "how many pairings at once")
	flag.IntVar(&s.pairings, "pairings", 10, "how many pairings to take the median of")
	flag.IntVar(&s.rounds, "rounds", 50, "how many times to open a session")
	flag.IntVar(&s.ops, "ops", 1000, "how many reads, and invokes")
	flag.IntVar(&s.starts, "starts", 3, "how many times to start each process")
	flag.IntVar(&s.losses, "losses", 10, "how many times to kill the leader of three gateways")
	flag.IntVar(&s.updates, "updates", 5, "how many devices to update over the air, by each to each")
	flag.StringVar(&s.only, "only", "", "measure one part only: start, one, bluetooth, protocol, update, row, once or failover")
	flag.StringVar(&s.profile, "profile", "", "file for a CPU profile of Gatehouse's sessions, reads and invokes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit+time.Duration(s.losses)*lossLimit)
	defer cancel()
	run := func() error { return bench(ctx, s) }
	switch flag.Arg(0) {
	case rigCommand:
		run = func() error { return rig(ctx, s, flag.Args()[1:]) }
	case updateRigCommand:
		run = func() error { return updateRig(ctx, s, flag.Args()[1:]) }
	}
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench runs all parts, one after the other.
func bench(ctx context.Context, s size) error {
	if err := lab.Check(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ghio-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &run{size: s}
	for command, bin := range map[string]*string{"gatehouse": &b.bin, "gatehouse-air": &b.airBin, "gatehouse-virtual": &b.virtualBin} {
		if *bin, err = lab.Build(dir, command); err != nil {
			return err
		}
	}
	began := time.Now()
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{{"start", b.start}, {"one", b.one}, {"bluetooth", b.bluetooth}, {"protocol", b.protocol}, {"update", b.update}, {"row", b.manyInARow}, {"once", b.manyAtOnce}, {"failover", b.failovers}} {
		if s.only != "" && s.only != part.name {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nmeasured in %v\n", time.Since(began).Round(time.Second))
	return nil
}
