package hass

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gatehouse/radio/thread/otbr"
)

func (s *Server) borderRouters(context.Context, *call) (result, error) {
	list := []BorderRouter{}
	if s.Mesh != nil {
		list = append(list, s.Mesh.BorderRouters()...)
	}
	return object(list), nil
}

// ReasonNoSource is why there are no diagnostics where nobody can be asked, in the
// word that clients know.
const ReasonNoSource = "no_source"

// Undiagnosed are the diagnostics of a network, by its extended PAN id, of which
// nobody said anything.
func Undiagnosed(network uint64, now time.Time) *Diagnostics {
	return &Diagnostics{ExtendedPANID: fmt.Sprintf("%016X", network), Collected: now.UnixMilli(), Source: "none", Partial: ReasonNoSource, Nodes: []otbr.Node{}}
}

func (s *Server) threadDiagnostics(ctx context.Context, c *call) (result, error) {
	var args struct {
		ExtendedPANID *string `json:"ext_pan_id"`
		Force         bool    `json:"force"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.ExtendedPANID != nil {
		id, err := strconv.ParseUint(*args.ExtendedPANID, 16, 64)
		if err != nil || len(*args.ExtendedPANID) != 16 {
			return nil, fail(InvalidArguments, "Invalid ext_pan_id %q: expected 16 hex characters", *args.ExtendedPANID)
		}
		d, err := s.diagnose(ctx, id, args.Force)
		if err != nil {
			return nil, err
		}
		return object(d), nil
	}
	list := []*Diagnostics{}
	if s.Mesh != nil {
		return object(append(list, s.Mesh.KnownDiagnostics(args.Force)...)), nil
	}
	if s.Networks != nil {
		for _, n := range s.Networks.List() {
			if !n.Thread {
				continue
			}
			d := Undiagnosed(n.ExtendedPANID, s.Now())
			d.NetworkName = n.Name
			list = append(list, d)
		}
	}
	return object(list), nil
}

// diagnose asks about one Thread network, or says that there is nobody to ask.
func (s *Server) diagnose(ctx context.Context, id uint64, force bool) (*Diagnostics, error) {
	if s.Mesh != nil {
		return s.Mesh.Diagnostics(ctx, id, force)
	}
	d := Undiagnosed(id, s.Now())
	if s.Networks != nil {
		for _, n := range s.Networks.List() {
			if n.Thread && n.ExtendedPANID == id {
				d.NetworkName = n.Name
			}
		}
	}
	return d, nil
}
