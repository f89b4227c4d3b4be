package chaos

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Kind is what a call wants.
type Kind string

const (
	Reserve    Kind = "reserve"
	Sign       Kind = "sign"
	Issue      Kind = "issue"
	Admit      Kind = "admit"
	Abandon    Kind = "abandon"
	Remove     Kind = "remove"
	Rename     Kind = "rename"
	Enroll     Kind = "enroll"
	Evict      Kind = "evict"
	Read       Kind = "read"
	SetNetwork Kind = "set-network"
	GetNetwork Kind = "get-network"
	AddZone    Kind = "add-zone"
)

// Outcome is what the caller was told.
type Outcome string

const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
	Unknown Outcome = "unknown" // it may or may not have been done, or may be yet
)

// never is when a call of unknown outcome returns.
const never = math.MaxInt64

// Entry is what a linearizable read sees of one key.
type Entry struct {
	Phase fabric.Phase
	Hash  string // of the certificate
	Name  string
}

// Phases of an Entry beside those of a device.
const (
	gone     fabric.Phase = 100 // a tombstone
	enrolled fabric.Phase = 101 // a gateway
)

func (e Entry) String() string {
	switch e.Phase {
	case gone:
		return "gone"
	case enrolled:
		return "a gateway"
	}
	return fmt.Sprintf("%v %.12s %q", e.Phase, e.Hash, e.Name)
}

// Op is one call. Call and Return order calls in real time.
type Op struct {
	Client       int
	Kind         Kind
	Key          string // a node id, or a network's name
	Gateway      cert.NodeID
	Value        string // a hash, a name, credentials: given or read
	Saw          Entry  // of a Read
	Outcome      Outcome
	Code         fabric.Code // of a refusal
	Index        uint64      // of the State that came back
	Call, Return int64
	At           time.Duration // since the beginning
}

func (o Op) String() string {
	s := fmt.Sprintf("%12v [%d %d] client %d at %v: %s %s", o.At.Round(time.Millisecond), o.Call, o.Return, o.Client, o.Gateway, o.Kind, o.Key)
	if o.Value != "" {
		s += fmt.Sprintf(" %.12s", o.Value)
	}
	if o.Kind == Read {
		return s + fmt.Sprintf(" = %v, index %d", o.Saw, o.Index)
	}
	return s + fmt.Sprintf(": %s %s, index %d", o.Outcome, o.Code, o.Index)
}

// History is the calls of all clients. Its methods may be called from several
// goroutines.
type History struct {
	began time.Time
	now   func() time.Time

	lock  sync.Mutex
	clock int64
	ops   []Op
}

// tick is later than all ticks before it.
func (h *History) tick() int64 {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.clock++
	return h.clock
}

// Begin stamps a call that is about to be made.
func (h *History) Begin(o Op) Op {
	o.At = h.now().Sub(h.began)
	o.Call = h.tick()
	return o
}

// End takes up a call with what came back, and returns the outcome.
func (h *History) End(o Op, s *fabric.State, err error) Outcome {
	var refused *fabric.Refusal
	switch {
	case err == nil:
		o.Outcome = Done
	case errors.As(err, &refused):
		o.Outcome, o.Code = Refused, refused.Code
	default:
		o.Outcome = Unknown
	}
	if s != nil && err == nil {
		o.Index = s.Index
	}
	h.add(o)
	return o.Outcome
}

// Saw takes up what a read saw of some keys.
func (h *History) Saw(o Op, s *fabric.State, nodes []cert.NodeID) {
	o.Outcome, o.Index = Done, s.Index
	all := make([]Op, len(nodes))
	for i, n := range nodes {
		all[i] = o
		all[i].Key, all[i].Saw = n.String(), EntryOf(s, n)
	}
	h.add(all...)
}

func (h *History) add(ops ...Op) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.clock++
	for _, o := range ops {
		if o.Return = h.clock; o.Outcome == Unknown {
			o.Return = never
		}
		h.ops = append(h.ops, o)
	}
}

// Put takes up calls that others stamped: all those of a history, or none. One
// of unknown outcome never returns.
func (h *History) Put(ops ...Op) {
	h.lock.Lock()
	defer h.lock.Unlock()
	for _, o := range ops {
		if o.Outcome == Unknown {
			o.Return = never
		} else {
			h.clock = max(h.clock, o.Return)
		}
		h.ops = append(h.ops, o)
	}
}

// Ops are the calls so far, in the order of their ends.
func (h *History) Ops() []Op {
	h.lock.Lock()
	defer h.lock.Unlock()
	return h.ops[:len(h.ops):len(h.ops)]
}

// Evicted is when gateways' evictions were acknowledged.
func (h *History) evictions() map[string]int64 {
	at := make(map[string]int64)
	for _, o := range h.Ops() {
		if o.Kind == Evict && o.Outcome == Done && (at[o.Key] == 0 || o.Return < at[o.Key]) {
			at[o.Key] = o.Return
		}
	}
	return at
}

// EntryOf is what a State has of a node.
func EntryOf(s *fabric.State, n cert.NodeID) Entry {
	if d := s.Devices[n]; d != nil {
		return Entry{d.Phase, hex.EncodeToString(d.NOCHash), d.Name}
	}
	if g := s.Gateways[n]; g != nil && g.Member() {
		return Entry{Phase: enrolled}
	}
	if t := s.Tombstones[n]; t != nil {
		return Entry{Phase: gone}
	}
	return Entry{}
}
