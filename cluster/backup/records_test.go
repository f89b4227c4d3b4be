package backup

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"gatehouse/cluster"
	"gatehouse/cluster/trail"
	"gatehouse/fabric/audit"
)

// TestRestoreRecords brings a home back with what it decided, also where the
// backup was made to tell it otherwise.
func TestRestoreRecords(t *testing.T) {
	h := newHome(t)
	var file bytes.Buffer
	if err := Write(&file, h.ledger.State(), now, h.ledger.Trail()); err != nil {
		t.Fatal(err)
	}
	h.file = file.Bytes()
	want := h.ledger.State().TrailTree()
	for what, change := range map[string]func(*Backup){
		"as it was":      func(*Backup) {},
		"another record": func(b *Backup) { b.runs[0].Records[3] = []byte(`{"index":3}`) },
		"no tree":        func(b *Backup) { b.runs[0].Before = audit.Tree{Size: 1} },
		"a run too many": func(b *Backup) { b.runs = append(b.runs, b.runs[0]) },
		"none":           func(b *Backup) { b.runs = nil },
	} {
		t.Run(what, func(t *testing.T) {
			b, c := h.open(t), elsewhere(t, h.log)
			if len(b.runs) != 1 {
				t.Fatalf("%d runs of records", len(b.runs))
			}
			change(b)
			s, err := Restore(t.Context(), c, b, h.kit)
			lied := what == "another record" || what == "no tree"
			if s == nil || lied != (err != nil) {
				t.Fatalf("%v, %v", s, err)
			}
			l, _ := reopened(t, c)
			leaves, err := l.Trail().Leaves()
			first := uint64(0)
			if lied || what == "none" {
				first = want.Size
			}
			if err != nil || leaves.Before.Size != first || !leaves.Tree().Same(l.State().TrailTree()) || leaves.Tree().Size != want.Size+1 {
				t.Fatalf("records %d to %d of %d: %v", leaves.Before.Size, leaves.Tree().Size, want.Size, err)
			}
			if root, err := leaves.Root(want.Size); err != nil || root != want.Root() {
				t.Errorf("what was decided before the restore is not what it was: %v", err)
			}
			_, err = l.Trail().Read(0, func(_ uint64, line []byte) bool {
				if !strings.Contains(string(line), "trail-begun") {
					t.Errorf("it begins with %s", line)
				}
				return false
			})
			if (first == 0) != (err == nil) || err != nil && !errors.Is(err, trail.ErrMissing) {
				t.Error(err)
			}
		})
	}
}

// many is a trail of runs that are too long for a backup.
type many struct{ run int }

func (m many) Before(n uint64) (audit.Tree, [][]byte, error) {
	edge := make([]byte, 32*64)
	return audit.Tree{Size: n - 1, Edge: edge[:0]}, [][]byte{make([]byte, m.run)}, nil
}

// TestRecordsAreBounded has a home that decided more than a backup holds.
func TestRecordsAreBounded(t *testing.T) {
	h := newHome(t)
	for size, want := range map[int]int{maxRecords / 4: 3, maxRecords + 1: 0} {
		b, err := withRecords([]byte("state"), h.ledger.State(), many{size})
		if err != nil || len(b) > maxRecords+100 || len(b) < want*size {
			t.Errorf("%d octets, %v", len(b), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	h := newHome(f)
	kept, err := h.ledger.State().Backup()
	if err != nil {
		f.Fatal(err)
	}
	state, err := cluster.EncodeState(kept)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := withRecords(state, h.ledger.State(), h.ledger.Trail())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, plain []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := parse(plain)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20+1000*uint64(len(plain)) {
			t.Errorf("%d octets allocated for %d", used, len(plain))
		}
		if err != nil && !errors.Is(err, ErrNoBackup) {
			t.Error(err)
		}
	})
}
