package hass_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/portal/hass/hasstest"
)

// pipes is a listener in memory: a connection holds nothing on its way.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, errors.New("closed")
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inMemory runs a test with a client over a pipe, in time that nobody waits
// for. The client reads in the manner m.
func inMemory(t *testing.T, m *manner, test func(context.Context, *hasstest.Home, *websocket.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		home := hasstest.New(time.Now)
		cfg := home.Config()
		cfg.Random, cfg.Log = new(zeros), slog.New(slog.DiscardHandler)
		server := hass.New(cfg)
		l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		web := &http.Server{Handler: server.Handler(func(*http.Request) (hass.Peer, bool) { return hass.Peer{Name: "x", Scope: hass.Administer}, true })}
		go web.Serve(l)
		dial := func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			l.conns <- there
			return trickle{here, m}, nil
		}
		ws, _, err := websocket.Dial(ctx, "ws://gateway/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: &http.Transport{DialContext: dial}}})
		if err != nil {
			t.Fatal(err)
		}
		ws.SetReadLimit(-1)
		if _, _, err := ws.Read(ctx); err != nil {
			t.Fatal(err)
		}
		test(ctx, home, ws)
		ws.CloseNow()
		server.Close(ctx)
		web.Close()
	})
}

// listen is start_listening, answered.
func listen(t *testing.T, ctx context.Context, ws *websocket.Conn) {
	t.Helper()
	ws.Write(ctx, websocket.MessageText, []byte(`{"message_id":"a","command":"start_listening"}`))
	if _, _, err := ws.Read(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestStall has a client that takes a frame so slowly that it is closed, beside
// a home that goes on.
func TestStall(t *testing.T) {
	var m manner
	inMemory(t, &m, func(ctx context.Context, home *hasstest.Home, ws *websocket.Conn) {
		n := home.Add()
		listen(t, ctx, ws)
		m.slow.Store(true)
		began := time.Now()
		for i := range 10_000 {
			home.Set(n, hass.Path{Endpoint: 1, Cluster: 6}, i%2 == 0)
			home.SetAvailable(n, true)
		}
		if passed := time.Since(began); passed != 0 {
			t.Errorf("the home waited %v for a client", passed)
		}
		for {
			if _, _, err := ws.Read(ctx); err != nil {
				break
			}
		}
		if passed := time.Since(began); passed < 5*time.Minute || passed > 11*time.Minute {
			t.Errorf("it was closed after %v", passed)
		}
	})
}

// TestSilence has a client that does not even answer a ping.
func TestSilence(t *testing.T) {
	inMemory(t, new(manner), func(ctx context.Context, home *hasstest.Home, ws *websocket.Conn) {
		began := time.Now()
		time.Sleep(55*time.Second + 29*time.Second)
		synctest.Wait()
		home.Add() // it is there, as far as anybody knows
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if _, _, err := ws.Read(ctx); err == nil {
			t.Errorf("%v after it went a client is served", time.Since(began))
		}
	})
}

// TestDeaf has a client whose machine takes everything, and that answers
// nothing.
func TestDeaf(t *testing.T) {
	var m manner
	inMemory(t, &m, func(ctx context.Context, _ *hasstest.Home, ws *websocket.Conn) {
		m.deaf.Store(true)
		began := time.Now()
		if _, _, err := ws.Read(ctx); err == nil {
			t.Error("something is read")
		}
		if passed := time.Since(began); passed < 84*time.Second || passed > 90*time.Second {
			t.Errorf("it was closed after %v", passed)
		}
	})
}

// TestHeartbeat has a client to which nothing happens.
func TestHeartbeat(t *testing.T) {
	inMemory(t, new(manner), func(ctx context.Context, home *hasstest.Home, ws *websocket.Conn) {
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		if _, _, err := ws.Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after a quiet hour: %v", err)
		}
	})
}

// octetsPerSecond is how slow a slow client is.
const octetsPerSecond = 4

// manner is how a client reads.
type manner struct{ slow, deaf atomic.Bool }

// trickle is a connection that reads in a manner.
type trickle struct {
	net.Conn
	m *manner
}

func (c trickle) Read(b []byte) (n int, err error) {
	switch {
	case c.m.deaf.Load():
		for err == nil {
			_, err = c.Conn.Read(b)
		}
		return 0, err
	case c.m.slow.Load():
		time.Sleep(time.Second)
		b = b[:min(len(b), octetsPerSecond)]
	}
	return c.Conn.Read(b)
}
