package interaction

import (
	"errors"

	"gatehouse/fabric/tlv"
)

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
			a.report.Events = append(a.report.Events, EventReport{Event: Event{Path: e.Status.Path}, Err: e.Status.Status.instead(e.Status.Path.String())})
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
		a.report.Attributes = append(a.report.Attributes, AttributeReport{Path: p, Err: r.Status.Status.instead(p.String())})
	}
	return nil
}

// instead is the error of a status that came in the place of a value: there is
// none, even if the status says success.
func (s StatusIB) instead(path string) error {
	if err := s.err(path); err != nil {
		return err
	}
	return &StatusError{Status: Failure, Path: path}
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
