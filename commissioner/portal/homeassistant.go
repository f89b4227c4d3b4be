package portal

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/cluster"
	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/nodes"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/firmware"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// Limits of ours.
const (
	interviewPatience = 20 * time.Second // until a device that was just paired has said all it has
	nearbyLook        = 3 * time.Second
	pingPatience      = 5 * time.Second
)

// assistant is the home as Home Assistant's API wants it.
type assistant struct{ p *Portal }

// HomeAssistant serves the Matter Server's WebSocket API. Who asks is in the
// request's context (door.With); a session's cookie is nobody's here, since any
// page could have a browser send it.
func (p *Portal) HomeAssistant(version string, random io.Reader) (*hass.Server, http.Handler) {
	a := &assistant{p}
	s := hass.New(hass.Config{Home: a, Pairing: a, Networks: assistantNetworks{a}, Updates: a, Mesh: a, Labels: a, Vendors: p.vendors, Version: version, Now: p.now, Random: random, Log: p.Log})
	h := s.Handler(func(r *http.Request) (hass.Peer, bool) {
		peer, ok := peer(door.From(r.Context()))
		peer.Left = p.left(r)
		return peer, ok
	})
	return s, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := door.From(r.Context())
		if _, ok := peer(who); !ok && r.URL.Path == "/health" {
			http.Error(w, "this takes a name and a token", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r.WithContext(cluster.For(r.Context(), who.Name)))
	})
}

// peer is what somebody may do over the API.
func peer(who door.Who) (hass.Peer, bool) {
	peer := hass.Peer{Name: who.Name}
	if who.Kind == door.Session {
		return peer, false
	}
	for _, scope := range []struct {
		act   door.Act
		scope hass.Scope
	}{{look, hass.Read}, {arrange, hass.Operate}, {part, hass.Administer}} {
		if who.May(scope.act, 0) == nil {
			peer.Scope = scope.scope
		}
	}
	return peer, peer.Scope != 0
}

// left is closed when a request's token is taken back while it is served.
func (p *Portal) left(r *http.Request) <-chan struct{} {
	left := make(chan struct{})
	go func() {
		look := time.NewTicker(eventBeat)
		defer look.Stop()
		for {
			select {
			case <-look.C:
				if p.leftSince(r) {
					close(left)
					return
				}
			case <-r.Context().Done():
				return
			}
		}
	}()
	return left
}

// controllerTag is the version of the gateways' tag that stands for all of them:
// clients want a node id that never changes.
const controllerTag = 1

func (a *assistant) Identity() hass.Identity {
	s := a.p.C.Ledger.State()
	id := hass.Identity{Fabric: s.Home.FabricID, Compressed: cert.CompressedFabricID(a.p.C.CompressedFabric()), Index: 1, Administrator: s.Home.GatewayCAT.Subject(),
		Node: cert.NewCAT(s.Home.GatewayCAT.Group(), controllerTag).Subject()}
	id.BluetoothProxy = a.p.Proxies != nil
	id.Bluetooth = a.p.Radio != nil || id.BluetoothProxy
	return id
}

// Nodes are those that have said all they have at least once: what is not known
// yet a client could not show.
func (a *assistant) Nodes() (all []*hass.Node) {
	for n := range a.p.C.Ledger.State().Devices {
		if node := a.Node(n); node != nil {
			all = append(all, node)
		}
	}
	slices.SortFunc(all, func(a, b *hass.Node) int { return int(int64(a.ID) - int64(b.ID)) })
	return all
}

func (a *assistant) Count() int { return len(a.p.C.Ledger.State().Devices) }

func (a *assistant) Node(n cert.NodeID) *hass.Node {
	d := a.p.C.Ledger.State().Devices[n]
	said, ok := a.p.K.Nodes.Get(n)
	if d == nil || d.Phase != fabric.Admitted || !ok || said.Heard.IsZero() {
		return nil
	}
	node := &hass.Node{ID: n, Commissioned: time.UnixMilli(d.AdmittedAt), Interviewed: said.Heard, Available: said.Available, Attributes: make([]hass.Attribute, 0, len(said.Values))}
	for path, value := range said.Values {
		node.Attributes = append(node.Attributes, hass.Attribute{Path: hass.Path(path), Value: value})
	}
	slices.SortFunc(node.Attributes, func(x, y hass.Attribute) int { return nodes.ComparePaths(nodes.Path(x.Path), nodes.Path(y.Path)) })
	return node
}

// Watch translates what devices say. A node is added when it has said all it has
// for the first time.
func (a *assistant) Watch(see func(hass.Change)) (stop func()) {
	var mu sync.Mutex
	shown := make(map[cert.NodeID]bool)
	mu.Lock()
	now, stop := a.p.K.Nodes.Watch(func(c nodes.Change) {
		mu.Lock()
		defer mu.Unlock()
		translate(c, shown, see)
	})
	for _, n := range now {
		shown[n.ID] = !n.Heard.IsZero()
	}
	mu.Unlock()
	return stop
}

