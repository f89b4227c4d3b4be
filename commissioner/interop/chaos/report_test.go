//go:build interop

package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// report is what a campaign was, so far.
type report struct {
	mu sync.Mutex

	Rounds     int            `json:"rounds"`
	Wall       float64        `json:"wall_seconds"`
	Faults     map[string]int `json:"faults"`
	Kills      int            `json:"kills"` // those in the middle of pairings too
	FailStops  int            `json:"fail_stops"`
	Pairings   int            `json:"pairings_begun"`
	Killed     int            `json:"pairings_killed"`           // whose gateway was, by way of them
	Admitted   int            `json:"pairings_admitted"`         // and told so
	Settled    int            `json:"pairings_settled_admitted"` // nobody was told, and they are
	Abandoned  int            `json:"pairings_abandoned"`
	Never      int            `json:"pairings_without_reservation"`
	Removals   int            `json:"removals"`
	Doubtful   int            `json:"changes_of_unknown_outcome"`
	Renames    int            `json:"renames"`
	Toggles    int            `json:"lights_to_switch"`
	Toggled    int            `json:"lights_switched"`
	Evictions  int            `json:"evictions"`
	Joins      int            `json:"joins"`
	Elections  int            `json:"elections"`
	Lists      int            `json:"lists_read"`
	Reads      int            `json:"reads_checked"` // of one key each
	Violations int            `json:"violations"`
}

func (r *report) count(n *int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*n++
}

func (r *report) fault(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Faults == nil {
		r.Faults = make(map[string]int)
	}
	r.Faults[name]++
}

func (r *report) reads(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Reads += n
}

// add takes up what callers of a round were told.
func (r *report) add(h *home, whole *log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reserved := make(map[string]cert.NodeID)
	admitted := make(map[cert.NodeID]bool)
	terms := make(map[uint64]bool)
	for _, e := range whole.entries {
		if c := e.Command.Reserve; c != nil {
			reserved[c.Name] = c.Node
		}
		if c := e.Command.Admit; c != nil && e.State.Devices[c.Node] != nil && e.State.Devices[c.Node].Phase == fabric.Admitted {
			admitted[c.Node] = true
		}
		terms[e.Term] = true
	}
	for _, p := range h.told.pairings {
		n := reserved[p.name]
		switch {
		case p.admitted != 0:
			r.Admitted++
		case n == 0:
			r.Never++
		case admitted[n]:
			r.Settled++
		default:
			r.Abandoned++
		}
		if p.killed {
			r.Killed++
		}
	}
	for _, c := range h.told.changes {
		switch {
		case !c.done && !c.refused:
			r.Doubtful++
		case c.name != "":
			r.Renames++
		default:
			r.Removals++
		}
	}
	r.Pairings += len(h.told.pairings)
	r.Lists += len(h.told.lists)
	r.Toggles += h.told.toggles
	r.Toggled += h.told.toggled
	r.Elections += len(terms)
}

func (r *report) String() string {
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(r.Faults)) {
		faults = append(faults, fmt.Sprintf("%d %s", r.Faults[name], name))
	}
	return fmt.Sprintf(`%d rounds in %.0f s: %d violations
faults: %s; %d gateways killed in all, %d stopped by themselves on a full disk
pairings: %d begun, in %d of them the gateway was killed; %d admitted and told so, %d settled as admitted, %d abandoned, %d came to no reservation
%d removals and %d renames acknowledged, %d of unknown outcome; %d of %d lights switched
%d evictions, %d joins, %d terms with a leader
%d lists, %d reads of a key through the checker`, r.Rounds, r.Wall, r.Violations, strings.Join(faults, ", "), r.Kills, r.FailStops,
		r.Pairings, r.Killed, r.Admitted, r.Settled, r.Abandoned, r.Never, r.Removals, r.Renames, r.Doubtful, r.Toggled, r.Toggles,
		r.Evictions, r.Joins, r.Elections, r.Lists, r.Reads)
}
