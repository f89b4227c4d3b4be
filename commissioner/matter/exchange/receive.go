package exchange

import (
	"errors"
	"net"
	"time"

	"gatehouse/commissioner/matter/message"
	"gatehouse/radio"
)

// receivePause is the wait after an error of a link that is not closed: an
// ICMP error of one peer must neither end nor spin the loop.
const receivePause = 10 * time.Millisecond

func (m *Manager) receive(l radio.Link) {
	defer m.unplug(l)
	buf := make([]byte, max(l.MTU(), message.MaxSize))
	for {
		n, from, err := l.Receive(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			m.cfg.Log.Debug("receiving failed", "err", err)
			time.Sleep(receivePause)
		default:
			m.packet(l, from, buf[:n])
		}
	}
}

// packet takes one message in, whatever it is.
func (m *Manager) packet(l radio.Link, from radio.Addr, b []byte) {
	id, group, _, err := message.ParseSession(b)
	if err != nil || group {
		m.count(func(s *Stats) { s.Dropped++ })
		return
	}
	if id == 0 {
		m.stranger(l, from, b)
		return
	}
	m.mu.Lock()
	s := m.sessions[id]
	m.mu.Unlock()
	if s == nil {
		m.count(func(s *Stats) { s.Undecryptable++ })
		return
	}
	h, p, err := s.receive.Open(b, s.peerNode)
	if err != nil {
		m.count(func(s *Stats) { s.Undecryptable++ })
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dispatch(s, from, h.Counter, s.window.Secure(h.Counter), p)
}

func (m *Manager) count(f func(*Stats)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.stats)
}

// stranger takes in an unsecured message.
func (m *Manager) stranger(l radio.Link, from radio.Addr, b []byte) {
	h, rest, err := message.ParseHeader(b)
	if err != nil || h.Private {
		m.count(func(s *Stats) { s.Dropped++ })
		return
	}
	p, err := message.ParsePayload(rest)
	m.mu.Lock()
	if f := m.overhear[kindOf{p.Protocol, p.Opcode}]; f != nil && err == nil && p.Initiator && !p.Reliable {
		m.mu.Unlock()
		f(from, p.Body)
		return
	}
	defer m.mu.Unlock()
	var s *Session
	switch {
	case err != nil:
	case p.Initiator && h.HasSource && !h.HasDest:
		s = m.strangerSession(l, from, h.Source)
	case !p.Initiator && h.HasDest && !h.HasSource:
		s = m.unsecured[strangerKey{node: h.Dest}]
	}
	if s == nil {
		m.stats.Dropped++
		return
	}
	m.dispatch(s, from, h.Counter, s.window.Unsecured(h.Counter), p)
}

// strangerSession finds or begins the unsecured session of a peer that began
// to talk. The oldest makes room: an attacker who fills the table can at
// worst delay handshakes, never grow our memory.
func (m *Manager) strangerSession(l radio.Link, from radio.Addr, node uint64) *Session {
	key := strangerKey{node, from}
	if s := m.unsecured[key]; s != nil {
		return s
	}
	s := &Session{kind: Unsecured, link: l, addr: from, peerNode: node, params: DefaultParams}
	if m.begin(s, true) != nil {
		return nil
	}
	if len(m.strangers) >= maxUnsecured {
		m.drop(m.unsecured[m.strangers[0]], ErrClosed)
	}
	m.strangers = append(m.strangers, key)
	m.unsecured[key] = s
	return s
}

// dispatch brings a message to its exchange. Call it with the manager locked.
func (m *Manager) dispatch(s *Session, from radio.Addr, counter uint32, fresh bool, p message.Payload) {
	if s.closed {
		return
	}
	if !fresh { // our acknowledgement was lost: say it again
		m.stats.Duplicates++
		if p.Reliable {
			m.sendAck(s, p.ExchangeID, !p.Initiator, counter)
		}
		return
	}
	s.heard = m.cfg.Now()
	if s.kind != Unsecured { // authentic, so the peer has moved
		s.addr = from
	}
	x := s.exchanges[exchangeKey{p.ExchangeID, !p.Initiator}]
	if x != nil && p.HasAck {
		x.acknowledged(p.Ack)
	}
	if p.Protocol == message.SecureChannel && p.Opcode == opcodeStandaloneAck {
		return
	}
	msg := Message{p.Protocol, p.Opcode, append([]byte(nil), p.Body...)}
	if x != nil && !x.closing {
		if !x.deliver(msg, p.Reliable, counter) {
			m.noRoom(s, counter)
		}
		return
	}
	if x == nil && p.Initiator && m.respond(s, p, counter, msg) {
		return
	}
	if p.Reliable { // nobody wants it, but the peer may stop sending it
		m.sendAck(s, p.ExchangeID, !p.Initiator, counter)
	}
}

// noRoom drops a message, and takes it when it is sent again: what is not fresh
// would only be acknowledged.
func (m *Manager) noRoom(s *Session, counter uint32) {
	m.stats.Dropped++
	s.window.Forget(counter)
}

func (x *Exchange) deliver(msg Message, reliable bool, counter uint32) bool {
	select {
	case x.inbox <- msg:
	default:
		return false
	}
	if reliable {
		x.owe(counter)
	}
	return true
}

// respond begins the exchange of a peer's unsolicited message.
func (m *Manager) respond(s *Session, p message.Payload, counter uint32, msg Message) bool {
	handler := m.handlers[p.Protocol]
	if handler == nil || m.closed {
		return false
	}
	from := s.peer()
	if m.responding[from] >= from.most() || m.answering >= maxResponding {
		m.noRoom(s, counter)
		return true
	}
	x := m.add(s, p.ExchangeID, false)
	m.responding[from]++
	m.answering++
	if p.Reliable {
		x.owe(counter)
	}
	m.wg.Go(func() {
		defer x.Close()
		handler(m.ctx, x, msg)
	})
	return true
}