func translate(c nodes.Change, shown map[cert.NodeID]bool, see func(hass.Change)) {
	switch {
	case c.Removed():
		if shown[c.Node] {
			see(hass.Change{Kind: hass.Removed, Node: c.Node})
		}
		delete(shown, c.Node)
		return
	case !shown[c.Node] && c.Full:
		shown[c.Node] = true
		see(hass.Change{Kind: hass.Added, Node: c.Node})
		return
	case !shown[c.Node]:
		return
	}
	came, went := c.Endpoints()
	if c.Available != nil || len(came)+len(went) > 0 {
		see(hass.Change{Kind: hass.Updated, Node: c.Node})
	}
	for _, e := range came {
		see(hass.Change{Kind: hass.EndpointAdded, Node: c.Node, Endpoint: e})
	}
	for _, e := range went {
		see(hass.Change{Kind: hass.EndpointRemoved, Node: c.Node, Endpoint: e})
	}
	for _, v := range c.Values {
		see(hass.Change{Kind: hass.AttributeChanged, Node: c.Node, Path: hass.Path(v.Path), Value: v.Data})
	}
	if e := c.Event; e != nil {
		event := &interaction.Event{Path: interaction.EventPath{Endpoint: &e.Endpoint, Cluster: &e.Cluster, Event: &e.ID}, Number: e.Number, Priority: e.Priority, Data: e.Data}
		if event.Epoch = &e.Time; e.System {
			event.Epoch, event.System = nil, &e.Time
		}
		see(hass.Change{Kind: hass.Happened, Node: c.Node, Event: event})
	}
}

func (a *assistant) Read(ctx context.Context, n cert.NodeID, req interaction.ReadRequest) (*interaction.Report, error) {
	return a.p.K.Read(ctx, n, req)
}

func (a *assistant) Write(ctx context.Context, n cert.NodeID, timed time.Duration, writes ...interaction.Write) ([]error, error) {
	return a.p.K.Write(ctx, n, timed, writes...)
}

func (a *assistant) Invoke(ctx context.Context, n cert.NodeID, timed time.Duration, c interaction.Invocation) (interaction.CommandResult, error) {
	return a.p.K.Invoke(ctx, n, timed, c)
}

func (a *assistant) Interview(ctx context.Context, n cert.NodeID) error {
	report, err := a.p.K.Read(ctx, n, interaction.ReadRequest{Attributes: []interaction.AttributePath{{}}, FabricFiltered: true})
	if err == nil {
		a.p.K.Nodes.Report(n, report, true)
	}
	return err
}

func (a *assistant) Remove(ctx context.Context, n cert.NodeID) error {
	if err := a.p.K.Remove(ctx, n, true); err != nil {
		return err
	}
	devices := a.p.C.Ledger.State().Devices
	a.p.K.Nodes.Retain(func(n cert.NodeID) bool { return devices[n] != nil })
	return nil
}

func (a *assistant) Addresses(ctx context.Context, n cert.NodeID, fresh bool) (all []netip.Addr, err error) {
	if last, ok := a.p.C.Addresses.Get(n); ok && !fresh {
		return []netip.Addr{last.IP.Addr()}, nil
	}
	found, err := a.p.C.Locate(ctx, n)
	if err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeUnreachable)
	}
	for _, addr := range found {
		all = append(all, addr.IP.Addr())
	}
	return all, nil
}

// Ping reads something small over the session there is, or a new one.
func (a *assistant) Ping(ctx context.Context, n cert.NodeID, attempts int) (map[netip.Addr]bool, error) {
	answers := false
	for range max(1, attempts) {
		limit, cancel := context.WithTimeout(ctx, pingPatience)
		_, err := a.p.K.Read(limit, n, interaction.ReadRequest{Attributes: []interaction.AttributePath{
			interaction.Attribute(datamodel.RootEndpoint, datamodel.BasicInformation, datamodel.BasicSoftwareVersion)}})
		cancel()
		if answers = err == nil; answers || ctx.Err() != nil {
			break
		}
	}
	addrs, err := a.Addresses(ctx, n, false)
	if err != nil && !answers {
		return map[netip.Addr]bool{}, nil
	}
	result := make(map[netip.Addr]bool, len(addrs))
	for _, addr := range addrs {
		result[addr] = answers
	}
	return result, nil
}

