package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/cluster/wire"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

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
		s, err := c.apply(r.Context(), *cmd, wire.Peer(r.Context()))
		c.answer(w, s, err)
	})
	mux.HandleFunc("GET "+pathRead, func(w http.ResponseWriter, r *http.Request) {
		s, err := c.current(r.Context())
		c.answer(w, s, err)
	})
	mux.HandleFunc("GET "+pathApplied, func(w http.ResponseWriter, r *http.Request) {
		c.answer(w, c.State(), nil)
	})
	mux.HandleFunc("GET "+pathTrail, c.giveTrail)
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
func (c *Cluster) ask(ctx context.Context, to cert.NodeID, method, path string, body []byte) (v verdict, err error) {
	if c.cfg.Peers == nil || to == 0 {
		return v, ErrNotLeader
	}
	status, b, err := wire.Ask(ctx, c.cfg.Peers, to, method, path, body, maxVerdict)
	switch {
	case err != nil:
		return v, fmt.Errorf("ask gateway %v: %w: %w", to, errUnheard, err)
	case status == http.StatusMisdirectedRequest:
		return v, ErrNotLeader
	case status == http.StatusServiceUnavailable:
		return v, fmt.Errorf("gateway %v: %s: %w", to, b, errUnheard)
	case status != http.StatusOK:
		return v, fmt.Errorf("gateway %v: %d: %s", to, status, b)
	}
	return v, cbor.Unmarshal(b, &v)
}
