// Package nodes remembers what every device of the home last said: the value of
// each attribute, and whether it answers.
//
// Who looks after a device tells its Store; the Stores of the home's gateways
// tell each other (Feed, Follow), so that whoever is asked knows all. It
// promises that whoever watches sees each change after what it rests on, in
// the order in which it came, and that after a restart devices are known by
// what they said before, as not available until they say more. It decides
// nothing: what may be relied on is in the trust state.
package nodes

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Limits of ours. A device that says more is cut off there.
const (
	MaxAttributes = 10_000  // of a device
	MaxOctets     = 1 << 20 // of a device's attributes, all together
)

// Path is where an attribute is.
type Path struct {
	Endpoint  interaction.EndpointID  `cbor:"0,keyasint"`
	Cluster   interaction.ClusterID   `cbor:"1,keyasint"`
	Attribute interaction.AttributeID `cbor:"2,keyasint"`
}

func (p Path) String() string { return fmt.Sprintf("%d/%d/%d", p.Endpoint, p.Cluster, p.Attribute) }

// Node is what a device last said. It is not changed once given.
type Node struct {
	ID        cert.NodeID
	Available bool
	Since     time.Time // of what Available says
	Heard     time.Time // when it last said all it has; zero: never
	Awake     time.Time // when it was last seen awake, of a device that sleeps long; else zero
	Values    map[Path]tlv.Raw
}

