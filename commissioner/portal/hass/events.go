package hass

import (
	"encoding/json"
	"strconv"
	"sync"

	"gatehouse/commissioner/matter/datamodel/names"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
)

// keptEvents is how many events of devices are kept for diagnostics.
const keptEvents = 25

// Kinds of an event's time.
const (
	timeSystem = iota // ms since the device began
	timeEpoch         // ms since 1970, by the device's clock
	timePOSIX         // the same, by ours
)

// history is the last events of devices, rendered.
type history struct {
	mu   sync.Mutex
	last [][]byte
}

func (h *history) add(event []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last = append(h.last, event); len(h.last) > keptEvents {
		h.last = append([][]byte(nil), h.last[1:]...)
	}
}

func (h *history) all() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([][]byte(nil), h.last...)
}

// changed tells all clients of a change.
func (s *Server) changed(c Change) {
	m := message{topic: topic{node: c.Node}}
	switch c.Kind {
	case Added, Updated:
		m.kind = kindNode
	case Removed:
		m.kind = kindRemoved
	case EndpointAdded, EndpointRemoved:
		m.kind, m.topic.endpoint, m.there = kindEndpoint, c.Endpoint, c.Kind == EndpointAdded
	case AttributeChanged:
		m.kind, m.path, m.value = kindValue, c.Path, c.Value
	case Happened:
		event := s.appendEvent(nil, c.Node, c.Event)
		s.history.add(event)
		m.kind = kindEvent
		m.text = append(append([]byte(`{"event":"node_event","data":`), event...), '}')
	}
	s.tell(m)
}

// tell tells all clients.
func (s *Server) tell(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.out.tell(m)
	}
}

// Publish tells an event, one of ThreadDiagnostics, NetworkTopology and
// WebRTCCallback, to the clients that asked for such.
func (s *Server) Publish(event string, data any) {
	text, err := json.Marshal(struct {
		Event string `json:"event"`
		Data  any    `json:"data"`
	}{event, data})
	if err != nil {
		s.Log.Error("event not rendered", "event", event, "err", err)
		return
	}
	s.tell(message{topic: topic{kind: kindExtra, event: event}, text: text})
}

// infoChanged tells clients what the server says of itself now.
func (s *Server) infoChanged() { s.tell(message{topic: topic{kind: kindInfo}}) }

// appendEvent renders a device's event, fields keyed by name.
func (s *Server) appendEvent(b []byte, n cert.NodeID, e *interaction.Event) []byte {
	var endpoint interaction.EndpointID
	var cluster interaction.ClusterID
	var id interaction.EventID
	if e.Path.Endpoint != nil {
		endpoint = *e.Path.Endpoint
	}
	if e.Path.Cluster != nil {
		cluster = *e.Path.Cluster
	}
	if e.Path.Event != nil {
		id = *e.Path.Event
	}
	at, kind := uint64(s.Now().UnixMilli()), timePOSIX
	switch {
	case e.Epoch != nil:
		at, kind = *e.Epoch, timeEpoch
	case e.System != nil:
		at, kind = *e.System, timeSystem
	}
	for _, part := range []struct {
		key   string
		value uint64
	}{{`{"node_id":`, uint64(n)}, {`,"endpoint_id":`, uint64(endpoint)}, {`,"cluster_id":`, uint64(cluster)}, {`,"event_id":`, uint64(id)},
		{`,"event_number":`, e.Number}, {`,"priority":`, uint64(e.Priority)}, {`,"timestamp":`, at}, {`,"timestamp_type":`, uint64(kind)}} {
		b = strconv.AppendUint(append(b, part.key...), part.value, 10)
	}
	b = append(b, `,"data":`...)
	var fields names.Struct
	if c := names.Of(cluster); c != nil && c.Events[id] != nil {
		fields = c.Events[id].Struct
	}
	if len(e.Data) == 0 {
		return append(b, "null}"...)
	}
	return append(appendNamed(b, e.Data, &fields), '}')
}
