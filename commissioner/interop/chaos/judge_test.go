//go:build interop

package chaos

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/cluster"
	"gatehouse/cluster/chaos"
	"gatehouse/cluster/found"
	"gatehouse/commissioner/portal"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// compareEvery is how many entries are between States that are compared in
// octets; the commands all are.
const compareEvery = 16

// log is what a gateway's log says, by index.
type log struct {
	box       *box
	entries   map[uint64]cluster.Entry
	committed uint64
	last      uint64
}

// cut drops what is not known to be committed.
func (l *log) cut() {
	maps.DeleteFunc(l.entries, func(i uint64, _ cluster.Entry) bool { return i > l.committed })
	l.last = 0
	for i := range l.entries {
		l.last = max(l.last, i)
	}
}

// read replays a copy of the log of a gateway that has ended.
func (b *box) read() (*log, error) {
	dir := filepath.Join(b.dir, "final")
	if err := b.copy(dir); err != nil {
		return nil, err
	}
	l := &log{box: b, entries: make(map[uint64]cluster.Entry)}
	var err error
	l.committed, err = cluster.Replay(cluster.Config{Dir: found.LogDir(dir), Node: b.node, Fatal: func(error) {}}, func(e cluster.Entry) {
		l.entries[e.Index], l.last = e, e.Index
	})
	return l, err
}

// judge holds what callers were told and lights were given against the logs of
// all gateways. They have ended.
func (h *home) judge(given []certificates) {
	whole := h.agreed()
	if whole == nil {
		return
	}
	final := whole.entries[whole.last].State
	t := chaos.NewTrial(time.Now)
	h.numbers(whole)
	h.devices(t, whole, given)
	h.gateways(t, whole)
	h.judgePairings(t, whole)
	for _, c := range h.told.changes {
		kind := chaos.Remove
		if c.name != "" {
			kind = chaos.Rename
		}
		t.Put(c.op(chaos.Op{Kind: kind, Key: c.node.String(), Value: c.name}))
	}
	for _, l := range h.told.lists {
		h.judgeList(t, whole, l)
	}
	for _, d := range final.Devices {
		if d.Phase != fabric.Admitted {
			h.broken("in the end, device %v is %v", d.Node, d.Phase)
		}
	}
	t.Verify(final)
	for _, err := range t.Violations() {
		h.broken("%v", err)
	}
	h.report.add(h, whole)
}

// op is a call as the checkers take it.
func (c call) op(o chaos.Op) chaos.Op {
	o.Client, o.Gateway, o.Call, o.Return, o.At, o.Outcome = c.client, c.gateway, c.begun, c.ended, c.at, chaos.Unknown
	switch {
	case c.refused:
		o.Outcome, o.Code = chaos.Refused, fabric.CodeUnknown
	case c.done:
		o.Outcome = chaos.Done
	}
	return o
}

// agreed compares the gateways' logs, and is one of them, from its beginning to
// where all members have it, or, if the home did not become whole, the longest
// of what is known to be committed; nil if there is none.
func (h *home) agreed() *log {
	var logs []*log
	var whole *log
	for _, b := range h.boxes {
		if b.node == 0 {
			continue // it has never joined
		}
		l, err := b.read()
		if err != nil {
			h.broken("the log of %s: %v", b.name, err)
			return nil
		}
		if h.index != 0 && !b.evicted {
			l.committed = h.index // as all were told
		}
		if logs = append(logs, l); !b.evicted && (whole == nil || l.committed > whole.committed) {
			whole = l
		}
	}
	if whole != nil {
		whole.cut()
	}
	if whole == nil || whole.entries[whole.last].State == nil || !whole.entries[whole.last].State.Founded() {
		h.broken("there is no log")
		return nil
	}
	for _, l := range logs {
		// What a gateway had not heard to be committed may be what nobody else
		// has.
		for i, e := range l.entries {
			if w, ok := whole.entries[i]; i <= l.committed && i <= whole.last && (!ok || w.Term != e.Term || !same(w.Command, e.Command) ||
				(i%compareEvery == 0 || i == whole.last) && !sameState(w.State, e.State)) {
				h.broken("%s and %s differ at index %d: %+v and %+v", whole.box.name, l.box.name, i, w, e)
				return nil
			}
		}
		if last := whole.entries[whole.last].State; h.index != 0 && !l.box.evicted && l.entries[whole.last].State == nil {
			h.broken("%s has no state at index %d, which is the last of %s", l.box.name, last.Index, whole.box.name)
		}
	}
	return whole
}

