package cluster

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gatehouse/cluster/store"
	"gatehouse/fabric/cert"
)

// TestReplay holds that the log of a gateway that ended tells every command,
// refused ones too, and the State that it had, as far as the log reaches back.
func TestReplay(t *testing.T) {
	dir := bootstrap(t)
	c := open(t, dir)
	must(t, c, found())
	must(t, c, reserve(7))
	if _, err := c.Propose(t.Context(), reserve(7)); err == nil {
		t.Fatal("a node id is given twice")
	}
	if err := c.Snapshot(); err != nil {
		t.Fatal(err)
	}
	covered := c.State().Index
	want := must(t, c, reserve(8))
	closed(t, c)
	short := copied(t, dir)
	log, err := store.Open(config(t, short).store())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log.DeleteRange(1, covered), log.Close()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		dir   string
		nodes []cert.NodeID
	}{{dir, []cert.NodeID{7, 7, 8}}, {short, []cert.NodeID{8}}} {
		var nodes []cert.NodeID
		var last Entry
		committed, err := Replay(config(t, test.dir), func(e Entry) {
			if e.Command.Reserve != nil {
				nodes = append(nodes, e.Command.Reserve.Node)
			}
			if e.Index <= last.Index || e.Term < last.Term || e.State.Index != e.Index {
				t.Errorf("entry %d of term %d after %d of term %d, with a state of %d", e.Index, e.Term, last.Index, last.Term, e.State.Index)
			}
			last = e
		})
		if err != nil || committed == 0 || committed > last.Index || !slices.Equal(nodes, test.nodes) {
			t.Errorf("reserved are %v, %v; committed up to %d of %d; %v", nodes, test.nodes, committed, last.Index, err)
		}
		if s, err := Read(config(t, test.dir)); err != nil || s != nil && s.Index != last.Index {
			t.Errorf("read: %v, %v", s, err)
		}
		if diff := cmp.Diff(want, last.State); diff != "" {
			t.Error(diff)
		}
	}
}
