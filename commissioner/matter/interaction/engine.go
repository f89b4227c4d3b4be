package interaction

import (
	"context"
	"sync"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/tlv"
)

// Engine is the interaction model of one node: it asks others, keeps
// subscriptions to them, and answers for its own Provider, if it has one.
type Engine struct {
	m *exchange.Manager

	mu   sync.Mutex
	subs map[subscriptionKey]*Subscription
}

// New makes the manager hand interactions to the engine.
func New(m *exchange.Manager) *Engine {
	e := &Engine{m: m, subs: make(map[subscriptionKey]*Subscription)}
	m.Handle(message.Interaction, e.handle)
	return e
}

// handle answers an interaction that a peer began.
func (e *Engine) handle(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
	if x.Session().Kind() == exchange.Unsecured {
		return // nothing is said to strangers
	}
	d := dialogue{x, defaultWork}
	switch first.Opcode {
	case opReportData:
		e.reported(ctx, d, first.Body)
	default:
		d.status(ctx, InvalidAction)
	}
}

// decode parses a request; one that does not parse is answered as it should be.
func (d dialogue) decode(ctx context.Context, body []byte, v any) bool {
	if tlv.Unmarshal(body, v) != nil {
		d.status(ctx, InvalidAction)
		return false
	}
	return true
}
