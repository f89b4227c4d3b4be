package portal

import (
	"bytes"
	"io"
	"net/http"
	"sync/atomic"

	"gatehouse/cluster/wire"
	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
)

// forwarded marks a request that another gateway passed on: it goes no further.
const forwarded = "Gatehouse-Forwarded"

// forwardedFor names the person whom it passed it on for.
const forwardedFor = "Gatehouse-Forwarded-For"

type handler = func(http.ResponseWriter, *http.Request) error

// atOwner has a request about a device answered by the gateway that owns it,
// which has a session with it already: devices have room for few. If that
// gateway cannot be reached, this one does it.
func (p *Portal) atOwner(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		d, err := p.find(r)
		if err != nil || p.M == nil {
			return h(w, r)
		}
		body, err := io.ReadAll(r.Body) // which asks a gateway that forwarded it for it
		if err != nil {
			return invalid(err)
		}
		if d.Gateway == p.C.Identity().Node || r.Header.Get(forwarded) != "" {
			r.Body = io.NopCloser(bytes.NewReader(body))
			return h(w, r)
		}
		// The body goes out once the owner asks for it, alive: before that,
		// nothing can have been done.
		order := &order{body: body}
		out, err := http.NewRequestWithContext(r.Context(), r.Method, wire.URL(d.Gateway, r.URL.RequestURI()), order)
		if err != nil {
			return err
		}
		out.Header.Set(forwarded, p.C.Identity().Node.String())
		out.Header.Set(forwardedFor, p.asker(r, door.From(r.Context())))
		out.Header.Set("Expect", "100-continue")
		resp, err := p.M.Client.Do(out)
		switch {
		case err == nil:
			defer resp.Body.Close()
			return pass(w, resp)
		case order.begun.Load() && r.Method != http.MethodGet:
			// The owner may have done it: it is not done twice.
			return commissioner.Fail(commissioner.CodeUnreachable, err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return h(w, r)
	}
}

// forMember does what changes whom the home or a device trusts. If another
// gateway passes it on, it must still be one: this one may not have heard of
// its eviction yet.
func (p *Portal) forMember(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get(forwarded) == "" {
			return h(w, r)
		}
		s, err := p.C.Ledger.Current(r.Context())
		if err != nil {
			return commissioner.Explain(err, commissioner.CodeCommit)
		}
		if from := s.Gateways[wire.Peer(r.Context())]; from == nil || !from.Member() {
			return &commissioner.Failure{Code: "gateway-evicted", Message: "the gateway that was asked is not one of this home's any more", Remedy: "ask another gateway"}
		}
		return h(w, r)
	}
}

// order is a request's body, and whether it was sent.
type order struct {
	body  []byte
	begun atomic.Bool
}

func (o *order) Read(p []byte) (int, error) {
	o.begun.Store(true)
	if len(o.body) == 0 {
		return 0, io.EOF
	}
	n := copy(p, o.body)
	o.body = o.body[n:]
	return n, nil
}

// pass passes an answer on, each piece as it comes.
func pass(w http.ResponseWriter, resp *http.Response) error {
	w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
	w.WriteHeader(resp.StatusCode)
	flusher := http.NewResponseController(w)
	piece := make([]byte, 32<<10)
	for {
		n, err := resp.Body.Read(piece)
		if n > 0 {
			if _, err := w.Write(piece[:n]); err != nil {
				return nil // who asked has gone
			}
			flusher.Flush()
		}
		if err != nil {
			return nil
		}
	}
}
