package portal

import (
	"context"
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
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
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
	cfg := hass.Config{Home: a, Pairing: a, Networks: assistantNetworks{a}, Updates: a, Mesh: a, Labels: a, Sleepers: a, Vendors: p.vendors, Version: version, Now: p.now, Random: random, Log: p.Log}
	if p.Cameras != nil {
		cfg.Cameras = assistantCameras{p, p.Cameras}
	}
	s := hass.New(cfg)
	if p.Mesh != nil {
		p.Mesh.watch(func(d *hass.Diagnostics) { s.Publish(hass.ThreadDiagnostics, d) })
	}
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

func (a *assistant) Sleeper(n cert.NodeID) hass.Sleeper { return hass.Sleeper(a.p.K.Sleeper(n)) }

func (a *assistant) Register(ctx context.Context, n cert.NodeID) error {
	return a.p.K.RegisterCheckIn(ctx, n)
}

func (a *assistant) Unregister(ctx context.Context, n cert.NodeID, force bool) error {
	return a.p.K.UnregisterCheckIn(ctx, n, force)
}
