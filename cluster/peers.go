package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Peers carries requests to other gateways, which are who they should be. A
// request's host is a node id in hex.
type Peers interface {
	Do(*http.Request) (*http.Response, error)
}

// Paths of what gateways ask each other.
const (
	pathPropose = "/cluster/propose" // POST a command; a verdict
	pathRead    = "/cluster/read"    // GET; a verdict
	pathApplied = "/cluster/applied" // GET; a verdict
)

// maxVerdict bounds an answer, in octets.
const maxVerdict = 4096

// verdict answers a request. Index is that of the last command which the
// answer stands on.
type verdict struct {
	Index  uint64      `cbor:"0,keyasint"`
	Code   fabric.Code `cbor:"1,keyasint,omitempty"` // of a refusal
	Reason string      `cbor:"2,keyasint,omitempty"`
}

// Handler answers what other gateways ask. Whoever serves it has made sure
// that a gateway asks.
func (c *Cluster) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+pathPropose, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCommand))
		var cmd *fabric.Command
		if err == nil {
			cmd, err = decodeCommand(b)
		}
		if err == nil && cmd.Needs() > fabric.Version {
			err = errors.New("the command is of a newer release")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s, err := c.apply(r.Context(), *cmd)
		c.answer(w, s, err)
	})
	mux.HandleFunc("GET "+pathRead, func(w http.ResponseWriter, r *http.Request) {
		s, err := c.current(r.Context())
		c.answer(w, s, err)
	})
	mux.HandleFunc("GET "+pathApplied, func(w http.ResponseWriter, r *http.Request) {
		c.answer(w, c.State(), nil)
	})
	return mux
}

func (c *Cluster) answer(w http.ResponseWriter, s *fabric.State, err error) {
	v := verdict{}
	var refused *fabric.Refusal
	switch {
	case errors.As(err, &refused):
		v.Code, v.Reason = refused.Code, refused.Reason
	case errors.Is(err, ErrNotLeader):
		http.Error(w, err.Error(), http.StatusMisdirectedRequest)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	if s != nil {
		v.Index = s.Index
	}
	b, err := encoding.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/cbor")
	w.Write(b)
}

// ask asks another gateway. ErrNotLeader says that it does not lead, and
// errUnheard that nobody knows what became of the request.
func (c *Cluster) ask(ctx context.Context, to cert.NodeID, method, path string, body io.Reader) (v verdict, err error) {
	if c.cfg.Peers == nil || to == 0 {
		return v, ErrNotLeader
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+to.String()+path, body)
	if err != nil {
		return v, err
	}
	resp, err := c.cfg.Peers.Do(r)
	if err != nil {
		return v, fmt.Errorf("ask gateway %v: %w: %w", to, errUnheard, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxVerdict))
	switch {
	case err != nil:
		return v, fmt.Errorf("ask gateway %v: %w: %w", to, errUnheard, err)
	case resp.StatusCode == http.StatusMisdirectedRequest:
		return v, ErrNotLeader
	case resp.StatusCode == http.StatusServiceUnavailable:
		return v, fmt.Errorf("gateway %v: %s: %w", to, b, errUnheard)
	case resp.StatusCode != http.StatusOK:
		return v, fmt.Errorf("gateway %v: %s: %s", to, resp.Status, b)
	}
	return v, cbor.Unmarshal(b, &v)
}
