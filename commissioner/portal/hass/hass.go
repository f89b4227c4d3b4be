// Package hass serves the WebSocket API of the Open Home Foundation's Matter
// Server, schema 13, to Home Assistant and whoever else speaks it. It has no
// specification: it does what matterjs-server 1.4 does where clients can tell.
//
// It promises the order that clients depend on: nothing goes out between the
// server's greeting and the answer to start_listening but answers to what was
// asked before; nothing is said of a node that the client does not know; a
// node that was paired is announced before the pairing is answered. A client
// that is slow is told the latest of everything that has a state and loses the
// oldest of what happened; one that takes nothing for five minutes is closed;
// none of them holds up another, or the home.
//
// It authenticates nobody: each connection comes with a Scope, and every
// command has one that it takes. No credential that it is given is told to
// anybody again, nor logged.
package hass

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"gatehouse/fabric/cert"
)

// What clients are told they may use.
const (
	schemaVersion    = 13
	minSchemaVersion = 11
)

// Config is what a Server is made of. What may be nil is then answered with
// an error that says so.
type Config struct {
	Home     Home
	Pairing  Pairing  // may be nil
	Networks Networks // may be nil
	Updates  Updates  // may be nil
	Mesh     Mesh     // may be nil
	Cameras  Cameras  // may be nil
	Labels   Labels   // may be nil
	Sleepers Sleepers // may be nil
	// Vendors names vendors, all that are known where no ids are given; may be
	// nil.
	Vendors func(ids []uint16) map[uint16]string
	Version string         // of this program
	Level   *slog.LevelVar // of its log; may be nil
	Now     func() time.Time
	Random  io.Reader
	Log     *slog.Logger
}

// Server is one home's API. Its methods may be called from several goroutines.
type Server struct {
	Config
	history history
	tests   testNodes
	uploads uploads
	windows windows
	stops   []func()

	mu      sync.Mutex
	conns   map[*conn]bool
	closing bool
	running sync.WaitGroup
	label   labelOwner
}

// New is a Server. Close it.
func New(cfg Config) *Server {
	s := &Server{Config: cfg, conns: make(map[*conn]bool)}
	s.stops = append(s.stops, cfg.Home.Watch(s.changed))
	if cfg.Cameras != nil {
		s.stops = append(s.stops, cfg.Cameras.Watch(s.signalled))
	}
	return s
}

// Close tells every client that the server shuts down, and waits until they
// are gone, or ctx ends.
func (s *Server) Close(ctx context.Context) {
	for _, stop := range s.stops {
		stop()
	}
	s.mu.Lock()
	s.closing = true
	for c := range s.conns {
		c.out.shut()
	}
	s.mu.Unlock()
	gone := make(chan struct{})
	go func() {
		s.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
		s.mu.Lock()
		for c := range s.conns {
			c.ws.CloseNow()
		}
		s.mu.Unlock()
		<-gone
	}
}

// Peer is who is at the other end of a connection.
type Peer struct {
	Name  string // for the log
	Scope Scope
	Left  <-chan struct{} // closed when the peer may be here no longer; nil: never
}

// Handler serves /ws, /health, /info and /ota-upload/. who authenticates a
// request, all but /health; false answers it with 401.
func (s *Server) Handler(who func(*http.Request) (Peer, bool)) http.Handler {
	mux := http.NewServeMux()
	known := func(serve func(http.ResponseWriter, *http.Request, Peer)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			peer, ok := who(r)
			if !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="gatehouse", charset="UTF-8"`)
				http.Error(w, "this takes a name and a token", http.StatusUnauthorized)
				return
			}
			serve(w, r, peer)
		}
	}
	mux.HandleFunc("/ws", known(s.serve))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { reply(w, http.StatusOK, s.Health()) })
	mux.HandleFunc("GET /info", known(func(w http.ResponseWriter, _ *http.Request, _ Peer) { reply(w, http.StatusOK, s.Info()) }))
	mux.HandleFunc("/ota-upload/", known(s.upload))
	return mux
}

// reply answers a request over plain HTTP.
func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // to somebody who may have gone
}

// host is the host of a request's address; that of this machine, however it is
// written, is one.
func host(r *http.Request) string {
	h, _, err := net.SplitHostPort(r.RemoteAddr)
	if ip := net.ParseIP(h); err != nil || ip != nil && ip.IsLoopback() {
		return "loopback"
	}
	return h
}

// Health is the answer to GET /health.
type Health struct {
	Version string `json:"version"`
	Nodes   int    `json:"node_count"`
}

// Health is what a watchman asks.
func (s *Server) Health() Health {
	return Health{s.Version, s.Home.Count() + s.tests.count()}
}

// Info greets a client, and is the answer to GET /info.
type Info struct {
	FabricID         cert.FabricID           `json:"fabric_id"`
	CompressedFabric cert.CompressedFabricID `json:"compressed_fabric_id"`
	FabricIndex      uint8                   `json:"fabric_index"`
	Schema           int                     `json:"schema_version"`
	MinSchema        int                     `json:"min_supported_schema_version"`
	SDK              string                  `json:"sdk_version"`
	WiFi             bool                    `json:"wifi_credentials_set"`
	Thread           bool                    `json:"thread_credentials_set"`
	Bluetooth        bool                    `json:"bluetooth_enabled"`
	BluetoothProxy   bool                    `json:"ble_proxy_enabled"`
	SSID             string                  `json:"wifi_ssid,omitempty"`
	Controller       cert.NodeID             `json:"controller_node_id"`
}

// Info is what the server says of itself.
func (s *Server) Info() Info {
	id := s.Home.Identity()
	info := Info{FabricID: id.Fabric, CompressedFabric: id.Compressed, FabricIndex: id.Index, Schema: schemaVersion, MinSchema: minSchemaVersion,
		SDK: "gatehouse/" + s.Version, Bluetooth: id.Bluetooth, BluetoothProxy: id.BluetoothProxy, Controller: id.Node}
	if s.Networks != nil {
		for _, n := range s.Networks.List() {
			if n.ID == defaultNetwork {
				info.WiFi = info.WiFi || !n.Thread
				info.Thread = info.Thread || n.Thread
				if !n.Thread {
					info.SSID = n.SSID
				}
			}
		}
	}
	return info
}
