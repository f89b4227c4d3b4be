package cluster

import (
	"cmp"
	"log/slog"

	"github.com/hashicorp/raft"
)

// transport is Raft's own without its short cut for heartbeats. Raft would
// answer those in goroutines of their own, beside its main one, whatever that
// is just doing: one from the leader of before then takes back the term in
// which this gateway has voted since, and it votes in that term once more. Two
// gateways lead. (raft 1.8.0; its shutdown does not wait for them either.)
type transport struct{ *raft.NetworkTransport }

// NewTransport is Raft's transport over connections to gateways, which are
// found by node id.
func NewTransport(layer raft.StreamLayer, log *slog.Logger) raft.Transport {
	return transport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: layer, MaxPool: 3, Timeout: ioTimeout, Logger: newRaftLog(cmp.Or(log, slog.New(slog.DiscardHandler))),
		// No pipelining: it can block for ever when a connection ends at the
		// wrong moment, and a home's entries are few.
		MaxRPCsInFlight: 1,
	})}
}

// SetHeartbeatHandler has heartbeats go the way of all messages.
func (transport) SetHeartbeatHandler(func(raft.RPC)) {}
