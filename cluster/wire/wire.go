// Package wire is how the gateways of one home reach each other: mutual TLS
// 1.3 over one TCP port, with the gateways' own node certificates.
//
//	w := wire.New(cfg, listener)
//	transport := raft.NewNetworkTransport(w.Raft(node), …) // addresses are node ids
//	server := &http.Server{ConnContext: wire.ConnContext, …}
//	go server.Serve(w.HTTP())                          // handlers ask wire.Peer(r.Context())
//	w.Client().Get(wire.URL(node, "/path"))
//
// It promises that no octet of a protocol is read from or written to a peer
// before both sides have verified each other: the key that the trust state
// knows the peer by or, for one it does not know, a chain up to the home's
// root; fabric, the node that was dialled, the word of Config.Admit, and
// possession of the key. A dialler has its connection only once the listener has let it
// in, so a request that was refused was not begun. Recheck asks all of this
// again of what is open. Strangers can make it hold a bounded number of
// connections for a bounded time, and write a bounded number of log lines.
//
// It never resumes a TLS session, never looks at a name or a time in a
// certificate (boxes have no clock; eviction is by Admit), and keeps no trust
// of its own. What it shows of a peer in errors and logs is public.
//
// Two protocols share the port, told apart by ALPN: Raft's, and HTTP/1.1. Each
// begins with one octet from the listener, the welcome. Node certificates are
// those of the Matter Core Specification, 6.5, as X.509; TLS is RFC 8446, ALPN
// RFC 7301.
package wire

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/fabric/cert"
)

// Limits of ours.
const (
	// A handshake takes two round trips and some 20 ms of a small board's CPU.
	handshakeTimeout = 3 * time.Second
	// maxStrangers bounds the handshakes in progress. One more ends the oldest:
	// to keep a gateway out by being slow takes maxStrangers connections in
	// the time of its handshake, again and again.
	maxStrangers = 32
	// maxPerPeer bounds the connections one gateway may have open to us: Raft
	// uses about five, HTTP at most httpConns.
	maxPerPeer = 24

	// acceptPause is waited after the listener failed, as it does when file
	// descriptors run out.
	acceptPause = time.Second
)

// Protocols, as ALPN names them.
const (
	raftProtocol = "gatehouse-raft/1"
	httpProtocol = "gatehouse-http/1"
)

// Config says who this gateway is, whom it lets in, and where the others are.
// Its functions may be called from several goroutines.
type Config struct {
	// Identity is asked at every handshake, since a certificate gets renewed.
	// It is nil as long as there is none: then nobody is reached or let in.
	// The node never changes.
	Identity func() *Identity
	// Known is the public key that the trust state knows a gateway by. Where
	// there is one, it stands for the chain up to the root. nil knows nobody.
	Known func(cert.NodeID) (cert.PublicKey, bool)
	// Admit is the word of the trust state on a node of the home's fabric:
	// whether it is a gateway, and still one. It is asked before and after
	// the node has proved that it has the key, so it must only look.
	Admit func(cert.Node) error
	// Locate is where a gateway listens, as far as is known; the likeliest
	// addresses first. Those past the first few are not tried.
	Locate func(context.Context, cert.NodeID) ([]netip.AddrPort, error)
	// Doubt is told when a gateway was not reached at any of these; it may be
	// nil.
	Doubt func(cert.NodeID)
	// Dial connects to an address; nil is TCP.
	Dial func(context.Context, netip.AddrPort) (net.Conn, error)
	Log  *slog.Logger // nil: none
}

// Wire is one gateway's end. Its methods may be called from several goroutines.
type Wire struct {
	cfg      Config
	listener net.Listener
	raft     *door
	http     *door
	client   *http.Client
	refusals refusals

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	strangers []*stranger // oldest first
	conns     []*conn     // let in, both ways
}

// New begins to take connections from l, which becomes its own.
func New(cfg Config, l net.Listener) *Wire {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Dial == nil {
		cfg.Dial = dialTCP
	}
	w := &Wire{cfg: cfg, listener: l, refusals: refusals{log: cfg.Log}}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.raft, w.http = newDoor(w), newDoor(w)
	w.client = newClient(w)
	w.wg.Go(w.accept)
	return w
}

// Close closes the listener and every connection, and waits for all that the
// Wire has started.
func (w *Wire) Close() error {
	w.mu.Lock()
	again := w.closed
	w.closed = true
	w.mu.Unlock()
	if again {
		return nil
	}
	w.stop()
	err := w.listener.Close()
	for _, c := range w.open() {
		c.abort()
	}
	w.wg.Wait()
	w.client.CloseIdleConnections()
	w.refusals.close()
	return err
}

// Recheck asks of every open connection what is asked in a handshake, and
// closes those that would not be let in now. It is for after an eviction. No
// connection passes between a change of what Admit says and Recheck.
func (w *Wire) Recheck() {
	for _, c := range w.open() {
		if err := w.vet(c); err != nil {
			w.refusals.say("closed the connection of a peer that is not let in any more", c.RemoteAddr(), err)
			c.abort()
		}
	}
}

// vet holds an open connection against the state of now.
func (w *Wire) vet(c *conn) error {
	id, err := w.identity()
	if err != nil {
		return err
	}
	_, err = w.verify(id, c.chain, c.peer)
	return err
}

// enter takes a connection up among the open ones. Recheck may have looked at
// them just before, so the peer is verified again after. After an
// error it is for the caller to remove.
func (w *Wire) enter(c *conn) error {
	if err := w.add(c); err != nil {
		return err
	}
	return w.vet(c)
}

var errCrowded = errors.New("it has too many connections open")

func (w *Wire) add(c *conn) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return net.ErrClosed
	}
	same := 0
	for _, d := range w.conns {
		if d.inbound && d.peer == c.peer {
			same++
		}
	}
	if c.inbound && same >= maxPerPeer {
		return errCrowded
	}
	w.conns = append(w.conns, c)
	return nil
}

func (w *Wire) remove(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.conns, c); i >= 0 {
		w.conns = slices.Delete(w.conns, i, i+1)
	}
}

func (w *Wire) open() []*conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.conns)
}
