package hass

import (
	"container/list"
	"sync"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Limits of ours on what waits for a slow client.
const (
	minEvents     = 1000 // events of devices
	eventsPerNode = 20
)

// kind is a kind of message.
type kind uint8

const (
	kindNode     kind = iota + 1 // what a node is now
	kindRemoved                  // of a node
	kindEndpoint                 // that it is there or is not
	kindValue                    // of an attribute
	kindEvent
	kindInfo   // of the server
	kindExtra  // for those who asked for such
	kindAnswer // to a request
	kindListen // the answer to start_listening
	kindShut
)

// topic is what a message is about: of one topic only the latest waits. Events
// have none.
type topic struct {
	kind     kind
	node     cert.NodeID
	endpoint interaction.EndpointID
	path     Path
	event    string // of an extra
}

// message is something that waits to be told.
type message struct {
	topic
	value tlv.Raw // of an attribute
	there bool    // an endpoint: added; a node: added
	text  []byte  // rendered already: an event, an extra
	id    requestID
	// render makes the answer to a request: as late as can be, so that few of
	// them are in memory.
	render func([]byte) []byte
	after  cert.NodeID // an answer that what waits of this node goes before
	done   func()      // the answer is out
}

// inOrder reports whether a message is told beside others of its topic.
func (m *message) inOrder() bool {
	return m.kind == kindEvent || m.kind == kindExtra && m.event != NetworkTopology
}

// outbox is what waits for one client. Answers overtake everything else: they
// are bounded by the requests that may wait. What has a state is bounded by
// what there is; events are by a limit, and the oldest are dropped.
type outbox struct {
	limit func() int // of events

	mu        sync.Mutex
	wake      chan struct{} // holds one
	listening bool          // start_listening was asked
	listens   []message
	answers   []message
	waiting   *list.List // of *message
	latest    map[topic]*list.Element
	events    *list.List // of *list.Element, in waiting
	opted     map[string]bool
	shutting  bool
	dropped   int
}

func newOutbox(limit func() int) *outbox {
	return &outbox{limit: limit, wake: make(chan struct{}, 1), waiting: list.New(), latest: make(map[topic]*list.Element), events: list.New(), opted: make(map[string]bool)}
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// answer puts the answer to a request.
func (o *outbox) answer(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.kind == kindListen {
		// From here on changes wait: what the answer does not show follows it.
		o.listening = true
		o.listens = append(o.listens, m)
	} else {
		o.answers = append(o.answers, m)
	}
	o.signal()
}

// optIn has the client told of extras of a kind.
func (o *outbox) optIn(event string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opted[event] = true
}

// tell puts something that the client did not ask for. It never waits.
func (o *outbox) tell(m message) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m.kind == kindExtra && !o.opted[m.event] || !o.listening {
		return
	}
	if m.inOrder() {
		o.events.PushBack(o.waiting.PushBack(&m))
		for o.events.Len() > max(1, o.limit()) {
			o.waiting.Remove(o.events.Remove(o.events.Front()).(*list.Element))
			o.dropped++
		}
		o.signal()
		return
	}
	if m.kind == kindRemoved {
		o.forget(m.node)
	}
	old := o.latest[m.topic]
	switch {
	case old != nil && m.kind == kindEndpoint:
		// An endpoint is told of behind the node that shows it.
		o.waiting.Remove(old)
		o.latest[m.topic] = o.waiting.PushBack(&m)
	case old != nil:
		m.there = m.there || old.Value.(*message).there
		*old.Value.(*message) = m
	default:
		o.latest[m.topic] = o.waiting.PushBack(&m)
	}
	o.signal()
}

// forget drops all that waits of a node.
func (o *outbox) forget(n cert.NodeID) {
	for e := o.waiting.Front(); e != nil; {
		next := e.Next()
		if m := e.Value.(*message); m.node == n && !m.inOrder() && m.kind != kindInfo && m.kind != kindExtra {
			o.waiting.Remove(e)
			delete(o.latest, m.topic)
		}
		e = next
	}
}

// shut has the client told that the server goes, before anything else.
func (o *outbox) shut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.shutting = true
	o.signal()
}

// next is what goes out next; false: nothing waits.
func (o *outbox) next() (m message, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.shutting:
		return message{topic: topic{kind: kindShut}}, true
	case len(o.listens) > 0:
		return pop(&o.listens), true
	case len(o.answers) > 0:
		if e := o.latest[topic{kind: kindNode, node: o.answers[0].after}]; o.answers[0].after != 0 && e != nil {
			return o.take(e), true
		}
		return pop(&o.answers), true
	case o.waiting.Len() > 0:
		return o.take(o.waiting.Front()), true
	}
	return m, false
}

func pop(q *[]message) message {
	m := (*q)[0]
	(*q)[0] = message{}
	*q = (*q)[1:]
	return m
}

func (o *outbox) take(e *list.Element) message {
	m := o.waiting.Remove(e).(*message)
	if m.inOrder() {
		o.events.Remove(o.events.Front())
	} else {
		delete(o.latest, m.topic)
	}
	return *m
}