// Pair returns once the device has said all it has, so that it can be shown.
func (a *assistant) Pair(ctx context.Context, req hass.PairRequest) (cert.NodeID, error) {
	if !req.Discriminated {
		if err := a.discriminate(ctx, &req); err != nil {
			return 0, err
		}
	}
	network := ""
	if req.WiFi != "" && req.WiFi != defaultID {
		network = req.WiFi
	} else if req.Thread != "" && req.Thread != defaultID {
		network = req.Thread
	}
	ended := a.p.pairing(ctx, "", "Home Assistant")
	d, session, err := a.p.C.Pair(ctx, commissioner.PairRequest{Code: req.Code, Network: network}, func(step commissioner.Progress) {
		a.p.Log.Debug("a device is being paired", "step", step.Name, "state", step.State)
	})
	if ended(err); err != nil {
		return 0, err
	}
	a.p.K.Adopt(session)
	if err := a.interviewed(ctx, d.Node); err != nil {
		return d.Node, err
	}
	go a.relabel(context.WithoutCancel(ctx), d.Node)
	return d.Node, nil
}

// discriminate finds out the discriminator of a device of which something else
// is known.
func (a *assistant) discriminate(ctx context.Context, req *hass.PairRequest) error {
	limit, cancel := context.WithTimeout(ctx, interviewPatience)
	defer cancel()
	found := false
	a.p.C.Nearby(limit, dnssd.Commissionables(), func(ad radio.Advertisement) bool {
		at := func(addr radio.Addr) bool { return addr.IP.Addr().WithZone("") == req.Address.WithZone("") }
		if !ad.HasDiscriminator || req.Code.VendorID != 0 && ad.Vendor != req.Code.VendorID || req.DeviceType != 0 && ad.DeviceType != req.DeviceType ||
			req.Address.IsValid() && !slices.ContainsFunc(ad.Addrs, at) {
			return true
		}
		req.Code.Discriminator, found = setup.Long(ad.Discriminator), true
		return false
	})
	if !found {
		return commissioner.Fail(commissioner.CodeNotFound, nil)
	}
	return nil
}

