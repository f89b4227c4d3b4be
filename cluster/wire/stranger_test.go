package wire

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// knock opens a connection to g and says something.
func knock(t *testing.T, g *gateway, say string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", g.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	io.WriteString(c, say)
	return c
}

// closes waits for the other end to close, and is how long that took.
func closes(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	c.SetDeadline(start.Add(3 * handshakeTimeout))
	if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
		t.Error("the connection stays open")
	}
	return time.Since(start)
}

// TestStrangers has clients that speak TLS, but not ours.
func TestStrangers(t *testing.T) {
	h := newHome(t, 1)
	g := h.gateway(h.identity(0xA))
	g.echo()
	ours, err := h.identity(0xB).tls([]string{raftProtocol}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*tls.Config)
		want   string
	}{
		"no certificate": {func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return new(tls.Certificate), nil }
		}, "didn't provide a certificate"},
		"another's certificate": {func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				b, err := h.identity(0xB).certificate()
				b.PrivateKey = h.identity(0xC).Key
				return b, err
			}
		}, "invalid signature"},
		"three certificates": {func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				b, err := h.identity(0xB).certificate()
				b.Certificate = append(b.Certificate, b.Certificate[1])
				return b, err
			}
		}, "it shows 3 certificates"},
		"TLS 1.2":          {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, "unsupported versions"},
		"no protocol":      {func(c *tls.Config) { c.NextProtos = nil }, "speaks neither of"},
		"another protocol": {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, "unsupported application protocols"},
		"long protocols": {func(c *tls.Config) {
			c.NextProtos = []string{strings.Repeat("x", 255), strings.Repeat("y", 255)}
		}, "unsupported application protocols"},
	} {
		t.Run(name, func(t *testing.T) {
			config := ours.Clone()
			tt.change(config)
			c, err := tls.Dial("tcp", g.addr.String(), config)
			if err == nil { // it learns only now
				_, err = io.ReadFull(c, make([]byte, 1))
				c.Close()
			}
			if err == nil {
				t.Error("let in")
			}
			if name != "long protocols" {
				g.log.eventually(t, tt.want)
			}
			g.refusals.renew()
		})
	}
	for _, line := range strings.Split(g.log.String(), "\n") {
		if len(line) > 2*maxReason {
			t.Errorf("a line of %d octets", len(line))
		}
	}
}

// TestListenersThatAreNotOurs has somebody else at a gateway's address.
func TestListenersThatAreNotOurs(t *testing.T) {
	h := newHome(t, 1)
	g := h.gateway(h.identity(0xA))
	ours, err := h.identity(0xB).tls([]string{raftProtocol}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(*tls.Config)
		say    string
		want   string
	}{
		"TLS 1.2":     {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }, "", "protocol version"},
		"no protocol": {func(c *tls.Config) { c.NextProtos = nil }, "", "speaks neither of"},
		"rude":        {func(*tls.Config) {}, "hello", "does not greet"},
		"hangs up":    {func(*tls.Config) {}, "", "does not let this gateway in: EOF"},
		"hands on": {func(c *tls.Config) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				b, err := h.identity(0xB).certificate()
				b.PrivateKey = h.identity(0xC).Key
				return b, err
			}
		}, "", "invalid signature"},
	} {
		t.Run(name, func(t *testing.T) {
			config := ours.Clone()
			tt.change(config)
			l := silentListener(t)
			go func() {
				for {
					raw, err := l.Accept()
					if err != nil {
						return
					}
					c := tls.Server(raw, config)
					io.WriteString(c, tt.say)
					c.Handshake()
					c.Close()
				}
			}()
			h.move(0xB, addrOf(l))
			wants(t, dialRaft(g, 0xB), tt.want)
		})
	}
}

