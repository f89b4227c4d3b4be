package interaction

import (
	"context"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/tlv"
)

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