func (a *assistant) interviewed(ctx context.Context, n cert.NodeID) error {
	limit, cancel := context.WithTimeout(ctx, interviewPatience)
	defer cancel()
	heard := make(chan struct{}, 1)
	_, stop := a.p.K.Nodes.Watch(func(c nodes.Change) {
		if c.Node == n && c.Full {
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	})
	defer stop()
	if a.Node(n) != nil {
		return nil
	}
	select {
	case <-heard:
		return nil
	case <-limit.Done():
		return &hass.Error{Code: hass.InterviewFailed, Details: fmt.Sprintf("node %d is paired, but has not said yet what it is", uint64(n))}
	}
}

func (a *assistant) Nearby(ctx context.Context) (all []hass.Commissionable, err error) {
	ctx, cancel := context.WithTimeout(ctx, nearbyLook)
	defer cancel()
	seen := make(map[string]bool)
	a.p.C.Nearby(ctx, dnssd.Commissionables(), func(ad radio.Advertisement) bool {
		key := ad.Instance + fmt.Sprint(ad.Addrs)
		if seen[key] || len(ad.Addrs) == 0 {
			return true
		}
		seen[key] = true
		c := hass.Commissionable{Instance: ad.Instance, Host: ad.Host, Discriminator: ad.Discriminator, Vendor: ad.Vendor, Product: ad.Product, Mode: uint8(ad.Mode), DeviceType: ad.DeviceType,
			Name: ad.DeviceName, Instruction: ad.PairingInstruction, Hint: ad.PairingHint, TCP: ad.TCPServer, RotatingID: hex.EncodeToString(ad.RotatingID), Addresses: []netip.Addr{}}
		for _, addr := range ad.Addrs {
			if addr.Transport == radio.UDP {
				c.Port, c.Addresses = addr.IP.Port(), append(c.Addresses, addr.IP.Addr())
			}
		}
		all = append(all, c)
		return len(all) < maxNearby
	})
	return all, nil
}

func (a *assistant) OpenWindow(ctx context.Context, n cert.NodeID, req hass.WindowRequest) (*hass.Window, error) {
	share, err := a.p.K.OpenWindow(ctx, n, req.Duration)
	if f := (*commissioner.Failure)(nil); errors.As(err, &f) && f.Code == commissioner.CodeWindowOpen {
		if err := a.p.K.CloseWindow(ctx, n); err != nil {
			return nil, err
		}
		share, err = a.p.K.OpenWindow(ctx, n, req.Duration)
	}
	if err != nil {
		return nil, err
	}
	code, err := setup.Parse(share.QR)
	if err != nil {
		return nil, err
	}
	return &hass.Window{Passcode: code[0].Passcode, Manual: share.Manual, QR: share.QR, Expires: share.Expires}, nil
}

// Check is the newer software that was decided to be the device's.
func (a *assistant) Check(_ context.Context, n cert.NodeID) (*hass.SoftwareVersion, error) {
	d := a.p.C.Ledger.State().Devices[n]
	if d == nil || d.Update() == nil {
		return nil, nil
	}
	i := d.Update()
	source := hass.FromHere
	if i.From == firmware.Ledger {
		source = hass.FromLedger
	}
	return &hass.SoftwareVersion{Vendor: d.Facts.VendorID, Product: d.Facts.ProductID, Version: i.Version, Name: i.Name, MaxApplicable: i.Version - 1, Source: source}, nil
}

func (a *assistant) Begin(ctx context.Context, n cert.NodeID, version uint32) (*hass.SoftwareVersion, error) {
	v, err := a.Check(ctx, n)
	switch {
	case err != nil:
		return nil, err
	case v == nil && a.runs(n) == version:
		return nil, nil
	case v == nil:
		return nil, commissioner.Fail(commissioner.CodeNoUpdate, nil)
	case v.Version != version:
		return nil, &hass.Error{Code: hass.UpdateFailed, Details: fmt.Sprintf("version %d is what the home's rules offer node %d, not %d", v.Version, uint64(n), version)}
	}
	return v, a.p.U.Ask(ctx, n)
}

// runs is the version of a device's software.
func (a *assistant) runs(n cert.NodeID) uint32 {
	if d := a.p.C.Ledger.State().Devices[n]; d != nil {
		return d.Facts.SoftwareVersion
	}
	return 0
}

// Store refuses: what nobody signed does not come to devices through the gate.
func (a *assistant) Store(context.Context, io.Reader) (*hass.SoftwareVersion, error) {
	return nil, &hass.Error{Code: hass.UploadFailed, Details: "this gateway takes images from signed sources only: gatehouse firmware source add"}
}

func (a *assistant) BorderRouters() []hass.BorderRouter { return []hass.BorderRouter{} }

func (a *assistant) Diagnostics(context.Context, uint64, bool) (*hass.Diagnostics, error) {
	return nil, nil
}

// assistantNetworks are the home's networks as Home Assistant's API wants them.
type assistantNetworks struct{ *assistant }

// defaultID is the id of the networks that devices are put on if nobody says
// which: the home's preferred ones.
const defaultID = "default"

func (a assistantNetworks) List() (all []hass.Network) {
	s := a.p.C.Ledger.State()
	for _, kind := range []fabric.NetworkKind{fabric.WiFi, fabric.Thread} {
		for _, n := range s.NetworksOf(kind) {
			v := hass.Network{ID: n.Name, Thread: kind == fabric.Thread}
			if n.Preferred {
				v.ID = defaultID
			}
			if v.Thread {
				v.Name = n.Name
				v.ExtendedPANID = panID(n.ID)
			} else {
				v.SSID = string(n.ID)
			}
			all = append(all, v)
		}
	}
	return all
}

func panID(id []byte) (v uint64) {
	for _, b := range id {
		v = v<<8 | uint64(b)
	}
	return v
}

// named is what a network is called here that a client calls by an id. The
// default one is the preferred one, whatever it is called.
func (a assistantNetworks) named(kind fabric.NetworkKind, id string) string {
	if id != defaultID {
		return id
	}
	for _, n := range a.p.C.Ledger.State().NetworksOf(kind) {
		if n.Preferred {
			return n.Name
		}
	}
	return map[fabric.NetworkKind]string{fabric.WiFi: "Wi-Fi", fabric.Thread: "Thread"}[kind]
}

func (a assistantNetworks) set(ctx context.Context, kind fabric.NetworkKind, id string, c Credentials) error {
	n, secret, err := c.network(ctx, a.p)
	if err != nil {
		return err
	}
	defer secret.Erase()
	n.Name = a.named(kind, id)
	return a.p.C.SetNetwork(ctx, n, secret)
}

func (a assistantNetworks) SetWiFi(ctx context.Context, id, ssid, password string) error {
	for _, n := range a.p.C.Ledger.State().NetworksOf(fabric.WiFi) {
		if password == "" && n.Name == a.named(fabric.WiFi, id) && bytes.Equal(n.ID, []byte(ssid)) {
			return nil // it stays as it is
		}
	}
	return a.set(ctx, fabric.WiFi, id, Credentials{SSID: ssid, Password: password, Open: password == ""})
}

func (a assistantNetworks) SetThread(ctx context.Context, id string, dataset []byte) error {
	return a.set(ctx, fabric.Thread, id, Credentials{Dataset: hex.EncodeToString(dataset)})
}

func (a assistantNetworks) Remove(ctx context.Context, id string, isThread bool) error {
	kind := fabric.WiFi
	if isThread {
		kind = fabric.Thread
	}
	_, err := a.p.C.Ledger.Propose(ctx, fabric.Command{RemoveNetwork: &fabric.RemoveNetwork{Name: a.named(kind, id)}})
	if r := (*fabric.Refusal)(nil); errors.As(err, &r) && r.Code == fabric.CodeNoNetwork {
		return nil
	}
	return err
}
