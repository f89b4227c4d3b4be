package hass

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
)

// icd is what there is to say of a device that sleeps.
type icd struct {
	Supported   bool    `json:"supported"`
	LongIdle    bool    `json:"lit_supported"`
	Registered  bool    `json:"registered"`
	Mode        *string `json:"operating_mode"`
	Awake       *bool   `json:"awake"`
	Available   *bool   `json:"available"`
	NextCheckIn *int64  `json:"next_expected_checkin"` // Unix ms
}

func (s *Server) icdState(_ context.Context, c *call) (result, error) {
	n, err := s.node(c)
	if err != nil {
		return nil, err
	}
	return object(s.icd(n)), nil
}

func (s *Server) icd(n *Node) (state icd) {
	at := func(a interaction.AttributeID) []byte {
		return n.value(datamodel.RootEndpoint, datamodel.ICDManagement, a)
	}
	if at(datamodel.ClusterRevision) == nil && at(datamodel.FeatureMap) == nil {
		return state
	}
	features, _ := number(at(datamodel.FeatureMap))
	state.Supported, state.LongIdle, state.Available = true, features&uint64(datamodel.ICDLongIdle) != 0, &n.Available
	mode := "SIT"
	if m, ok := number(at(datamodel.ICDOperatingMode)); ok && m == uint64(datamodel.LongIdle) {
		mode = "LIT"
	}
	state.Mode = &mode
	if s.Sleepers == nil {
		return state
	}
	if now := s.Sleepers.Sleeper(n.ID); now.Registered {
		state.Registered, state.Awake = true, &now.Awake
		if !now.Expected.IsZero() {
			at := now.Expected.UnixMilli()
			state.NextCheckIn = &at
		}
	}
	return state
}

// registerICD has a node sleep long. Who else administers it may not know how to
// live with that: unless the client says that they do, it is refused.
func (s *Server) registerICD(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Allow   bool     `json:"allow_multi_admin"`
		Ignored []uint16 `json:"ignored_vendors"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	if err := s.sleeps(n); err != nil {
		return nil, err
	}
	if !args.Allow {
		if err := s.alone(ctx, n, args.Ignored); err != nil {
			return nil, err
		}
	}
	if !s.Sleepers.Sleeper(n.ID).Registered {
		if err := s.Sleepers.Register(ctx, n.ID); err != nil {
			return nil, err
		}
	}
	return s.icdNow(n)
}

// sleeps refuses a node that does not sleep for long.
func (s *Server) sleeps(n *Node) error {
	switch state := s.icd(n); {
	case s.Sleepers == nil:
		return absent("does not register with devices that sleep")
	case !state.LongIdle:
		return fail(Unknown, "Node %d does not sleep for long: there is nothing to register for", uint64(n.ID))
	}
	return nil
}

// alone refuses a node that others administer, but for ignored vendors.
func (s *Server) alone(ctx context.Context, n *Node, ignored []uint16) error {
	found, err := s.fabricsOf(ctx, n)
	if err != nil {
		return err
	}
	own, vendors := s.Home.Identity().Fabric, []uint16{}
	for _, f := range found {
		if (f.Fabric != own || f.Node != n.ID) && !slices.Contains(ignored, f.Vendor) {
			vendors = append(vendors, f.Vendor)
		}
	}
	if len(vendors) == 0 {
		return nil
	}
	slices.Sort(vendors)
	details, err := json.Marshal(struct {
		Message string   `json:"message"`
		Vendors []uint16 `json:"admin_vendor_ids"`
	}{"Others administer this device, and may lose touch with it when it sleeps for long", slices.Compact(vendors)})
	if err != nil {
		return err
	}
	return &Error{Code: OtherAdministrators, Details: string(details)}
}

func (s *Server) unregisterICD(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Force bool `json:"force"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	if s.Sleepers != nil {
		if err := s.Sleepers.Unregister(ctx, n.ID, args.Force); err != nil {
			return nil, err
		}
	}
	return s.icdNow(n)
}

// icdNow is what there is to say of a node after it was asked something.
func (s *Server) icdNow(n *Node) (result, error) {
	if now := s.Home.Node(n.ID); now != nil {
		n = now
	}
	return object(s.icd(n)), nil
}

// resyncICD registers anew. A node that sleeps is told when it wakes up, which
// is no error.
func (s *Server) resyncICD(ctx context.Context, c *call) (result, error) {
	n, err := s.node(c)
	if err != nil {
		return nil, err
	}
	if err := s.sleeps(n); err != nil {
		return nil, err
	}
	if !s.Sleepers.Sleeper(n.ID).Registered {
		return nil, fail(Unknown, "Node %d is not registered with", uint64(n.ID))
	}
	err = s.Sleepers.Register(ctx, n.ID)
	if f := new(commissioner.Failure); errors.As(err, &f) && f.Code == commissioner.CodeAsleep {
		err = nil
	}
	return null, err
}
