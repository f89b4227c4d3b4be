package interaction

import (
	"context"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/tlv"
)

// Limits of ours on what one request may ask for.
const (
	maxPaths    = 64 // in a read or subscription
	maxCommands = 9  // in a batch, told as MaxPathsPerInvoke
)

// handle answers an interaction that a peer began.
func (e *Engine) handle(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
	if x.Session().Kind() == exchange.Unsecured {
		return // nothing is said to strangers
	}
	d := dialogue{x, defaultWork}
	if first.Opcode == opReportData {
		e.reported(ctx, d, first.Body)
		return
	}
	r := &Request{Session: x.Session()}
	if first.Opcode == opTimedRequest {
		var ok bool
		if first, ok = d.awaitTimed(ctx, first.Body); !ok {
			return
		}
		r.Timed = true
	}
	serve := map[uint8]func(context.Context, dialogue, *Request, []byte){
		opReadRequest:      e.serveRead,
		opSubscribeRequest: e.serveSubscribe,
		opWriteRequest:     e.serveWrite,
		opInvokeRequest:    e.serveInvoke,
	}[first.Opcode]
	if serve == nil || e.provider == nil {
		d.status(ctx, InvalidAction)
		return
	}
	serve(ctx, d, r, first.Body)
}

// awaitTimed takes a timed request and waits for what it announces.
func (d dialogue) awaitTimed(ctx context.Context, body []byte) (exchange.Message, bool) {
	var t timedRequest
	if !d.decode(ctx, body, &t) || d.status(ctx, Success) != nil {
		return exchange.Message{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(t.Timeout)*time.Millisecond)
	defer cancel()
	msg, err := d.x.Receive(ctx)
	return msg, err == nil
}

// decode parses a request; one that does not parse is answered as it should be.
func (d dialogue) decode(ctx context.Context, body []byte, v any) bool {
	if tlv.Unmarshal(body, v) != nil {
		d.status(ctx, InvalidAction)
		return false
	}
	return true
}

func (e *Engine) serveRead(ctx context.Context, d dialogue, r *Request, body []byte) {
	var req ReadRequest
	if !d.decode(ctx, body, &req) {
		return
	}
	if len(req.Attributes)+len(req.Events) > maxPaths {
		d.status(ctx, PathsExhausted)
		return
	}
	r.FabricFiltered = req.FabricFiltered
	report := e.collect(r, req.Attributes, req.DataVersions)
	report.collectEvents(e.provider, r, req.Events, req.EventFilters)
	d.sendReport(ctx, report, nil, true)
}

func (e *Engine) serveWrite(ctx context.Context, d dialogue, r *Request, body []byte) {
	for {
		var req writeRequest
		if !d.decode(ctx, body, &req) {
			return
		}
		if req.Timed != r.Timed {
			d.status(ctx, TimedRequestMismatch)
			return
		}
		resp := writeResponse{Statuses: []AttributeStatus{}, Revision: revision}
		for _, w := range req.Writes {
			s := e.provider.Write(ctx, r, w.Path, w.Data, w.DataVersion)
			resp.Statuses = append(resp.Statuses, AttributeStatus{w.Path, s})
		}
		if !req.SuppressResponse && d.send(ctx, opWriteResponse, &resp) != nil {
			return
		}
		if !req.More {
			return
		}
		waiting, cancel := context.WithTimeout(ctx, d.x.Session().ResponseTimeout(d.work))
		msg, err := d.x.Receive(waiting)
		cancel()
		if err != nil || msg.Opcode != opWriteRequest {
			return
		}
		body = msg.Body
	}
}

func (e *Engine) serveInvoke(ctx context.Context, d dialogue, r *Request, body []byte) {
	var req invokeRequest
	if !d.decode(ctx, body, &req) {
		return
	}
	switch {
	case req.Timed != r.Timed:
		d.status(ctx, TimedRequestMismatch)
		return
	case len(req.Commands) == 0 || !referenced(req.Commands):
		d.status(ctx, InvalidAction)
		return
	case len(req.Commands) > maxCommands:
		d.status(ctx, PathsExhausted)
		return
	}
	var responses []tlv.Raw
	for _, c := range req.Commands {
		paths, s := e.provider.Commands(r, c.Path)
		if s != Success {
			responses = append(responses, encodeStatus(c, c.Path, StatusIB{Status: s}))
		}
		for _, p := range paths {
			responses = append(responses, e.invokeOne(ctx, r, c, p))
		}
	}
	if !req.SuppressResponse {
		d.sendResponses(ctx, responses)
	}
}

// referenced reports whether the commands of a batch can be told apart.
func referenced(commands []commandData) bool {
	seen := map[uint16]bool{}
	for _, c := range commands {
		if len(commands) > 1 && (c.Ref == nil || seen[*c.Ref]) {
			return false
		}
		if c.Ref != nil {
			seen[*c.Ref] = true
		}
	}
	return true
}

func (e *Engine) invokeOne(ctx context.Context, r *Request, c commandData, p CommandPath) tlv.Raw {
	if len(c.Fields) == 0 {
		c.Fields, _ = tlv.Marshal(struct{}{})
	}
	id, response, s := e.provider.Invoke(ctx, r, p, c.Fields)
	if response == nil || s.Status != Success {
		return encodeStatus(c, p, s)
	}
	fields, err := tlv.Marshal(response)
	if err != nil {
		return encodeStatus(c, p, StatusIB{Status: Failure})
	}
	p.Command = id
	raw, _ := tlv.Marshal(&commandResponse{Data: &commandData{p, fields, c.Ref}})
	return raw
}

func encodeStatus(c commandData, p CommandPath, s StatusIB) tlv.Raw {
	raw, _ := tlv.Marshal(&commandResponse{Status: &commandStatus{p, s, c.Ref}})
	return raw
}

// sendResponses sends the responses of a batch, in as many messages as needed.
func (d dialogue) sendResponses(ctx context.Context, responses []tlv.Raw) {
	for first := true; first || len(responses) > 0; first = false {
		n, size := 0, d.x.Session().MaxBody()-chunkReserve
		for n < len(responses) && (n == 0 || size >= len(responses[n])) {
			size -= len(responses[n])
			n++
		}
		resp := rawResponses{Responses: responses[:n], More: n < len(responses), Revision: revision}
		responses = responses[n:]
		if d.send(ctx, opInvokeResponse, &resp) != nil || resp.More && !d.continues(ctx) {
			return
		}
	}
}

// rawResponses is invokeResponse with its members already encoded.
type rawResponses struct {
	SuppressResponse bool      `tlv:"0"`
	Responses        []tlv.Raw `tlv:"1"`
	More             bool      `tlv:"2,omitempty"`
	Revision         uint8     `tlv:"255"`
}

// continues waits for the peer to want the next chunk.
func (d dialogue) continues(ctx context.Context) bool {
	var s statusResponse
	_, err := d.receive(ctx, opStatusResponse, &s)
	return err == nil && s.Status == Success
}
