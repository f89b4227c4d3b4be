// Package goble is the radio process: go-ble behind the messages of wire. It
// is for `gatehouse radio` alone; the daemon never imports it.
//
// go-ble panics on malformed packets of any device it hears, in goroutines of
// its own, and hangs in several ways. The package does not try to survive
// that. It promises that the process ends: at a panic; as soon as the daemon
// closes the socket, whatever go-ble is doing; when the daemon falls silent;
// and when an operation cannot be called off. A Pong means that the adapter has
// answered. All that is Bluetooth's is started by one goroutine, so scanning
// and connecting never meet.
package goble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/go-ble/ble/linux/hci"
	"github.com/go-ble/ble/linux/hci/cmd"

	radioble "gatehouse/radio/ble"
	"gatehouse/radio/ble/wire"
)

// Limits.
const (
	maxSessions = 8
	maxJobs     = 32   // scans and connections that wait for their turn
	outQueue    = 2048 // messages the daemon has not read; a daemon that far behind is not served
	maxReports  = 64   // of them, advertisements; more are lost
)

// errDaemon is why the process ends when the daemon is gone.
var errDaemon = errors.New("the daemon is gone")

// host is the process's one object.
type host struct {
	conn   net.Conn
	wire   *wire.Conn
	number int
	hci    *hci.HCI

	out   chan wire.Message
	end   chan error // why the process ends; only the first counts
	jobs  chan func()
	lost  chan struct{} // go-ble has hung up on a connection of its own accord, perhaps
	scans bool          // of the goroutine that does the jobs

	pinging sync.Mutex

	mu       sync.Mutex
	sessions map[uint32]*session
}

// Run serves one daemon over conn with the adapter of a number (0 is hci0) and
// returns when the process is to end at once, which the caller must then do:
// goroutines of go-ble may be left hanging. It returns nil when the daemon
// closed conn.
func Run(conn net.Conn, number int) error {
	h := &host{conn: conn, wire: wire.NewConn(conn), number: number, out: make(chan wire.Message, outQueue), end: make(chan error, 1),
		jobs: make(chan func(), maxJobs), lost: make(chan struct{}, 1), sessions: map[uint32]*session{}}
	go h.write()
	ready := make(chan struct{})
	go h.read(ready)
	opened := make(chan error, 1)
	go func() { opened <- h.open() }()
	select {
	case err := <-opened:
		if err != nil {
			h.wire.Send(wire.Message{Kind: wire.Fault, Code: code(err), Text: err.Error()})
			return err
		}
		close(ready)
	case err := <-h.end:
		return ended(err)
	}
	go func() {
		for job := range h.jobs {
			job()
		}
	}()
	h.send(h.hello())
	return ended(<-h.end)
}

// ended is what Run returns for the reason of an end.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// stop ends the process.
func (h *host) stop(err error) {
	select {
	case h.end <- err:
	default:
	}
}

// send queues a message for the daemon.
func (h *host) send(m wire.Message) {
	if m.Kind == wire.Report && len(h.out) >= maxReports {
		return
	}
	select {
	case h.out <- m:
	default:
		h.stop(fmt.Errorf("%w: it does not read", errDaemon))
	}
}

func (h *host) write() {
	for m := range h.out {
		if err := h.wire.Send(m); err != nil {
			h.stop(fmt.Errorf("%w: %w", errDaemon, err))
			return
		}
	}
}

// read takes the daemon's messages. It never waits for Bluetooth, so that
// nothing keeps the process from ending when the socket is closed.
func (h *host) read(ready <-chan struct{}) {
	silent := time.AfterFunc(wire.Patience, func() { h.stop(fmt.Errorf("%w: it has been silent for %v", errDaemon, wire.Patience)) })
	for {
		m, err := h.wire.Read()
		if err != nil {
			h.stop(fmt.Errorf("%w: %w", errDaemon, err))
			return
		}
		silent.Reset(wire.Patience)
		if m.Kind == wire.Hello {
			if m.Version != wire.Version {
				h.stop(fmt.Errorf("the daemon speaks version %d, not %d", m.Version, wire.Version))
			}
			continue
		}
		select {
		case <-ready:
			h.handle(m)
		default:
			h.stop(fmt.Errorf("message %d before the adapter was open", m.Kind))
		}
	}
}

func (h *host) handle(m wire.Message) {
	switch m.Kind {
	case wire.Ping:
		go h.ping(m.ID)
	case wire.Scan:
		h.do(func() { h.reply(m.ID, h.scan(m.On)) })
	case wire.Connect:
		h.connect(m)
	case wire.Write:
		if s := h.session(m.Conn); s != nil {
			s.write(m)
		} else {
			h.send(wire.Message{Kind: wire.Done, ID: m.ID, Code: wire.Lost, Text: "there is no such connection"})
		}
	case wire.Close:
		if s := h.session(m.Conn); s != nil {
			s.cancel()
		}
	default:
		h.stop(fmt.Errorf("message of kind %d", m.Kind))
	}
}

// do queues what has to be done in turn.
func (h *host) do(job func()) {
	select {
	case h.jobs <- job:
	default:
		h.stop(errors.New("the daemon wants too much at a time, or an operation hangs"))
	}
}

func (h *host) reply(id uint32, err error) {
	m := wire.Message{Kind: wire.Done, ID: id}
	if err != nil {
		m.Code, m.Text = code(err), err.Error()
	}
	h.send(m)
}

// ping answers when the adapter does.
func (h *host) ping(id uint32) {
	if !h.pinging.TryLock() {
		return // the one before has not been answered
	}
	defer h.pinging.Unlock()
	if err := h.hci.Send(&cmd.ReadBDADDR{}, nil); err != nil {
		h.stop(fmt.Errorf("the adapter does not answer: %w", err))
		return
	}
	h.send(wire.Message{Kind: wire.Pong, ID: id})
}

func (h *host) session(id uint32) *session {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sessions[id]
}

// connect begins a connection.
func (h *host) connect(m wire.Message) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &session{host: h, id: m.Conn, peer: m.Peer, ctx: ctx, cancel: cancel, writes: make(chan wire.Message, maxWrites), ended: make(chan struct{})}
	h.mu.Lock()
	taken, full := h.sessions[m.Conn] != nil, len(h.sessions) >= maxSessions
	if !taken && !full {
		h.sessions[m.Conn] = s
	}
	h.mu.Unlock()
	switch {
	case taken:
		h.stop(fmt.Errorf("connection %d is there already", m.Conn))
	case full:
		h.send(wire.Message{Kind: wire.Closed, Conn: m.Conn, Code: wire.Failed, Text: "too many connections"})
	default:
		h.do(s.begin)
	}
}

// settle waits for connections that are being closed: an adapter has one to a
// device, and few at all.
func (h *host) settle() {
	var closing []*session
	h.mu.Lock()
	for _, s := range h.sessions {
		if s.made && s.ctx.Err() != nil {
			closing = append(closing, s)
		}
	}
	h.mu.Unlock()
	for _, s := range closing {
		select {
		case <-s.ended:
		case <-time.After(radioble.CloseLimit):
		}
	}
}
