package portal

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"gatehouse/cluster/wire"
	"gatehouse/commissioner/keeper"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/portal/door"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// DeviceState is what a device last said.
type DeviceState struct {
	Node      string     `json:"node_id"`
	Available bool       `json:"available"`
	Since     *time.Time `json:"since,omitempty"` // of what available says
	Heard     *time.Time `json:"heard,omitempty"` // when it last said all it has
	// Values are its attributes by endpoint/cluster/attribute; for who may only
	// operate it, none of endpoint 0.
	Values map[string]json.RawMessage `json:"values"`
}

func (p *Portal) deviceState(w http.ResponseWriter, r *http.Request) error {
	d, err := p.find(r)
	if err != nil {
		return err
	}
	n, _ := p.K.Nodes.Get(d.Node)
	out := DeviceState{Node: d.Node.String(), Available: n.Available, Since: moment(n.Since), Heard: moment(n.Heard), Values: make(map[string]json.RawMessage)}
	whole := door.From(r.Context()).May(arrange, 0) == nil
	for path, data := range n.Values {
		if path.Endpoint == 0 && !whole {
			continue
		}
		if value, err := data.JSON(); err == nil {
			out.Values[path.String()] = value
		}
	}
	return reply(w, out)
}

// shown are the clusters that a list of devices shows at a glance: what they are,
// whether they are on and how much, and what they measure or lock.
var shown = map[interaction.ClusterID]bool{0x0006: true, 0x0008: true, 0x001D: true, 0x0045: true, 0x0101: true, 0x0402: true, 0x0405: true, 0x0406: true}

// DeviceStates are those of all devices, with only what a list shows: none of
// endpoint 0, and no more than what was at hand when it was asked for.
type DeviceStates struct {
	States []DeviceState `json:"states"`
}

func (p *Portal) deviceStates(w http.ResponseWriter, r *http.Request) error {
	out := DeviceStates{[]DeviceState{}}
	for n := range p.C.Ledger.State().Devices {
		said, ok := p.K.Nodes.Get(n)
		if !ok {
			continue
		}
		v := DeviceState{Node: n.String(), Available: said.Available, Since: moment(said.Since), Heard: moment(said.Heard), Values: make(map[string]json.RawMessage)}
		for path, data := range said.Values {
			// Attribute 0 of each tells what is shown.
			if path.Endpoint == 0 || !shown[path.Cluster] || path.Attribute > 0 {
				continue
			}
			if value, err := data.JSON(); err == nil {
				v.Values[path.String()] = value
			}
		}
		out.States = append(out.States, v)
	}
	return reply(w, out)
}

// moment is a time, if it is one.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// DeviceFabrics are the fabrics a device is on: who else administers it.
type DeviceFabrics struct {
	Fabrics []keeper.DeviceFabric `json:"fabrics"`
}

func (p *Portal) deviceFabrics(w http.ResponseWriter, r *http.Request) error {
	d, err := p.find(r)
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	fabrics, err := p.K.Fabrics(ctx, d.Node)
	if err != nil {
		return err
	}
	return reply(w, DeviceFabrics{fabrics})
}

// feedNodes tells another gateway what this one's devices say, for as long as
// it listens.
func (p *Portal) feedNodes(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/cbor-seq")
	out := http.NewResponseController(w)
	if err := out.Flush(); err != nil {
		return nil // who asked has gone
	}
	mine := func(n cert.NodeID) bool { return p.ownerOf(n) == p.C.Identity().Node }
	if err := p.K.Nodes.Feed(w, func() { out.Flush() }, mine, r.Context().Done()); err != nil {
		p.Log.Info("another gateway no longer hears what devices say", "gateway", wire.Peer(r.Context()), "err", err)
	}
	return nil
}

func (p *Portal) ownerOf(n cert.NodeID) cert.NodeID {
	if d := p.C.Ledger.State().Devices[n]; d != nil && d.Phase == fabric.Admitted {
		return d.Gateway
	}
	return 0
}

// Limits of ours.
const (
	nodesAgain = 2 * time.Second  // after a gateway could not be followed
	nodesLost  = 30 * time.Second // after which the devices of one that is silent are away
	nodesSaved = 5 * time.Minute  // between times that what devices said is written down
	nodesLook  = time.Second      // between looks at who belongs
)

// KeepNodes keeps what is known of devices' state in line with the home, until
// ctx ends: those that left are forgotten, those of other gateways followed.
// It is kept at path over restarts.
func (p *Portal) KeepNodes(ctx context.Context, path string) {
	save := func() {
		if err := p.K.Nodes.Save(path); err != nil {
			p.Log.Warn("what devices said is not written down", "err", err)
		}
	}
	defer save()
	following := make(map[cert.NodeID]context.CancelFunc)
	look, saved := time.NewTicker(nodesLook), time.NewTicker(nodesSaved)
	defer look.Stop()
	defer saved.Stop()
	for {
		s := p.C.Ledger.State()
		p.K.Nodes.Retain(func(n cert.NodeID) bool { d := s.Devices[n]; return d != nil && d.Phase == fabric.Admitted })
		others := make(map[cert.NodeID]bool)
		for _, g := range s.Members() {
			if others[g.Node] = true; g.Node != p.C.Identity().Node && following[g.Node] == nil {
				ctx, end := context.WithCancel(ctx)
				following[g.Node] = end
				go p.followNodes(ctx, g.Node)
			}
		}
		for n, end := range following {
			if !others[n] {
				end()
				delete(following, n)
			}
		}
		select {
		case <-look.C:
		case <-saved.C:
			save()
		case <-ctx.Done():
			return
		}
	}
}

// followNodes takes in what another gateway's devices say. While it cannot be
// heard, they are away, unless somebody else takes them over.
func (p *Portal) followNodes(ctx context.Context, gateway cert.NodeID) {
	silent := p.now()
	for ctx.Err() == nil {
		if err := p.followOnce(ctx, gateway, func() { silent = p.now() }); err != nil && ctx.Err() == nil {
			p.Log.Debug("another gateway's devices are not followed", "gateway", gateway, "err", err)
		}
		if p.now().Sub(silent) > nodesLost {
			for n, d := range p.C.Ledger.State().Devices {
				if d.Gateway == gateway {
					p.K.Nodes.Away(n)
				}
			}
		}
		select {
		case <-time.After(nodesAgain):
		case <-ctx.Done():
		}
	}
}

func (p *Portal) followOnce(ctx context.Context, gateway cert.NodeID, heard func()) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, wire.URL(gateway, "/api/v1/nodes"), nil)
	if err != nil {
		return err
	}
	resp, err := p.M.Client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errStatus(resp.StatusCode)
	}
	defer heard() // it was there until now
	mine := p.C.Identity().Node
	return p.K.Nodes.Follow(io.Reader(resp.Body), func(n cert.NodeID) bool { return p.ownerOf(n) != mine })
}

type errStatus int

func (e errStatus) Error() string { return "it answers " + http.StatusText(int(e)) }
