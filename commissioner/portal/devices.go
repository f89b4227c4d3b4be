package portal

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/keeper"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// Device is a device as the API shows it.
type Device struct {
	Node       string     `json:"node_id"` // 16 hex digits
	Name       string     `json:"name"`
	Zone       string     `json:"zone"`
	Room       string     `json:"room,omitempty"`
	Phase      string     `json:"phase"`
	AdmittedAt *time.Time `json:"admitted_at,omitempty"`
	Address    string     `json:"address,omitempty"`   // last good
	Owner      string     `json:"owner"`               // gateway that looks after it
	Reachable  *bool      `json:"reachable,omitempty"` // told by its owner alone
	// Asleep says that it sleeps as it should, and was not met since it woke up
	// last; told by its owner alone.
	Asleep   bool            `json:"asleep,omitempty"`
	Facts    fabric.Facts    `json:"facts"`
	Attested fabric.Attested `json:"attested"`
	Standing *Standing       `json:"firmware,omitempty"` // nil: nothing was decided yet
	Serial   string          `json:"certificate_serial"` // hex
	ZoneTag  bool            `json:"certificate_zone_tag"`
	// Terms are what it still has of before it was taken over from another
	// controller: foreign, shared, published or rotating; empty: nothing.
	Terms string `json:"terms,omitempty"`
	// TermsKept is why the last step of the taking over failed; told by its
	// owner alone.
	TermsKept *commissioner.Failure `json:"terms_kept,omitempty"`
}

func (p *Portal) view(d *fabric.Device) Device {
	v := Device{Node: d.Node.String(), Name: d.Name, Zone: d.Zone, Room: d.Room, Phase: d.Phase.String(), Facts: d.Facts, Attested: d.Attested, Standing: standing(d.Standing),
		Serial: hex.EncodeToString(d.Serial), ZoneTag: !d.Untagged}
	if d.Phase == fabric.Admitted {
		at := time.UnixMilli(d.AdmittedAt).UTC()
		v.AdmittedAt = &at
	}
	if d.Terms != fabric.HomeTerms {
		v.Terms = d.Terms.String()
		v.TermsKept = p.K.Kept(d.Node)
	}
	v.Owner = d.Gateway.String()
	if h, ok := p.K.Health(d.Node); ok {
		v.Reachable, v.Asleep = &h.Reachable, h.Asleep
	}
	if addr, ok := p.C.Addresses.Get(d.Node); ok {
		v.Address = addr.IP.String()
	}
	return v
}

// Devices is the answer to GET devices, at a level.
type Devices struct {
	Devices []Device `json:"devices"`
	Index   uint64   `json:"index"` // of the trust state that it is from
}

func (p *Portal) devices(w http.ResponseWriter, r *http.Request) error {
	s, err := p.atLevel(r)
	if err != nil {
		return err
	}
	list := Devices{[]Device{}, s.Index}
	for _, d := range s.Devices {
		list.Devices = append(list.Devices, p.view(d))
	}
	slices.SortFunc(list.Devices, func(a, b Device) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Node, b.Node))
	})
	return reply(w, list)
}

// find is the device a request names: by node id, or by a name only one has.
// One that another gateway has just admitted may not be known here yet.
func (p *Portal) find(r *http.Request) (*fabric.Device, error) {
	d, err := named(p.C.Ledger.State().Devices, r.PathValue("node"))
	if f := new(commissioner.Failure); errors.As(err, &f) && f.Code == commissioner.CodeUnknownDevice {
		s, err := p.C.Ledger.Current(r.Context())
		if err != nil {
			return nil, commissioner.Explain(err, commissioner.CodeCommit)
		}
		return named(s.Devices, r.PathValue("node"))
	}
	return d, err
}

func named(devices map[cert.NodeID]*fabric.Device, name string) (*fabric.Device, error) {
	if len(name) == 16 {
		if n, err := strconv.ParseUint(name, 16, 64); err == nil && devices[cert.NodeID(n)] != nil {
			return devices[cert.NodeID(n)], nil
		}
	}
	var found *fabric.Device
	for _, d := range devices {
		if d.Name != name {
			continue
		}
		if found != nil {
			return nil, invalid(fmt.Errorf("several devices are called %q: give the node id", name))
		}
		found = d
	}
	if found == nil {
		return nil, commissioner.Fail(commissioner.CodeUnknownDevice, fmt.Errorf("%q", name))
	}
	return found, nil
}

