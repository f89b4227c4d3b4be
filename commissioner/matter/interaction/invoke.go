package interaction

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/tlv"
)

// Invocation is one command to invoke.
type Invocation struct {
	Path   CommandPath
	Fields any           // a tlv.Raw, what tlv.Marshal takes, or nil
	Work   time.Duration // what the device may take to answer, where that is long
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
	for _, c := range commands {
		d.work = max(d.work, c.Work)
	}
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
	results, err := e.Invoke(ctx, s, timeout, Invocation{Path: path, Fields: fields})
	if err != nil {
		return err
	}
	if response == nil {
		return results[0].Err
	}
	return results[0].Decode(response)
}
