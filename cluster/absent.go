package cluster

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/fabric/cert"
)

// absent is which gateways do not answer the leader, and since when.
type absent struct {
	mu   sync.Mutex
	led  time.Time // since when this gateway leads; zero: it does not
	last map[cert.NodeID]time.Time
	// asked is when each asked the leader for something last.
	asked map[cert.NodeID]time.Time
}

// observe takes what Raft tells the leader of its followers.
func (a *absent) observe(o any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch o := o.(type) {
	case raft.FailedHeartbeatObservation:
		if a.led.IsZero() || o.LastContact.Before(a.led) {
			// The last attempt of a lead that is over, which took its time:
			// nobody will say that the gateway is back.
			return
		}
		if a.last == nil {
			a.last = make(map[cert.NodeID]time.Time)
		}
		if n := nodeOf(o.PeerID); a.last[n].IsZero() {
			a.last[n] = o.LastContact
		}
	case raft.ResumedHeartbeatObservation:
		delete(a.last, nodeOf(o.PeerID))
	case raft.RaftState: // another leads, or nobody: it is for them to know
		a.last, a.asked, a.led = nil, nil, time.Time{}
		if o == raft.Leader {
			a.led = time.Now() // followers count as heard of from here on
		}
	}
}

// heard takes what a gateway asks the leader for as a sign of life: it may be
// back a while before Raft says so.
func (a *absent) heard(n cert.NodeID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asked == nil {
		a.asked = make(map[cert.NodeID]time.Time)
	}
	a.asked[n] = time.Now()
}

// since is measured by Raft's clock, which stamps what it tells.
func (a *absent) since(n cert.NodeID) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if last := a.last[n]; !last.IsZero() {
		if asked := a.asked[n]; asked.After(last) {
			last = asked
		}
		return max(time.Since(last), 1)
	}
	return 0
}
