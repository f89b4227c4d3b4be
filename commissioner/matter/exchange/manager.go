// Package exchange carries conversations over sessions: it finds the session
// and the exchange of each message that comes in, sends again what was not
// acknowledged, and hands new conversations to their protocol's handler
// (Matter Core 4.10 to 4.12).
//
// It promises that a message is delivered at most once, that memory for
// strangers is bounded, and that nothing of it lives on after Close. It knows
// no protocol but the acknowledgement, and no key that a handshake did not
// hand to it.
package exchange

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"gatehouse/commissioner/matter/message"
	"gatehouse/radio"
)

// Limits of ours.
const (
	maxSessions   = 4096 // secure sessions
	maxUnsecured  = 64   // unsecured sessions that strangers began
	maxResponding = 256  // exchanges that peers began
	maxPerPeer    = 32   // of these, by one peer, on all its sessions
	maxOfStranger = 2    // of these, on one unsecured session: strangers leave room for others
)

// Handler answers an exchange that a peer began. It runs on a goroutine of
// its own and the exchange is closed when it returns. ctx ends with the
// manager.
type Handler func(ctx context.Context, x *Exchange, first Message)

// Overhearer takes a message that is on no session and that nobody answers. It
// is called on the link's own goroutine: it must be quick, and keep nothing of
// the body.
type Overhearer func(from radio.Addr, body []byte)

// kindOf tells one kind of message.
type kindOf struct {
	protocol message.ProtocolID
	opcode   uint8
}

// Config is what a Manager is made of.
type Config struct {
	Now    func() time.Time
	Random io.Reader
	Log    *slog.Logger
	Params Params // our own, as we tell our peers
}

// Stats count what went wrong on the links since the start.
type Stats struct {
	Retransmissions, Duplicates, Undecryptable, Dropped uint64
}

// Manager owns the sessions and exchanges of one node, over any number of
// links.
type Manager struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu         sync.Mutex
	links      []radio.Link
	handlers   map[message.ProtocolID]Handler
	overhear   map[kindOf]Overhearer
	sessions   map[uint16]*Session // by our id; nil: reserved by a handshake
	unsecured  map[strangerKey]*Session
	strangers  []strangerKey // of unsecured, that others began, oldest first
	responding map[peer]int  // exchanges that peers began, and end
	answering  int           // of all
	nextID     uint16        // of an exchange
	jitter     *mathrand.Rand
	stats      Stats
	closed     bool
}

// strangerKey finds an unsecured session: by the ephemeral node id of its
// initiator and, where that is not us, its address.
type strangerKey struct {
	node uint64
	addr radio.Addr // zero: we are the initiator
}

// peer is whose exchanges count together.
type peer struct {
	kind   Kind
	fabric uint8
	node   uint64
}

func (s *Session) peer() peer { return peer{s.kind, s.fabric, s.peerNode} }

func (p peer) most() int {
	if p.kind == Unsecured {
		return maxOfStranger
	}
	return maxPerPeer
}

// New is a Manager without links.
func New(cfg Config) (*Manager, error) {
	var seed [32]byte
	if _, err := io.ReadFull(cfg.Random, seed[:]); err != nil {
		return nil, err
	}
	cfg.Params = cfg.Params.OrDefault()
	m := &Manager{
		cfg:        cfg,
		handlers:   make(map[message.ProtocolID]Handler),
		overhear:   make(map[kindOf]Overhearer),
		sessions:   make(map[uint16]*Session),
		unsecured:  make(map[strangerKey]*Session),
		responding: make(map[peer]int),
		nextID:     binary.LittleEndian.Uint16(seed[:]),
		jitter:     mathrand.New(mathrand.NewChaCha8(seed)),
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m, nil
}

// Params are our own session parameters.
func (m *Manager) Params() Params { return m.cfg.Params }

// Random is the source of randomness the manager was made with.
func (m *Manager) Random() io.Reader { return m.cfg.Random }

// Now is the manager's clock.
func (m *Manager) Now() time.Time { return m.cfg.Now() }

// Stats are the counts since the start.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stats
}

// Handle sets the handler of the exchanges that peers begin with a protocol.
func (m *Manager) Handle(p message.ProtocolID, h Handler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handlers[p] = h
}

// Overhear has messages of one kind that are on no session handed to f: they
// begin no exchange and take no room.
func (m *Manager) Overhear(p message.ProtocolID, opcode uint8, f Overhearer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.overhear[kindOf{p, opcode}] = f
}

// SendUnsecured sends a message on no session, once, and waits for nothing.
func (m *Manager) SendUnsecured(l radio.Link, to radio.Addr, p message.ProtocolID, opcode uint8, body []byte) error {
	s, err := m.Unsecured(l, to, DefaultParams)
	if err != nil {
		return err
	}
	defer s.Close()
	x, err := m.Open(s)
	if err != nil {
		return err
	}
	defer x.Close()
	return x.SendOnce(p, opcode, body)
}

// Serve receives from a link until it or the manager is closed; the manager
// closes the link at its end. The sessions over a link that ends before end
// with it.
func (m *Manager) Serve(l radio.Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		l.Close()
		return
	}
	m.links = append(m.links, l)
	m.wg.Go(func() { m.receive(l) })
}

