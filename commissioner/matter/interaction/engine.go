package interaction

import (
	"sync"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
)

// Engine is the interaction model of one node: it asks others, keeps
// subscriptions to them, and answers for its own Provider, if it has one.
type Engine struct {
	// Pace is how long we may be silent to a subscriber that asks for less, as a
	// node may that sleeps; nil: as long as is asked for. Set it first.
	Pace func(asked time.Duration) time.Duration

	m        *exchange.Manager
	provider Provider

	mu      sync.Mutex
	subs    map[subscriptionKey]*Subscription
	pubs    map[uint32]*publication
	nextPub uint32
}

// New makes the manager hand interactions to the engine.
func New(m *exchange.Manager) *Engine {
	e := &Engine{m: m, subs: make(map[subscriptionKey]*Subscription), pubs: make(map[uint32]*publication)}
	m.Handle(message.Interaction, e.handle)
	return e
}
