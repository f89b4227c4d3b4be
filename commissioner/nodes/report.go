package nodes

import (
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
)

// Report takes in what a device reported. A full report is all that it has, as
// a subscription begins with it; a device that reports is available.
func (s *Store) Report(n cert.NodeID, r *interaction.Report, full bool) {
	yes := true
	c := Change{Node: n, Full: full, Available: &yes}
	for _, a := range r.Attributes {
		if a.Err != nil || !a.Path.Concrete() {
			continue
		}
		// The report's octets are shared by all its values: what is kept is its own.
		c.Values = append(c.Values, Value{Path{*a.Path.Endpoint, *a.Path.Cluster, *a.Path.Attribute}, append([]byte(nil), a.Data...)})
	}
	s.Apply(c)
	for _, e := range r.Events {
		if event := event(&e); event != nil {
			s.Apply(Change{Node: n, Event: event})
		}
	}
}

func event(e *interaction.EventReport) *Event {
	p := e.Path
	if e.Err != nil || p.Endpoint == nil || p.Cluster == nil || p.Event == nil {
		return nil
	}
	v := &Event{Endpoint: *p.Endpoint, Cluster: *p.Cluster, ID: *p.Event, Number: e.Number, Priority: e.Priority, Data: append([]byte(nil), e.Data...)}
	switch {
	case e.Epoch != nil:
		v.Time = *e.Epoch
	case e.System != nil:
		v.Time, v.System = *e.System, true
	}
	return v
}

// Away notes that a device does not answer.
func (s *Store) Away(n cert.NodeID) {
	no := false
	s.Apply(Change{Node: n, Available: &no})
}

// Woke notes that a device that sleeps long is awake.
func (s *Store) Woke(n cert.NodeID) { s.Apply(Change{Node: n, Awake: s.now().UnixMilli()}) }

// Sleeps notes that a device is as available as one can be that sleeps.
func (s *Store) Sleeps(n cert.NodeID) {
	yes := true
	s.Apply(Change{Node: n, Available: &yes})
}