func same(a, b *fabric.Command) bool {
	one, err1 := cbor.Marshal(a)
	two, err2 := cbor.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(one, two)
}

func sameState(a, b *fabric.State) bool {
	one, err1 := cluster.EncodeState(a)
	two, err2 := cluster.EncodeState(b)
	return err1 == nil && err2 == nil && bytes.Equal(one, two)
}

// numbers checks over the whole log that no node id and no serial number is
// given twice.
func (h *home) numbers(whole *log) {
	nodes, serials := make(map[cert.NodeID]uint64), make(map[string]uint64)
	before := new(fabric.State)
	give := func(i uint64, n cert.NodeID, serial []byte) {
		if at, ok := serials[string(serial)]; ok {
			h.broken("serial number %x is given at index %d and at %d, to %v", serial, at, i, n)
		}
		serials[string(serial)] = i
	}
	for _, i := range slices.Sorted(maps.Keys(whole.entries)) {
		e := whole.entries[i]
		switch c := e.Command; {
		case c.Reserve != nil && before.Devices[c.Reserve.Node] == nil && e.State.Devices[c.Reserve.Node] != nil:
			n := c.Reserve.Node
			if at, ok := nodes[n]; ok {
				h.broken("node id %v is given at index %d and at %d", n, at, i)
			}
			nodes[n] = i
			give(i, n, e.State.Devices[n].Serial)
		case c.ReserveGateway != nil && before.Gateways[c.ReserveGateway.Node] == nil && e.State.Gateways[c.ReserveGateway.Node] != nil:
			n := c.ReserveGateway.Node
			if at, ok := nodes[n]; ok {
				h.broken("node id %v is given at index %d and at %d", n, at, i)
			}
			nodes[n] = i
			give(i, n, e.State.Gateways[n].Reserved)
		case c.RenewGateway != nil && e.State.Gateways[c.RenewGateway.Node] != nil:
			n := c.RenewGateway.Node
			if had := before.Gateways[n]; had == nil || !bytes.Equal(had.Reserved, e.State.Gateways[n].Reserved) {
				give(i, n, e.State.Gateways[n].Reserved)
			}
		}
		before = e.State
	}
}

// devices takes up what lights were given, as far as it is of this home.
func (h *home) devices(t *chaos.Trial, whole *log, given []certificates) {
	holders := make(map[cert.NodeID]string)
	for _, light := range given {
		for _, noc := range light.Received {
			t.Signed(noc)
			c, err := cert.Parse(noc)
			if err != nil {
				h.broken("%s received a certificate that cannot be read: %v", light.Name, err)
				continue
			}
			id, _ := c.Subject.Find(cert.AttrNodeID)
			n := cert.NodeID(id)
			if other, ok := holders[n]; ok && other != light.Name {
				h.broken("%s and %s received certificates for node id %v", other, light.Name, n)
			}
			holders[n] = light.Name
			d := t.Find(n)
			if d == nil {
				d = t.Device(n, c.PublicKey)
			}
			d.Take(noc)
			if slices.ContainsFunc(light.Kept, func(k []byte) bool { return bytes.Equal(k, noc) }) {
				d.Complete()
			}
		}
		if len(light.Kept) > 1 {
			h.broken("%s keeps %d certificates of one home", light.Name, len(light.Kept))
		}
	}
	for _, e := range whole.entries {
		if r := e.Command.Reserve; r != nil && t.Find(r.Node) == nil {
			t.Device(r.Node, cert.PublicKey{})
		}
		if g := e.Command.IssueGateway; g != nil {
			t.Signed(g.NOC)
		}
	}
}

