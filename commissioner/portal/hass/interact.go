package hass

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/datamodel/names"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Limits of ours on one request.
const (
	pathsPerRead = 9 // that every device takes
	maxPaths     = 1000
	maxTimed     = 60 * time.Second
	maxAttempts  = 10 // of a ping
)

// paths are one path or several.
type paths []string

func (p *paths) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]string)(p))
	}
	*p = make(paths, 1)
	return json.Unmarshal(b, &(*p)[0])
}

func (s *Server) readAttribute(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Paths    paths `json:"attribute_path"`
		Filtered bool  `json:"fabric_filtered"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if len(args.Paths) == 0 || len(args.Paths) > maxPaths {
		return nil, fail(InvalidArguments, "read_attribute takes 1 to %d paths", maxPaths)
	}
	patterns := make([]pattern, len(args.Paths))
	for i, path := range args.Paths {
		var err error
		if patterns[i], err = parsePattern(path); err != nil {
			return nil, err
		}
	}
	if args.Node != nil {
		if t := s.tests.get(*args.Node); t != nil {
			return t.read(args.Paths, patterns), nil
		}
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	var wanted []interaction.AttributePath
	for _, p := range patterns {
		wanted = append(wanted, p.expand(n)...)
	}
	values := map[string]json.RawMessage{}
	for len(wanted) > 0 {
		part := wanted[:min(pathsPerRead, len(wanted))]
		wanted = wanted[len(part):]
		report, err := s.Home.Read(ctx, n.ID, interaction.ReadRequest{Attributes: part, FabricFiltered: args.Filtered})
		if err != nil {
			return nil, err
		}
		for _, a := range report.Attributes {
			if a.Err == nil {
				values[a.Path.String()] = appendValue(nil, a.Data)
			}
		}
	}
	if len(values) == 0 {
		return nil, fail(SDKStack, "Failed to read attribute: the device gives no value of %s", strings.Join(args.Paths[:min(len(args.Paths), 10)], ", "))
	}
	return object(values), nil
}

// attributeStatus is what came of a write, as write_attribute tells it.
type attributeStatus struct {
	Path struct {
		Endpoint  interaction.EndpointID  `json:"EndpointId"`
		Cluster   interaction.ClusterID   `json:"ClusterId"`
		Attribute interaction.AttributeID `json:"AttributeId"`
	}
	Status interaction.Status
}

func written(p Path, status interaction.Status) result {
	var a attributeStatus
	a.Path.Endpoint, a.Path.Cluster, a.Path.Attribute, a.Status = p.Endpoint, p.Cluster, p.Attribute, status
	return object([]attributeStatus{a})
}

func (s *Server) writeAttribute(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Path  string `json:"attribute_path"`
		Value any    `json:"value"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	p, err := parsePattern(args.Path)
	if err != nil {
		return nil, err
	}
	path, ok := p.path()
	if !ok {
		return nil, fail(InvalidArguments, "write_attribute takes no wildcard in its path")
	}
	if args.Node != nil && s.tests.get(*args.Node) != nil {
		return written(path, interaction.Success), nil
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	var attribute names.Attribute
	ok = false
	if cluster := names.Of(path.Cluster); cluster != nil {
		attribute, ok = cluster.Attribute(path.Attribute)
	}
	if !ok || attribute.Administer {
		// What nobody knows may be anything.
		if err := c.need(Administer, "to write "+args.Path); err != nil {
			return nil, err
		}
	}
	var value tlv.Raw
	if ok {
		value, err = encodeValue(args.Value, attribute.Type)
	} else {
		value, err = encodeGuess(args.Value)
	}
	if err != nil {
		return nil, err
	}
	var timed time.Duration
	if attribute.Timed {
		timed = timedDefault
	}
	status, err := s.write(ctx, n.ID, path, timed, value)
	if err != nil {
		return nil, err
	}
	return written(path, status), nil
}

// timedDefault is how long a timed interaction may last that was not asked to
// be timed.
const timedDefault = 10 * time.Second

// write writes one attribute. That a device refuses is no error.
func (s *Server) write(ctx context.Context, n cert.NodeID, p Path, timed time.Duration, value tlv.Raw) (interaction.Status, error) {
	if p.Cluster == datamodel.AccessControl && p.Attribute == datamodel.AccessControlACL {
		if err := s.keepsAdministrator(value); err != nil {
			return 0, err
		}
	}
	errs, err := s.Home.Write(ctx, n, timed, interaction.Write{Path: interaction.Attribute(p.Endpoint, p.Cluster, p.Attribute), Value: value})
	if err == nil && len(errs) > 0 {
		err = errs[0]
	}
	if status, ok := interaction.StatusOf(err); ok {
		return status, nil
	}
	return interaction.Success, err
}

func (s *Server) deviceCommand(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Endpoint interaction.EndpointID `json:"endpoint_id"`
		Cluster  interaction.ClusterID  `json:"cluster_id"`
		Command  string                 `json:"command_name"`
		Payload  any                    `json:"payload"`
		Timed    *int64                 `json:"timed_request_timeout_ms"`
		Work     *int64                 `json:"interaction_timeout_ms"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Node != nil && s.tests.get(*args.Node) != nil {
		return null, nil
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	cluster := names.Of(args.Cluster)
	if cluster == nil {
		return nil, fail(InvalidArguments, "Cluster %d is unknown", args.Cluster)
	}
	command := cluster.Command(args.Command)
	if command == nil {
		return nil, fail(InvalidArguments, "Command %q does not exist on cluster %s", args.Command, cluster.Name)
	}
	if command.Administer {
		if err := c.need(Administer, command.Name+" of "+cluster.Name); err != nil {
			return nil, err
		}
	}
	fields, err := encodeFields(args.Payload, &command.Struct)
	if err != nil {
		return nil, err
	}
	var timed, work time.Duration
	if args.Timed != nil {
		timed = min(time.Duration(max(*args.Timed, 0))*time.Millisecond, maxTimed)
	} else if command.Timed {
		timed = timedDefault
	}
	if args.Work != nil {
		work = min(time.Duration(max(*args.Work, 0))*time.Millisecond, maxTimed)
	}
	return s.invoke(ctx, n.ID, args.Endpoint, cluster, command, fields, timed, work)
}

// invoke invokes a command. Its response is keyed by name.
func (s *Server) invoke(ctx context.Context, n cert.NodeID, e interaction.EndpointID, cluster *names.Cluster, command *names.Command, fields tlv.Raw, timed, work time.Duration) (result, error) {
	if cluster.ID == datamodel.OperationalCredentials && command.ID == removeFabricID {
		if err := s.staysOn(ctx, n, fields); err != nil {
			return nil, err
		}
	}
	r, err := s.Home.Invoke(ctx, n, timed, interaction.Invocation{Path: interaction.Command(e, cluster.ID, command.ID), Fields: fields, Work: work})
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return nil, overUDP(cluster.ID, err)
	}
	if cluster.ID == datamodel.WebRTCProvider && command.ID == datamodel.WebRTCEndSessionID {
		s.streamEnded(n, fields)
	}
	return answered(&r, command), nil
}

// answered renders a command's response, or that there is none.
func answered(r *interaction.CommandResult, command *names.Command) result {
	if r.Fields == nil {
		return null
	}
	response := new(names.Struct)
	if command.Response != nil {
		response = &command.Response.Struct
	}
	return raw(appendNamed(nil, r.Fields, response))
}

// subscribe answers a command that no client needs: all is told anyway.
func (s *Server) subscribe(context.Context, *call) (result, error) { return empty, nil }

func (s *Server) interview(ctx context.Context, c *call) (result, error) {
	var args nodeArgs
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Node != nil && s.tests.interview(*args.Node, s.Now()) {
		s.changed(Change{Kind: Updated, Node: *args.Node})
		return null, nil
	}
	n, err := s.find(c, args.Node)
	if err == nil {
		err = s.Home.Interview(ctx, n.ID)
	}
	if err != nil {
		return nil, err
	}
	s.changed(Change{Kind: Updated, Node: n.ID})
	return null, nil
}

func (s *Server) ping(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Attempts *int `json:"attempts"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	answers := map[string]bool{}
	if args.Node != nil && s.tests.get(*args.Node) != nil {
		for _, a := range testAddresses {
			answers[a] = true
		}
		return object(answers), nil
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	attempts := 1
	if args.Attempts != nil {
		attempts = min(max(*args.Attempts, 1), maxAttempts)
	}
	reached, err := s.Home.Ping(ctx, n.ID, attempts)
	if err != nil {
		return nil, err
	}
	for a, ok := range reached {
		answers[a.String()] = ok
	}
	return object(answers), nil
}

func (s *Server) addresses(ctx context.Context, c *call) (result, error) {
	args := struct {
		nodeArgs
		Cached bool `json:"prefer_cache"`
		Scoped bool `json:"scoped"`
	}{Cached: true}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Node != nil && s.tests.get(*args.Node) != nil {
		return object(testAddresses), nil
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	found, err := s.Home.Addresses(ctx, n.ID, !args.Cached)
	if err != nil {
		return nil, err
	}
	list := []netip.Addr{}
	for _, a := range found {
		if !args.Scoped {
			a = a.WithZone("")
		}
		list = append(list, a)
	}
	return object(list), nil
}
