// Package proxy makes radios of other people's: a program that has Bluetooth,
// such as Home Assistant, connects to a WebSocket of ours and does what we ask
// it to (the BLE proxy protocol of Open Home Foundation's Matter Server,
// version 1). Each program that is connected is a Radio.
//
// It promises that no proxy crashes or fills the gateway, whatever it sends,
// and that one which goes away, hangs or talks nonsense fails at once
// everything that was under way through it. It authenticates nobody: whoever
// serves a Server does. A proxy sees all that passes and may lie about what it
// hears; what it carries is Matter's and protects itself.
package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Specification constants: the protocol.
const (
	version = 1

	helloLimit   = 10 * time.Second // until a client has said hello
	commandLimit = 60 * time.Second // until a command is answered

	closeNoHello  = websocket.StatusCode(4001)
	closeNotHello = websocket.StatusCode(4002)
	closeVersion  = websocket.StatusCode(4003)
)

// Limits of ours.
const (
	maxRadios   = 16       // connected at a time
	maxFrame    = 64 << 10 // bytes of a message
	maxValue    = 512      // bytes that are indicated at once, as ATT has it
	maxAddress  = 64       // bytes of a device's address: a MAC, or a UUID on a Mac
	maxText     = 200      // bytes that are kept of what a proxy says about a failure
	maxConns    = 8        // connections at a time through one radio
	inQueue     = 256      // indications of a connection that are not read yet; BTP has at most 255 under way
	scanQueue   = 64       // advertisements a scan's callback may be behind; more are lost
	adRate      = 100      // advertisements a second that are read; more are lost
	frameRate   = 1000     // messages a second; more wait
	pingEvery   = 20 * time.Second
	pingLimit   = 45 * time.Second // a client does not answer while it connects
	writeLimit  = 10 * time.Second // until a message is on its way
	connectTime = 15 * time.Second // that a proxy is given to connect, at the most
)

// ErrGone says that the proxy has gone, or was left because it hung or broke
// the protocol. It may come back.
var ErrGone = errors.New("the Bluetooth proxy has gone")

// Config of a Server.
type Config struct {
	// Joined is told of each proxy once it can be used; what it returns is
	// called when the proxy has gone. It must not block.
	Joined func(*Radio) (left func())
	Now    func() time.Time
	Log    *slog.Logger
}

// Server takes proxies in. Its methods may be called from several goroutines.
type Server struct {
	cfg Config

	mu     sync.Mutex
	closed bool
	seats  int
	radios []*Radio
	number int
}

// New makes a Server. All of cfg is required.
func New(cfg Config) *Server { return &Server{cfg: cfg} }

// ServeHTTP implements http.Handler: it makes a WebSocket of the request and
// serves it until the proxy has gone. A browser's page of another origin is
// refused.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.sit() {
		http.Error(w, "no more Bluetooth proxies can be connected", http.StatusServiceUnavailable)
		return
	}
	defer s.rise()
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has answered
	}
	defer ws.CloseNow()
	ws.SetReadLimit(maxFrame)
	if err := greet(r.Context(), ws); err != nil {
		s.cfg.Log.Warn("a Bluetooth proxy is not taken", "from", r.RemoteAddr, "err", err)
		return
	}
	radio := s.join(ws, r.RemoteAddr)
	if radio == nil {
		return
	}
	left := s.cfg.Joined(radio)
	s.cfg.Log.Info("a Bluetooth proxy has joined", "proxy", radio.name)
	radio.run()
	s.leave(radio)
	left()
	s.cfg.Log.Info("a Bluetooth proxy has left", "proxy", radio.name, "why", radio.reason())
}

// greet exchanges hellos.
func greet(ctx context.Context, ws *websocket.Conn) error {
	// A read that is given up closes the connection, with no code: so the
	// clock is beside it.
	late := time.AfterFunc(helloLimit, func() { ws.Close(closeNoHello, "no hello") })
	kind, data, err := ws.Read(ctx)
	late.Stop()
	if err != nil {
		return fmt.Errorf("it says no hello: %w", err)
	}
	var hello struct {
		Type    string
		Version json.Number
	}
	if err := json.Unmarshal(data, &hello); kind != websocket.MessageText || err != nil || hello.Type != "hello" {
		ws.Close(closeNotHello, "expected hello")
		return errors.New("what it says first is not a hello")
	}
	answer := map[string]any{"type": "hello_response", "version": version}
	understood := hello.Version == json.Number(fmt.Sprint(version))
	if !understood {
		answer["error"], answer["message"] = "unsupported_version", fmt.Sprintf("version %d is spoken here", version)
	}
	data, _ = json.Marshal(answer)
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	if err := ws.Write(ctx, websocket.MessageText, data); err != nil {
		return fmt.Errorf("answer its hello: %w", err)
	}
	if !understood {
		ws.Close(closeVersion, "unsupported version")
		return fmt.Errorf("it speaks version %.20q of the protocol", hello.Version)
	}
	return nil
}

// sit takes a seat for a proxy, connected or about to be.
func (s *Server) sit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.seats == maxRadios {
		return false
	}
	s.seats++
	return true
}

func (s *Server) rise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seats--
}

func (s *Server) join(ws *websocket.Conn, from string) *Radio {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.number++
	name := fmt.Sprintf("proxy %d", s.number)
	if host, _, err := net.SplitHostPort(from); err == nil { // over a unix socket there is none
		name += " at " + host
	}
	r := newRadio(ws, name, s.cfg)
	s.radios = append(s.radios, r)
	return r
}

func (s *Server) leave(r *Radio) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.radios = slices.DeleteFunc(s.radios, func(other *Radio) bool { return other == r })
}

// Radios are the proxies that are connected, in the order they came in.
func (s *Server) Radios() []*Radio {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.radios)
}

// Close sends every proxy away and takes no more.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	radios := slices.Clone(s.radios)
	s.mu.Unlock()
	for _, r := range radios {
		r.end(net.ErrClosed)
	}
	return nil
}
