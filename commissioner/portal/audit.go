package portal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"

	"gatehouse/cluster/trail"
	"gatehouse/commissioner"
	"gatehouse/fabric"
	"gatehouse/fabric/audit"
)

// Limits of a page of the audit trail.
const (
	auditPage = 100    // records, unless more are asked for
	auditMost = 1000   // records
	auditLook = 20_000 // records looked at
	auditSize = 1 << 20
)

// Audit ends a page of the audit trail: GET audit?after=&limit=&since=&device=&gateway=&what=.
// The lines before it are the records, octet by octet as they are hashed.
type Audit struct {
	Size uint64 `json:"size"` // records there are
	// First is the first that this gateway has, with all that follow. Edge is
	// the audit.Tree of those before it.
	First uint64 `json:"first"`
	Edge  []byte `json:"edge,omitempty"`
	// Next is the record that the page after this one begins with: Size, if this
	// is the last one for now.
	Next uint64 `json:"next"`
}

// Checkpoint is the audit trail's, signed by this gateway, and whose keys sign
// such.
type Checkpoint struct {
	Size     uint64     `json:"size"`
	Origin   string     `json:"origin"`
	Note     string     `json:"note"` // c2sp.org/tlog-checkpoint
	Gateways []AuditKey `json:"gateways"`
}

// AuditKey is a gateway's.
type AuditKey struct {
	Node string `json:"node_id"`
	Name string `json:"name"`
	Key  string `json:"key"` // on P-256, uncompressed, hex
}

// AuditProof is that a record is in the trail (?size=&record=), or that the
// trail begins with another (?size=&prefix=): RFC 6962, 2.1.1 and 2.1.2.
type AuditProof struct {
	Size   uint64       `json:"size"`
	Root   audit.Hash   `json:"root"`
	Record *string      `json:"record,omitempty"` // as it is hashed
	Prefix *audit.Hash  `json:"prefix,omitempty"` // root of the trail it begins with
	Proof  []audit.Hash `json:"proof"`
}

// number is a number of a query; otherwise, if it is not given.
func number(q url.Values, name string, otherwise uint64) (uint64, error) {
	if !q.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(q.Get(name), 10, 64)
	if err != nil {
		return 0, invalid(fmt.Errorf("%s: %w", name, err))
	}
	return n, nil
}

