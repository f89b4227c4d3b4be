package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Report is what a run was.
type Report struct {
	Seeds      int                      `json:"rounds"`
	Gateways   string                   `json:"gateways"`
	Simulated  float64                  `json:"simulated_hours"`
	Wall       float64                  `json:"wall_seconds"`
	Calls      map[Kind]map[Outcome]int `json:"calls"`
	Devices    int                      `json:"devices"`
	Elections  int64                    `json:"elections"`
	Faults     int64                    `json:"faults"`
	Kills      int64                    `json:"kills"`
	Partitions int64                    `json:"partitions"`
	Evictions  int64                    `json:"evictions"`
	Violations int                      `json:"violations"`

	elections, faults, kills, partitions, evictions atomic.Int64
}

// Add takes up a round.
func (r *Report) Add(t *Trial, o *Report, simulated, wall time.Duration) {
	r.Seeds++
	r.Simulated += simulated.Hours()
	r.Wall += wall.Seconds()
	if r.Calls == nil {
		r.Calls = map[Kind]map[Outcome]int{}
	}
	for _, op := range t.Ops() {
		if r.Calls[op.Kind] == nil {
			r.Calls[op.Kind] = map[Outcome]int{}
		}
		r.Calls[op.Kind][op.Outcome]++
	}
	r.Devices += len(t.Devices())
	r.Elections += o.elections.Load()
	r.Faults += o.faults.Load()
	r.Kills += o.kills.Load()
	r.Partitions += o.partitions.Load()
	r.Evictions += o.evictions.Load()
	r.Violations += len(t.Violations())
}

func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rounds, %.2f simulated hours in %.0f s; %d faults: %d kills, %d partitions, %d evictions among them; %d elections; %d devices; %d violations\n",
		r.Seeds, r.Simulated, r.Wall, r.Faults, r.Kills, r.Partitions, r.Evictions, r.Elections, r.Devices, r.Violations)
	for _, k := range slices.Sorted(maps.Keys(r.Calls)) {
		c := r.Calls[k]
		fmt.Fprintf(&b, "\t%-12s %6d done %5d refused %5d unknown\n", k, c[Done], c[Refused], c[Unknown])
	}
	return b.String()
}
