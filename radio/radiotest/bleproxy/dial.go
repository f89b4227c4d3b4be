package bleproxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// Dial connects a WebSocket to a handler in memory, so that both can live in a
// testing/synctest bubble. The handler has returned when the second function,
// which waits for that, does; the WebSocket must have ended.
func Dial(ctx context.Context, h http.Handler) (*websocket.Conn, func(), error) {
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer far.Close()
		in := bufio.NewReader(far)
		if r, err := http.ReadRequest(in); err == nil {
			r.RemoteAddr = "memory"
			h.ServeHTTP(&response{far, in, http.Header{}}, r.WithContext(ctx))
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return newBuffered(near), nil }}}
	ws, _, err := websocket.Dial(ctx, "ws://gateway.test/ble", &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		near.Close()
	}
	return ws, func() { <-served }, err
}

// response is written as it comes.
type response struct {
	conn   net.Conn
	in     *bufio.Reader
	header http.Header
}

func (r *response) Header() http.Header         { return r.header }
func (r *response) Write(b []byte) (int, error) { return r.conn.Write(b) }

func (r *response) WriteHeader(code int) {
	fmt.Fprintf(r.conn, "HTTP/1.1 %d %s\r\n", code, http.StatusText(code))
	r.header.Write(r.conn)
	fmt.Fprint(r.conn, "\r\n")
}

// Hijack implements http.Hijacker.
func (r *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return r.conn, bufio.NewReadWriter(r.in, bufio.NewWriter(r.conn)), nil
}

// buffered takes what comes whether or not somebody reads, as a network does:
// a pipe lets its writer wait.
type buffered struct {
	net.Conn
	mu   sync.Mutex
	more sync.Cond
	buf  []byte
	err  error
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c}
	b.more.L = &b.mu
	go b.fill()
	return b
}

func (b *buffered) fill() {
	chunk := make([]byte, 4096)
	for {
		n, err := b.Conn.Read(chunk)
		b.mu.Lock()
		b.buf, b.err = append(b.buf, chunk[:n]...), err
		b.more.Broadcast()
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (b *buffered) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.buf) == 0 && b.err == nil {
		b.more.Wait()
	}
	if len(b.buf) == 0 {
		return 0, b.err
	}
	n := copy(p, b.buf)
	b.buf = b.buf[n:]
	return n, nil
}
