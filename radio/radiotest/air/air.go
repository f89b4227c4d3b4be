// Package air is a Bluetooth Low Energy radio without a radio: controllers
// that share one air, each spoken to by its host in HCI packets.
//
// It promises what a Matter device and whoever pairs it need of a controller:
// legacy advertising, active and passive scanning, connections with their
// parameters, ACL data with flow control, and disconnection; public and random
// addresses are kept apart. Tests make the air worse (Conditions), cut links,
// read along and interfere (Tap), and put hostile packets into a host's way
// (Inject, Broadcast). It never encrypts, never fragments and has no
// extended advertising: a command for one of these is answered as unknown.
//
// What it does by chance is drawn from its seed. It starts timers and no
// goroutine, so it can live in a testing/synctest bubble.
//
// It follows the Bluetooth Core Specification, volume 4, part E. Production
// code never imports it.
package air

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// Limits of our own.
const (
	aclLength  = 251  // bytes of one ACL packet's data, as controllers with data length extension have
	aclBuffers = 8    // ACL packets a host may have under way
	queueLen   = 4096 // packets a host has not read yet; more are lost
	maxFaults  = 64   // kept of what hosts did wrong

	firstHandle, maxHandle = 0x40, 0xe00 // of links; two for each
)

// Conditions of the air, for everybody in it.
type Conditions struct {
	// Connect is from the advertising event that is answered until both hosts
	// are told. At zero the event is not even waited for: the connection is
	// there with the answer to the command.
	Connect time.Duration
	Latency time.Duration // of ACL data, one way
	// Loss is the probability that one event of a controller is lost: an
	// advertising event to one listener, or a connection event, which is
	// made up for an interval later. Silence for the supervision timeout ends
	// a link; at 1 all is silent until the conditions are set anew.
	Loss float64
}

// Ordinary are the conditions of a new Air.
var Ordinary = Conditions{Connect: 10 * time.Millisecond, Latency: time.Millisecond}

// Direction of ACL data on a link.
type Direction uint8

const (
	ToPeripheral Direction = iota + 1
	ToCentral
)

// A Tap sees the data of each ACL packet under way, which is an L2CAP frame
// or a fragment of one, and returns what is to arrive in its place: as it
// came, changed, none or several. It must not call the Air.
type Tap func(to Direction, frame []byte) [][]byte

// Air is what controllers share.
type Air struct {
	now func() time.Time

	mu          sync.Mutex
	rand        *rand.Rand
	conditions  Conditions
	tap         Tap
	cuts        map[Direction]int // ACL packets until the link is cut; 0 is never
	controllers []*Controller
	nextHandle  uint16
	seq         uint64
	faults      []string
}

// New makes an air without controllers.
func New(seed uint64, now func() time.Time) *Air {
	return &Air{now: now, rand: rand.New(rand.NewPCG(seed, 0)), conditions: Ordinary, cuts: map[Direction]int{}, nextHandle: firstHandle}
}

// Conditions are those that hold now.
func (a *Air) Conditions() Conditions {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.conditions
}

// SetConditions holds for events from now on.
func (a *Air) SetConditions(c Conditions) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conditions = c
	for _, l := range a.links() {
		if c.Loss >= 1 {
			a.silence(l)
		} else {
			a.resume(l)
		}
	}
}

// SetTap holds for packets from now on; nil leaves them alone.
func (a *Air) SetTap(t Tap) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tap = t
}

// Cut ends every link as a supervision timeout does, for both sides at once.
func (a *Air) Cut() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.links() {
		l.central.hangUp(statusTimeout, statusTimeout)
	}
}

// CutAt ends a link at the nth ACL packet (the first is 1) that is sent from
// now on in a direction; the packet is lost. Zero takes the order back.
func (a *Air) CutAt(to Direction, nth int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cuts[to] = nth
}

// Broadcast is one advertising event out of nowhere, heard by everybody who
// scans. Its data may be anything of up to 240 bytes.
func (a *Air) Broadcast(r Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.Data = r.Data[:min(len(r.Data), 240)]
	for _, c := range a.controllers {
		c.hear(r)
	}
}

// Faults tells what hosts did that no host may do, such as sending more ACL
// packets than the controller has buffers.
func (a *Air) Faults() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.faults...)
}

func (a *Air) fault(c *Controller, format string, args ...any) {
	if len(a.faults) < maxFaults {
		a.faults = append(a.faults, fmt.Sprintf("controller %d: ", c.index)+fmt.Sprintf(format, args...))
	}
}

func (a *Air) lost() bool { return a.conditions.Loss > 0 && a.rand.Float64() < a.conditions.Loss }

// Address is a device address and its type: the same six bytes public and
// random are two devices.
type Address struct {
	Bytes  [6]byte // as written, most significant first
	Random bool
}

func (a Address) String() string {
	kind := "public"
	if a.Random {
		kind = "random"
	}
	b := a.Bytes
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x %s", b[0], b[1], b[2], b[3], b[4], b[5], kind)
}

// readAddress reads an address as HCI carries it, least significant first.
func readAddress(kind byte, b []byte) Address {
	a := Address{Random: kind&1 != 0}
	for i := range a.Bytes {
		a.Bytes[i] = b[5-i]
	}
	return a
}

func (a Address) kind() byte {
	if a.Random {
		return 1
	}
	return 0
}

func (a Address) appendTo(b []byte) []byte {
	for i := range a.Bytes {
		b = append(b, a.Bytes[5-i])
	}
	return b
}
