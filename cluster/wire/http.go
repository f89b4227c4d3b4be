package wire

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"gatehouse/fabric/cert"
)

// Limits of ours, per gateway that is asked.
const (
	httpConns = 8
	httpIdle  = time.Minute
	// httpExpect is how long a gateway may take to say that it wants the body
	// of a request that expects to be told (Expect: 100-continue).
	httpExpect = 2 * time.Second
	// maxHeader bounds what an answer's header may be, in octets.
	maxHeader = 64 << 10
)

// HTTP is where requests of other gateways come in, for an http.Server with
// ConnContext. Closing it takes no more connections and leaves the open ones.
func (w *Wire) HTTP() net.Listener { return w.http }

// Client asks other gateways: URL says where. Connections are kept and used
// again. A gateway that cannot be reached is noticed within 1.5 s, one that dies
// after that within some 3 s; how long it may take to answer, the request's
// context alone says. Redirections are not followed.
func (w *Wire) Client() *http.Client { return w.client }

func newClient(w *Wire) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(addr)
				if err != nil {
					return nil, err
				}
				to, err := parseNode(host)
				if err != nil {
					return nil, err
				}
				return w.dial(ctx, to, httpProtocol, dialTimeout)
			},
			DisableCompression:     true,
			MaxConnsPerHost:        httpConns,
			MaxIdleConnsPerHost:    httpConns,
			IdleConnTimeout:        httpIdle,
			ExpectContinueTimeout:  httpExpect,
			MaxResponseHeaderBytes: maxHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// URL is where Client finds a path, which begins with a slash, on a gateway.
func URL(node cert.NodeID, path string) string { return "http://" + node.String() + path }

// Asker sends requests to gateways, as Client does.
type Asker interface {
	Do(*http.Request) (*http.Response, error)
}

// Ask sends a request to a gateway and gives its answer's status and body, of
// which it reads at most limit octets.
func Ask(ctx context.Context, asker Asker, to cert.NodeID, method, path string, body []byte, limit int64) (status int, answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, URL(to, path), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := asker.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, limit))
	return resp.StatusCode, answer, err
}

// parseNode reads a node id as cert.NodeID writes it.
func parseNode(s string) (cert.NodeID, error) {
	n, err := strconv.ParseUint(s, 16, 64)
	if id := cert.NodeID(n); err == nil && id.Operational() && id.String() == s {
		return id, nil
	}
	return 0, fmt.Errorf("%q is no node id", s)
}

type peerKey struct{}

// ConnContext is for http.Server: it lets Peer know whose connection it is.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, PeerOf(c))
}

// Peer is the gateway that makes the request with this context. It is 0, which
// is no gateway, for a request that did not come over a Wire.
func Peer(ctx context.Context) cert.NodeID {
	n, _ := ctx.Value(peerKey{}).(cert.NodeID)
	return n
}

// PeerOf is the gateway at the other end of a connection of a Wire, 0 for any
// other connection.
func PeerOf(c net.Conn) cert.NodeID {
	if c, ok := c.(*conn); ok {
		return c.peer
	}
	return 0
}