func (p *Portal) audit(w http.ResponseWriter, r *http.Request) error {
	q, t, state := r.URL.Query(), p.M.Trail(), p.C.Ledger.State()
	from, err1 := number(q, "after", math.MaxUint64)
	limit, err2 := number(q, "limit", auditPage)
	since, err3 := number(q, "since", 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	wanted := filter{what: q.Get("what"), device: about(q.Get("device"), state), gateway: about(q.Get("gateway"), state), since: int64(min(since, math.MaxInt64))}
	tree := t.Tree()
	end := Audit{Size: tree.Size, First: t.First()}
	switch before, _, err := t.Before(end.First + 1); {
	case end.First == 0:
	case end.First == tree.Size:
		end.Edge = tree.Edge
	case err == nil && before.Size == end.First:
		end.Edge = before.Edge
	}
	var page []byte
	var err error
	looked, taken := 0, uint64(0)
	// After the greatest there is comes the first.
	end.Next, err = t.Read(max(from+1, end.First), func(_ uint64, line []byte) bool {
		if looked++; wanted.takes(line) {
			page = append(append(page, line...), '\n')
			taken++
		}
		return taken < max(1, min(limit, auditMost)) && looked < auditLook && len(page) < auditSize
	})
	if err != nil {
		return auditFailure(err)
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if _, err := w.Write(page); err != nil {
		return nil // who asked has gone
	}
	return json.NewEncoder(w).Encode(end)
}

// about are the texts by which a record may name somebody, who is given by name
// or by node id: the name, and the node id of whoever has it now.
func about(who string, s *fabric.State) []string {
	if who == "" {
		return nil
	}
	all := []string{who}
	for n, d := range s.Devices {
		if d.Name == who {
			all = append(all, n.String())
		}
	}
	for n, g := range s.Gateways {
		if g.Name == who {
			all = append(all, n.String())
		}
	}
	return all
}

// filter says which records are wanted.
type filter struct {
	what            string
	device, gateway []string // empty: whatever
	since           int64    // Unix ms
}

func (f filter) takes(line []byte) bool {
	r, err := audit.Parse(line)
	return err == nil && (f.what == "" || r.What == f.what) && r.Time >= f.since && mentions(line, r, f.device) && mentions(line, r, f.gateway)
}

// mentions reports whether a record names one of those who are wanted. A node id
// in quotes is one, wherever it is: names' quotes are written otherwise.
func mentions(line []byte, r *audit.Record, wanted []string) bool {
	for _, text := range wanted {
		if r.Name == text || len(text) == nodeDigits && bytes.Contains(line, []byte(`"`+text+`"`)) {
			return true
		}
	}
	return len(wanted) == 0
}

// nodeDigits is how long a node id is.
const nodeDigits = 16

func auditFailure(err error) error {
	if errors.Is(err, trail.ErrMissing) || errors.Is(err, audit.ErrForgotten) {
		return &commissioner.Failure{Code: "audit-incomplete", Message: "this gateway does not have all records that this takes",
			Remedy: "ask another gateway, or again in a minute: what is missing here is fetched from the others; what was decided before the home was restored nobody has"}
	}
	return err
}

// checkpoint signs what this gateway has applied: more than a quorum's word for
// it there is not.
func (p *Portal) checkpoint(w http.ResponseWriter, r *http.Request) error {
	s, tree := p.M.State(), p.M.Trail().Tree()
	if tree.Size == 0 {
		return &commissioner.Failure{Code: "audit-not-begun", Message: "nothing is recorded yet: a gateway of the home is of a release that keeps no audit trail",
			Remedy: "install this release on all gateways"}
	}
	c := audit.Checkpoint{Origin: s.TrailOrigin(), Size: tree.Size, Root: tree.Root()}
	note, err := c.Sign(p.M.Keys.Now().Operational)
	if err != nil {
		return err
	}
	answer := Checkpoint{Size: c.Size, Origin: c.Origin, Note: string(note), Gateways: []AuditKey{}}
	for _, g := range s.Members() {
		if key, err := g.Key(); err == nil {
			answer.Gateways = append(answer.Gateways, AuditKey{g.Node.String(), g.Name, hex.EncodeToString(key[:])})
		}
	}
	return reply(w, answer)
}

func (p *Portal) auditProof(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	l, err := p.M.Trail().Leaves()
	if err != nil {
		return auditFailure(err)
	}
	size, err1 := number(q, "size", l.Tree().Size)
	record, err2 := number(q, "record", 0)
	prefix, err3 := number(q, "prefix", 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	answer := AuditProof{Size: size}
	switch {
	case q.Has("record") == q.Has("prefix"):
		return invalid(errors.New("a proof is of a record or of a prefix"))
	case size == 0 || size > l.Tree().Size || q.Has("record") && record >= size || q.Has("prefix") && (prefix == 0 || prefix > size):
		return invalid(fmt.Errorf("there are %d records", l.Tree().Size))
	case q.Has("record"):
		answer.Proof, err = l.ProveRecord(size, record)
		if err == nil {
			_, err = p.M.Trail().Read(record, func(_ uint64, line []byte) bool {
				text := string(line)
				answer.Record = &text
				return false
			})
		}
	default:
		var root audit.Hash
		if root, err = l.Root(prefix); err == nil {
			answer.Prefix = &root
			answer.Proof, err = l.ProveTree(size, prefix)
		}
	}
	if err == nil {
		answer.Root, err = l.Root(size)
	}
	if err != nil {
		return auditFailure(err)
	}
	return reply(w, answer)
}
