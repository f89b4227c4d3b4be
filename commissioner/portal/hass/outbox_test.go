package hass

import (
	"fmt"
	"testing"
	"time"

	"gatehouse/fabric/cert"
)

var noonInside = time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)

func listening(limit int) *outbox {
	o := newOutbox(func() int { return limit })
	o.answer(message{topic: topic{kind: kindListen}})
	o.next()
	return o
}

func node(n cert.NodeID) message { return message{topic: topic{kind: kindNode, node: n}} }

func value(n cert.NodeID, v byte) message {
	return message{topic: topic{kind: kindValue, node: n, path: Path{1, 6, 0}}, value: []byte{v}}
}

func endpoint(n cert.NodeID, there bool) message {
	return message{topic: topic{kind: kindEndpoint, node: n, endpoint: 3}, there: there}
}

func event(number int) message {
	return message{topic: topic{kind: kindEvent, node: 1}, text: fmt.Append(nil, number)}
}

func answer(id string) message {
	return message{topic: topic{kind: kindAnswer}, id: requestID(id)}
}

// drain shows what waits.
func drain(o *outbox) (all []string) {
	for {
		m, ok := o.next()
		if !ok {
			return all
		}
		all = append(all, fmt.Sprint(m.kind, ":", uint64(m.node), ":", m.value, m.there, string(m.text), string(m.id)))
	}
}

func TestOutbox(t *testing.T) {
	removed := message{topic: topic{kind: kindRemoved, node: 1}}
	for name, test := range map[string]struct {
		tell []message
		want []message
	}{
		"the latest value": {[]message{value(1, 1), value(2, 1), value(1, 2)}, []message{value(1, 2), value(2, 1)}},
		"one node":         {[]message{node(1), node(2), node(1)}, []message{node(1), node(2)}},
		"an endpoint that comes back behind its node":   {[]message{endpoint(1, false), node(1), endpoint(1, true)}, []message{node(1), endpoint(1, true)}},
		"a new endpoint behind its node":                {[]message{node(1), endpoint(1, true), value(1, 1)}, []message{node(1), endpoint(1, true), value(1, 1)}},
		"nothing of what is removed, but what happened": {[]message{node(1), value(1, 1), event(1), endpoint(1, true), node(2), removed}, []message{event(1), node(2), removed}},
		"the newest events":                             {[]message{event(1), event(2), node(1), event(3), event(4), event(5)}, []message{node(1), event(3), event(4), event(5)}},
	} {
		o, want := listening(3), listening(100)
		for _, m := range test.tell {
			o.tell(m)
		}
		for _, m := range test.want {
			want.tell(m)
		}
		if got, want := drain(o), drain(want); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, not %v", name, got, want)
		}
		if len(o.latest) != 0 || o.events.Len() != 0 || o.waiting.Len() != 0 {
			t.Errorf("%s: something is left", name)
		}
	}
}

// TestOutboxOrder sees answers overtake, and what must go before them.
func TestOutboxOrder(t *testing.T) {
	o := newOutbox(func() int { return 10 })
	o.tell(value(1, 1)) // nobody listens
	o.answer(answer("a"))
	if got := drain(o); len(got) != 1 {
		t.Errorf("%v", got)
	}
	o.answer(answer("b"))
	o.answer(message{topic: topic{kind: kindListen}, id: requestID("l")})
	o.tell(value(1, 1))
	o.tell(node(2))
	o.answer(answer("c"))
	paired := answer("d")
	paired.after = 2
	o.answer(paired)
	var kinds []kind
	for m, ok := o.next(); ok; m, ok = o.next() {
		kinds = append(kinds, m.kind)
	}
	if fmt.Sprint(kinds) != fmt.Sprint([]kind{kindListen, kindAnswer, kindAnswer, kindNode, kindAnswer, kindValue}) {
		t.Errorf("%v", kinds)
	}
	o.tell(node(1))
	o.shut()
	if m, _ := o.next(); m.kind != kindShut {
		t.Errorf("the end comes behind %v", m.kind)
	}
}

// TestOutboxBounded tells a client that takes nothing for long.
func TestOutboxBounded(t *testing.T) {
	o := listening(1000)
	for i := range 100_000 {
		o.tell(value(cert.NodeID(i%200), byte(i)))
		o.tell(node(cert.NodeID(i % 200)))
		o.tell(endpoint(cert.NodeID(i%200), i%3 == 0))
		o.tell(event(i))
		o.tell(message{topic: topic{kind: kindInfo}})
	}
	if n := o.waiting.Len(); n != 3*200+1000+1 {
		t.Errorf("%d messages wait", n)
	}
	if o.dropped != 99_000 {
		t.Errorf("%d are dropped", o.dropped)
	}
}
