package cluster

import (
	"cmp"
	"log/slog"
	"sync"

	"github.com/hashicorp/raft"
)

// transport is Raft's own, whose heartbeats can be stopped: Raft answers them
// in goroutines that its shutdown does not wait for, and that panic when they
// find the store closed.
type transport struct {
	*raft.NetworkTransport
	mu   sync.RWMutex
	deaf bool
}

// NewTransport is Raft's transport over connections to gateways, which are
// found by node id.
func NewTransport(layer raft.StreamLayer, log *slog.Logger) raft.Transport {
	return &transport{NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: layer, MaxPool: 3, Timeout: ioTimeout, Logger: newRaftLog(cmp.Or(log, slog.New(slog.DiscardHandler))),
		// No pipelining: it can block for ever when a connection ends at the
		// wrong moment, and a home's entries are few.
		MaxRPCsInFlight: 1,
	})}
}

// SetHeartbeatHandler puts a door before Raft's handler.
func (t *transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	t.NetworkTransport.SetHeartbeatHandler(func(rpc raft.RPC) {
		t.mu.RLock()
		defer t.mu.RUnlock()
		if t.deaf {
			rpc.Respond(nil, raft.ErrRaftShutdown)
			return
		}
		handle(rpc)
	})
}

// deafen shuts the door, once whoever is inside has left.
func (t *transport) deafen() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deaf = true
}
