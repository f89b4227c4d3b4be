package wire

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Raft is what raft.NewNetworkTransport needs. A server's address is its node
// id, as cert.NodeID writes it. Closing it, which the transport does, closes
// every connection of Raft, where the transport alone would leave them.
func (w *Wire) Raft() raft.StreamLayer { return stream{w.raft} }

type stream struct{ *door }

func (s stream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	to, err := parseNode(string(address))
	if err != nil {
		return nil, fmt.Errorf("reach a gateway: %w", err)
	}
	return s.wire.dial(context.Background(), to, raftProtocol, cmp.Or(timeout, dialTimeout))
}

func (s stream) Close() error {
	s.door.Close()
	for _, c := range s.wire.open() {
		if c.protocol == raftProtocol {
			c.abort()
		}
	}
	return nil
}

// Addr is this gateway as others dial it.
func (s stream) Addr() net.Addr {
	id := s.wire.cfg.Identity()
	if id == nil {
		return nodeAddr("")
	}
	return nodeAddr(id.Node.String())
}

// nodeAddr is a node id as an address.
type nodeAddr string

func (nodeAddr) Network() string  { return raftProtocol }
func (a nodeAddr) String() string { return string(a) }