// gateways takes up who was let in, and who was evicted.
func (h *home) gateways(t *chaos.Trial, whole *log) {
	t.Put(chaos.Op{Client: 1, Kind: chaos.Enroll, Key: h.boxes[0].node.String(), Outcome: chaos.Done, Call: -2, Return: -1})
	for _, m := range h.told.enrolments {
		t.Put(m.op(chaos.Op{Kind: chaos.Enroll, Key: m.node.String()}))
	}
	for _, m := range h.told.evictions {
		t.Put(m.op(chaos.Op{Kind: chaos.Evict, Key: m.node.String()}))
	}
}

// judgePairings takes up each pairing's calls, as far as they got: by its
// name, which no other has, the log tells its node id.
func (h *home) judgePairings(t *chaos.Trial, whole *log) {
	reserved := make(map[string]cert.NodeID)
	hashes := make(map[cert.NodeID][]byte)
	for _, e := range whole.entries {
		if r := e.Command.Reserve; r != nil && e.State.Devices[r.Node] != nil {
			reserved[r.Name] = r.Node
		}
		if c := e.Command.Issue; c != nil {
			hashes[c.Node] = c.NOCHash
		}
	}
	for _, p := range h.told.pairings {
		n := reserved[p.name]
		switch {
		case n == 0 && (p.reserved != 0 || p.admitted != 0):
			h.broken("the reservation of %q was acknowledged and is lost", p.name)
		case p.admitted != 0 && p.admitted != n:
			h.broken("%q is said to be admitted as %v, and is %v", p.name, p.admitted, n)
		}
		if n == 0 {
			continue
		}
		step := func(kind chaos.Kind, value string, heard int64) {
			c := p.call
			c.done, c.ended = heard != 0, heard
			t.Put(c.op(chaos.Op{Kind: kind, Key: n.String(), Value: value}))
		}
		step(chaos.Reserve, p.name, p.reserved)
		if hash := hashes[n]; hash != nil || p.issued != 0 {
			step(chaos.Issue, hex.EncodeToString(hash), p.issued)
		}
		step(chaos.Admit, "", p.ended)
		if p.admitted == 0 {
			step(chaos.Abandon, "", 0)
		}
	}
}

// judgeList holds a list against the State of its index; one that is
// linearizable is a read of every key.
func (h *home) judgeList(t *chaos.Trial, whole *log, l *listing) {
	index := uint64(0)
	if l.devices != nil {
		index = l.devices.Index
	} else {
		index = l.gateways.Index
	}
	s := whole.at(index)
	if s == nil {
		h.broken("a list is of index %d, which there is not", index)
		return
	}
	var keys []cert.NodeID
	if l.devices != nil {
		if err := sameDevices(l.devices.Devices, s); err != nil {
			h.broken("the list of index %d that gateway %v gave after %v: %v", index, l.gateway, l.at, err)
		}
		for _, d := range t.Devices() {
			keys = append(keys, d.Node())
		}
	} else {
		for _, m := range h.told.enrolments {
			keys = append(keys, m.node)
		}
		keys = append(keys, h.boxes[0].node)
	}
	if !l.linearizable {
		return
	}
	for _, n := range keys {
		o := l.op(chaos.Op{Kind: chaos.Read, Key: n.String(), Saw: chaos.EntryOf(s, n), Index: index})
		t.Put(o)
	}
	h.report.reads(len(keys))
}

// at is the State of an index; nil if there is none.
func (l *log) at(index uint64) *fabric.State {
	if e, ok := l.entries[index]; ok {
		return e.State
	}
	return nil
}

func sameDevices(list []portal.Device, s *fabric.State) error {
	if len(list) != len(s.Devices) {
		return fmt.Errorf("it has %d devices, and there are %d", len(list), len(s.Devices))
	}
	for _, v := range list {
		d := s.Devices[node(v.Node)]
		if d == nil || d.Phase.String() != v.Phase || d.Name != v.Name {
			return fmt.Errorf("%s %q is %s there; the log says %+v", v.Node, v.Name, v.Phase, d)
		}
	}
	return nil
}
