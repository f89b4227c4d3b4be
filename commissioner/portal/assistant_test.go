package portal

import (
	"fmt"
	"slices"
	"testing"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/nodes"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// TestAssistantIsTold holds the order that Home Assistant's client depends on:
// nothing of a node before it is added, nothing after it is removed, and a node
// before its endpoints.
func TestAssistantIsTold(t *testing.T) {
	p := said(t, 2)
	a := &assistant{p}
	value, err := tlv.Marshal(true)
	if err != nil {
		t.Fatal(err)
	}
	full := func(n cert.NodeID, available bool, endpoints ...uint16) nodes.Change {
		c := nodes.Change{Node: n, Full: true, Available: &available, Values: []nodes.Value{{Path: nodes.Path{Endpoint: 0, Cluster: 31}, Data: value}}}
		for _, e := range endpoints {
			c.Values = append(c.Values, nodes.Value{Path: nodes.Path{Endpoint: interaction.EndpointID(e), Cluster: 6}, Data: value})
		}
		return c
	}
	p.K.Nodes.Apply(full(2, true, 1)) // before anybody watches
	var told []string
	stop := a.Watch(func(c hass.Change) {
		if c.Kind != hass.Removed && a.Node(c.Node) == nil {
			t.Errorf("%+v is told of a node that is not shown", c)
		}
		told = append(told, fmt.Sprintf("%d/%d/%d%v", c.Node, c.Kind, c.Endpoint, c.Path.Cluster))
	})
	defer stop()
	expect := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: %q, want %q", what, told, want)
		}
		told = nil
	}
	p.say(1, true)
	p.K.Nodes.Away(1)
	expect("of a node that has not said all it has")
	if a.Node(1) != nil || len(a.Nodes()) != 1 || a.Count() != 2 {
		t.Errorf("%d nodes are shown", len(a.Nodes()))
	}
	p.K.Nodes.Apply(full(1, true, 1))
	expect("of one that has", "1/1/00")
	p.say(1, false)
	p.K.Nodes.Apply(nodes.Change{Node: 1, Event: &nodes.Event{Endpoint: 1, Cluster: 59}})
	expect("then", "1/6/06", "1/6/031", "1/7/00") // an attribute each, and an event
	p.K.Nodes.Apply(full(1, false, 1, 2))
	expect("a new endpoint, and away", "1/2/00", "1/4/20", "1/6/031", "1/6/06", "1/6/06")
	p.K.Nodes.Retain(func(n cert.NodeID) bool { return n == 2 })
	expect("one that left", "1/3/00")
	p.say(1, false)
	expect("and after it left")
	p.say(2, false)
	expect("of one that was there from the beginning", "2/6/06", "2/6/031")
}

// TestAssistantPeers: what a token may do decides what Home Assistant may, and a
// browser's session is nobody's there.
func TestAssistantPeers(t *testing.T) {
	for _, c := range []struct {
		who  door.Who
		want hass.Scope
	}{{door.Who{}, 0}, {session(fabric.Administrator), 0}, {token(fabric.Guest), hass.Read}, {token(fabric.Auditor), hass.Read}, {token(fabric.Resident), hass.Operate}, {token(fabric.Administrator), hass.Administer}} {
		if got, ok := peer(c.who); got.Scope != c.want || ok != (c.want != 0) {
			t.Errorf("%+v: %v", c.who, got.Scope)
		}
	}
}
