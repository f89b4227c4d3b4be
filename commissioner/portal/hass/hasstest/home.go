// Package hasstest is a home in memory, for tests of package hass: as many
// lights as are paired or added, networks, updates and a label. It stands for
// no device in particular, and keeps nothing.
package hasstest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// The device that waits to be paired.
const (
	Passcode      = 20202021
	Discriminator = 3840
	Manual        = "34970112332"
	QR            = "MT:-24J042C00KA0648G00"
	Vendor        = 0xfff1
	Product       = 0x8000
)

// Administrator is the subject of the gateways' entry.
var Administrator = cert.NewCAT(1, 2).Subject()

// Home implements the interfaces of package hass.
type Home struct {
	Now func() time.Time

	// Waiting are the devices that wait to be paired. Each takes the Passcode.
	Waiting int
	// Cameras are all of the home's nodes.
	Cameras *Cameras

	mu       sync.Mutex
	nodes    map[cert.NodeID]*device
	next     cert.NodeID
	watchers map[int]func(hass.Change)
	watched  int
	order    sync.Mutex // held while a change is told
	networks []hass.Network
	label    string
	windows  int
	sleepers map[cert.NodeID]*sleeper
	slow     func(cert.NodeID) // called before a device is asked anything, and with 0 before an image is stored
}

// New is a home with one device that waits to be paired.
func New(now func() time.Time) *Home {
	h := &Home{Now: now, Waiting: 1, nodes: make(map[cert.NodeID]*device), sleepers: make(map[cert.NodeID]*sleeper), watchers: make(map[int]func(hass.Change)), next: 1, label: "Home"}
	h.Cameras = &Cameras{Home: h}
	return h
}

// Config is what a Server of this home is made of.
func (h *Home) Config() hass.Config {
	return hass.Config{Home: h, Pairing: h, Networks: (*networks)(h), Updates: (*updates)(h), Labels: (*labels)(h), Cameras: h.Cameras, Sleepers: (*sleepers)(h), Vendors: Vendors, Version: "0.0.0-test", Now: h.Now}
}

// Vendors names the test vendors and as many others as a real table would.
func Vendors(ids []uint16) map[uint16]string {
	all := map[uint16]string{Vendor: "Test Vendor 1", 4937: "Apple Home"}
	for i := range uint16(200) {
		all[0x1000+i] = fmt.Sprintf("Vendor %d", i)
	}
	if len(ids) > 0 {
		maps.DeleteFunc(all, func(id uint16, _ string) bool { return !slices.Contains(ids, id) })
	}
	return all
}

// Slow has f called before a device is asked anything, and with 0 before an
// image is stored.
func (h *Home) Slow(f func(cert.NodeID)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slow = f
}

// Identity implements hass.Home.
func (h *Home) Identity() hass.Identity {
	return hass.Identity{Fabric: 1, Compressed: 0x9e37_79b9_7f4a_7c15, Index: 1, Node: 112233, Administrator: Administrator, Bluetooth: true}
}

// Nodes implements hass.Home.
func (h *Home) Nodes() (all []*hass.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(h.nodes)) {
		all = append(all, h.nodes[id].view())
	}
	return all
}

// Node implements hass.Home.
func (h *Home) Node(n cert.NodeID) *hass.Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	if d := h.nodes[n]; d != nil {
		return d.view()
	}
	return nil
}

// Watch implements hass.Home.
func (h *Home) Watch(see func(hass.Change)) func() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watched++
	id := h.watched
	h.watchers[id] = see
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.watchers, id)
	}
}

// change changes the home, and tells of it in order.
func (h *Home) change(f func() []hass.Change) {
	h.order.Lock()
	defer h.order.Unlock()
	h.mu.Lock()
	changes := f()
	see := slices.Collect(maps.Values(h.watchers))
	h.mu.Unlock()
	for _, c := range changes {
		for _, s := range see {
			s(c)
		}
	}
}

// device is a node that can be asked now.
func (h *Home) device(n cert.NodeID) (*device, error) {
	h.mu.Lock()
	slow := h.slow
	d := h.nodes[n]
	h.mu.Unlock()
	if slow != nil {
		slow(n)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case d == nil || h.nodes[n] == nil:
		return nil, commissioner.Fail(commissioner.CodeUnknownDevice, nil)
	case !d.available:
		return nil, commissioner.Fail(commissioner.CodeUnreachable, nil)
	}
	return d, nil
}

// Add adds a light without pairing.
func (h *Home) Add() (n cert.NodeID) {
	h.change(func() []hass.Change {
		n = h.next
		h.next++
		h.nodes[n] = newLight(n, h.Now())
		return []hass.Change{{Kind: hass.Added, Node: n}}
	})
	return n
}

// Tell tells of a change that there was not.
func (h *Home) Tell(c hass.Change) {
	h.change(func() []hass.Change { return []hass.Change{c} })
}

// Lose takes a node away and tells nobody.
func (h *Home) Lose(n cert.NodeID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.nodes, n)
}

