package wire

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"gatehouse/fabric/cert"
)

// Raft is what raft.NewNetworkTransport needs, of the gateway self. A server's
// address is its node id, as cert.NodeID writes it. Closing it, which the transport does, closes
// every connection of Raft, where the transport alone would leave them.
func (w *Wire) Raft(self cert.NodeID) raft.StreamLayer { return stream{w.raft, self} }

type stream struct {
	*door
	self cert.NodeID
}

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

// Addr is this gateway as others dial it. Raft asks once, maybe before there
// is an Identity, and votes for itself by this name.
func (s stream) Addr() net.Addr { return nodeAddr(s.self.String()) }

// nodeAddr is a node id as an address.
type nodeAddr string

func (nodeAddr) Network() string  { return raftProtocol }
func (a nodeAddr) String() string { return string(a) }
