package hass

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
)

// Limits of ours on one client.
const (
	maxFrame    = 32 << 20         // octets of a request; an imported dump has several MiB
	maxPending  = 512              // requests that are not answered yet; further ones are refused
	maxRefused  = 512              // of which as many may be on their way
	maxInFlight = 2 * maxFrame     // octets of those
	stall       = 5 * time.Minute  // that a frame may take to go out
	heartbeat   = 55 * time.Second // between pings, as clients have it too
	pongLimit   = 30 * time.Second
	maxID       = 1 << 10 // octets of a message's id
	largeBuffer = 1 << 20 // octets; one that grew beyond is not kept
)

// conn is one client.
type conn struct {
	s    *Server
	ws   *websocket.Conn
	peer Peer
	host string
	out  *outbox

	mu       sync.Mutex
	pending  int
	inFlight int
	lanes    map[lane]chan struct{} // closed once the last of a lane is through

	known map[cert.NodeID]bool // by the client; the writer's
}

// lane is what commands are carried out in turn for: two to one endpoint in
// the order in which they came.
type lane struct {
	node     cert.NodeID
	endpoint interaction.EndpointID
}

// serve is one client's connection, from its beginning to its end.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, peer Peer) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow()
	ws.SetReadLimit(maxFrame)
	c := &conn{s: s, ws: ws, peer: peer, host: host(r), lanes: make(map[lane]chan struct{}), known: make(map[cert.NodeID]bool)}
	c.out = newOutbox(func() int { return max(minEvents, eventsPerNode*s.Home.Count()) })
	if !s.enter(c) {
		ws.Close(websocket.StatusGoingAway, "the server shuts down")
		return
	}
	defer s.leave(c)
	// Whatever the client asked for goes on without it no longer than this.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { c.write(ctx, cancel, &wg) })
	wg.Go(func() {
		select {
		case <-peer.Left:
			ws.Close(websocket.StatusPolicyViolation, "this token is no longer good")
			cancel()
		case <-ctx.Done():
		}
	})
	err = c.read(ctx, &wg)
	s.Log.Debug("client left", "name", peer.Name, "why", err, "dropped", c.out.dropped)
}

func (s *Server) enter(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.conns[c] = true
	s.running.Add(1)
	return true
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.label.conn == c {
		s.label = labelOwner{}
	}
	s.running.Done()
}

// requestID is a request's id, as it came.
type requestID json.RawMessage

// request is one of a client's.
type request struct {
	ID      json.RawMessage `json:"message_id"`
	Command string          `json:"command"`
	Args    json.RawMessage `json:"args"`
}

// read takes requests until the connection ends.
func (c *conn) read(ctx context.Context, wg *sync.WaitGroup) error {
	for {
		typ, frame, err := c.ws.Read(ctx)
		if err != nil {
			return err
		}
		if typ != websocket.MessageText {
			c.ws.Close(websocket.StatusUnsupportedData, "requests are text")
			return errors.New("a frame that is not text")
		}
		c.take(ctx, frame, wg)
	}
}

// take begins one request.
func (c *conn) take(ctx context.Context, frame []byte, wg *sync.WaitGroup) {
	var req request
	id, err := requestID(`""`), json.Unmarshal(frame, &req)
	if len(req.ID) > 0 && len(req.ID) <= maxID && (req.ID[0] == '"' || req.ID[0] == '-' || '0' <= req.ID[0] && req.ID[0] <= '9') {
		id = requestID(req.ID)
	}
	k, known := commands[req.Command]
	pending, inFlight := c.admit(len(frame))
	done := func() { c.release(len(frame)) }
	switch {
	case pending > maxPending+maxRefused:
		c.ws.Close(websocket.StatusPolicyViolation, "too many requests are not answered yet")
		return
	case pending > maxPending || inFlight > maxInFlight:
		c.refuse(id, fail(Unknown, "too many requests are not answered yet"), done)
		return
	case err != nil:
		c.refuse(id, fail(InvalidArguments, "the request is no JSON object of message_id, command and args"), done)
		return
	case !known:
		c.refuse(id, fail(InvalidCommand, "Unknown command %q", req.Command), done)
		return
	case c.peer.Scope < k.scope:
		c.refuse(id, beyond(c.peer.Scope, req.Command, k.scope), done)
		return
	}
	if k.optIn != "" {
		c.out.optIn(k.optIn)
	}
	if k.run == nil { // start_listening
		c.out.answer(message{topic: topic{kind: kindListen}, id: id, done: done})
		return
	}
	call := &call{conn: c, args: req.Args, command: req.Command}
	turn, through := c.queue(call, k)
	wg.Go(func() {
		defer through()
		select {
		case <-turn:
		case <-ctx.Done():
			return
		}
		result, err := k.run(c.s, ctx, call)
		if err != nil {
			c.refuse(id, explain(err, k.otherwise), done)
			return
		}
		c.out.answer(message{topic: topic{kind: kindAnswer}, id: id, render: result, after: call.after, done: done})
	})
}

// admit counts a request in and says how many there are, and their octets.
func (c *conn) admit(size int) (pending, inFlight int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending++
	c.inFlight += size
	return c.pending, c.inFlight
}

func (c *conn) release(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending--
	c.inFlight -= size
}

// open is already everybody's turn.
var open = func() chan struct{} { ch := make(chan struct{}); close(ch); return ch }()

