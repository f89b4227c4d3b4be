package interaction

import (
	"context"

	"gatehouse/fabric/tlv"
)

// outgoing is a report being made: its members, encoded, in order.
type outgoing struct {
	attributes []tlv.Raw
	events     []tlv.Raw
	lastEvent  uint64
}

// collect reads the attributes that the paths stand for. One whose cluster the
// asker knows in its present version is left out.
func (e *Engine) collect(r *Request, paths []AttributePath, known []DataVersionFilter) *outgoing {
	out := new(outgoing)
	max := r.Session.MaxBody() - chunkReserve
	for _, p := range paths {
		concrete, status := e.provider.Attributes(r, p)
		if status != Success {
			out.status(p, status)
		}
		for _, c := range concrete {
			v, version, status := e.provider.Read(r, c)
			switch {
			case status != Success:
				if p.Concrete() {
					out.status(c, status)
				}
			case !unchanged(known, c, version):
				out.value(c, version, v, max)
			}
		}
	}
	return out
}

func unchanged(known []DataVersionFilter, p AttributePath, version uint32) bool {
	for _, f := range known {
		if f.Version == version && f.Path.Endpoint != nil && f.Path.Cluster != nil && *f.Path.Endpoint == *p.Endpoint && *f.Path.Cluster == *p.Cluster {
			return true
		}
	}
	return false
}

func (o *outgoing) status(p AttributePath, s Status) {
	raw, _ := tlv.Marshal(&attributeReport{Status: &AttributeStatus{p, StatusIB{Status: s}}})
	o.attributes = append(o.attributes, raw)
}

// value adds a value; a list too long for a message is begun empty and
// continued item by item.
func (o *outgoing) value(p AttributePath, version uint32, v any, max int) {
	data, err := raw(v)
	if err != nil {
		o.status(p, Failure)
		return
	}
	encoded := encodeData(p, version, data)
	r := tlv.NewReader(data)
	if r.Next(); len(encoded) <= max || r.Type() != tlv.TypeArray {
		o.attributes = append(o.attributes, encoded)
		return
	}
	empty, _ := tlv.Marshal([]bool{})
	o.attributes = append(o.attributes, encodeData(p, version, empty))
	p.ListIndex = &tlv.Null[uint16]{}
	r.Enter()
	for r.Next() {
		item, err := r.Raw()
		if err != nil {
			return
		}
		o.attributes = append(o.attributes, encodeData(p, version, item))
	}
}

func encodeData(p AttributePath, version uint32, data tlv.Raw) tlv.Raw {
	encoded, _ := tlv.Marshal(&attributeReport{Data: &AttributeData{&version, p, data}})
	return encoded
}

func (o *outgoing) collectEvents(p Provider, r *Request, paths []EventPath, filters []EventFilter) {
	if len(paths) == 0 {
		return
	}
	var min uint64
	for _, f := range filters {
		min = max(min, f.Min)
	}
	for _, ev := range p.Events(r, paths, min) {
		if encoded, err := tlv.Marshal(&eventReport{Data: &ev}); err == nil {
			o.events = append(o.events, encoded)
			o.lastEvent = max(o.lastEvent, ev.Number)
		}
	}
}

// rawReport is reportData with its members already encoded.
type rawReport struct {
	Subscription     *uint32   `tlv:"0"`
	Attributes       []tlv.Raw `tlv:"1,omitempty"`
	Events           []tlv.Raw `tlv:"2,omitempty"`
	More             bool      `tlv:"3,omitempty"`
	SuppressResponse bool      `tlv:"4,omitempty"`
	Revision         uint8     `tlv:"255"`
}

// sendReport sends a report in as many messages as it takes. last is for
// reads, which need no answer to their last message.
func (d dialogue) sendReport(ctx context.Context, out *outgoing, subscription *uint32, last bool) bool {
	for {
		size := d.x.Session().MaxBody() - chunkReserve
		chunk := rawReport{Subscription: subscription, Revision: revision}
		chunk.Attributes, out.attributes = take(out.attributes, &size, true)
		if len(out.attributes) == 0 {
			chunk.Events, out.events = take(out.events, &size, len(chunk.Attributes) == 0)
		}
		chunk.More = len(out.attributes)+len(out.events) > 0
		chunk.SuppressResponse = last && !chunk.More
		if d.send(ctx, opReportData, &chunk) != nil {
			return false
		}
		if chunk.SuppressResponse {
			return true
		}
		if !d.continues(ctx) {
			return false
		}
		if !chunk.More {
			return true
		}
	}
}

// take is as many of the members as fit, with force at least one.
func take(members []tlv.Raw, size *int, force bool) (fit, rest []tlv.Raw) {
	n := 0
	for n < len(members) && (*size >= len(members[n]) || n == 0 && force) {
		*size -= len(members[n])
		n++
	}
	return members[:n], members[n:]
}
