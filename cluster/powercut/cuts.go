package powercut

import (
	"fmt"
	"iter"
	"math/rand/v2"
)

// Limits of ours: in how many random ways what was not synced is lost after each
// op, and of how many changes of names each set is.
const (
	losses  = 2
	allSets = 4
)

// Page is what a database and a file system write at once, in octets.
const Page = 4096

// Ways in which a power cut comes.
const (
	After = "after" // all that was done is on the disk
	Torn  = "torn"  // of the last write, a part is
	Lost  = "lost"  // of what was not synced, a part is
)

// Cut is a power cut and the directory that it leaves.
type Cut struct {
	At   int // the op after which it came
	Op   Op
	Way  string
	Part string // which, in words
	// Notes are how many notes the process had written.
	Notes int
	Tree  Tree
}

func (c Cut) String() string {
	return fmt.Sprintf("power cut %s call %d (%v) %s", c.Way, c.At, c.Op, c.Part)
}

// Cuts are power cuts at every n-th op, and at all that are about names or
// sizes: right after it; in the middle of it, at
// first, last and random sectors and pages, where either what is before or
// what is behind is on the disk; and with what was not synced lost.
func Cuts(ops []Op, n int, seed uint64) iter.Seq[Cut] {
	return func(yield func(Cut) bool) {
		d, notes := NewDisk(), 0
		for at, o := range ops {
			r := rand.New(rand.NewPCG(seed, uint64(at)))
			cut := Cut{At: at, Op: o, Notes: notes}
			put := func(way, part string, tree Tree) bool {
				cut.Way, cut.Part, cut.Tree = way, part, tree
				return yield(cut)
			}
			now := at%n == 0 || o.Kind != Note && o.Kind != Write && o.Kind != Sync
			if now && o.Kind == Write && !tears(d, o, r, put) {
				return
			}
			d.Do(o)
			if o.Kind == Note {
				notes++
				cut.Notes++
			}
			if now && (!put(After, "", d.Now()) || !d.Settled() && !loses(d, r, put)) {
				return
			}
		}
	}
}

func tears(d *Disk, o Op, r *rand.Rand, put func(way, part string, tree Tree) bool) bool {
	for _, unit := range []int{Sector, Page} {
		last := (len(o.Data) - 1) / unit
		if last < 1 {
			continue
		}
		tried := map[int]bool{}
		for _, k := range []int{1, last, 1 + r.IntN(last)} {
			if at := k * unit; !tried[k] {
				tried[k] = true
				if !put(Torn, fmt.Sprintf("the first %d octets", at), d.Torn(o, 0, at)) ||
					!put(Torn, fmt.Sprintf("all but the first %d octets", at), d.Torn(o, at, len(o.Data))) {
					return false
				}
			}
		}
	}
	return true
}

func loses(d *Disk, r *rand.Rand, put func(way, part string, tree Tree) bool) bool {
	if !put(Lost, "all", d.Lasting()) {
		return false
	}
	ways := losses
	if d.Names() <= allSets {
		ways = max(ways, 1<<d.Names())
	}
	for i := range ways {
		kept := uint64(i)
		if ways == losses {
			kept = r.Uint64()
		}
		if !put(Lost, fmt.Sprintf("some, %d", i), d.Lost(r, kept)) {
			return false
		}
	}
	return true
}