// queue is when a command's turn comes, and what says that it is through.
func (c *conn) queue(call *call, k command) (turn <-chan struct{}, through func()) {
	var l struct {
		Node     cert.NodeID            `json:"node_id"`
		Endpoint interaction.EndpointID `json:"endpoint_id"`
		Path     string                 `json:"attribute_path"`
	}
	if !k.inTurn || json.Unmarshal(call.args, &l) != nil {
		return open, func() {}
	}
	if p, err := parsePattern(l.Path); err == nil && p.endpoint != nil {
		l.Endpoint = *p.endpoint
	}
	key, end := lane{l.Node, l.Endpoint}, make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.lanes[key]
	c.lanes[key] = end
	if before == nil {
		before = open
	}
	return before, func() {
		close(end)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.lanes[key] == end {
			delete(c.lanes, key)
		}
	}
}

// refuse answers a request with an error.
func (c *conn) refuse(id requestID, e *Error, done func()) {
	c.out.answer(message{topic: topic{kind: kindAnswer}, id: id, done: done, render: func(b []byte) []byte {
		text, _ := json.Marshal(struct {
			Code    Code                `json:"error_code"`
			Details string              `json:"details"`
			Status  *interaction.Status `json:"status,omitempty"`
			Cluster *uint8              `json:"cluster_status,omitempty"`
		}{e.Code, e.Details, e.Status, e.Cluster})
		return append(b, text[1:len(text)-1]...)
	}, there: true})
}

// write sends what waits until the connection ends.
func (c *conn) write(ctx context.Context, cancel func(), wg *sync.WaitGroup) {
	defer cancel()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	greeting, _ := json.Marshal(c.s.Info())
	if c.send(ctx, greeting) != nil {
		return
	}
	var buffer []byte
	for {
		m, ok := c.out.next()
		if !ok {
			select {
			case <-c.out.wake:
			case <-beat.C:
				// Only here, where no frame is on its way: behind one that a slow
				// client takes long for, a ping would find nobody.
				wg.Go(func() { c.ping(ctx) })
			case <-ctx.Done():
				return
			}
			continue
		}
		buffer = c.render(buffer[:0], m)
		if len(buffer) > 0 && c.send(ctx, buffer) != nil {
			return
		}
		if m.done != nil {
			m.done()
		}
		if m.kind == kindShut {
			c.ws.Close(websocket.StatusGoingAway, "the server shuts down")
			return
		}
		if cap(buffer) > largeBuffer {
			buffer = nil
		}
	}
}

func (c *conn) send(ctx context.Context, frame []byte) error {
	ctx, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	return c.ws.Write(ctx, websocket.MessageText, frame)
}

// ping sees whether the client is there.
func (c *conn) ping(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pongLimit)
	defer cancel()
	if c.ws.Ping(ctx) != nil {
		c.ws.CloseNow()
	}
}

// render makes a frame; nothing, if the client is not to be told any more. It
// keeps count of the nodes that the client knows.
func (c *conn) render(b []byte, m message) []byte {
	switch m.kind {
	case kindAnswer:
		b = append(append(append(b, `{"message_id":`...), m.id...), ',')
		if m.there { // an error
			return append(m.render(b), '}')
		}
		return append(m.render(append(b, `"result":`...)), '}')
	case kindListen:
		b = append(append(append(b, `{"message_id":`...), m.id...), `,"result":`...)
		clear(c.known)
		return append(c.s.appendNodes(b, false, func(n cert.NodeID) { c.known[n] = true }), '}')
	case kindNode:
		return c.renderNode(b, m)
	case kindRemoved:
		if !c.known[m.node] {
			return nil
		}
		delete(c.known, m.node)
		return append(strconv.AppendUint(append(b, `{"event":"node_removed","data":`...), uint64(m.node), 10), '}')
	case kindInfo:
		text, _ := json.Marshal(c.s.Info())
		return append(append(append(b, `{"event":"server_info_updated","data":`...), text...), '}')
	case kindExtra:
		return append(b, m.text...)
	case kindShut:
		return append(b, `{"event":"server_shutdown","data":{}}`...)
	}
	if !c.known[m.node] {
		return nil
	}
	switch m.kind {
	case kindEndpoint:
		event := "endpoint_removed"
		if m.there {
			event = "endpoint_added"
		}
		b = append(append(append(b, `{"event":"`...), event...), `","data":{"node_id":`...)
		b = append(strconv.AppendUint(b, uint64(m.node), 10), `,"endpoint_id":`...)
		return append(strconv.AppendUint(b, uint64(m.topic.endpoint), 10), '}', '}')
	case kindValue:
		b = strconv.AppendUint(append(b, `{"event":"attribute_updated","data":[`...), uint64(m.node), 10)
		b = append(append(append(b, `,"`...), m.path.String()...), `",`...)
		return append(appendValue(b, m.value), ']', '}')
	}
	return append(b, m.text...)
}

// renderNode shows a node as it is now, which is newer than whatever was said
// of it when the message began to wait.
func (c *conn) renderNode(b []byte, m message) []byte {
	event := "node_updated"
	if !c.known[m.node] {
		event = "node_added"
	}
	start := len(b)
	b = append(append(append(b, `{"event":"`...), event...), `","data":`...)
	b, ok := c.s.appendNodeOf(b, m.node)
	if !ok {
		return b[:start] // it is gone, and its removal follows
	}
	c.known[m.node] = true
	return append(b, '}')
}
