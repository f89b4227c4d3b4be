// Package chaos proves that a home of several gateways keeps its promises
// while everything around them breaks: it drives gateways as pairings do,
// writes down what each call was told, and holds that against what the trust
// state has in the end.
//
//   - Client and Settle are the workload, over whatever is a Gateway.
//   - Trial is the record: a history of calls, every certificate signed, every
//     certificate that a simulated device ever got.
//   - Check and Verify say what was broken.
//
// They know nothing of how gateways run or what breaks them. The tests run
// gateways in one process and in simulated time (testing/synctest), on a
// network in memory, each with a disk of its own. Faults and workload come
// from one seed; which goroutine runs first does not, so that a seed makes a
// failure likely to come again, not certain.
//
// Nothing but tests imports this package.
package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/audit"
	"gatehouse/fabric/cert"
)

// Gateway is what the workload asks of a gateway. Errors other than a
// *fabric.Refusal leave open what became of a call.
type Gateway interface {
	Node() cert.NodeID
	Propose(context.Context, fabric.Command) (*fabric.State, error)
	Current(context.Context) (*fabric.State, error)
	State() *fabric.State
	// Sign makes a device's certificate.
	Sign(ctx context.Context, node cert.NodeID, key cert.PublicKey) (noc []byte, err error)
	// SetNetwork seals credentials and proposes them.
	SetNetwork(ctx context.Context, name, credentials string) (*fabric.State, error)
	// OpenNetwork opens what a State has of them.
	OpenNetwork(ctx context.Context, s *fabric.State, name string) (credentials string, err error)
	// Evict ends a gateway's membership.
	Evict(ctx context.Context, node cert.NodeID) error
	// Pairings are those in its memory.
	Pairings() *sync.Map
	// Done is closed once it is no more.
	Done() <-chan struct{}
}

// Trial is the record of one home's life. Its methods may be called from
// several goroutines.
type Trial struct {
	History
	Now func() time.Time

	mu      sync.Mutex
	devices map[cert.NodeID]*Device
	signed  [][]byte
	states  map[uint64]observed   // by index, as any gateway had it
	trails  map[uint64]audit.Hash // roots of the audit trail by its size, as any gateway had it
	broken  []error
	more    int // broken, and not kept
}

// maxBroken bounds the violations kept: the first ones tell most.
const maxBroken = 20

// NewTrial begins a record.
func NewTrial(now func() time.Time) *Trial {
	return &Trial{Now: now, devices: map[cert.NodeID]*Device{}, states: map[uint64]observed{}, trails: map[uint64]audit.Hash{}, History: History{began: now(), now: now}}
}

// Broken records a promise that was not kept.
func (t *Trial) Broken(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.broken) == maxBroken {
		t.more++
		return
	}
	t.broken = append(t.broken, fmt.Errorf(format, args...))
}

// Violations are the promises that were not kept.
func (t *Trial) Violations() []error {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone(t.broken)
	if t.more > 0 {
		all = append(all, fmt.Errorf("and %d more", t.more))
	}
	return all
}

// Signed records a certificate that left a gateway.
func (t *Trial) Signed(noc []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.signed = append(t.signed, noc)
}

// Device makes a simulated device that is about to be paired as a node.
func (t *Trial) Device(n cert.NodeID, key cert.PublicKey) *Device {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := &Device{node: n, key: key, now: t.Now, armed: t.Now()}
	t.devices[n] = d
	return d
}

// Find is the device that was to be a node, or nil.
func (t *Trial) Find(n cert.NodeID) *Device {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.devices[n]
}

// Devices are all devices, by node id.
func (t *Trial) Devices() (all []*Device) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(t.devices)) {
		all = append(all, t.devices[n])
	}
	return all
}
