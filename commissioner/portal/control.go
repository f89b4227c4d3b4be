package portal

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// parsePath reads "endpoint/cluster/id": decimal or 0x numbers, * for all.
func parsePath(s string) (e *interaction.EndpointID, c *interaction.ClusterID, id *uint32, err error) {
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		return nil, nil, nil, invalid(fmt.Errorf("path %q is not endpoint/cluster/id", s))
	}
	number := func(part string, bits int) (uint64, bool) {
		if part == "*" {
			return 0, false
		}
		n, e := strconv.ParseUint(part, 0, bits)
		if e != nil {
			err = invalid(fmt.Errorf("path %q: %q is no number of at most %d bits", s, part, bits))
		}
		return n, true
	}
	if n, ok := number(parts[0], 16); ok {
		v := interaction.EndpointID(n)
		e = &v
	}
	if n, ok := number(parts[1], 32); ok {
		v := interaction.ClusterID(n)
		c = &v
	}
	if n, ok := number(parts[2], 32); ok {
		v := uint32(n)
		id = &v
	}
	return e, c, id, err
}

// concretePath reads a path without wildcards.
func concretePath(s string) (interaction.EndpointID, interaction.ClusterID, uint32, error) {
	e, c, id, err := parsePath(s)
	if err == nil && (e == nil || c == nil || id == nil) {
		err = invalid(fmt.Errorf("path %q has a wildcard, which only reads and subscriptions may", s))
	}
	if err != nil {
		return 0, 0, 0, err
	}
	return *e, *c, *id, nil
}

// ReadRequest names attributes and events by path; * stands for all.
type ReadRequest struct {
	Attributes []string `json:"attributes,omitempty"`
	Events     []string `json:"events,omitempty"`
	EventMin   uint64   `json:"event_min,omitempty"`
}

func (q *ReadRequest) paths() (attributes []interaction.AttributePath, events []interaction.EventPath, filters []interaction.EventFilter, err error) {
	for _, s := range q.Attributes {
		e, c, id, err := parsePath(s)
		if err != nil {
			return nil, nil, nil, err
		}
		attributes = append(attributes, interaction.AttributePath{Endpoint: e, Cluster: c, Attribute: (*interaction.AttributeID)(id)})
	}
	for _, s := range q.Events {
		e, c, id, err := parsePath(s)
		if err != nil {
			return nil, nil, nil, err
		}
		events = append(events, interaction.EventPath{Endpoint: e, Cluster: c, Event: (*interaction.EventID)(id)})
	}
	if q.EventMin > 0 {
		filters = []interaction.EventFilter{{Min: q.EventMin}}
	}
	if len(attributes)+len(events) == 0 {
		err = invalid(errors.New("no path is given"))
	}
	return attributes, events, filters, err
}

// Attribute is one attribute's value, or why there is none.
type Attribute struct {
	Path    string          `json:"path"`
	Value   json.RawMessage `json:"value,omitempty"`
	Version uint32          `json:"data_version,omitempty"`
	Error   string          `json:"error,omitempty"`
}

