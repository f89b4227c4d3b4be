package portal

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/door/doortest"
	"gatehouse/commissioner/portal/webpki"
	"gatehouse/fabric"
	"gatehouse/radio/button"
)

// siteTest is a site on loopback, and what it logged.
type siteTest struct {
	*doortest.Home
	t    *testing.T
	door *door.Door
	mode *commissioner.Mode
	url  string
	addr string
	tls  *tls.Config
	log  lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSite(t *testing.T, adjust func(*http.Server)) *siteTest {
	home, d := doortest.New(t)
	s := &siteTest{Home: home, t: t, door: d, mode: &commissioner.Mode{Now: home.Now, Button: true}}
	log := slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p := &Portal{C: commissioner.New(commissioner.Config{Ledger: home, Now: home.Now, Mode: s.mode}), D: d, Log: log, counts: newCounts()}
	mux := http.NewServeMux()
	for _, r := range p.routes() {
		if strings.Contains(r.pattern, "/login") || strings.Contains(r.pattern, "/welcome") || strings.Contains(r.pattern, "/session") || strings.Contains(r.pattern, "/account") || strings.Contains(r.pattern, "/people") {
			mux.HandleFunc(r.pattern, p.allowed(r.act, r.h))
		} else { // what it would do is not to be done here
			mux.HandleFunc(r.pattern, p.allowed(r.act, func(w http.ResponseWriter, r *http.Request) error {
				if _, err := io.Copy(io.Discard, r.Body); err != nil {
					return invalid(err)
				}
				return reply(w, r.Pattern)
			}))
		}
	}
	site := &Site{Door: d, API: mux, Pages: http.NotFoundHandler(), Names: []string{"gatehouse.local"}, Log: log, Named: func(host string) bool { return host == "home.example" }}
	key, err := webpki.KeyFrom(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := webpki.NewAuthority("villa", home.Now(), []string{"gatehouse.local"}, key, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf([]string{"gatehouse.local"}, []netip.Addr{netip.MustParseAddr("127.0.0.1")}, webpki.When{Now: home.Now()}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	s.tls = &tls.Config{RootCAs: roots, Time: home.Now}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.url = l.Addr().String(), "https://"+l.Addr().String()
	server := site.server(t.Context(), func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return leaf, nil })
	if adjust != nil {
		adjust(server)
	}
	go server.ServeTLS(&crowd{Listener: l, at: make(map[netip.Addr]int)}, "", "")
	t.Cleanup(func() { server.Close() })
	return s
}

// client is a browser without cookies of its own.
func (s *siteTest) client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls.Clone(), ForceAttemptHTTP2: true}}
}

// ask makes a request; session is its cookie, if it has one.
func (s *siteTest) ask(c *http.Client, method, path, session string, body any, set ...func(*http.Request)) (int, string, *http.Response) {
	s.t.Helper()
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			s.t.Fatal(err)
		}
		reader = bytes.NewReader(b)
	}
	r, err := http.NewRequest(method, s.url+path, reader)
	if err != nil {
		s.t.Fatal(err)
	}
	if session != "" {
		r.AddCookie(&http.Cookie{Name: door.Cookie, Value: session})
	}
	for _, f := range set {
		f(r)
	}
	resp, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp
}

func cookie(resp *http.Response) *http.Cookie {
	for _, c := range resp.Cookies() {
		if c.Name == door.Cookie {
			return c
		}
	}
	return nil
}

