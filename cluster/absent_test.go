package cluster

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/fabric/cert"
)

// TestAbsent holds that a gateway is away from its first failure to its return,
// within one lead: what is left of it when it is over says nothing.
func TestAbsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peer = cert.NodeID(7)
		var a absent
		fail := func(last time.Time) {
			a.observe(raft.FailedHeartbeatObservation{PeerID: Config{Node: peer}.id(), LastContact: last})
		}
		want := func(d time.Duration) {
			t.Helper()
			if got := a.since(peer); got != d {
				t.Errorf("away for %v, not %v", got, d)
			}
		}
		a.observe(raft.Leader)
		want(0)
		heard := time.Now()
		time.Sleep(time.Second)
		fail(heard)
		want(time.Second)
		time.Sleep(time.Second)
		fail(heard)
		want(2 * time.Second)
		a.observe(raft.ResumedHeartbeatObservation{PeerID: Config{Node: peer}.id()})
		want(0)

		fail(heard)
		a.observe(raft.Follower)
		want(0)
		time.Sleep(time.Second)
		fail(heard)
		want(0)
		a.observe(raft.Candidate)
		a.observe(raft.Leader)
		fail(heard) // an attempt that began before
		want(0)
		heard = time.Now()
		time.Sleep(time.Second)
		fail(heard)
		want(time.Second)

		a.heard(peer) // it is back, before Raft notices
		time.Sleep(10 * time.Millisecond)
		fail(heard)
		want(10 * time.Millisecond)
		time.Sleep(time.Second) // and away again
		fail(heard)
		want(1010 * time.Millisecond)
	})
}
