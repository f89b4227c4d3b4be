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
