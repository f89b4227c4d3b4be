package interaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/message"
	"gatehouse/fabric/tlv"
)

// Limits of ours on what one interaction may make us keep.
const (
	MaxReport = 2 << 20 // octets of reports, all chunks together
	MaxChunks = 4096    // of one report: a peer may not go on for ever
)

// defaultWork is what a device may take to answer, beyond the network's time.
const defaultWork = 10 * time.Second

// ErrTooLong says that a command, a batch or a value fits into no message.
var ErrTooLong = errors.New("interaction: longer than a message")

var errChunks = fmt.Errorf("interaction: the report is longer than %d octets or %d chunks", MaxReport, MaxChunks)

// AttributeReport is one attribute's value, or the reason why there is none.
type AttributeReport struct {
	Path        AttributePath
	DataVersion uint32
	Data        tlv.Raw
	Err         error // a *StatusError
}

// EventReport is one event, or the reason why there is none.
type EventReport struct {
	Event
	Err error // a *StatusError
}

// Report is what a read or a subscription yields, chunks and list items put
// together.
type Report struct {
	Attributes []AttributeReport
	Events     []EventReport
}

// Decode puts the value of one attribute into v.
func (r *Report) Decode(p AttributePath, v any) error {
	for _, a := range r.Attributes {
		if a.Path.Concrete() && *a.Path.Endpoint == *p.Endpoint && *a.Path.Cluster == *p.Cluster && *a.Path.Attribute == *p.Attribute {
			if a.Err != nil {
				return a.Err
			}
			if err := tlv.Unmarshal(a.Data, v); err != nil {
				return fmt.Errorf("attribute %v: %w", p, err)
			}
			return nil
		}
	}
	return &StatusError{Status: NotFound, Path: p.String()}
}

// dialogue is one interaction that we began.
type dialogue struct {
	x    *exchange.Exchange
	work time.Duration
}

func open(m *exchange.Manager, s *exchange.Session) (dialogue, error) {
	x, err := m.Open(s)
	return dialogue{x, defaultWork}, err
}

func (d dialogue) send(ctx context.Context, opcode uint8, v any) error {
	body, err := tlv.Marshal(v)
	if err != nil {
		return err
	}
	if most := d.x.Session().MaxBody(); len(body) > most {
		return fmt.Errorf("%w: %d octets, not at most %d", ErrTooLong, len(body), most)
	}
	return d.x.Send(ctx, message.Interaction, opcode, body)
}

// receive waits for a message with this opcode; a status response in its place
// is the error that it is.
func (d dialogue) receive(ctx context.Context, opcode uint8, v any) (size int, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.x.Session().ResponseTimeout(d.work))
	defer cancel()
	msg, err := d.x.Receive(ctx)
	if err != nil {
		return 0, err
	}
	if msg.Protocol != message.Interaction {
		return 0, fmt.Errorf("interaction: answer in protocol %d", msg.Protocol)
	}
	if msg.Opcode == opStatusResponse && opcode != opStatusResponse {
		var s statusResponse
		if err := tlv.Unmarshal(msg.Body, &s); err != nil {
			return 0, err
		}
		if s.Status == Success {
			return 0, errors.New("interaction: success without an answer")
		}
		return 0, &StatusError{Status: s.Status}
	}
	if msg.Opcode != opcode {
		return 0, fmt.Errorf("interaction: message %#x where %#x belongs", msg.Opcode, opcode)
	}
	return len(msg.Body), tlv.Unmarshal(msg.Body, v)
}

func (d dialogue) status(ctx context.Context, s Status) error {
	return d.send(ctx, opStatusResponse, &statusResponse{s, revision})
}

