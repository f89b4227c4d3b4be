package portal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"gatehouse/cluster/wire"
	"gatehouse/fabric/cert"
	"gatehouse/firmware/library"
	"gatehouse/firmware/manifest"
)

// sourceFile gives another gateway a file of a source's directory, if that is
// here: the stick is in one of them only.
func (p *Portal) sourceFile(w http.ResponseWriter, r *http.Request) error {
	f, err := p.L.File(r.Context(), r.PathValue("name"), r.PathValue("file"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		w.WriteHeader(http.StatusNotFound)
		return nil
	case err != nil:
		w.WriteHeader(http.StatusServiceUnavailable)
		return nil
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	io.Copy(w, f) // who reads it checks it
	return nil
}

// ledgerRecords gives another gateway the ledger's records, unless it has the
// same.
func (p *Portal) ledgerRecords(w http.ResponseWriter, r *http.Request) error {
	var b strings.Builder
	if err := p.L.Export(&b); err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(b.String()))
	tag := `"` + hex.EncodeToString(sum[:]) + `"`
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, b.String())
	return nil
}

// Others are the other gateways, as fetchers of a source's directory.
func (p *Portal) Others(source string) (all []manifest.Fetcher) {
	for _, n := range p.others() {
		all = append(all, elsewhere{p, n, source})
	}
	return all
}

// others are the other members, in one order.
func (p *Portal) others() (all []cert.NodeID) {
	if p.M == nil { // it is only beginning
		return nil
	}
	for _, g := range p.C.Ledger.State().Members() {
		if g.Node != p.M.Node {
			all = append(all, g.Node)
		}
	}
	return all
}

// elsewhere is a source's directory at another gateway.
type elsewhere struct {
	p      *Portal
	node   cert.NodeID
	source string
}

func (e elsewhere) String() string { return "gateway " + e.node.String() }

// Fetch implements manifest.Fetcher.
func (e elsewhere) Fetch(ctx context.Context, name string, _ int64) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, wire.URL(e.node, "/api/v1/firmware/sources/"+url.PathEscape(e.source)+"/files/"+name), nil)
	if err != nil {
		return nil, err
	}
	resp, err := e.p.M.Client.Do(req)
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, nil
	case http.StatusNotFound:
		err = fs.ErrNotExist
	default:
		err = library.ErrNotHere
	}
	return nil, errors.Join(fmt.Errorf("%s, %s: %w", e, name, err), resp.Body.Close())
}

// seenRecords are the records that other gateways had last, by the tags of their
// answers.
type seenRecords struct {
	sync.Mutex
	seen map[cert.NodeID]string
}

// maxRecords bounds what another gateway's records of the ledger may have, in
// octets.
const maxRecords = 32 << 20

// RefreshFirmware fetches what is new from all sources, and the ledger's records
// that other gateways have.
func (p *Portal) RefreshFirmware(ctx context.Context) error {
	return errors.Join(p.L.Refresh(ctx), p.Records(ctx))
}

// Records takes the ledger's records that other gateways have and this one has
// not.
func (p *Portal) Records(ctx context.Context) error {
	p.records.Lock()
	defer p.records.Unlock()
	if p.records.seen == nil {
		p.records.seen = make(map[cert.NodeID]string)
	}
	var failed error
	for _, n := range p.others() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, wire.URL(n, "/api/v1/firmware/ledger/records"), nil)
		if err != nil {
			return err
		}
		req.Header.Set("If-None-Match", p.records.seen[n])
		resp, err := p.M.Client.Do(req)
		if err != nil {
			failed = err
			continue
		}
		if resp.StatusCode == http.StatusOK {
			if _, err = p.L.Import(io.LimitReader(resp.Body, maxRecords)); err == nil {
				p.records.seen[n] = resp.Header.Get("ETag")
			}
		}
		failed = errors.Join(failed, err, resp.Body.Close())
	}
	return failed
}
