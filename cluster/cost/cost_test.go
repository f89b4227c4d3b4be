package cost

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"gatehouse/cluster/powercut"
)

var (
	costFlag     = flag.Bool("cost", false, "measure")
	hoursFlag    = flag.Float64("cost.hours", 24, "simulated hours in which nothing happens")
	inFlag       = flag.String("cost.in", "", "the directory in which TestHome is recorded")
	gatewaysFlag = flag.Int("cost.gateways", 1, "how many gateways TestHome has")
	devicesFlag  = flag.Int("cost.devices", 1000, "how many devices the home has")
)

const (
	admissions       = 20 // in a row
	duringAdmissions = "admissions"
	duringSnapshot   = "snapshot"
	duringRest       = "rest"
	daysOfYear       = 365
	admissionsOfDay  = 10
	entries          = 3   // of the log, for an admission
	snapshotEvery    = 512 // entries, as in package cluster
)

// TestCost counts what homes of one and of three gateways write.
func TestCost(t *testing.T) {
	if !*costFlag {
		t.Skip("this measures: make cost")
	}
	for _, gateways := range []int{1, 3} {
		dir := powercut.TempDir(t)
		ops, err := powercut.Record(dir, os.Stderr, os.Args[0], "-test.run=^TestHome$", "-test.timeout=30m", "-cost.in="+dir, fmt.Sprint("-cost.devices=", *devicesFlag),
			fmt.Sprint("-cost.gateways=", gateways), fmt.Sprint("-cost.hours=", *hoursFlag))
		if errors.Is(err, powercut.ErrNotPermitted) {
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		count := Count(ops)
		fmt.Printf("\na home of %d, %d devices\n", gateways, *devicesFlag)
		for i := range gateways {
			who := "alone"
			if gateways > 1 {
				who = [...]string{"leader", "follower"}[min(i, 1)]
			}
			tell(count, fmt.Sprint(i+1), who)
		}
	}
}

// tell prints what one gateway writes.
func tell(count map[string]map[string]Written, box, who string) {
	one, snapshot, rest := count[duringAdmissions][box].Per(admissions), count[duringSnapshot][box], count[duringRest][box]
	idle := float64(rest.Octets) * 24 / *hoursFlag
	snapshots := float64(entries*admissionsOfDay) / snapshotEvery // a day
	year := daysOfYear * (float64(admissionsOfDay*one.Octets) + snapshots*float64(snapshot.Octets) + idle)
	fmt.Printf("  %-9s an admission %27v\n", who, one)
	fmt.Printf("  %-9s a snapshot and the log cut %13v\n", who, snapshot)
	fmt.Printf("  %-9s %4.1f idle hours %25v\n", who, *hoursFlag, rest)
	fmt.Printf("  %-9s a year of %d admissions a day: %.0f MiB; a snapshot each %.0f days\n", who, admissionsOfDay, year/(1<<20), 1/snapshots)
}