// Endpoints are those it has, in order.
func (n *Node) Endpoints() (all []interaction.EndpointID) {
	seen := make(map[interaction.EndpointID]bool)
	for p := range n.Values {
		seen[p.Endpoint] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// Change is something that a device said, or that was found out about it.
type Change struct {
	Node cert.NodeID `cbor:"0,keyasint"`
	// Full says that Values are all the device has.
	Full      bool    `cbor:"1,keyasint,omitempty"`
	Available *bool   `cbor:"2,keyasint,omitempty"`
	Values    []Value `cbor:"3,keyasint,omitempty"`
	Event     *Event  `cbor:"4,keyasint,omitempty"`
	Heard     int64   `cbor:"5,keyasint,omitempty"` // Unix ms; of a full one
	Awake     int64   `cbor:"6,keyasint,omitempty"` // Unix ms
	removed   bool    // the device has left the home
	came      []interaction.EndpointID
	went      []interaction.EndpointID
}

// Removed reports whether the device has left the home.
func (c *Change) Removed() bool { return c.removed }

// Endpoints are those that the device has got, and those it has lost.
func (c *Change) Endpoints() (came, went []interaction.EndpointID) { return c.came, c.went }

// Value is an attribute's.
type Value struct {
	Path Path    `cbor:"0,keyasint"`
	Data tlv.Raw `cbor:"1,keyasint"`
}

// Event is one that a device told of.
type Event struct {
	Endpoint interaction.EndpointID `cbor:"0,keyasint"`
	Cluster  interaction.ClusterID  `cbor:"1,keyasint"`
	ID       interaction.EventID    `cbor:"2,keyasint"`
	Number   uint64                 `cbor:"3,keyasint"`
	Priority uint8                  `cbor:"4,keyasint"` // 0 debug, 1 info, 2 critical
	Time     uint64                 `cbor:"5,keyasint"` // ms since 1970, or since the device's start
	System   bool                   `cbor:"6,keyasint"` // Time is since the device's start
	Data     tlv.Raw                `cbor:"7,keyasint"`
}

// Store is a gateway's. Its methods may be called from several goroutines.
type Store struct {
	now   func() time.Time
	order sync.Mutex // one change at a time, until all were told; taken before mu
	watch map[*func(Change)]bool

	mu    sync.Mutex
	nodes map[cert.NodeID]*Node
	dirty bool // since it was saved
}

// New is a Store of devices that said nothing yet.
func New(now func() time.Time) *Store {
	return &Store{now: now, nodes: make(map[cert.NodeID]*Node), watch: make(map[*func(Change)]bool)}
}

// Get is what a device last said; false: nothing.
func (s *Store) Get(n cert.NodeID) (Node, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	node := s.nodes[n]
	if node == nil {
		return Node{ID: n}, false
	}
	return *node, true
}

// Watch has every change from now on delivered, one at a time and after Get
// shows it; deliver must not block, nor change anything here. now is what all
// devices said before. End it with stop.
func (s *Store) Watch(deliver func(Change)) (now []Node, stop func()) {
	s.order.Lock()
	defer s.order.Unlock()
	s.watch[&deliver] = true
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(s.nodes)) {
		now = append(now, *s.nodes[n])
	}
	return now, func() {
		s.order.Lock()
		defer s.order.Unlock()
		delete(s.watch, &deliver)
	}
}

// tell hands a change to all who watch. Call it in order.
func (s *Store) tell(c Change) {
	for deliver := range s.watch {
		(*deliver)(c)
	}
}

// Apply takes a change in and tells what of it is new.
func (s *Store) Apply(c Change) {
	s.order.Lock()
	defer s.order.Unlock()
	if told, ok := s.take(c); ok {
		s.tell(told)
	}
}

// take is Apply but for telling; false: nothing is new.
func (s *Store) take(c Change) (told Change, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.nodes[c.Node]
	if was == nil {
		was = &Node{ID: c.Node}
	}
	next := *was
	told = Change{Node: c.Node, Full: c.Full, Event: c.Event}
	if c.Full || len(c.Values) > 0 {
		next.Values, told.Values = was.with(c)
		told.came, told.went = difference(next.Endpoints(), was.Endpoints()), difference(was.Endpoints(), next.Endpoints())
	}
	if c.Full {
		if next.Heard = time.UnixMilli(c.Heard); c.Heard == 0 {
			next.Heard = s.now()
		}
		told.Heard = next.Heard.UnixMilli()
	}
	if c.Available != nil && (*c.Available != was.Available || was.Since.IsZero()) {
		next.Available, next.Since, told.Available = *c.Available, s.now(), c.Available
	}
	if c.Awake != 0 {
		awake, now := time.UnixMilli(c.Awake), s.now()
		if awake.After(now) { // another gateway's clock
			awake = now
		}
		if awake.After(was.Awake) {
			next.Awake, told.Awake = awake, awake.UnixMilli()
		}
	}
	if !told.Full && told.Available == nil && told.Awake == 0 && len(told.Values) == 0 && told.Event == nil {
		return told, false
	}
	s.nodes[c.Node], s.dirty = &next, true
	return told, true
}

// with is what a device has after a change, and what of that is new.
func (n *Node) with(c Change) (values map[Path]tlv.Raw, changed []Value) {
	values = make(map[Path]tlv.Raw, max(len(n.Values), len(c.Values)))
	octets := 0
	if !c.Full {
		for p, v := range n.Values {
			values[p] = v
			octets += len(v)
		}
	}
	for _, v := range c.Values {
		before, had := n.Values[v.Path]
		if _, there := values[v.Path]; !there && len(values) >= MaxAttributes || octets+len(v.Data) > MaxOctets {
			continue
		}
		if had && bytes.Equal(before, v.Data) {
			v.Data = before // one copy is enough
		} else {
			changed = append(changed, v)
		}
		octets += len(v.Data)
		values[v.Path] = v.Data
	}
	return values, changed
}

// difference is what a has and b has not.
func difference(a, b []interaction.EndpointID) (only []interaction.EndpointID) {
	for _, e := range a {
		if !slices.Contains(b, e) {
			only = append(only, e)
		}
	}
	return only
}

// Retain forgets the devices that do not belong.
func (s *Store) Retain(belongs func(cert.NodeID) bool) {
	s.order.Lock()
	defer s.order.Unlock()
	for _, n := range s.drop(belongs) {
		s.tell(Change{Node: n, removed: true})
	}
}

// drop is Retain but for telling.
func (s *Store) drop(belongs func(cert.NodeID) bool) (left []cert.NodeID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(s.nodes)) {
		if !belongs(n) {
			delete(s.nodes, n)
			left, s.dirty = append(left, n), true
		}
	}
	return left
}