// TestGarbage has strangers that speak no TLS, or hardly any.
func TestGarbage(t *testing.T) {
	t.Parallel() // it mostly waits
	h := newHome(t, 1)
	g := h.gateway(h.identity(0xA))
	if took := closes(t, knock(t, g, "GET / HTTP/1.1\r\nHost: gateway\r\n\r\n")); took > time.Second {
		t.Errorf("garbage was listened to for %v", took)
	}
	slow := knock(t, g, "\x16\x03")
	go func() { // the rest of a record's header, and never the record
		for _, b := range []string{"\x01", "\x01", "\x00", "\x01", "\x00", "\x00"} {
			time.Sleep(handshakeTimeout / 5)
			if _, err := io.WriteString(slow, b); err != nil {
				return
			}
		}
	}()
	if took := closes(t, slow); took < handshakeTimeout*9/10 || took > handshakeTimeout*4 {
		t.Errorf("a slow one was listened to for %v", took)
	}
	g.log.eventually(t, errSlow.Error())
}

// TestCrowd has more strangers than may be. A gateway comes through, and the
// strangers are never more than they may be.
func TestCrowd(t *testing.T) {
	t.Parallel() // it mostly waits
	h := newHome(t, 1)
	g, b := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB))
	g.echo()
	var crowd []net.Conn
	for range 2 * maxStrangers {
		crowd = append(crowd, knock(t, g, "\x16"))
	}
	count := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.strangers)
	}
	until(t, "the crowd", func() bool { return count() == maxStrangers })
	for _, c := range crowd[:maxStrangers/2] {
		if took := closes(t, c); took > handshakeTimeout/2 {
			t.Errorf("the oldest was closed after %v", took)
		}
	}
	if err := dialRaft(b, g.node); err != nil {
		t.Error(err)
	}
	if n := count(); n > maxStrangers {
		t.Errorf("%d strangers", n)
	}
	g.log.eventually(t, errNewer.Error())
	if n := strings.Count(g.log.String(), "\n"); n > refusalLines {
		t.Errorf("%d lines about a crowd", n)
	}
	until(t, "the crowd to go", func() bool { return count() == 0 })
}

// TestGreedyPeer has a gateway open more connections than it may.
func TestGreedyPeer(t *testing.T) {
	h := newHome(t, 1)
	g, b, c := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB)), h.gateway(h.identity(0xC))
	g.echo()
	var held []net.Conn
	for range maxPerPeer {
		c, err := b.dial(t.Context(), g.node, raftProtocol, time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		held = append(held, c)
	}
	wants(t, dialRaft(b, g.node), "does not let this gateway in")
	g.log.eventually(t, errCrowded.Error())
	if err := dialRaft(c, g.node); err != nil {
		t.Errorf("another gateway: %v", err)
	}
	held[0].Close()
	until(t, "room", func() bool { return dialRaft(b, g.node) == nil })
}

// TestNobodyTakesIt has a peer whose protocol nobody has begun to accept.
func TestNobodyTakesIt(t *testing.T) {
	t.Parallel() // it mostly waits
	h := newHome(t, 1)
	g, b := h.gateway(h.identity(0xA)), h.gateway(h.identity(0xB))
	c, err := b.dial(context.Background(), g.node, httpProtocol, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if took := closes(t, c); took > handshakeTimeout*4 {
		t.Errorf("it was kept waiting for %v", took)
	}
	g.log.eventually(t, errShut.Error())
}

// TestRefusals counts the lines of a day of knocking.
func TestRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		r := refusals{log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 24 * 60 * 60 {
			r.say("refused a peer", &net.TCPAddr{}, errSlow)
			time.Sleep(time.Second)
		}
		r.say("refused a peer", &net.TCPAddr{}, errSlow)
		said := log.String()
		r.close()
		r.say("refused a peer", &net.TCPAddr{}, errSlow)
		time.Sleep(2 * refusalWindow)
		if log.String() != said {
			t.Error("it goes on after it was closed")
		}
		if n := strings.Count(log.String(), "\n"); n > (refusalLines+1)*24*60+1 {
			t.Errorf("%d lines", n)
		}
		if !strings.Contains(log.String(), "times=54") {
			t.Error("it is not said how many were left out")
		}
	})
}
