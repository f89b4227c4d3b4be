package hass

import (
	"context"
	"fmt"
	"strconv"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/radio/thread/otbr"
)

// IcdManagement, as far as it is used here.
const (
	icdManagement   interaction.ClusterID   = 70
	icdMode         interaction.AttributeID = 8
	featureMap      interaction.AttributeID = 0xfffc
	icdLongIdle                             = 1 << 2 // feature: long idle time
	clusterRevision interaction.AttributeID = 0xfffd
)

// icd is what there is to say of a device that sleeps.
type icd struct {
	Supported   bool    `json:"supported"`
	LongIdle    bool    `json:"lit_supported"`
	Registered  bool    `json:"registered"`
	Mode        *string `json:"operating_mode"`
	Awake       *bool   `json:"awake"`
	Available   *bool   `json:"available"`
	NextCheckIn *int64  `json:"next_expected_checkin"`
}

func (s *Server) icdState(_ context.Context, c *call) (result, error) {
	n, err := s.node(c)
	if err != nil {
		return nil, err
	}
	var state icd
	if n.value(0, icdManagement, clusterRevision) != nil || n.value(0, icdManagement, featureMap) != nil {
		features, _ := number(n.value(0, icdManagement, featureMap))
		state.Supported, state.LongIdle, state.Available = true, features&icdLongIdle != 0, &n.Available
		mode := "SIT"
		if m, ok := number(n.value(0, icdManagement, icdMode)); ok && m == 1 {
			mode = "LIT"
		}
		state.Mode = &mode
	}
	return object(state), nil
}

// errICD is what there is to say of check-ins: devices that sleep are met when
// they wake, by their subscriptions.
var errICD = absent("does not register with devices that sleep: it subscribes to them")

func (s *Server) registerICD(_ context.Context, c *call) (result, error) {
	if _, err := s.node(c); err != nil {
		return nil, err
	}
	return nil, errICD
}

func (s *Server) resyncICD(ctx context.Context, c *call) (result, error) {
	return s.registerICD(ctx, c)
}

// unregisterICD has nothing to do.
func (s *Server) unregisterICD(ctx context.Context, c *call) (result, error) {
	return s.icdState(ctx, c)
}

func (s *Server) borderRouters(context.Context, *call) (result, error) {
	list := []BorderRouter{}
	if s.Mesh != nil {
		list = append(list, s.Mesh.BorderRouters()...)
	}
	return object(list), nil
}

// Why diagnostics are none.
const (
	sourceNone     = "none"
	reasonNoSource = "no_source"
)

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
			d, err := s.diagnose(ctx, n.ExtendedPANID, args.Force)
			if err != nil {
				return nil, err
			}
			if d != nil {
				list = append(list, d)
			}
		}
	}
	return object(list), nil
}

// diagnose asks about one Thread network, or says that there is nobody to ask.
func (s *Server) diagnose(ctx context.Context, id uint64, force bool) (*Diagnostics, error) {
	if s.Mesh != nil {
		return s.Mesh.Diagnostics(ctx, id, force)
	}
	d := &Diagnostics{ExtendedPANID: fmt.Sprintf("%016X", id), Collected: s.Now().UnixMilli(), Source: sourceNone, Partial: reasonNoSource, Nodes: []otbr.Node{}}
	if s.Networks != nil {
		for _, n := range s.Networks.List() {
			if n.Thread && n.ExtendedPANID == id {
				d.NetworkName = n.Name
			}
		}
	}
	return d, nil
}
