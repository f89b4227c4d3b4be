package hass

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"sync"
	"time"

	"gatehouse/fabric/cert"
)

// firstTestNode is the id of the first node that is none: what is made of a
// dump, to show somebody else's device.
const firstTestNode cert.NodeID = 0xffff_fffe_0000_0000

// Limits of ours on test nodes, which are in memory alone.
const (
	maxTestNodes = 1000
	maxTestSize  = 64 << 20 // octets of their attributes
)

// testAddresses are where every test node is.
var testAddresses = []string{"0.0.0.0", "0000:1111:2222:3333:4444"}

// testNodes are the test nodes.
type testNodes struct {
	mu    sync.Mutex
	nodes []*testNode // in the order of their ids; each is replaced, not changed
	next  cert.NodeID
	size  int
}

// testNode is one; its attributes are rendered already.
type testNode struct {
	id           cert.NodeID
	commissioned string
	interviewed  string
	version      int64
	available    bool
	bridge       bool
	attributes   []testAttribute
	size         int
}

type testAttribute struct {
	path    Path
	whole   bool // path is one
	text    string
	rawJSON json.RawMessage
}

func (t *testNodes) all() []*testNode {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.nodes)
}

func (t *testNodes) count() int { return len(t.all()) }

func (t *testNodes) get(id cert.NodeID) *testNode {
	if id < firstTestNode {
		return nil
	}
	for _, n := range t.all() {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (t *testNodes) remove(id cert.NodeID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.nodes, func(n *testNode) bool { return n.id == id })
	if i < 0 {
		return false
	}
	t.size -= t.nodes[i].size
	t.nodes = slices.Delete(slices.Clone(t.nodes), i, i+1)
	return true
}

// interview notes that a test node was read, which changes nothing else.
func (t *testNodes) interview(id cert.NodeID, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, n := range t.nodes {
		if n.id == id {
			again := *n
			again.interviewed = stamp(now)
			t.nodes = slices.Clone(t.nodes)
			t.nodes[i] = &again
			return true
		}
	}
	return false
}

// append renders a test node.
func (n *testNode) append(b []byte) []byte {
	b = strconv.AppendUint(append(b, `{"node_id":`...), uint64(n.id), 10)
	b = appendString(append(b, `,"date_commissioned":`...), n.commissioned)
	b = appendString(append(b, `,"last_interview":`...), n.interviewed)
	b = strconv.AppendInt(append(b, `,"interview_version":`...), n.version, 10)
	b = strconv.AppendBool(append(b, `,"available":`...), n.available)
	b = strconv.AppendBool(append(b, `,"is_bridge":`...), n.bridge)
	b = append(b, `,"attributes":{`...)
	for i, a := range n.attributes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(appendString(b, a.text), ':'), a.rawJSON...)
	}
	return append(b, `},"attribute_subscriptions":[]}`...)
}

// read answers from the dump. What is named and not there is null.
func (n *testNode) read(paths []string, patterns []pattern) result {
	values := map[string]json.RawMessage{}
	for i, p := range patterns {
		if _, ok := p.path(); ok {
			values[paths[i]] = json.RawMessage("null")
		}
		for _, a := range n.attributes {
			if a.whole && p.matches(a.path) {
				values[a.text] = a.rawJSON
			}
		}
	}
	return object(values)
}

// dumped is a node in a dump.
type dumped struct {
	Commissioned string  `json:"date_commissioned"`
	Interviewed  string  `json:"last_interview"`
	Version      int64   `json:"interview_version"`
	Available    bool    `json:"available"`
	Bridge       bool    `json:"is_bridge"`
	Attributes   ordered `json:"attributes"`
}

// ordered is an object's members in their order.
type ordered []testAttribute

func (o *ordered) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("attributes are no object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		a := testAttribute{text: key.(string)}
		if err := d.Decode(&a.rawJSON); err != nil {
			return err
		}
		var compact bytes.Buffer
		if json.Compact(&compact, a.rawJSON) == nil {
			a.rawJSON = compact.Bytes()
		}
		if p, err := parsePattern(a.text); err == nil {
			a.path, a.whole = p.path()
		}
		*o = append(*o, a)
	}
	return nil
}

// several are nodes in a list, or in an object by their ids.
type several []dumped

func (s *several) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	open, err := d.Token()
	if err != nil {
		return err
	}
	if open == nil {
		return nil
	}
	for d.More() {
		if open == json.Delim('{') {
			if _, err := d.Token(); err != nil {
				return err
			}
		}
		var n dumped
		if err := d.Decode(&n); err != nil {
			return err
		}
		*s = append(*s, n)
	}
	return nil
}

// parseDump finds the nodes in a dump of Home Assistant's diagnostics.
func parseDump(text string) ([]dumped, error) {
	var dump struct {
		Data struct {
			Node   *dumped `json:"node"`
			Nodes  several `json:"nodes"`
			Server struct {
				Nodes several `json:"nodes"`
			} `json:"server"`
		} `json:"data"`
	}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	err := d.Decode(&dump)
	if _, more := d.Token(); err == nil && more != io.EOF {
		err = errors.New("more than one JSON value")
	}
	switch {
	case err != nil:
		return nil, fail(InvalidArguments, "Invalid dump format: %v", err)
	case dump.Data.Node != nil:
		return []dumped{*dump.Data.Node}, nil
	case dump.Data.Server.Nodes != nil:
		return dump.Data.Server.Nodes, nil
	case dump.Data.Nodes != nil:
		return dump.Data.Nodes, nil
	}
	return nil, fail(InvalidArguments, "Invalid dump format: it has no nodes")
}

// add makes test nodes of a dump's, all or none.
func (t *testNodes) add(dump []dumped, now time.Time) (ids []cert.NodeID, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var size int
	nodes, next := slices.Clone(t.nodes), max(t.next, firstTestNode)
	for _, d := range dump {
		n := &testNode{id: next, commissioned: date(d.Commissioned, now), interviewed: date(d.Interviewed, now), version: d.Version,
			available: d.Available, bridge: d.Bridge, attributes: d.Attributes}
		for _, a := range n.attributes {
			n.size += len(a.text) + len(a.rawJSON)
		}
		size += n.size
		nodes, ids, next = append(nodes, n), append(ids, n.id), next+1
	}
	if len(nodes) > maxTestNodes || t.size+size > maxTestSize {
		return nil, fail(InvalidArguments, "there is room for %d test nodes of %d MiB in all", maxTestNodes, maxTestSize>>20)
	}
	t.nodes, t.next, t.size = nodes, next, t.size+size
	return ids, nil
}

// date is a dump's date, if clients can read it.
func date(text string, now time.Time) string {
	for _, layout := range []string{naive, "2006-01-02T15:04:05", time.RFC3339Nano} {
		if at, err := time.Parse(layout, text); err == nil {
			return stamp(at)
		}
	}
	return stamp(now)
}

func (s *Server) importTestNode(_ context.Context, c *call) (result, error) {
	var args struct {
		Dump string `json:"dump"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	dump, err := parseDump(args.Dump)
	if err != nil {
		return nil, err
	}
	ids, err := s.tests.add(dump, s.Now())
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		s.changed(Change{Kind: Added, Node: id})
	}
	return null, nil
}
