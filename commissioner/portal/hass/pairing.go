package hass

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric/cert"
)

// What a device on the network is chosen by.
const (
	filterNone = iota
	filterShort
	filterLong
	filterVendor
	filterType
)

func (s *Server) discover(ctx context.Context, _ *call) (result, error) {
	if s.Pairing == nil {
		return nil, absent("pairs no devices")
	}
	found, err := s.Pairing.Nearby(ctx)
	if err != nil {
		return nil, err
	}
	if found == nil {
		found = []Commissionable{}
	}
	return object(found), nil
}

func (s *Server) commissionWithCode(ctx context.Context, c *call) (result, error) {
	var args struct {
		Code    string `json:"code"`
		Network bool   `json:"network_only"`
		WiFi    string `json:"wifi_credentials_id"`
		Thread  string `json:"thread_dataset_id"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	// A code of several devices is for the first of them.
	payloads, err := setup.Parse(args.Code)
	if err != nil {
		return nil, fail(InvalidArguments, "the pairing code is not one: %v", err)
	}
	for id, thread := range map[string]bool{args.WiFi: false, args.Thread: true} {
		if id != "" && !s.hasNetwork(id, thread) {
			return nil, fail(InvalidArguments, "no credentials have the id %q", id)
		}
	}
	return s.pair(ctx, c, PairRequest{Code: payloads[0], Discriminated: true, NetworkOnly: args.Network, WiFi: args.WiFi, Thread: args.Thread})
}

func (s *Server) commissionOnNetwork(ctx context.Context, c *call) (result, error) {
	var args struct {
		Passcode *uint32 `json:"setup_pin_code"`
		Type     int     `json:"filter_type"`
		Filter   *uint32 `json:"filter"`
		Address  string  `json:"ip_addr"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	req := PairRequest{NetworkOnly: true}
	if args.Type != filterNone && args.Filter == nil {
		return nil, fail(InvalidArguments, "filter_type %d needs a filter", args.Type)
	}
	switch bad := fail(InvalidArguments, "the filter is out of range for filter_type %d", args.Type); args.Type {
	case filterNone:
	case filterShort:
		if *args.Filter > 0xf {
			return nil, bad
		}
		req.Code.Discriminator, req.Discriminated = setup.Short(uint8(*args.Filter)), true
	case filterLong:
		if *args.Filter > 0xfff {
			return nil, bad
		}
		req.Code.Discriminator, req.Discriminated = setup.Long(uint16(*args.Filter)), true
	case filterVendor:
		if *args.Filter > 0xfff4 {
			return nil, bad
		}
		req.Code.VendorID = uint16(*args.Filter)
	case filterType:
		req.DeviceType = *args.Filter
	default:
		return nil, fail(InvalidArguments, "there is no filter_type %d", args.Type)
	}
	if args.Passcode == nil {
		return nil, fail(InvalidArguments, "commission_on_network needs a setup_pin_code")
	}
	if req.Code.Passcode = setup.NewPasscode(*args.Passcode); !req.Code.Passcode.Valid() {
		return nil, fail(InvalidArguments, "no device has this setup_pin_code")
	}
	if args.Address != "" {
		var err error
		if req.Address, err = netip.ParseAddr(args.Address); err != nil {
			return nil, fail(InvalidArguments, "ip_addr is no address")
		}
	}
	return s.pair(ctx, c, req)
}

// pair answers with the new node, once that is announced.
func (s *Server) pair(ctx context.Context, c *call, req PairRequest) (result, error) {
	if s.Pairing == nil {
		return nil, absent("pairs no devices")
	}
	n, err := s.Pairing.Pair(ctx, req)
	if err != nil {
		return nil, err
	}
	if s.Home.Node(n) == nil {
		return nil, fail(InterviewFailed, "node %d is paired, and went before it was read", uint64(n))
	}
	s.changed(Change{Kind: Added, Node: n})
	c.after = n
	return s.whole(n), nil
}

func (s *Server) removeNode(ctx context.Context, c *call) (result, error) {
	var args nodeArgs
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	if args.Node != nil && s.tests.remove(*args.Node) {
		s.changed(Change{Kind: Removed, Node: *args.Node})
		return null, nil
	}
	n, err := s.find(c, args.Node)
	if err == nil {
		err = s.Home.Remove(ctx, n.ID)
	}
	if err != nil {
		return nil, err
	}
	s.windows.forget(n.ID)
	s.changed(Change{Kind: Removed, Node: n.ID})
	return null, nil
}

// windows are those that were opened here: who asks again is given the same
// codes.
type windows struct {
	mu   sync.Mutex
	open map[cert.NodeID]*Window
}

func (w *windows) get(n cert.NodeID, now time.Time) *Window {
	w.mu.Lock()
	defer w.mu.Unlock()
	if open := w.open[n]; open != nil && now.Before(open.Expires) {
		return open
	}
	delete(w.open, n)
	return nil
}

func (w *windows) put(n cert.NodeID, open *Window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = make(map[cert.NodeID]*Window)
	}
	w.open[n] = open
}

