package steward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/cluster"
	"gatehouse/cluster/found"
	"gatehouse/cluster/wire"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Paths of what gateways ask the leader.
const (
	issuePath  = "/steward/issue"  // POST a request; a certificate
	enrollPath = "/steward/enroll" // POST a fabric.ReserveGateway; a found.Membership
	evictPath  = "/steward/evict"  // POST an eviction; nothing
	rerootPath = "/steward/reroot" // POST a found.NewRoot; nothing
)

const (
	maxRequest = 8 << 10  // octets
	maxAnswer  = 64 << 10 // octets
)

type request struct {
	Node cert.NodeID `cbor:"0,keyasint"`
	Key  []byte      `cbor:"1,keyasint"`
}

type eviction struct {
	Node   cert.NodeID `cbor:"0,keyasint"`
	Reason string      `cbor:"1,keyasint"`
}

type certificate struct {
	NOC  []byte `cbor:"0,keyasint"`
	ICAC []byte `cbor:"1,keyasint"`
}

// Handler answers what other gateways ask. Whoever serves it has made sure
// that a gateway asks.
func (s *Steward) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+issuePath, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(q request) (certificate, error) {
			if len(q.Key) != len(cert.PublicKey{}) {
				return certificate{}, errors.New("the public key has a wrong length")
			}
			noc, icac, err := s.Authority.sign(r.Context(), q.Node, cert.PublicKey(q.Key))
			return certificate{noc, icac}, err
		})
	})
	mux.HandleFunc("POST "+enrollPath, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(c fabric.ReserveGateway) (found.Membership, error) { return s.enroll(r.Context(), c) })
	})
	mux.HandleFunc("POST "+evictPath, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(e eviction) (struct{}, error) { return struct{}{}, s.evict(r.Context(), e.Node, e.Reason) })
	})
	mux.HandleFunc("POST "+rerootPath, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(n found.NewRoot) (struct{}, error) {
			defer n.Erase()
			return struct{}{}, s.reroot(r.Context(), &n)
		})
	})
	return mux
}

// answer decodes a question, has it answered, and encodes the answer.
func answer[Q, A any](w http.ResponseWriter, r *http.Request, do func(Q) (A, error)) {
	var q Q
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err == nil {
		err = cbor.Unmarshal(b, &q)
	}
	clear(b) // there may be keys in it
	if err != nil {
		http.Error(w, "the request makes no sense", http.StatusBadRequest)
		return
	}
	var refused *fabric.Refusal
	a, err := do(q)
	if err == nil {
		b, err = cbor.Marshal(a)
	}
	switch {
	case errors.Is(err, cluster.ErrNotLeader):
		http.Error(w, err.Error(), http.StatusMisdirectedRequest)
	case errors.As(err, &refused):
		http.Error(w, string(refused.Code)+"\n"+refused.Reason, http.StatusUnprocessableEntity)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		w.Write(b)
	}
}

// Peers asks the leader.
type Peers struct{ HTTP wire.Asker }

// Issue asks the leader for a device's certificate.
func (p Peers) Issue(ctx context.Context, leader, node cert.NodeID, key cert.PublicKey) (noc, icac []byte, err error) {
	var c certificate
	err = p.ask(ctx, leader, issuePath, request{node, key[:]}, &c)
	return c.NOC, c.ICAC, err
}

// Enroll asks the leader to enrol a gateway.
func (p Peers) Enroll(ctx context.Context, leader cert.NodeID, c fabric.ReserveGateway) (m found.Membership, err error) {
	err = p.ask(ctx, leader, enrollPath, c, &m)
	return m, err
}

// Evict asks the leader to evict a gateway.
func (p Peers) Evict(ctx context.Context, leader, node cert.NodeID, reason string) error {
	return p.ask(ctx, leader, evictPath, eviction{node, reason}, new(struct{}))
}

// Reroot asks the leader to give the home another root.
func (p Peers) Reroot(ctx context.Context, leader cert.NodeID, r *found.NewRoot) error {
	return p.ask(ctx, leader, rerootPath, r, new(struct{}))
}

func (p Peers) ask(ctx context.Context, leader cert.NodeID, path string, question, answer any) error {
	if leader == 0 {
		return cluster.ErrNotLeader
	}
	body, err := cbor.Marshal(question)
	if err != nil {
		return err
	}
	status, b, err := wire.Ask(ctx, p.HTTP, leader, http.MethodPost, path, body, maxAnswer)
	switch {
	case err != nil:
		return fmt.Errorf("ask the leader: %w", err)
	case status == http.StatusMisdirectedRequest:
		return cluster.ErrNotLeader
	case status == http.StatusUnprocessableEntity:
		code, reason, _ := strings.Cut(string(bytes.TrimSpace(b)), "\n")
		return &fabric.Refusal{Code: fabric.Code(code), Reason: reason}
	case status != http.StatusOK:
		return fmt.Errorf("the leader: %s", bytes.TrimSpace(b))
	}
	clear(body) // all of which was sent; there may be keys in it
	return cbor.Unmarshal(b, answer)
}
