package chaos

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"

	"gatehouse/fabric"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

type observed struct {
	sum   [32]byte
	state *fabric.State
	by    cert.NodeID
}

// Observe holds a State that a gateway has against what others had at the
// same index.
func (t *Trial) Observe(by cert.NodeID, s *fabric.State) {
	b, err := canonical.Marshal(s)
	if err != nil {
		t.Broken("the state of gateway %v does not encode: %v", by, err)
		return
	}
	sum := sha256.Sum256(b)
	t.mu.Lock()
	have, seen := t.states[s.Index]
	t.states[s.Index] = observed{sum, s, by}
	root := s.TrailTree().Root()
	trail, long := t.trails[s.TrailSize()]
	t.trails[s.TrailSize()] = root
	t.mu.Unlock()
	if long && trail != root {
		t.Broken("gateway %v has another trail of %d records", by, s.TrailSize())
	}
	if seen && have.sum != sum {
		t.Broken("gateways %v and %v have two states at index %d: %s", have.by, by, s.Index, cmp.Diff(have.state, s))
	}
	for _, g := range s.Gateways {
		if g.Member() {
			t.Signed(g.NOC)
		}
	}
}

// Recorded holds the records that a gateway has on its disk against every trail
// that any gateway ever had: it begins with each of them.
func (t *Trial) Recorded(by cert.NodeID, l *audit.Leaves) {
	t.mu.Lock()
	trails := maps.Clone(t.trails)
	t.mu.Unlock()
	if size := l.Tree().Size; trails[size] != l.Tree().Root() {
		t.Broken("the %d records of gateway %v are of no trail", size, by)
	}
	for size, want := range trails {
		if root, err := l.Root(size); err != nil || root != want {
			t.Broken("the records of gateway %v do not begin with the trail of %d: %v", by, size, err)
		}
	}
}

var canonical = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Verify holds the State that all gateways have in the end against what
// callers were told and devices got. It reads every key once more first.
func (t *Trial) Verify(s *fabric.State) {
	t.readAll(s)
	if err := Check(t.Ops()); err != nil {
		t.Broken("%v", err)
	}
	t.admissions(s)
	t.certificates()
	t.devicesKnown(s)
	t.evicted()
}

func (t *Trial) readAll(s *fabric.State) {
	var nodes []cert.NodeID
	for _, d := range t.Devices() {
		nodes = append(nodes, d.node)
	}
	t.Saw(t.Begin(Op{Kind: Read}), s, nodes)
}

// admissions checks that what was said to be admitted is, unless it was to be
// removed.
func (t *Trial) admissions(s *fabric.State) {
	admitted, removed := make(map[string]bool), make(map[string]bool)
	for _, o := range t.Ops() {
		switch {
		case o.Kind == Admit && o.Outcome == Done:
			admitted[o.Key] = true
		case o.Kind == Remove && o.Outcome != Refused:
			removed[o.Key] = true
		}
	}
	for _, d := range t.Devices() {
		if key := d.node.String(); admitted[key] && !removed[key] && (s.Devices[d.node] == nil || s.Devices[d.node].Phase != fabric.Admitted) {
			t.Broken("the admission of device %s was acknowledged and is lost", key)
		}
	}
}

// certificates checks over every certificate ever signed that a serial number
// is one node's and one key's, and a device's node id one serial number's.
func (t *Trial) certificates() {
	type subject struct {
		node cert.NodeID
		key  cert.PublicKey
	}
	serials, nodes := make(map[string]subject), make(map[cert.NodeID][]byte)
	seen := make(map[[32]byte]bool)
	for _, noc := range t.signed {
		if sum := sha256.Sum256(noc); seen[sum] {
			continue
		} else {
			seen[sum] = true
		}
		c, err := cert.Parse(noc)
		if err != nil {
			t.Broken("a certificate that was signed cannot be read: %v", err)
			continue
		}
		id, _ := c.Subject.Find(cert.AttrNodeID)
		is := subject{cert.NodeID(id), c.PublicKey}
		if before, ok := serials[string(c.Serial)]; ok && before != is {
			t.Broken("serial number %x is that of %v and of %v, or of two keys", c.Serial, before.node, is.node)
		}
		serials[string(c.Serial)] = is
		if t.Find(is.node) == nil {
			continue // a gateway's gets renewed
		}
		if before, ok := nodes[is.node]; ok && !bytes.Equal(before, c.Serial) {
			t.Broken("node id %v has serial numbers %x and %x", is.node, before, c.Serial)
		}
		nodes[is.node] = c.Serial
	}
}

// devicesKnown checks that the trust state knows every certificate that a
// device ever got, and that devices and state agree on who is admitted.
func (t *Trial) devicesKnown(s *fabric.State) {
	for _, d := range t.Devices() {
		var hashes []string
		for _, noc := range d.NOCs() {
			if h := hashOf(noc); !slices.Contains(hashes, h) {
				hashes = append(hashes, h)
			}
		}
		known, admitted := "", false
		if e := s.Devices[d.node]; e != nil {
			known, admitted = hex.EncodeToString(e.NOCHash), e.Phase == fabric.Admitted
		} else if e := s.Tombstones[d.node]; e != nil {
			known = hex.EncodeToString(e.NOCHash)
		}
		switch {
		case len(hashes) > 1:
			t.Broken("device %v got %d different certificates", d.node, len(hashes))
		case len(hashes) == 1 && hashes[0] != known:
			t.Broken("device %v holds a certificate that the trust state does not know:\n%s", d.node, t.about(d.node))
		case admitted && !d.Completed():
			t.Broken("device %v is admitted and has rolled back:\n%s", d.node, t.about(d.node))
		case !admitted && d.Completed() && !t.removed(d.node):
			t.Broken("device %v is on the fabric since %v and was abandoned:\n%s", d.node, d.completed.Sub(t.began), t.about(d.node))
		}
	}
}

// about is all that was asked about a node.
func (t *Trial) about(n cert.NodeID) string {
	return list(slices.DeleteFunc(slices.Clone(t.Ops()), func(o Op) bool { return o.Key != n.String() }))
}

func (t *Trial) removed(n cert.NodeID) bool {
	return slices.ContainsFunc(t.Ops(), func(o Op) bool { return o.Kind == Remove && o.Key == n.String() && o.Outcome != Refused })
}

// evicted checks that nothing was done by way of an evicted gateway once its
// eviction was acknowledged.
func (t *Trial) evicted() {
	at := t.evictions()
	for _, o := range t.Ops() {
		if since := at[o.Gateway.String()]; since != 0 && o.Call > since && o.Outcome == Done {
			t.Broken("after its eviction a gateway still did something:\n\t%v", o)
		}
	}
}
