package member

import (
	"testing"
	"testing/synctest"

	"github.com/hashicorp/raft"

	"gatehouse/cluster/found"
	"gatehouse/cluster/store"
	"gatehouse/fabric/cert"
)

// TestTrail has a gateway join that gets the trust state as a snapshot: the log
// does not reach back to the beginning. It fetches the records of what was
// decided before from one that has them.
func TestTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, 1)
		defer h.end()
		first := h.gateways[0]
		for n := range cert.NodeID(20) {
			h.check(h.admit(first, 10+n))
		}
		h.check(first.Snapshot())
		covered := first.State().Index
		h.off(first)
		log, err := store.Open(store.Config{Dir: found.LogDir(first.dir), Owner: raft.ServerID(first.node.String()), Fatal: func(err error) { t.Error(err) }})
		h.check(err)
		h.check(log.DeleteRange(1, covered))
		h.check(log.Close())
		h.on(first)
		h.until("the first gateway leads", func() bool { return first.Leads() })
		for range 2 {
			next := h.join()
			h.until("all records are there", func() bool { return next.Trail().Tree().Size > 60 && next.Trail().First() == 0 })
			l, err := next.Trail().Leaves()
			h.check(err)
			if !l.Tree().Same(next.State().TrailTree()) || next.Trail().Lost() > 0 {
				t.Error("it has another trail")
			}
		}
		var mine, others string
		h.until("all have heard of all", func() bool { return first.State().Index == h.gateways[2].State().Index })
		for text, b := range map[*string]*box{&mine: first, &others: h.gateways[2]} {
			_, err := b.Trail().Read(0, func(_ uint64, line []byte) bool {
				*text += string(line)
				return true
			})
			h.check(err)
		}
		if mine != others {
			t.Error("two gateways have other records")
		}
	})
}