// Event is one event, or why there is none.
type Event struct {
	Path     string          `json:"path"`
	Number   uint64          `json:"number"`
	Priority uint8           `json:"priority"`
	Value    json.RawMessage `json:"value,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// Report is what a device reports.
type Report struct {
	Attributes []Attribute `json:"attributes"`
	Events     []Event     `json:"events,omitempty"`
}

func render(r *interaction.Report) (Report, error) {
	out := Report{Attributes: []Attribute{}}
	for _, a := range r.Attributes {
		v := Attribute{Path: a.Path.String(), Version: a.DataVersion}
		var err error
		if a.Err != nil {
			v.Error = reason(a.Err)
		} else if v.Value, err = a.Data.JSON(); err != nil {
			return out, err
		}
		out.Attributes = append(out.Attributes, v)
	}
	for _, e := range r.Events {
		v := Event{Path: e.Path.String(), Number: e.Number, Priority: e.Priority}
		var err error
		if e.Err != nil {
			v.Error = reason(e.Err)
		} else if len(e.Data) > 0 {
			if v.Value, err = e.Data.JSON(); err != nil {
				return out, err
			}
		}
		out.Events = append(out.Events, v)
	}
	return out, nil
}

// reason is a status without the path, which stands beside it.
func reason(err error) string {
	var s *interaction.StatusError
	if errors.As(err, &s) {
		bare := *s
		bare.Path = ""
		return strings.TrimPrefix(bare.Error(), "interaction: ")
	}
	return err.Error()
}

func (p *Portal) read(w http.ResponseWriter, r *http.Request) error {
	var req ReadRequest
	d, err := p.request(r, &req)
	if err != nil {
		return err
	}
	attributes, events, filters, err := req.paths()
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	report, err := p.K.Read(ctx, d.Node, interaction.ReadRequest{Attributes: attributes, Events: events, EventFilters: filters, FabricFiltered: true})
	if err != nil {
		return err
	}
	out, err := render(report)
	if err != nil {
		return commissioner.Fail(commissioner.CodeProtocol, err)
	}
	return reply(w, out)
}

// WriteRequest writes one attribute. Type names the value's TLV type where
// its looks deceive, as tlv.FromJSON has it.
type WriteRequest struct {
	Path    string          `json:"path"`
	Value   json.RawMessage `json:"value"`
	Type    string          `json:"type,omitempty"`
	TimedMS int64           `json:"timed_ms,omitempty"`
}

// Written is the answer to a write.
type Written struct {
	Path string `json:"written"`
}

func (p *Portal) write(w http.ResponseWriter, r *http.Request) error {
	var req WriteRequest
	d, err := p.request(r, &req)
	if err != nil {
		return err
	}
	e, c, id, err := concretePath(req.Path)
	if err != nil {
		return err
	}
	value, err := tlv.FromJSON(req.Value, req.Type)
	if err != nil {
		return invalid(err)
	}
	ctx, cancel := limited(r)
	defer cancel()
	path := interaction.Attribute(e, c, interaction.AttributeID(id))
	errs, err := p.K.Write(ctx, d.Node, time.Duration(req.TimedMS)*time.Millisecond, interaction.Write{Path: path, Value: value})
	if err == nil && errs[0] != nil {
		err = commissioner.Fail(commissioner.CodeDeviceStatus, errs[0])
	}
	if err != nil {
		return err
	}
	return reply(w, Written{path.String()})
}

// InvokeRequest invokes one command. Fields is an object keyed by tag number.
type InvokeRequest struct {
	Path    string          `json:"path"`
	Fields  json.RawMessage `json:"fields,omitempty"`
	TimedMS int64           `json:"timed_ms,omitempty"`
}

// Invoked is the answer to an invoke.
type Invoked struct {
	Path     string          `json:"invoked"`
	Response json.RawMessage `json:"response,omitempty"`
}

func (p *Portal) invoke(w http.ResponseWriter, r *http.Request) error {
	var req InvokeRequest
	d, err := p.request(r, &req)
	if err != nil {
		return err
	}
	e, c, id, err := concretePath(req.Path)
	if err != nil {
		return err
	}
	command := interaction.Invocation{Path: interaction.Command(e, c, interaction.CommandID(id))}
	if len(req.Fields) > 0 {
		fields, err := tlv.FromJSON(req.Fields, "STRUCT")
		if err != nil {
			return invalid(err)
		}
		command.Fields = fields
	}
	ctx, cancel := limited(r)
	defer cancel()
	result, err := p.K.Invoke(ctx, d.Node, time.Duration(req.TimedMS)*time.Millisecond, command)
	if err == nil && result.Err != nil {
		err = commissioner.Fail(commissioner.CodeDeviceStatus, result.Err)
	}
	if err != nil {
		return err
	}
	out := Invoked{Path: result.Path.String()}
	if result.Fields != nil {
		if out.Response, err = result.Fields.JSON(); err != nil {
			return commissioner.Fail(commissioner.CodeProtocol, err)
		}
	}
	return reply(w, out)
}

// SubscribeRequest is a ReadRequest that goes on.
type SubscribeRequest struct {
	ReadRequest
	Min uint16 `json:"min_interval"` // s
	Max uint16 `json:"max_interval"` // s
}

// defaultMaxInterval is how long a device may stay silent, in seconds.
const defaultMaxInterval = 60

func (p *Portal) subscribe(w http.ResponseWriter, r *http.Request) error {
	var req SubscribeRequest
	d, err := p.request(r, &req)
	if err != nil {
		return err
	}
	attributes, events, filters, err := req.paths()
	if err != nil {
		return err
	}
	if req.Max == 0 {
		req.Max = defaultMaxInterval
	}
	if req.Min > req.Max {
		return invalid(errors.New("the minimum interval is longer than the maximum"))
	}
	s := newStream(w)
	reports := make(chan *interaction.Report, 64)
	ended := make(chan error, 1)
	go func() {
		ended <- p.K.Subscribe(r.Context(), d.Node, interaction.SubscribeRequest{Keep: true, MinInterval: req.Min, MaxInterval: req.Max,
			Attributes: attributes, Events: events, EventFilters: filters, FabricFiltered: true}, func(report *interaction.Report) {
			select {
			case reports <- report:
			case <-r.Context().Done():
			}
		})
	}()
	for {
		select {
		case report := <-reports:
			out, err := render(report)
			if err != nil {
				s.end(commissioner.Fail(commissioner.CodeProtocol, err))
				return nil
			}
			s.line(out)
		case err := <-ended:
			s.end(err)
			return nil
		}
	}
}