// Close ends all sessions, links and handlers, and waits for them.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.cancel()
	m.dropAll(func(*Session) bool { return true }, ErrClosed)
	links := slices.Clone(m.links)
	m.mu.Unlock()
	for _, l := range links {
		l.Close() // which may wait for what it still has to send
	}
	m.wg.Wait()
}

// random is a float64 in [0, 1) for jitter. Call it with the manager locked.
func (m *Manager) random() float64 { return m.jitter.Float64() }

// transmit hands a packet to the session's link. A link that fails now is
// like a packet lost: the retransmission or the caller's deadline sees to it.
func (m *Manager) transmit(s *Session, packet []byte) {
	if err := s.link.Send(s.addr, packet); err != nil && !errors.Is(err, net.ErrClosed) {
		m.cfg.Log.Debug("sending failed", "to", s.addr, "err", err)
	}
}

// ReserveID is a session id no session has, for a handshake to offer. Give it
// back with ReleaseID, or use it in AddSession.
func (m *Manager) ReserveID() (uint16, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return 0, ErrClosed
	}
	if len(m.sessions) >= maxSessions {
		return 0, errors.New("exchange: too many sessions")
	}
	for {
		id := uint16(m.jitter.Uint32())
		if _, taken := m.sessions[id]; id != 0 && !taken {
			m.sessions[id] = nil
			return id, nil
		}
	}
}

// ReleaseID gives back a reserved id that no session came of.
func (m *Manager) ReleaseID(id uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.sessions[id]; ok && s == nil {
		delete(m.sessions, id)
	}
}

// AddSession begins the session a handshake agreed on.
func (m *Manager) AddSession(cfg SessionConfig) (*Session, error) {
	send, err := message.NewCipher(cfg.Send)
	if err != nil {
		return nil, err
	}
	receive, err := message.NewCipher(cfg.Receive)
	if err != nil {
		return nil, err
	}
	s := &Session{kind: cfg.Kind, localID: cfg.LocalID, peerID: cfg.PeerID, localNode: cfg.LocalNode, peerNode: cfg.PeerNode,
		fabric: cfg.Fabric, cats: cfg.CATs, challenge: cfg.Challenge, send: send, receive: receive, link: cfg.Link,
		params: cfg.Params.OrDefault(), addr: cfg.Addr}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.begin(s, false); err != nil {
		return nil, err
	}
	m.sessions[s.localID] = s
	return s, nil
}

// Unsecured begins an unsecured session with a peer, for a handshake.
func (m *Manager) Unsecured(l radio.Link, to radio.Addr, params Params) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := &Session{kind: Unsecured, link: l, addr: to, initiator: true, params: params.OrDefault(), localNode: m.jitter.Uint64() >> 1}
	if err := m.begin(s, true); err != nil {
		return nil, err
	}
	m.unsecured[strangerKey{node: s.localNode}] = s
	return s, nil
}

func (m *Manager) begin(s *Session, wrap bool) (err error) {
	if m.closed {
		return ErrClosed
	}
	s.m = m
	s.done = make(chan struct{})
	s.exchanges = make(map[exchangeKey]*Exchange)
	if !s.initiator {
		s.heard = m.cfg.Now() // the handshake was just heard
	}
	s.counter, err = message.NewCounter(m.cfg.Random, wrap)
	return err
}

// unplug ends the sessions over a link that is gone.
func (m *Manager) unplug(l radio.Link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.links = slices.DeleteFunc(m.links, func(other radio.Link) bool { return other == l })
	m.dropAll(func(s *Session) bool { return s.link == l }, ErrLinkLost)
}

// dropAll ends the sessions that match. Call it with the manager locked.
func (m *Manager) dropAll(match func(*Session) bool, why error) {
	for _, s := range m.sessions {
		if s != nil && match(s) {
			m.drop(s, why)
		}
	}
	for _, s := range m.unsecured {
		if match(s) {
			m.drop(s, why)
		}
	}
}

// drop ends a session and its exchanges with an error. Call it with the
// manager locked.
func (m *Manager) drop(s *Session, why error) {
	if s.closed {
		return
	}
	s.closed, s.why = true, why
	close(s.done)
	for _, x := range s.exchanges {
		x.fail(why)
	}
	if m.sessions[s.localID] == s {
		delete(m.sessions, s.localID)
	}
	switch {
	case s.kind != Unsecured:
	case s.initiator:
		delete(m.unsecured, strangerKey{node: s.localNode})
	default:
		key := strangerKey{s.peerNode, s.addr}
		delete(m.unsecured, key)
		m.strangers = slices.DeleteFunc(m.strangers, func(k strangerKey) bool { return k == key })
	}
}

// Sessions are the secure sessions that match.
func (m *Manager) Sessions(match func(*Session) bool) []*Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []*Session
	for _, s := range m.sessions {
		if s != nil && match(s) {
			found = append(found, s)
		}
	}
	return found
}

// Open begins an exchange on a session.
func (m *Manager) Open(s *Session) (*Exchange, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.closed {
		return nil, s.why
	}
	for {
		m.nextID++
		if _, taken := s.exchanges[exchangeKey{m.nextID, true}]; !taken {
			return m.add(s, m.nextID, true), nil
		}
	}
}

func (m *Manager) add(s *Session, id uint16, initiator bool) *Exchange {
	x := &Exchange{m: m, session: s, id: id, initiator: initiator,
		inbox: make(chan Message, inboxSize), failed: make(chan struct{})}
	s.exchanges[exchangeKey{id, initiator}] = x
	return x
}