// request is the device a request names, and its body.
func (p *Portal) request(r *http.Request, body any) (*fabric.Device, error) {
	d, err := p.find(r)
	if err == nil {
		err = decode(r, body)
	}
	return d, err
}

func (p *Portal) device(w http.ResponseWriter, r *http.Request) error {
	d, err := p.find(r)
	if err != nil {
		return err
	}
	return reply(w, p.view(d))
}

// Rename gives a device another name, or another room; what is not given stays.
type Rename struct {
	Name *string `json:"name,omitempty"`
	Room *string `json:"room,omitempty"`
}

func (p *Portal) rename(w http.ResponseWriter, r *http.Request) error {
	var req Rename
	d, err := p.request(r, &req)
	if err != nil {
		return err
	}
	if req.Name == nil && req.Room == nil {
		return invalid(errors.New("neither a name nor a room is given"))
	}
	state := p.C.Ledger.State()
	if req.Name != nil {
		if state, err = p.propose(r, fabric.Command{Rename: &fabric.Rename{Node: d.Node, Name: *req.Name}}); err != nil {
			return err
		}
	}
	if req.Room != nil {
		if state, err = p.propose(r, fabric.Command{SetRoom: &fabric.SetRoom{Node: d.Node, Room: *req.Room}}); err != nil {
			return err
		}
	}
	return reply(w, p.view(state.Devices[d.Node]))
}

// Zone is a part of the home.
type Zone struct {
	Name    string `json:"name"`
	Devices int    `json:"devices"`
}

// Zones are the home's, by name.
type Zones struct {
	Zones []Zone `json:"zones"`
}

func (p *Portal) zones(w http.ResponseWriter, r *http.Request) error {
	s, list := p.C.Ledger.State(), Zones{[]Zone{}}
	in := make(map[string]int)
	for _, d := range s.Devices {
		in[d.Zone]++
	}
	for _, name := range slices.Sorted(maps.Keys(s.Zones)) {
		list.Zones = append(list.Zones, Zone{name, in[name]})
	}
	return reply(w, list)
}

func (p *Portal) addZone(w http.ResponseWriter, r *http.Request) error {
	if _, err := p.propose(r, fabric.Command{AddZone: &fabric.AddZone{Name: r.PathValue("name")}}); err != nil {
		return err
	}
	return p.zones(w, r)
}

func (p *Portal) propose(r *http.Request, c fabric.Command) (*fabric.State, error) {
	s, err := p.C.Ledger.Propose(r.Context(), c)
	if err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeCommit)
	}
	return s, nil
}

// Removed is the answer to DELETE of a device.
type Removed struct {
	Removed string `json:"removed"` // node id
}

func (p *Portal) remove(w http.ResponseWriter, r *http.Request) error {
	d, err := p.find(r)
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	if err := p.K.Remove(ctx, d.Node, r.URL.Query().Get("force") == "true"); err != nil {
		return err
	}
	return reply(w, Removed{d.Node.String()})
}

// WindowRequest asks for a commissioning window.
type WindowRequest struct {
	Seconds int `json:"seconds"`
}

// Shared is a device's code for another controller. It holds a passcode.
type Shared struct {
	keeper.Share
	Picture string `json:"picture"` // of the QR code, as data: of SVG
}

func (p *Portal) openWindow(w http.ResponseWriter, r *http.Request) error {
	var req WindowRequest
	d, err := p.request(r, &req)
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	share, err := p.K.OpenWindow(ctx, d.Node, time.Duration(req.Seconds)*time.Second)
	if err != nil {
		return err
	}
	picture, err := picture(share.QR, "code for another app")
	if err != nil {
		return err
	}
	return reply(w, Shared{*share, picture})
}

// Closed is the answer to DELETE of a window.
type Closed struct {
	Closed bool `json:"closed"`
}

func (p *Portal) closeWindow(w http.ResponseWriter, r *http.Request) error {
	d, err := p.find(r)
	if err != nil {
		return err
	}
	ctx, cancel := limited(r)
	defer cancel()
	if err := p.K.CloseWindow(ctx, d.Node); err != nil {
		return err
	}
	return reply(w, Closed{true})
}
