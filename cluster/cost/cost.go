// Package cost measures what a gateway costs its box: what it writes to its SD
// card for an admission, a snapshot and a day in which nothing happens, and
// with many devices its memory, its start and its files. Measurements only:
// make cost.
package cost

import (
	"fmt"
	"strings"

	"gatehouse/cluster/powercut"
)

// Written is what was written to a disk.
type Written struct {
	Writes, Octets int // calls, and what they wrote
	Syncs          int // of files and directories
	Names          int // files made, renamed and removed
}

// Add counts an op.
func (w *Written) Add(o powercut.Op) {
	switch o.Kind {
	case powercut.Note:
	case powercut.Write:
		w.Writes++
		w.Octets += len(o.Data)
	case powercut.Sync, powercut.SyncDir:
		w.Syncs++
	case powercut.Create, powercut.Mkdir, powercut.Rename, powercut.Remove:
		w.Names++
	}
}

// Per is the share of one of n, rounded up.
func (w Written) Per(n int) Written {
	share := func(of int) int { return (of + n - 1) / n }
	return Written{share(w.Writes), share(w.Octets), share(w.Syncs), share(w.Names)}
}

func (w Written) String() string {
	return fmt.Sprintf("%9d octets  %5d writes  %4d syncs  %3d names", w.Octets, w.Writes, w.Syncs, w.Names)
}

// Count sorts ops by what the process noted before them, and by the directory
// at the top that they are in.
func Count(ops []powercut.Op) map[string]map[string]Written {
	all, during := map[string]map[string]Written{}, ""
	for _, o := range ops {
		if o.Kind == powercut.Note {
			during = string(o.Data)
			continue
		}
		top, _, _ := strings.Cut(o.Path, "/")
		if all[during] == nil {
			all[during] = map[string]Written{}
		}
		w := all[during][top]
		w.Add(o)
		all[during][top] = w
	}
	return all
}
