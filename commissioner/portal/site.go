package portal

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/commissioner/portal/door"
)

// Limits of ours on what strangers may take up.
const (
	maxHeader      = 16 << 10 // octets
	headerPatience = 5 * time.Second
	bodyPatience   = time.Minute // for a whole request: a photo over a weak radio link
	idlePatience   = 2 * time.Minute
	maxConnections = 512 // all together
	maxOfAddress   = 64  // connections from one address: a browser keeps up to six, a house's proxy more
)

// Site serves the API and the web page to the network, over HTTPS. It lets
// nobody do anything before it knows who they are, refuses what another site
// makes a browser send, and answers only to the gateway's own names: a name of
// somebody else's that points here is none of ours.
type Site struct {
	Door *door.Door
	API  http.Handler
	// Assistant is Home Assistant's API.
	Assistant http.Handler
	Pages     http.Handler
	Names     []string // such as gatehouse.local
	// Named says whether a certificate of the user's own is for a name; nil: there
	// is none.
	Named func(host string) bool
	Log   *slog.Logger
}

// Handler is what the site answers with.
func (s *Site) Handler() http.Handler {
	var origin http.CrossOriginProtection
	origin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "this was sent by another site", http.StatusForbidden)
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		if !s.named(r.Host) {
			http.Error(w, "this gateway has another name", http.StatusMisdirectedRequest)
			return
		}
		h := s.Pages
		switch {
		case isAPI(r.URL.Path):
			h = s.API
			w.Header().Set("Cache-Control", "no-store")
		case isAssistant(r.URL.Path):
			h = s.Assistant
			w.Header().Set("Cache-Control", "no-store")
		}
		r = r.WithContext(door.With(r.Context(), s.Door.Visitor(r)))
		origin.Handler(h).ServeHTTP(w, r)
	})
}

// policy lets a page load what is the gateway's own, and no script or style that
// stands in the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func secure(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(self), publickey-credentials-create=(self), publickey-credentials-get=(self), geolocation=(), microphone=()")
}

// named reports whether a request's host is this gateway by one of its names, or
// by number: a name that somebody else makes point here is not.
func (s *Site) named(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return true
	}
	return slices.Contains(s.Names, host) || s.Named != nil && s.Named(host)
}

// Serve serves the site on l until ctx ends, and then lets what is in progress
// end for patience.
func (s *Site) Serve(ctx context.Context, l net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), patience time.Duration) error {
	server := s.server(ctx, certificate)
	ended := make(chan error, 1)
	go func() { ended <- server.ServeTLS(&crowd{Listener: l, at: make(map[netip.Addr]int)}, "", "") }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	return server.Shutdown(limit)
}

func (s *Site) server(ctx context.Context, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *http.Server {
	return &http.Server{Handler: s.Handler(), BaseContext: func(net.Listener) context.Context { return ctx },
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, NextProtos: []string{"h2", "http/1.1"}},
		ReadHeaderTimeout: headerPatience, ReadTimeout: bodyPatience, IdleTimeout: idlePatience, MaxHeaderBytes: maxHeader,
		// Handshakes that fail are strangers', who could fill the log.
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug)}
}

// crowd is a listener that lets in so many at a time, and fewer from one address,
// so that nobody leaves no room for the others.
type crowd struct {
	net.Listener
	mu  sync.Mutex
	at  map[netip.Addr]int
	all int
}

func (c *crowd) Accept() (net.Conn, error) {
	for {
		conn, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
		if who := network(addr.Addr()); c.enter(who) {
			return &guest{Conn: conn, leave: sync.OnceFunc(func() { c.leave(who) })}, nil
		}
		conn.Close()
	}
}

// network is what counts as one address: of IPv6 a host has a /64 at least.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

func (c *crowd) enter(who netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all >= maxConnections || c.at[who] >= maxOfAddress {
		return false
	}
	c.all++
	c.at[who]++
	return true
}

func (c *crowd) leave(who netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all--
	if c.at[who]--; c.at[who] == 0 {
		delete(c.at, who)
	}
}

type guest struct {
	net.Conn
	leave func()
}

func (g *guest) Close() error {
	defer g.leave()
	return g.Conn.Close()
}
