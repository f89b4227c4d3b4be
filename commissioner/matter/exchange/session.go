package exchange

import (
	"fmt"
	"time"

	"gatehouse/commissioner/matter/message"
	"gatehouse/radio"
)

// Kind says how a session was established.
type Kind uint8

const (
	Unsecured Kind = iota
	PASE
	CASE
)

func (k Kind) String() string { return [...]string{"unsecured", "PASE", "CASE"}[k] }

// SessionConfig is what a handshake agreed on.
type SessionConfig struct {
	Kind      Kind
	LocalID   uint16 // from ReserveID
	PeerID    uint16
	LocalNode uint64 // 0 on a PASE session
	PeerNode  uint64 // 0 on a PASE session
	Fabric    uint8  // our index of the fabric; 0 on a PASE session
	CATs      []uint32
	Send      message.Key
	Receive   message.Key
	Challenge [16]byte // attestation challenge
	Params    Params   // the peer's
	Link      radio.Link
	Addr      radio.Addr
}

// Session is an agreement with one peer under which exchanges run. What a
// handshake fixed is read without a lock; the rest belongs to the Manager.
type Session struct {
	m         *Manager
	kind      Kind
	localID   uint16
	peerID    uint16
	localNode uint64
	peerNode  uint64
	fabric    uint8
	cats      []uint32
	challenge [16]byte
	send      *message.Cipher // nil: unsecured
	receive   *message.Cipher
	link      radio.Link
	initiator bool // unsecured: we have the ephemeral node id
	done      chan struct{}

	// guarded by Manager.mu
	params    Params
	addr      radio.Addr
	counter   message.Counter
	window    message.Window
	heard     time.Time // last message from the peer
	exchanges map[exchangeKey]*Exchange
	closed    bool
	why       error // it was closed
}

type exchangeKey struct {
	id        uint16
	initiator bool // we are
}

// Kind says how the session was established.
func (s *Session) Kind() Kind { return s.kind }

// Fabric is our index of the fabric, 0 on PASE and unsecured sessions.
func (s *Session) Fabric() uint8 { return s.fabric }

// PeerNode is the peer's node id, 0 on PASE and unsecured sessions.
func (s *Session) PeerNode() uint64 { return s.peerNode }

// LocalNode is our node id on the session's fabric.
func (s *Session) LocalNode() uint64 { return s.localNode }

// CATs are the CASE authenticated tags of the peer's certificate.
func (s *Session) CATs() []uint32 { return s.cats }

// Challenge is the attestation challenge of a PASE or CASE session.
func (s *Session) Challenge() [16]byte { return s.challenge }

// Link is the link the peer is on.
func (s *Session) Link() radio.Link { return s.link }

// LocalID names the session in our messages' receipt.
func (s *Session) LocalID() uint16 { return s.localID }

// Done is closed when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// MaxBody is the longest body of a message, in octets.
func (s *Session) MaxBody() int { return min(s.link.MTU(), message.MaxSize) - message.Overhead }

func (s *Session) String() string {
	return fmt.Sprintf("%v session %d with node %016X at %v", s.kind, s.localID, s.peerNode, s.Addr())
}

// Addr is where the peer was heard last.
func (s *Session) Addr() radio.Addr {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.addr
}

// SetParams replaces the peer's session parameters, which handshakes tell.
func (s *Session) SetParams(p Params) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.params = p.OrDefault()
}

// Heard is when the peer was heard last.
func (s *Session) Heard() time.Time {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	return s.heard
}

// linkTimeout is how long BTP may take to bring one message over
// (BTP_ACK_TIMEOUT, Matter Core 4.19.4.9).
const linkTimeout = 15 * time.Second

// ResponseTimeout bounds how long an answer may take: all transmissions of
// the request, the peer's work, and all transmissions of its answer.
func (s *Session) ResponseTimeout(work time.Duration) time.Duration {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	if s.link.Reliable() {
		return linkTimeout + work + linkTimeout
	}
	return s.params.giveUp(s.params.Threshold > s.m.cfg.Now().Sub(s.heard)) + work + s.m.cfg.Params.giveUp(true)
}

// Close ends the session here; its exchanges fail with ErrClosed. The peer is
// not told: securechannel.Close does that.
func (s *Session) Close() {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.drop(s, ErrClosed)
}

// seal makes the packet of a message and gives its counter. Call it with the
// manager locked.
func (s *Session) seal(p *message.Payload) ([]byte, uint32, error) {
	counter, err := s.counter.Next()
	if err != nil {
		return nil, 0, err
	}
	h := message.Header{SessionID: s.peerID, Counter: counter}
	buf := make([]byte, 0, message.Overhead+len(p.Body))
	if s.send != nil {
		return s.send.Seal(buf, &h, p, s.localNode), counter, nil
	}
	if s.initiator {
		h.HasSource, h.Source = true, s.localNode
	} else {
		h.HasDest, h.Dest = true, s.peerNode
	}
	return p.Append(h.Append(buf)), counter, nil
}
