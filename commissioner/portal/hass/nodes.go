package hass

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"

	"gatehouse/fabric/cert"
)

// nodeArgs name a node.
type nodeArgs struct {
	Node *cert.NodeID `json:"node_id"`
}

// node is the node that a command is for.
func (s *Server) node(c *call) (*Node, error) {
	var args nodeArgs
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	return s.find(c, args.Node)
}

// find is a device of the home, not a test node.
func (s *Server) find(c *call, id *cert.NodeID) (*Node, error) {
	if id == nil {
		return nil, fail(InvalidArguments, "%s needs a node_id", c.command)
	}
	if n := s.Home.Node(*id); n != nil {
		return n, nil
	}
	return nil, missing(*id)
}

// appendNodes renders all nodes, and says which they are.
func (s *Server) appendNodes(b []byte, availableOnly bool, seen func(cert.NodeID)) []byte {
	b = append(b, '[')
	first := true
	begin := func(n cert.NodeID) {
		if !first {
			b = append(b, ',')
		}
		first = false
		seen(n)
	}
	for _, n := range s.Home.Nodes() {
		if n.Available || !availableOnly {
			begin(n.ID)
			b = appendNode(b, n)
		}
	}
	for _, n := range s.tests.all() {
		if n.available || !availableOnly {
			begin(n.id)
			b = n.append(b)
		}
	}
	return append(b, ']')
}

// appendNodeOf renders one node; false: there is none.
func (s *Server) appendNodeOf(b []byte, id cert.NodeID) ([]byte, bool) {
	if n := s.tests.get(id); n != nil {
		return n.append(b), true
	}
	if n := s.Home.Node(id); n != nil {
		return appendNode(b, n), true
	}
	return b, false
}

func (s *Server) serverInfo(context.Context, *call) (result, error) {
	return func(b []byte) []byte { return object(s.Info())(b) }, nil
}

func (s *Server) getNodes(_ context.Context, c *call) (result, error) {
	var args struct {
		Available bool `json:"only_available"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	return func(b []byte) []byte { return s.appendNodes(b, args.Available, func(cert.NodeID) {}) }, nil
}

func (s *Server) getNode(_ context.Context, c *call) (result, error) {
	var args nodeArgs
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Node == nil {
		return nil, fail(InvalidArguments, "get_node needs a node_id")
	}
	if s.tests.get(*args.Node) == nil && s.Home.Node(*args.Node) == nil {
		return nil, missing(*args.Node)
	}
	return s.whole(*args.Node), nil
}

// whole renders a node as it is when the answer goes out.
func (s *Server) whole(n cert.NodeID) result {
	return func(b []byte) []byte {
		out, ok := s.appendNodeOf(b, n)
		if !ok {
			return append(b, "null"...)
		}
		return out
	}
}

func (s *Server) diagnostics(context.Context, *call) (result, error) {
	return func(b []byte) []byte {
		b = append(object(s.Info())(append(b, `{"info":`...)), `,"nodes":`...)
		b = append(s.appendNodes(b, false, func(cert.NodeID) {}), `,"events":[`...)
		for i, event := range s.history.all() {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, event...)
		}
		return append(b, ']', '}')
	}, nil
}

// levels are the names of the log's levels, the first of each the one that is
// told.
var levels = []struct {
	level slog.Level
	names []string
}{
	{slog.LevelError + 4, []string{"critical", "fatal"}}, {slog.LevelError, []string{"error"}}, {slog.LevelWarn, []string{"warning", "warn"}},
	{slog.LevelInfo + 2, []string{"notice"}}, {slog.LevelInfo, []string{"info"}}, {slog.LevelDebug, []string{"debug"}},
}

func (s *Server) getLevel(context.Context, *call) (result, error) {
	var answer struct {
		Console string  `json:"console_loglevel"`
		File    *string `json:"file_loglevel"` // there is no such log
	}
	answer.Console = "info"
	if s.Level != nil {
		for _, l := range levels {
			if s.Level.Level() <= l.level {
				answer.Console = l.names[0]
			}
		}
	}
	return object(answer), nil
}

func (s *Server) setLevel(ctx context.Context, c *call) (result, error) {
	var args struct {
		Console *string `json:"console_loglevel"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Console != nil {
		if s.Level == nil {
			return nil, absent("has no log whose level could be set")
		}
		level, ok := levelOf(*args.Console)
		if !ok {
			return nil, fail(InvalidArguments, "there is no log level %q", *args.Console)
		}
		s.Level.Set(level)
	}
	return s.getLevel(ctx, c)
}

func levelOf(name string) (slog.Level, bool) {
	for _, l := range levels {
		for _, n := range l.names {
			if strings.EqualFold(n, name) {
				return l.level, true
			}
		}
	}
	return 0, false
}

func (s *Server) vendorNames(_ context.Context, c *call) (result, error) {
	var args struct {
		Filter []uint32 `json:"filter_vendors"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	var ids []uint16
	for _, id := range args.Filter {
		if id <= 0xffff {
			ids = append(ids, uint16(id))
		}
	}
	known := map[uint16]string{}
	if s.Vendors != nil && (len(ids) > 0 || len(args.Filter) == 0) {
		for id, name := range s.Vendors(ids) {
			known[id] = name
		}
	}
	return object(known), nil
}

// vendorName is what a vendor is called; empty: nobody knows.
func (s *Server) vendorName(id uint16) string {
	if s.Vendors == nil {
		return ""
	}
	return s.Vendors([]uint16{id})[id]
}

// raw renders JSON that is there already.
func raw(v json.RawMessage) result { return func(b []byte) []byte { return append(b, v...) } }