// Read reads attributes and events.
func (e *Engine) Read(ctx context.Context, s *exchange.Session, req ReadRequest) (*Report, error) {
	d, err := open(e.m, s)
	if err != nil {
		return nil, err
	}
	defer d.x.Close()
	req.Revision = revision
	if err := d.send(ctx, opReadRequest, &req); err != nil {
		return nil, err
	}
	var a assembly
	for {
		var chunk reportData
		size, err := d.receive(ctx, opReportData, &chunk)
		if err != nil {
			return nil, err
		}
		if err := a.add(&chunk, size); err != nil {
			d.status(ctx, ResourceExhausted)
			return nil, err
		}
		if !chunk.SuppressResponse {
			if err := d.status(ctx, Success); err != nil {
				return nil, err
			}
		}
		if !chunk.More {
			return a.done(), nil
		}
	}
}

// ReadAttribute reads one attribute into v.
func (e *Engine) ReadAttribute(ctx context.Context, s *exchange.Session, p AttributePath, v any) error {
	r, err := e.Read(ctx, s, ReadRequest{Attributes: []AttributePath{p}, FabricFiltered: true})
	if err != nil {
		return err
	}
	return r.Decode(p, v)
}

// assembly puts the chunks of a report together.
type assembly struct {
	report Report
	size   int
	chunks int
	list   *listItems // the list being appended to
}

// listItems is a list attribute of which items come one by one.
type listItems struct {
	at    int // index in report.Attributes
	items tlv.Writer
}

func (a *assembly) add(chunk *reportData, size int) error {
	a.chunks++
	a.size += size
	if a.size > MaxReport || a.chunks > MaxChunks {
		return errChunks
	}
	for i := range chunk.Attributes {
		if err := a.attribute(&chunk.Attributes[i]); err != nil {
			return err
		}
	}
	for _, e := range chunk.Events {
		switch {
		case e.Data != nil:
			a.report.Events = append(a.report.Events, EventReport{Event: *e.Data})
		case e.Status != nil:
			a.report.Events = append(a.report.Events, EventReport{Event: Event{Path: e.Status.Path}, Err: e.Status.Status.err(e.Status.Path.String())})
		}
	}
	return nil
}

func (a *assembly) attribute(r *attributeReport) error {
	switch {
	case r.Data != nil && r.Data.Path.appends():
		return a.append(r.Data)
	case r.Data != nil:
		a.flush()
		d := r.Data
		if !d.Path.Concrete() {
			return errors.New("interaction: report of a wildcard path")
		}
		report := AttributeReport{Path: d.Path, Data: d.Data}
		if d.DataVersion != nil {
			report.DataVersion = *d.DataVersion
		}
		a.report.Attributes = append(a.report.Attributes, report)
	case r.Status != nil:
		a.flush()
		p := r.Status.Path
		a.report.Attributes = append(a.report.Attributes, AttributeReport{Path: p, Err: r.Status.Status.err(p.String())})
	}
	return nil
}

// append adds an item to the list reported last.
func (a *assembly) append(d *AttributeData) error {
	n := len(a.report.Attributes) - 1
	if n < 0 || a.report.Attributes[n].Err != nil || a.report.Attributes[n].Path.String() != d.Path.String() {
		return errors.New("interaction: item of a list that was not begun")
	}
	if a.list == nil {
		a.list = &listItems{at: n}
		r := tlv.NewReader(a.report.Attributes[n].Data)
		if !r.Next() || r.Type() != tlv.TypeArray {
			return errors.New("interaction: item of an attribute that is no list")
		}
		a.list.items.Array(tlv.Anonymous)
		r.Enter()
		for r.Next() {
			item, err := r.Raw()
			if err != nil {
				return err
			}
			a.list.items.Raw(tlv.Anonymous, item)
		}
	}
	a.list.items.Raw(tlv.Anonymous, d.Data)
	return nil
}

func (a *assembly) flush() {
	if a.list != nil {
		a.list.items.End()
		a.report.Attributes[a.list.at].Data = a.list.items.Bytes()
		a.list = nil
	}
}

func (a *assembly) done() *Report {
	a.flush()
	return &a.report
}

