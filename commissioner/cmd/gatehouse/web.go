package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"gatehouse/commissioner/portal"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/login"
	"gatehouse/commissioner/portal/webpki"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

// webFlags say where the web page is.
type webFlags struct {
	HTTPS       string `name:"https" help:"Address to serve the web page, the API and Home Assistant on, such as :443; none for none." default:"none" placeholder:"ADDRESS"`
	Certificate string `help:"Certificate of your own for it, with its chain, PEM." placeholder:"FILE" type:"path"`
	Key         string `help:"Its private key, PEM." placeholder:"FILE" type:"path"`
}

const noWeb = "none"

// web is the gateway's web page: served as soon as the home has an authority for
// its certificate, and with another certificate when that changes.
type web struct {
	gateway  *gateway
	door     *door.Door
	listener net.Listener
	name     string // such as gatehouse.local; empty: none
	files    webpki.Files
	log      *slog.Logger

	authority atomic.Pointer[webpki.Authority]
	server    atomic.Pointer[webpki.Server]
}

// hostName is what the home is found under.
func hostName(name string) string {
	if name == noName {
		return ""
	}
	return name + ".local"
}

// listen opens the web page's port, if there is to be one.
func (c *webFlags) listen(name string, log *slog.Logger) (*web, error) {
	if c.HTTPS == noWeb {
		return nil, nil
	}
	l, err := net.Listen("tcp", c.HTTPS)
	if err != nil {
		return nil, fmt.Errorf("listen for browsers: %w", err)
	}
	return &web{listener: l, name: hostName(name), files: webpki.Files{Chain: c.Certificate, Key: c.Key}, log: log}, nil
}

// newDoor is who lets people in. Passkeys are for the home's name at the web
// page's port.
func newDoor(g *gateway, w *web, name string, log *slog.Logger) *door.Door {
	site := login.Site{Domain: hostName(name), Home: g.State().Home.Name}
	if w != nil {
		site.Origins = []string{w.origin(site.Domain)}
	}
	return door.New(door.Config{Ledger: g, Vault: g.Vault, Cost: login.StandardCost, Site: site, Now: clock, Random: rand.Reader, Log: log,
		Authority: func(secret seal.Secret, s *fabric.State) ([]byte, error) {
			key, err := webKey(secret)
			if err != nil {
				return nil, err
			}
			names := []string{"gatehouse.local"}
			if own := hostName(name); own != "" {
				names = []string{own}
			}
			a, err := webpki.NewAuthority(s.Home.Name, time.UnixMilli(s.Home.Birth), names, key, rand.Reader)
			if err != nil {
				return nil, err
			}
			return a.DER(), nil
		}})
}

// webKey is the authority's key, which follows from the people's secret.
func webKey(secret seal.Secret) (webpki.Key, error) {
	b := secret.Reveal()
	defer clear(b)
	return webpki.KeyFrom(b)
}

// origin is the address of a name or number at the web page's port.
func (w *web) origin(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
		host = "[" + host + "]"
	}
	if port := w.port(); port != 443 {
		host += ":" + strconv.Itoa(port)
	}
	return "https://" + host
}

func (w *web) port() int { return w.listener.Addr().(*net.TCPAddr).Port }

// Addresses are where the page is: by name first, since a number may change.
func (w *web) Addresses() (all []string) {
	if w.name != "" && !w.listener.Addr().(*net.TCPAddr).IP.IsLoopback() {
		all = append(all, w.origin(w.name))
	}
	for _, a := range w.numbers() {
		all = append(all, w.origin(a.String()))
	}
	return all
}

// numbers are the host's addresses that the page is at.
func (w *web) numbers() (all []netip.Addr) {
	bound := w.listener.Addr().(*net.TCPAddr)
	if !bound.IP.IsUnspecified() {
		return []netip.Addr{bound.AddrPort().Addr().Unmap().WithZone("")}
	}
	interfaces, _ := net.InterfaceAddrs() // none: by name alone
	for _, a := range interfaces {
		if p, ok := a.(*net.IPNet); ok && (p.IP.IsGlobalUnicast() || p.IP.IsPrivate()) {
			addr, _ := netip.AddrFromSlice(p.IP)
			all = append(all, addr.Unmap())
		}
	}
	// People read the short ones.
	slices.SortStableFunc(all, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return all
}

// Fingerprint is of the authority's certificate.
func (w *web) Fingerprint() string {
	if a := w.authority.Load(); a != nil {
		return a.Fingerprint().String()
	}
	return ""
}

// webAgain is between attempts to get the page's certificate.
const webAgain = 2 * time.Second

// serve serves the page until ctx ends.
func (w *web) serve(ctx context.Context, api, assistant, pages http.Handler) error {
	site := &portal.Site{Door: w.door, API: api, Assistant: assistant, Pages: pages, Names: []string{w.name}, Log: w.log, Named: func(host string) bool {
		s := w.server.Load()
		return s != nil && s.Named(host)
	}}
	changed := w.gateway.Watch(ctx)
	go func() {
		for ctx.Err() == nil {
			again := (<-chan time.Time)(nil)
			if err := w.certify(ctx); err != nil && ctx.Err() == nil {
				w.log.Info("the web page has no certificate yet", "err", err)
				again = time.After(webAgain)
			}
			select {
			case <-changed:
			case <-again:
			case <-ctx.Done():
			}
		}
	}()
	return site.Serve(ctx, w.listener, func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if s := w.server.Load(); s != nil {
			return s.GetCertificate(hello)
		}
		return nil, errors.New("the home has no authority for its web page yet")
	}, shutdownLimit)
}

// certify has the page's certificate be one of the authority that the home has
// now.
func (w *web) certify(ctx context.Context) error {
	if err := w.door.Begin(ctx); err != nil {
		return err
	}
	s := w.gateway.State()
	if s.People == nil {
		return errors.New("the list of people has not come to this gateway yet")
	}
	if a := w.authority.Load(); a != nil && string(a.DER()) == string(s.People.Authority) {
		return nil
	}
	secret, err := w.door.Secret(ctx)
	if err != nil {
		return err
	}
	key, err := webKey(secret)
	if err != nil {
		return err
	}
	a, err := webpki.OpenAuthority(s.People.Authority, key)
	if err != nil {
		return err
	}
	names := []string{}
	if w.name != "" && a.Covers(w.name) {
		names = append(names, w.name)
	}
	server, err := webpki.NewServer(webpki.Config{Authority: a, Names: names, Addresses: w.numbers, Files: w.files, Now: clock, Floor: time.UnixMilli(s.Time), Random: rand.Reader})
	if err != nil {
		return err
	}
	if err := server.Trouble(); err != nil {
		w.log.Warn("the certificate of your own is not served", "err", err)
	}
	w.server.Store(server)
	w.authority.Store(a)
	return nil
}
