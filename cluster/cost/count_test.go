package cost

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/cluster/powercut"
)

func TestCount(t *testing.T) {
	got := Count([]powercut.Op{
		{Kind: powercut.Create, Path: "1/file", File: 1},
		{Kind: powercut.Note, Data: []byte("work")},
		{Kind: powercut.Write, Path: "1/file", File: 1, Data: make([]byte, 100)},
		{Kind: powercut.Sync, Path: "1/file", File: 1},
		{Kind: powercut.Rename, Path: "2/log/file", To: "2/log/other"},
		{Kind: powercut.SyncDir, Path: "2/log"},
	})
	want := map[string]map[string]Written{
		"":     {"1": {Names: 1}},
		"work": {"1": {Writes: 1, Octets: 100, Syncs: 1}, "2": {Syncs: 1, Names: 1}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := (Written{Writes: 7, Octets: 100}).Per(3); got != (Written{Writes: 3, Octets: 34}) {
		t.Errorf("%v", got)
	}
}