func TestSiteComeAndGo(t *testing.T) {
	s := newSite(t, nil)
	c := s.client()
	i, err := s.door.Invite(t.Context(), "", "Administrator", fabric.Administrator, true)
	if err != nil {
		t.Fatal(err)
	}
	if status, body, _ := s.ask(c, "POST", "/api/v1/welcome/question", "", InvitationRequest{Invitation: i.Secret}); status != 200 || !strings.Contains(body, `"Administrator"`) {
		t.Errorf("%d %s", status, body)
	}
	status, body, resp := s.ask(c, "POST", "/api/v1/welcome", "", InvitationRequest{Invitation: i.Secret, Name: "Anna", Password: doortest.Password})
	first := cookie(resp)
	if status != 200 || first == nil || !first.Secure || !first.HttpOnly || first.SameSite != http.SameSiteStrictMode || first.Path != "/" || first.Domain != "" {
		t.Fatalf("%d %s %+v", status, body, first)
	}
	var session Session
	if err := json.Unmarshal([]byte(body), &session); err != nil || session.Name != "Anna" || session.FreshUntil == nil {
		t.Errorf("%s", body)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%v", resp.Header)
	}
	if status, _, _ := s.ask(c, "GET", "/api/v1/session", "", nil); status != http.StatusUnauthorized {
		t.Errorf("without the cookie: %d", status)
	}
	if status, _, _ := s.ask(c, "DELETE", "/api/v1/session", first.Value, nil); status != 200 {
		t.Errorf("logout: %d", status)
	}
	if status, _, _ := s.ask(c, "GET", "/api/v1/session", first.Value, nil); status != http.StatusUnauthorized {
		t.Errorf("after the logout: %d", status)
	}
	for _, secret := range []string{doortest.Password, first.Value, i.Secret[strings.Index(i.Secret, ".")+1:]} {
		if strings.Contains(s.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
}

// TestFixation: who logs in gets another secret than the browser had, whoever's
// that was, and that one is over.
func TestFixation(t *testing.T) {
	s := newSite(t, nil)
	doortest.Add(t, s.door, "Anna", fabric.Administrator)
	mallory := doortest.Add(t, s.door, "Mallory", fabric.Guest)
	for what, planted := range map[string]string{"nobody's": strings.Repeat("A", 43), "mallory's": mallory.Secret} {
		status, body, resp := s.ask(s.client(), "POST", "/api/v1/login", planted, LoginRequest{Name: "Anna", Password: doortest.Password})
		if got := cookie(resp); status != 200 || got == nil || got.Value == planted {
			t.Fatalf("%s: %d %s", what, status, body)
		}
		if status, body, _ := s.ask(s.client(), "GET", "/api/v1/session", planted, nil); status != http.StatusUnauthorized {
			t.Errorf("%s goes on: %s", what, body)
		}
	}
}

// TestButton: a critical act takes a second factor, and a press of the gateway's
// button is one, of the session alone that waits for it.
func TestButton(t *testing.T) {
	s := newSite(t, nil)
	anna := doortest.Add(t, s.door, "Anna", fabric.Administrator)
	s.Pass(time.Hour)
	other, err := s.door.Login(t.Context(), "Anna", doortest.Password, "", netip.Addr{}, "")
	if err != nil {
		t.Fatal(err)
	}
	c := s.client()
	if status, body, _ := s.ask(c, "POST", "/api/v1/pair", anna.Secret, struct{}{}); status != 403 || !strings.Contains(body, string(door.CodeSecondFactor)) {
		t.Fatalf("without: %d %s", status, body)
	}
	if status, body, _ := s.ask(c, "POST", "/api/v1/session/confirm", anna.Secret, ConfirmRequest{}); status != 400 {
		t.Errorf("with nothing: %d %s", status, body)
	}
	confirmed := make(chan string)
	go func() {
		_, body, _ := s.ask(c, "POST", "/api/v1/session/confirm", anna.Secret, ConfirmRequest{Button: true})
		confirmed <- body
	}()
	var body string
	for body == "" {
		s.mode.Press(button.Pressed)
		select {
		case body = <-confirmed:
		case <-time.After(10 * time.Millisecond):
		}
	}
	if !strings.Contains(body, "fresh_until") {
		t.Errorf("%s", body)
	}
	for secret, want := range map[string]int{anna.Secret: 200, other.Secret: 403} {
		if status, body, _ := s.ask(c, "POST", "/api/v1/pair", secret, struct{}{}); status != want {
			t.Errorf("%d %s", status, body)
		}
	}
	s.Pass(6 * time.Minute)
	if status, _, _ := s.ask(c, "POST", "/api/v1/pair", anna.Secret, struct{}{}); status != 403 {
		t.Errorf("a press counts for ever: %d", status)
	}
}

// TestForgery: what another site makes a browser send is refused, with the
// session's cookie or without.
func TestForgery(t *testing.T) {
	s := newSite(t, nil)
	anna := doortest.Add(t, s.door, "Anna", fabric.Administrator)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for what, c := range map[string]struct {
		set  []func(*http.Request)
		want int
	}{
		"a program":            {nil, 200},
		"our own page":         {[]func(*http.Request){header("Sec-Fetch-Site", "same-origin"), header("Origin", s.url)}, 200},
		"another site":         {[]func(*http.Request){header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://evil.example")}, 403},
		"another name of ours": {[]func(*http.Request){header("Sec-Fetch-Site", "same-site")}, 403},
		"an old browser's":     {[]func(*http.Request){header("Origin", "https://evil.example")}, 403},
		"a sandboxed frame":    {[]func(*http.Request){header("Origin", "null")}, 403},
		"a name bound to us":   {[]func(*http.Request){func(r *http.Request) { r.Host = "evil.example" }}, 421},
		"our own name":         {[]func(*http.Request){func(r *http.Request) { r.Host = "Gatehouse.local." }}, 200},
		"a certificate's name": {[]func(*http.Request){func(r *http.Request) { r.Host = "home.example:8443" }}, 200},
		"a name like ours":     {[]func(*http.Request){func(r *http.Request) { r.Host = "gatehouse.local.evil.example" }}, 421},
	} {
		if status, body, _ := s.ask(s.client(), "POST", "/api/v1/pair", anna.Secret, struct{}{}, c.set...); status != c.want {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
}

// TestTricks: no way of writing a path, or of saying who one is, gets past the
// door.
func TestTricks(t *testing.T) {
	s := newSite(t, nil)
	doortest.Add(t, s.door, "Anna", fabric.Administrator)
	guest := doortest.Add(t, s.door, "Gast", fabric.Guest)
	all := s.client()
	for _, path := range []string{"/api/v1/backup", "//api/v1/backup", "/api//v1/backup", "/api/v1/../v1/backup", "/API/v1/backup", "/api/v1/backup/", "/api/v1/backup%2f", "/api/v1/%62ackup",
		"/x/../api/v1/backup", "/api/v1/devices/../backup", "/api/v1/devices/..%2fbackup", "/metrics/../api/v1/backup", "/api/v1/backup?x=/api/v1/login", "/api/v1/login/../backup", "/api/v1/backup;a", "/api/v1/nodes"} {
		for who, session := range map[string]string{"a stranger": "", "a guest": guest.Secret} {
			for _, set := range []func(*http.Request){func(*http.Request) {},
				func(r *http.Request) {
					r.Header.Set("X-Original-URL", "/api/v1/login")
					r.Header.Set("X-HTTP-Method-Override", "POST")
				},
				func(r *http.Request) {
					r.Header.Set(forwarded, "A1")
					r.Header.Set(forwardedFor, "Anna")
					r.Header.Set("X-Forwarded-For", "127.0.0.1")
				}} {
				if status, body, _ := s.ask(all, "GET", path, session, nil, set); status == 200 && (session == "" || strings.Contains(body, "backup") || strings.Contains(body, "nodes")) {
					t.Errorf("%s of %s: %s", path, who, body)
				}
			}
		}
	}
	if status, _, _ := s.ask(s.client(), "GET", "/api/v1/devices", guest.Secret, nil); status != 200 {
		t.Errorf("what a guest may: %d", status)
	}
	c := s.client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if status, _, resp := s.ask(c, "GET", "//evil.example/..", "", nil); strings.Contains(resp.Header.Get("Location"), "evil.example") && !strings.HasPrefix(resp.Header.Get("Location"), "/evil") {
		t.Errorf("%d: sent on to %s", status, resp.Header.Get("Location"))
	}
}

func TestLargeAndSlow(t *testing.T) {
	s := newSite(t, func(server *http.Server) {
		server.ReadTimeout, server.ReadHeaderTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	anna := doortest.Add(t, s.door, "Anna", fabric.Administrator)
	if status, _, _ := s.ask(s.client(), "POST", "/api/v1/pair", anna.Secret, strings.Repeat("x", maxBody)); status != http.StatusBadRequest {
		t.Errorf("a large body: %d", status)
	}
	if status, body, _ := s.ask(s.client(), "POST", "/api/v1/login", "", LoginRequest{Name: strings.Repeat("x", maxBody)}); status != http.StatusBadRequest {
		t.Errorf("a large body of a stranger: %d %s", status, body)
	}
	one := &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}}
	if status, _, _ := s.ask(one, "GET", "/api/v1/session", "", nil, func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", 2*maxHeader)) }); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("large headers: %d", status)
	}
}

// TestSlow: who sends nothing, or half of something, is not waited for.
func TestSlow(t *testing.T) {
	s := newSite(t, func(server *http.Server) {
		if server.ReadTimeout <= 0 || server.ReadHeaderTimeout <= 0 || server.IdleTimeout <= 0 {
			t.Error("there is no limit")
		}
		server.ReadTimeout, server.ReadHeaderTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	for what, begin := range map[string]string{
		"nothing":     "",
		"half a head": "POST /api/v1/login HTTP/1.1\r\nHost: gatehouse.local\r\n",
		"half a body": "POST /api/v1/login HTTP/1.1\r\nHost: gatehouse.local\r\nContent-Length: 1000\r\n\r\n{",
	} {
		conn, err := tls.Dial("tcp", s.addr, s.tls)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, begin); err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		answer, err := io.ReadAll(conn)
		if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("%s: the server waits for ever", what)
		}
		if strings.Contains(string(answer), "200 OK") {
			t.Errorf("%s: %s", what, answer)
		}
		conn.Close()
	}
}

// TestFlood: thousands of wrong logins are refused, without much memory, while
// somebody who is logged in goes on.
func TestFlood(t *testing.T) {
	s := newSite(t, nil)
	anna := doortest.Add(t, s.door, "Anna", fabric.Administrator)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const each, strangers = 250, 8
	var checked, refused atomic.Int32
	var flood, calm sync.WaitGroup
	for i := range strangers {
		flood.Go(func() {
			c := s.client()
			defer c.CloseIdleConnections()
			for n := range each {
				status, body, _ := s.ask(c, "POST", "/api/v1/login", "", LoginRequest{Name: fmt.Sprintf("Anna%d", n%3*i), Password: "wrong horse battery"})
				switch status {
				case http.StatusForbidden:
					checked.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
				default:
					t.Errorf("%d %s", status, body)
				}
			}
		})
	}
	over := make(chan struct{})
	calm.Go(func() {
		c := s.client()
		for n := 0; ; n++ {
			if status, body, _ := s.ask(c, "GET", "/api/v1/session", anna.Secret, nil); status != 200 {
				t.Errorf("somebody who is logged in: %d %s", status, body)
			}
			select {
			case <-over:
				return
			default:
			}
		}
	})
	flood.Wait()
	close(over)
	calm.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d MiB are kept of it", grown>>20)
	}
	if refused.Load() < each*strangers*9/10 {
		t.Errorf("%d passwords of %d were checked", checked.Load(), each*strangers)
	}
	t.Logf("%d wrong logins: %d checked, %d turned away before", each*strangers, checked.Load(), refused.Load())
}

// TestCrowd: one address does not take all the room.
func TestCrowd(t *testing.T) {
	s := newSite(t, nil)
	var held []net.Conn
	defer func() {
		for _, c := range held {
			c.Close()
		}
	}()
	const over = 10
	for range maxOfAddress + over {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, conn)
	}
	for i, conn := range held[maxOfAddress:] {
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := bufio.NewReader(conn).ReadByte()
		if ne := net.Error(nil); err == nil || errors.As(err, &ne) && ne.Timeout() {
			t.Errorf("connection %d of one address is let in: %v", maxOfAddress+i+1, err)
		}
	}
	for _, c := range held {
		c.Close()
	}
	held = nil
	c := &crowd{at: make(map[netip.Addr]int)}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1")
	if network(a) != network(b) || network(netip.MustParseAddr("::ffff:192.0.2.1")) != netip.MustParseAddr("192.0.2.1") {
		t.Error("a host has a /64 of its own")
	}
	for i := range maxConnections {
		if !c.enter(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})) {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if c.enter(a) {
		t.Error("there is room for ever more")
	}
	c.leave(netip.AddrFrom4([4]byte{10, 0, 0, 0}))
	if !c.enter(a) || len(c.at) != maxConnections {
		t.Error("who leaves makes no room")
	}
}