func (w *windows) forget(n cert.NodeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.open, n)
}

// defaultWindow is how long a window is open if nobody says.
const defaultWindow = 300 * time.Second

func (s *Server) openWindow(ctx context.Context, c *call) (result, error) {
	var args struct {
		nodeArgs
		Timeout       *int64  `json:"timeout"` // s
		Iterations    int     `json:"iteration"`
		Discriminator *uint16 `json:"discriminator"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	n, err := s.find(c, args.Node)
	if err != nil {
		return nil, err
	}
	switch {
	case s.Pairing == nil:
		return nil, absent("opens no windows")
	case !n.Available:
		return nil, fail(NotReady, "Node %d is not available", uint64(n.ID))
	case args.Discriminator != nil && *args.Discriminator > 0xfff:
		return nil, fail(InvalidArguments, "the discriminator has more than 12 bits")
	}
	duration := defaultWindow
	if args.Timeout != nil {
		if *args.Timeout < datamodel.MinWindow || *args.Timeout > datamodel.MaxWindow {
			return nil, fail(InvalidArguments, "a window is open for %d to %d seconds", datamodel.MinWindow, datamodel.MaxWindow)
		}
		duration = time.Duration(*args.Timeout) * time.Second
	}
	w := s.windows.get(n.ID, s.Now())
	if w == nil || !s.stillOpen(ctx, n.ID) {
		w, err = s.Pairing.OpenWindow(ctx, n.ID, WindowRequest{Duration: duration, Iterations: args.Iterations, Discriminator: args.Discriminator})
		if err != nil {
			return nil, err
		}
		s.windows.put(n.ID, w)
	}
	return object(map[string]any{"setup_pin_code": w.Passcode.Reveal(), "setup_manual_code": w.Manual, "setup_qr_code": w.QR}), nil
}

// windowStatus is AdministratorCommissioning's attribute; 0: no window is open.
const windowStatus interaction.AttributeID = 0

// stillOpen asks a device whether its window is open: whoever was paired by it
// has closed it.
func (s *Server) stillOpen(ctx context.Context, n cert.NodeID) bool {
	path := interaction.Attribute(datamodel.RootEndpoint, datamodel.AdministratorCommissioning, windowStatus)
	report, err := s.Home.Read(ctx, n, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}})
	if err != nil {
		return false
	}
	var status uint8
	return report.Decode(path, &status) == nil && status != 0
}

// labelOwner is the client that named the fabric first. Others are ignored
// while it is there, so that two do not name it in turns.
type labelOwner struct{ conn *conn }

// maxLabel is how long a fabric's label may be, in octets.
const maxLabel = 32

func (s *Server) setLabel(ctx context.Context, c *call) (result, error) {
	var args struct {
		Label *string `json:"label"`
	}
	if err := c.decode(&args); err != nil {
		return nil, err
	}
	// Home Assistant names the fabric when it begins and gives up on an error:
	// a client that may not is ignored, as any but the first is.
	if s.Labels == nil || c.peer.Scope < Administer || !s.ownsLabel(c.conn) {
		return null, nil
	}
	label := ""
	if args.Label != nil {
		label = shorten(*args.Label, maxLabel)
	}
	if err := s.Labels.SetLabel(ctx, label); err != nil {
		return nil, err
	}
	return null, nil
}

func (s *Server) ownsLabel(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.label.conn == nil {
		s.label.conn = c
	}
	return s.label.conn == c
}

func (s *Server) getLabel(context.Context, *call) (result, error) {
	var answer struct {
		Label *string `json:"fabric_label"`
	}
	if s.Labels != nil {
		label := s.Labels.Label()
		answer.Label = &label
	}
	return object(answer), nil
}

// hasNetwork reports whether there are credentials of a kind with an id.
func (s *Server) hasNetwork(id string, thread bool) bool {
	return s.Networks != nil && slices.ContainsFunc(s.Networks.List(), func(n Network) bool { return n.ID == id && n.Thread == thread })
}

var errNetworks = absent("keeps no networks' credentials")

// notKept is errNetworks where there is nobody to keep credentials.
func (s *Server) notKept() error {
	if s.Networks == nil {
		return errNetworks
	}
	return nil
}