// Set gives an attribute a value.
func (h *Home) Set(n cert.NodeID, p hass.Path, v any) {
	h.change(func() []hass.Change {
		if h.nodes[n] == nil {
			return nil
		}
		return []hass.Change{{Kind: hass.AttributeChanged, Node: n, Path: p, Value: h.nodes[n].set(p, v)}}
	})
}

// SetAvailable says whether a node can be reached.
func (h *Home) SetAvailable(n cert.NodeID, available bool) {
	h.change(func() []hass.Change {
		h.nodes[n].available = available
		return []hass.Change{{Kind: hass.Updated, Node: n}}
	})
}

// AddEndpoint gives a node another light.
func (h *Home) AddEndpoint(n cert.NodeID, e interaction.EndpointID) {
	h.change(func() []hass.Change {
		h.nodes[n].addLight(e)
		return []hass.Change{{Kind: hass.Updated, Node: n}, {Kind: hass.EndpointAdded, Node: n, Endpoint: e}}
	})
}

// RemoveEndpoint takes one away.
func (h *Home) RemoveEndpoint(n cert.NodeID, e interaction.EndpointID) {
	h.change(func() []hass.Change {
		h.nodes[n].removeEndpoint(e)
		return []hass.Change{{Kind: hass.Updated, Node: n}, {Kind: hass.EndpointRemoved, Node: n, Endpoint: e}}
	})
}

// Happen has a node tell of an event, with its fields in TLV.
func (h *Home) Happen(n cert.NodeID, e interaction.EndpointID, c interaction.ClusterID, id interaction.EventID, number uint64, data tlv.Raw) {
	at := uint64(h.Now().UnixMilli())
	h.change(func() []hass.Change {
		return []hass.Change{{Kind: hass.Happened, Node: n, Event: &interaction.Event{Path: interaction.EventPath{Endpoint: &e, Cluster: &c, Event: &id},
			Number: number, Priority: 1, Epoch: &at, Data: data}}}
	})
}

// Read implements hass.Home.
func (h *Home) Read(_ context.Context, n cert.NodeID, req interaction.ReadRequest) (*interaction.Report, error) {
	d, err := h.device(n)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return d.read(req.Attributes), nil
}

// Write implements hass.Home.
func (h *Home) Write(_ context.Context, n cert.NodeID, _ time.Duration, writes ...interaction.Write) (errs []error, err error) {
	d, err := h.device(n)
	if err != nil {
		return nil, err
	}
	h.change(func() (changes []hass.Change) {
		for _, w := range writes {
			p := hass.Path{Endpoint: *w.Path.Endpoint, Cluster: *w.Path.Cluster, Attribute: *w.Path.Attribute}
			v, err := d.write(p, w.Value.(tlv.Raw))
			if errs = append(errs, err); err == nil {
				changes = append(changes, hass.Change{Kind: hass.AttributeChanged, Node: n, Path: p, Value: v})
			}
		}
		return changes
	})
	return errs, nil
}

// Invoke implements hass.Home.
func (h *Home) Invoke(_ context.Context, n cert.NodeID, timed time.Duration, c interaction.Invocation) (r interaction.CommandResult, err error) {
	d, err := h.device(n)
	if err != nil {
		return r, err
	}
	h.change(func() (changes []hass.Change) {
		fields, _ := c.Fields.(tlv.Raw)
		var path *hass.Path
		if r, path = d.invoke(c.Path, fields, timed); path != nil {
			changes = append(changes, hass.Change{Kind: hass.AttributeChanged, Node: n, Path: *path, Value: d.attributes[*path]})
		}
		return changes
	})
	return r, nil
}

// Interview implements hass.Home.
func (h *Home) Interview(_ context.Context, n cert.NodeID) error {
	d, err := h.device(n)
	if err == nil {
		h.change(func() []hass.Change {
			d.interviewed = h.Now()
			return []hass.Change{{Kind: hass.Updated, Node: n}}
		})
	}
	return err
}

// Remove implements hass.Home.
func (h *Home) Remove(_ context.Context, n cert.NodeID) error {
	h.change(func() []hass.Change {
		delete(h.nodes, n)
		return []hass.Change{{Kind: hass.Removed, Node: n}}
	})
	return nil
}

// Addresses implements hass.Home.
func (h *Home) Addresses(context.Context, cert.NodeID, bool) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("fd00::1")}, nil
}

// Ping implements hass.Home.
func (h *Home) Ping(_ context.Context, n cert.NodeID, _ int) (map[netip.Addr]bool, error) {
	_, err := h.device(n)
	return map[netip.Addr]bool{netip.MustParseAddr("fd00::1"): err == nil}, nil
}

