package portal

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/nodes"
	"gatehouse/commissioner/portal/door"
)

// Limits of ours.
const (
	maxListeners = 200              // at a time, all browsers together
	eventQueue   = 512              // changes that wait for one browser
	eventBeat    = 15 * time.Second // between signs of life, and looks whether who listens still may
	eventWrite   = 10 * time.Second // for which a browser may not take anything
)

// DeviceEvent tells what a device said: event device.
type DeviceEvent struct {
	Node      string                     `json:"node_id"`
	Available *bool                      `json:"available,omitempty"`
	Values    map[string]json.RawMessage `json:"values,omitempty"` // by endpoint/cluster/attribute; none of endpoint 0
	Removed   bool                       `json:"removed,omitempty"`
}

// HomeEvent tells that the trust state has changed, up to an index: event home.
// Lists may be other than they were.
type HomeEvent struct {
	Index uint64 `json:"index"`
}

// listeners are the browsers that events are sent to.
var errListeners = &commissioner.Failure{Code: "too-many-listeners", Message: "too many browsers listen to this gateway", Remedy: "close some, or open another gateway"}

// events are server-sent ones: device and home as above, and lost, when some
// could not be delivered: who listens reads everything anew.
func (p *Portal) events(w http.ResponseWriter, r *http.Request) error {
	if p.listening.Add(1) > maxListeners {
		p.listening.Add(-1)
		return errListeners
	}
	defer p.listening.Add(-1)
	queue, lost := make(chan nodes.Change, eventQueue), atomic.Bool{}
	_, stop := p.K.Nodes.Watch(func(c nodes.Change) {
		select {
		case queue <- c:
		default:
			lost.Store(true)
		}
	})
	defer stop()
	var changed <-chan struct{}
	if p.M != nil {
		changed = p.M.Watch(r.Context())
	}
	unhurried(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := &eventStream{w: w, control: http.NewResponseController(w)}
	out.send("home", HomeEvent{p.C.Ledger.State().Index})
	beat := time.NewTicker(eventBeat)
	defer beat.Stop()
	for out.err == nil {
		select {
		case c := <-queue:
			if lost.Swap(false) {
				out.send("lost", struct{}{})
			}
			if e, ok := deviceEvent(c); ok {
				out.send("device", e)
			}
		case <-changed:
			out.send("home", HomeEvent{p.C.Ledger.State().Index})
		case <-beat.C:
			if p.leftSince(r) {
				return nil
			}
			out.comment()
		case <-r.Context().Done():
			return nil
		}
	}
	return nil
}

// leftSince reports whether who makes a request lost their pass since.
func (p *Portal) leftSince(r *http.Request) bool {
	who := door.From(r.Context())
	if who.Pass == "" {
		return false
	}
	person, _ := p.C.Ledger.State().Bearer(who.Pass, p.now().UnixMilli())
	return person == nil || person.Role != who.Role
}

func deviceEvent(c nodes.Change) (DeviceEvent, bool) {
	e := DeviceEvent{Node: c.Node.String(), Available: c.Available, Removed: c.Removed()}
	for _, v := range c.Values {
		if v.Path.Endpoint == 0 {
			continue
		}
		if value, err := v.Data.JSON(); err == nil {
			if e.Values == nil {
				e.Values = make(map[string]json.RawMessage)
			}
			e.Values[v.Path.String()] = value
		}
	}
	return e, e.Available != nil || e.Removed || e.Values != nil
}

// eventStream writes server-sent events, each at once.
type eventStream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error // the browser has gone, or takes nothing
}

func (s *eventStream) send(event string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return
	}
	s.write("event: %s\ndata: %s\n\n", event, b)
}

func (s *eventStream) comment() { s.write(":\n\n") }

func (s *eventStream) write(format string, args ...any) {
	if s.err != nil {
		return
	}
	s.control.SetWriteDeadline(time.Now().Add(eventWrite)) // where there is none, as in tests, nothing is to be bounded
	if _, s.err = fmt.Fprintf(s.w, format, args...); s.err == nil {
		s.err = s.control.Flush()
	}
	s.control.SetWriteDeadline(time.Time{}) // HTTP/2 ends a stream whose deadline passes, also one with nothing to write
}
