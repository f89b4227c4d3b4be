package webpki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/commissioner"
)

// Limits of ours.
const (
	// lookEvery is how often addresses and files are looked at, when somebody
	// connects.
	lookEvery = 10 * time.Second
	// renewAt is which part of a certificate's life is left when it is renewed.
	renewAt = 3
)

// Config is what a Server serves.
type Config struct {
	Authority *Authority
	Names     []string            // the first is the usual one
	Addresses func() []netip.Addr // of this host; those that the authority is not for are left out
	Files     Files               // of the user's own certificate, or none
	Now       func() time.Time
	Floor     time.Time // see When
	Random    io.Reader
}

// Server has a certificate at hand for a tls.Config: one of the home's authority,
// signed anew before it expires and when the host's names or addresses change,
// or the user's own. It is safe for concurrent use.
type Server struct {
	c Config

	mu      sync.Mutex
	looked  time.Time
	leaf    *tls.Certificate
	covered []netip.Addr // by leaf
	own     *tls.Certificate
	seen    stamp
	trouble error // with the user's own certificate
}

// NewServer makes a Server, which has a certificate of the authority's in any
// case. What is wrong with the user's own says Trouble.
func NewServer(c Config) (*Server, error) {
	s := &Server{c: c}
	now := c.Now()
	if err := s.renew(now); err != nil {
		return nil, err
	}
	s.looked = now
	if c.Files != (Files{}) {
		s.reload(now)
	}
	return s, nil
}

// Trouble is a commissioner.Failure if the user's own certificate is not, or is
// no longer, what is served; or if its files were changed to what cannot be.
func (s *Server) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own != nil && !s.c.Now().Before(s.own.Leaf.NotAfter) {
		return refuse(CodeExpired, "it was good until %s", s.own.Leaf.NotAfter.Format(time.DateOnly))
	}
	return s.trouble
}

// Named says whether the user's own certificate, if it is served, is for a name.
func (s *Server) Named(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own != nil && s.own.Leaf.VerifyHostname(host) == nil
}

// GetCertificate is for a tls.Config. It needs no server name: phones that open
// an address send none. The user's own certificate is preferred where it is for
// the name or the address that was asked for, or the authority's is not either.
func (s *Server) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.c.Now()
	if passed := now.Sub(s.looked); passed >= lookEvery || passed < 0 {
		s.looked = now
		s.renew(now) // an error leaves the old one
		if s.c.Files != (Files{}) {
			s.reload(now)
		}
	}
	if s.own == nil || !now.Before(s.own.Leaf.NotAfter) {
		return s.leaf, nil
	}
	if host := asked(hello); s.own.Leaf.VerifyHostname(host) != nil && s.leaf.Leaf.VerifyHostname(host) == nil {
		return s.leaf, nil
	}
	return s.own, nil
}

// asked is the name or the address that a browser opened.
func asked(hello *tls.ClientHelloInfo) string {
	if hello.ServerName != "" || hello.Conn == nil {
		return strings.ToLower(hello.ServerName)
	}
	if at, ok := hello.Conn.LocalAddr().(*net.TCPAddr); ok {
		return at.AddrPort().Addr().Unmap().WithZone("").String()
	}
	return ""
}

// renew signs a certificate if the one at hand is not good for now, soon will not
// be, or is for other addresses.
func (s *Server) renew(now time.Time) error {
	when := When{now, s.c.Floor}
	at, _ := s.c.Authority.sane(when)
	addresses := s.addresses()
	if s.leaf != nil && slices.Equal(addresses, s.covered) && fresh(s.leaf.Leaf, at) {
		return nil
	}
	leaf, err := s.c.Authority.Leaf(s.c.Names, addresses, when, s.c.Random)
	if err != nil {
		return fmt.Errorf("renew the web certificate: %w", err)
	}
	s.leaf, s.covered = leaf, addresses
	return nil
}

func fresh(c *x509.Certificate, at time.Time) bool {
	return !at.Before(c.NotBefore) && at.Before(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore)/renewAt))
}

// addresses are the host's that the authority may sign for, each once and in
// order.
func (s *Server) addresses() (all []netip.Addr) {
	for _, a := range s.c.Addresses() {
		if local(a) {
			all = append(all, a.Unmap().WithZone(""))
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	all = slices.Compact(all)
	return all[:min(len(all), maxAddresses)]
}

// reload looks at the user's own certificate. What cannot be used leaves the one
// before in place.
func (s *Server) reload(now time.Time) {
	at := s.c.Files.stamp()
	var f *commissioner.Failure
	expired := errors.As(s.trouble, &f) && f.Code == CodeExpired // by a clock that may be set right
	if at == s.seen && (s.own != nil || s.trouble != nil) && !expired {
		return
	}
	own, err := s.c.Files.read(now)
	s.seen, s.trouble = at, err
	if err == nil {
		s.own = own
	}
}