// Pair implements hass.Pairing.
func (h *Home) Pair(_ context.Context, req hass.PairRequest) (n cert.NodeID, err error) {
	h.mu.Lock()
	waiting := h.Waiting
	h.mu.Unlock()
	switch {
	case waiting == 0, req.Discriminated && !req.Code.Discriminator.Matches(Discriminator), req.Code.VendorID != 0 && req.Code.VendorID != Vendor:
		return 0, commissioner.Fail(commissioner.CodeNotFound, nil)
	case req.Code.Passcode.Reveal() != Passcode:
		return 0, commissioner.Fail(commissioner.CodePasscode, nil)
	}
	h.change(func() []hass.Change {
		h.Waiting--
		n = h.next
		h.next++
		h.nodes[n] = newLight(n, h.Now())
		return []hass.Change{{Kind: hass.Added, Node: n}}
	})
	return n, nil
}

// Nearby implements hass.Pairing.
func (h *Home) Nearby(context.Context) (found []hass.Commissionable, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.Waiting {
		found = append(found, hass.Commissionable{Instance: fmt.Sprintf("%016X", i), Port: 5540, Discriminator: Discriminator, Vendor: Vendor, Product: Product, Mode: 1,
			Addresses: []netip.Addr{netip.MustParseAddr("fd00::1")}})
	}
	return found, nil
}

// OpenWindow implements hass.Pairing. No two windows have the same code.
func (h *Home) OpenWindow(_ context.Context, n cert.NodeID, req hass.WindowRequest) (*hass.Window, error) {
	d, err := h.device(n)
	if err != nil {
		return nil, err
	}
	var w *hass.Window
	h.change(func() []hass.Change {
		h.windows++
		payload := setup.Payload{Passcode: setup.NewPasscode(uint32(20000000 + h.windows)), Discriminator: setup.Long(Discriminator), Discovery: setup.DiscoverOnNetwork}
		w = &hass.Window{Passcode: payload.Passcode, Expires: h.Now().Add(req.Duration)}
		w.Manual, _ = payload.Manual()
		w.QR, err = payload.QR()
		p := hass.Path{Cluster: 60}
		return []hass.Change{{Kind: hass.AttributeChanged, Node: n, Path: p, Value: d.set(p, uint8(1))}}
	})
	return w, err
}

// networks are the home's.
type networks Home

func (n *networks) List() []hass.Network {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.networks)
}

func (n *networks) put(x hass.Network) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.networks = slices.DeleteFunc(slices.Clone(n.networks), func(o hass.Network) bool { return o.ID == x.ID && o.Thread == x.Thread })
	n.networks = append(n.networks, x)
}

func (n *networks) SetWiFi(_ context.Context, id, ssid, _ string) error {
	n.put(hass.Network{ID: id, SSID: ssid})
	return nil
}

func (n *networks) SetThread(_ context.Context, id string, _ []byte) error {
	n.put(hass.Network{ID: id, Thread: true, Name: "Mesh", ExtendedPANID: 0xfedcba9876543210})
	return nil
}

func (n *networks) Remove(_ context.Context, id string, thread bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.networks = slices.DeleteFunc(slices.Clone(n.networks), func(o hass.Network) bool { return o.ID == id && o.Thread == thread })
	return nil
}

// labels is the home's label.
type labels Home

func (l *labels) Label() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.label
}

func (l *labels) SetLabel(_ context.Context, label string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.label = label; label == "" {
		l.label = "Home"
	}
	return nil
}

// updates are of one version, for every device that is of another.
type updates Home

// Update is the version that lights can be updated to.
const Update = 2

func (u *updates) Check(_ context.Context, n cert.NodeID) (*hass.SoftwareVersion, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := u.nodes[n]
	if d == nil || d.version == Update {
		return nil, nil
	}
	return &hass.SoftwareVersion{Vendor: Vendor, Product: Product, Version: Update, Name: "2.0", MaxApplicable: Update - 1, Source: hass.FromLedger}, nil
}

func (u *updates) Begin(ctx context.Context, n cert.NodeID, version uint32) (*hass.SoftwareVersion, error) {
	v, err := u.Check(ctx, n)
	if err != nil {
		return nil, err
	}
	if v == nil || version != Update {
		return nil, commissioner.Fail(commissioner.CodeNoUpdate, nil)
	}
	h := (*Home)(u)
	h.change(func() []hass.Change {
		h.nodes[n].version = Update
		return nil
	})
	h.Set(n, hass.Path{Cluster: 42, Attribute: 2}, uint8(4)) // downloading
	return v, nil
}

// Image is an image that can be stored.
const Image = "an image"

func (u *updates) Store(_ context.Context, image io.Reader) (*hass.SoftwareVersion, error) {
	u.mu.Lock()
	slow := u.slow
	u.mu.Unlock()
	if slow != nil {
		slow(0)
	}
	b, err := io.ReadAll(image)
	if err != nil {
		return nil, err
	}
	if string(b) != Image {
		return nil, errors.New("the image is corrupt")
	}
	return &hass.SoftwareVersion{Vendor: Vendor, Product: Product, Version: 3, Name: "3.0"}, nil
}

// Count is how many nodes there are.
func (h *Home) Count() int { return len(h.Nodes()) }