// timed announces a timed interaction, which some commands and attributes ask
// for so that a delayed one does no harm.
func (d dialogue) timed(ctx context.Context, timeout time.Duration) error {
	if timeout <= 0 {
		return nil
	}
	ms := min(timeout.Milliseconds(), 0xFFFF)
	if err := d.send(ctx, opTimedRequest, &timedRequest{uint16(ms), revision}); err != nil {
		return err
	}
	var s statusResponse
	if _, err := d.receive(ctx, opStatusResponse, &s); err != nil {
		return err
	}
	return StatusIB{Status: s.Status}.err("")
}

// Write is one attribute to write.
type Write struct {
	Path        AttributePath
	DataVersion *uint32 // write only if the cluster is in this version
	Value       any     // a tlv.Raw, or what tlv.Marshal takes
}

// Write writes attributes and returns each one's error, in order. Lists too
// long for a message are cleared and appended to item by item. A timeout other
// than 0 makes the interaction timed.
func (e *Engine) Write(ctx context.Context, s *exchange.Session, timeout time.Duration, writes ...Write) ([]error, error) {
	ib, err := encodeWrites(writes, s.MaxBody())
	if err != nil {
		return nil, err
	}
	d, err := open(e.m, s)
	if err != nil {
		return nil, err
	}
	defer d.x.Close()
	if err := d.timed(ctx, timeout); err != nil {
		return nil, err
	}
	failed := make(map[string]error)
	for len(ib) > 0 {
		n := fit(ib, s.MaxBody()-chunkReserve)
		req := writeRequest{Timed: timeout > 0, Writes: ib[:n], More: n < len(ib), Revision: revision}
		if err := d.send(ctx, opWriteRequest, &req); err != nil {
			return nil, err
		}
		var resp writeResponse
		if _, err := d.receive(ctx, opWriteResponse, &resp); err != nil {
			return nil, err
		}
		for _, st := range resp.Statuses {
			if err := st.Status.err(st.Path.String()); err != nil && failed[st.Path.String()] == nil {
				failed[st.Path.String()] = err
			}
		}
		ib = ib[n:]
	}
	errs := make([]error, len(writes))
	for i, w := range writes {
		errs[i] = failed[w.Path.String()]
	}
	return errs, nil
}

// chunkReserve is what a message's own fields and containers take at the most.
const chunkReserve = 24

// fit is how many of the writes fit into size octets, at least one.
func fit(ib []AttributeData, size int) int {
	for i := range ib {
		b, err := tlv.Marshal(&ib[i])
		if size -= len(b); i > 0 && (size < 0 || err != nil) {
			return i
		}
	}
	return len(ib)
}

// encodeWrites encodes the values, long lists as an empty one and its items.
func encodeWrites(writes []Write, maxBody int) ([]AttributeData, error) {
	var ib []AttributeData
	for _, w := range writes {
		value, err := raw(w.Value)
		if err != nil {
			return nil, fmt.Errorf("attribute %v: %w", w.Path, err)
		}
		r := tlv.NewReader(value)
		r.Next()
		if len(value) <= maxBody/2 || r.Type() != tlv.TypeArray {
			ib = append(ib, AttributeData{w.DataVersion, w.Path, value})
			continue
		}
		empty, _ := tlv.Marshal([]bool{})
		ib = append(ib, AttributeData{w.DataVersion, w.Path, empty})
		item := w.Path
		item.ListIndex = &tlv.Null[uint16]{}
		r.Enter()
		for r.Next() {
			v, err := r.Raw()
			if err != nil {
				return nil, err
			}
			ib = append(ib, AttributeData{nil, item, v})
		}
	}
	return ib, nil
}

func raw(v any) (tlv.Raw, error) {
	if r, ok := v.(tlv.Raw); ok {
		_, err := tlv.Check(r)
		return r, err
	}
	return tlv.Marshal(v)
}

