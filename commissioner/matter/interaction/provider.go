package interaction

import (
	"context"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/tlv"
)

// Request is whose interaction is served, and how.
type Request struct {
	Session        *exchange.Session
	FabricFiltered bool // of fabric-scoped data, only the asker's own
	Timed          bool // the interaction is timed
}

// Provider is a node's data model as an Engine serves it. Its methods are
// called from several goroutines. Each checks the asker's access.
type Provider interface {
	// Attributes are the concrete attributes that a path stands for. Of a
	// wildcard path, those that the asker may not read are left out; of a
	// concrete one, the status says what is wrong with it.
	Attributes(r *Request, p AttributePath) ([]AttributePath, Status)
	// Read gives a value, as tlv.Marshal takes it, and its cluster's version.
	Read(r *Request, p AttributePath) (v any, version uint32, s Status)
	// Write takes a value. A path with a null list index appends to a list.
	Write(ctx context.Context, r *Request, p AttributePath, v tlv.Raw, version *uint32) StatusIB
	// Commands are the concrete commands that a path stands for.
	Commands(r *Request, p CommandPath) ([]CommandPath, Status)
	// Invoke gives a response and its command, or a status alone.
	Invoke(ctx context.Context, r *Request, p CommandPath, fields tlv.Raw) (id CommandID, response any, s StatusIB)
	// Events are those with numbers from min on that match a path.
	Events(r *Request, paths []EventPath, min uint64) []Event
}

// Serve makes the engine answer for a node. It must be called before the
// manager serves a link.
func (e *Engine) Serve(p Provider) { e.provider = p }