// Invocation is one command to invoke.
type Invocation struct {
	Path   CommandPath
	Fields any // a tlv.Raw, what tlv.Marshal takes, or nil
}

// CommandResult is what came of an Invocation.
type CommandResult struct {
	Path   CommandPath // of the response
	Fields tlv.Raw     // nil where the answer is a status alone
	Err    error       // a *StatusError
}

// Decode puts the response's fields into v.
func (r *CommandResult) Decode(v any) error {
	if r.Err != nil {
		return r.Err
	}
	if r.Fields == nil {
		return fmt.Errorf("command %v: success without the response that belongs to it", r.Path)
	}
	return tlv.Unmarshal(r.Fields, v)
}

// Invoke invokes commands and returns their results in order. Several go in
// one batch, for which the device must say that it takes as many.
func (e *Engine) Invoke(ctx context.Context, s *exchange.Session, timeout time.Duration, commands ...Invocation) ([]CommandResult, error) {
	req := invokeRequest{Timed: timeout > 0, Revision: revision}
	for i, c := range commands {
		fields, err := encodeFields(c.Fields)
		if err != nil {
			return nil, fmt.Errorf("command %v: %w", c.Path, err)
		}
		data := commandData{Path: c.Path, Fields: fields}
		if len(commands) > 1 {
			ref := uint16(i)
			data.Ref = &ref
		}
		req.Commands = append(req.Commands, data)
	}
	d, err := open(e.m, s)
	if err != nil {
		return nil, err
	}
	defer d.x.Close()
	if err := d.timed(ctx, timeout); err != nil {
		return nil, err
	}
	d.work = max(defaultWork, timeout)
	if err := d.send(ctx, opInvokeRequest, &req); err != nil {
		return nil, err
	}
	results := make([]CommandResult, len(commands))
	for i, c := range commands { // those the device says nothing of
		results[i] = CommandResult{Path: c.Path, Err: &StatusError{Status: NoCommandResponse, Path: c.Path.String()}}
	}
	for size, chunks := 0, 0; ; chunks++ {
		var resp invokeResponse
		n, err := d.receive(ctx, opInvokeResponse, &resp)
		if err != nil {
			return nil, err
		}
		if size += n; size > MaxReport || chunks > MaxChunks {
			return nil, errChunks
		}
		if err := place(results, resp.Responses); err != nil {
			return nil, err
		}
		if !resp.More {
			return results, nil
		}
		if err := d.status(ctx, Success); err != nil {
			return nil, err
		}
	}
}

func encodeFields(v any) (tlv.Raw, error) {
	if v == nil {
		return tlv.Marshal(struct{}{})
	}
	return raw(v)
}

// place puts responses where their references say.
func place(results []CommandResult, responses []commandResponse) error {
	for _, r := range responses {
		var result CommandResult
		var ref *uint16
		switch {
		case r.Data != nil:
			result, ref = CommandResult{Path: r.Data.Path, Fields: r.Data.Fields}, r.Data.Ref
		case r.Status != nil:
			result, ref = CommandResult{Path: r.Status.Path, Err: r.Status.Status.err(r.Status.Path.String())}, r.Status.Ref
		default:
			return errors.New("interaction: empty response to a command")
		}
		i := 0
		if ref != nil {
			i = int(*ref)
		}
		if i >= len(results) || ref == nil && len(results) > 1 {
			return errors.New("interaction: response to a command that was not invoked")
		}
		results[i] = result
	}
	return nil
}

// InvokeCommand invokes one command; a response other than nil is decoded.
func (e *Engine) InvokeCommand(ctx context.Context, s *exchange.Session, timeout time.Duration, path CommandPath, fields, response any) error {
	results, err := e.Invoke(ctx, s, timeout, Invocation{path, fields})
	if err != nil {
		return err
	}
	if response == nil {
		return results[0].Err
	}
	return results[0].Decode(response)
}
