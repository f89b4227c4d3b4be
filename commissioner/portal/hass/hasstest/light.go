package hasstest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/portal/hass"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// device is a light, and whatever is bridged by it.
type device struct {
	id           cert.NodeID
	commissioned time.Time
	interviewed  time.Time
	available    bool
	version      uint32
	attributes   map[hass.Path]tlv.Raw
	seen         *hass.Node // as Nodes shows it; nil: it has changed
}

type typed struct {
	Type     uint32 `tlv:"0"`
	Revision uint16 `tlv:"1"`
}

type labelled struct {
	Label string `tlv:"0"`
	Value string `tlv:"1"`
}

type descriptor struct {
	Root   []byte `tlv:"1"`
	Vendor uint16 `tlv:"2"`
	Fabric uint64 `tlv:"3"`
	Node   uint64 `tlv:"4"`
	Label  string `tlv:"5"`
	Index  uint8  `tlv:"254"`
}

type networkInterface struct {
	Name     string         `tlv:"0"`
	Up       bool           `tlv:"1"`
	IPv4Up   tlv.Null[bool] `tlv:"2"`
	IPv6Up   tlv.Null[bool] `tlv:"3"`
	Hardware []byte         `tlv:"4"`
	IPv4     [][]byte       `tlv:"5"`
	IPv6     [][]byte       `tlv:"6"`
	Type     uint8          `tlv:"7"`
}

type entry struct {
	Privilege uint8            `tlv:"1"`
	AuthMode  uint8            `tlv:"2"`
	Subjects  []uint64         `tlv:"3"`
	Targets   tlv.Null[[]bool] `tlv:"4"`
	Index     uint8            `tlv:"254"`
}

func newLight(n cert.NodeID, now time.Time) *device {
	d := &device{id: n, commissioned: now, interviewed: now, available: true, version: 1, attributes: make(map[hass.Path]tlv.Raw)}
	for p, v := range map[hass.Path]any{
		{Cluster: 29, Attribute: 0}: []typed{{22, 1}}, {Cluster: 29, Attribute: 1}: []uint32{29, 31, 40, 42, 51, 60, 62}, {Cluster: 29, Attribute: 2}: []uint32{},
		{Cluster: 31, Attribute: 0}: []entry{{5, 2, []uint64{uint64(Administrator)}, tlv.Null[[]bool]{}, 1}},
		{Cluster: 40, Attribute: 0}: uint16(17), {Cluster: 40, Attribute: 1}: "Test Vendor", {Cluster: 40, Attribute: 2}: uint16(Vendor), {Cluster: 40, Attribute: 3}: "Test Light",
		{Cluster: 40, Attribute: 4}: uint16(Product), {Cluster: 40, Attribute: 5}: "", {Cluster: 40, Attribute: 6}: "XX", {Cluster: 40, Attribute: 7}: uint16(1),
		{Cluster: 40, Attribute: 8}: "1", {Cluster: 40, Attribute: 9}: uint32(1), {Cluster: 40, Attribute: 10}: "1.0", {Cluster: 40, Attribute: 17}: true,
		{Cluster: 40, Attribute: 18}: "unique", {Cluster: 40, Attribute: 21}: uint32(0x01040000),
		{Cluster: 42, Attribute: 1}: true, {Cluster: 42, Attribute: 2}: uint8(1), {Cluster: 42, Attribute: 3}: tlv.Null[uint8]{},
		{Cluster: 51, Attribute: 0}: []networkInterface{{Name: "eth0", Up: true, Hardware: []byte{2, 0, 0, 0, 0, 1}, IPv6: [][]byte{{15: 1}}, Type: 2}}, {Cluster: 51, Attribute: 1}: uint16(1),
		{Cluster: 60, Attribute: 0}: uint8(0), {Cluster: 60, Attribute: 1}: tlv.Null[uint8]{}, {Cluster: 60, Attribute: 2}: tlv.Null[uint16]{},
		{Cluster: 62, Attribute: 1}: []descriptor{{make([]byte, 65), Vendor, 1, uint64(n), "Home", 1}, {make([]byte, 65), 4937, 0xffff_ffff_ffff_fff0, 7, "", 2}},
		{Cluster: 62, Attribute: 2}: uint8(5), {Cluster: 62, Attribute: 3}: uint8(2), {Cluster: 62, Attribute: 5}: uint8(1),
	} {
		d.set(p, v)
	}
	d.addLight(1)
	return d
}

// addLight puts an on/off light, which is a switch as well, at an endpoint.
func (d *device) addLight(e interaction.EndpointID) {
	var parts []interaction.EndpointID
	for p := range d.attributes {
		if p.Cluster == 6 && p.Attribute == 0 {
			parts = append(parts, p.Endpoint)
		}
	}
	for p, v := range map[hass.Path]any{
		{Cluster: 3, Attribute: 0}: uint16(0), {Cluster: 3, Attribute: 1}: uint8(1), {Cluster: 4, Attribute: 0}: uint8(0x80),
		{Cluster: 6, Attribute: 0}: false, {Cluster: 6, Attribute: 0x4000}: true, {Cluster: 6, Attribute: 0x4001}: uint16(0), {Cluster: 6, Attribute: 0x4003}: tlv.Null[uint8]{},
		{Cluster: 29, Attribute: 0}: []typed{{256, 3}}, {Cluster: 29, Attribute: 1}: []uint32{3, 4, 6, 29, 30, 59, 65}, {Cluster: 29, Attribute: 2}: []uint32{}, {Cluster: 29, Attribute: 3}: []uint32{},
		{Cluster: 30, Attribute: 0}: []bool{}, {Cluster: 59, Attribute: 0}: uint8(2), {Cluster: 59, Attribute: 1}: uint8(0), {Cluster: 65, Attribute: 0}: []labelled{},
	} {
		p.Endpoint = e
		d.set(p, v)
	}
	d.set(hass.Path{Cluster: 29, Attribute: 3}, slices.Sorted(slices.Values(append(parts, e))))
	seen := make(map[hass.Path]bool)
	for p := range d.attributes {
		seen[hass.Path{Endpoint: p.Endpoint, Cluster: p.Cluster}] = true
	}
	for p := range seen {
		p.Attribute = 0xfffc
		d.set(p, uint32(0))
		p.Attribute = 0xfffd
		d.set(p, uint16(1))
	}
}

func (d *device) removeEndpoint(e interaction.EndpointID) {
	for p := range d.attributes {
		if p.Endpoint == e {
			delete(d.attributes, p)
		}
	}
	d.seen = nil
}

// set gives an attribute a value, which must be one that TLV can hold.
func (d *device) set(p hass.Path, v any) tlv.Raw {
	b, err := tlv.Marshal(v)
	if err != nil {
		panic(err)
	}
	d.attributes[p], d.seen = b, nil
	return b
}

// view shows the device. What was shown is not changed afterwards.
func (d *device) view() *hass.Node {
	if s := d.seen; s == nil || s.Available != d.available || s.Interviewed != d.interviewed {
		n := &hass.Node{ID: d.id, Commissioned: d.commissioned, Interviewed: d.interviewed, Available: d.available}
		for p, v := range d.attributes {
			n.Attributes = append(n.Attributes, hass.Attribute{Path: p, Value: v})
		}
		slices.SortFunc(n.Attributes, func(a, b hass.Attribute) int {
			return cmp.Or(cmp.Compare(a.Path.Endpoint, b.Path.Endpoint), cmp.Compare(a.Path.Cluster, b.Path.Cluster), cmp.Compare(a.Path.Attribute, b.Path.Attribute))
		})
		d.seen = n
	}
	return d.seen
}

func (d *device) read(paths []interaction.AttributePath) *interaction.Report {
	r := new(interaction.Report)
	for _, p := range paths {
		found := false
		for _, a := range d.view().Attributes {
			x := a.Path
			if (p.Endpoint == nil || *p.Endpoint == x.Endpoint) && (p.Cluster == nil || *p.Cluster == x.Cluster) && (p.Attribute == nil || *p.Attribute == x.Attribute) {
				r.Attributes = append(r.Attributes, interaction.AttributeReport{Path: interaction.Attribute(x.Endpoint, x.Cluster, x.Attribute), Data: a.Value})
				found = true
			}
		}
		if !found && p.Concrete() {
			r.Attributes = append(r.Attributes, interaction.AttributeReport{Path: p, Err: &interaction.StatusError{Status: interaction.UnsupportedAttribute}})
		}
	}
	return r
}

// maxLabel is how long a node's label may be.
const maxLabel = 32

func (d *device) write(p hass.Path, v tlv.Raw) (tlv.Raw, error) {
	if d.attributes[p] == nil {
		return nil, &interaction.StatusError{Status: interaction.UnsupportedAttribute}
	}
	switch (hass.Path{Cluster: p.Cluster, Attribute: p.Attribute}) {
	case hass.Path{Cluster: 40, Attribute: 5}:
		var s string
		if tlv.Unmarshal(v, &s) != nil {
			return nil, &interaction.StatusError{Status: interaction.InvalidDataType}
		}
		if len(s) > maxLabel {
			return nil, &interaction.StatusError{Status: interaction.ConstraintError}
		}
	case hass.Path{Cluster: 31}, hass.Path{Cluster: 30}, hass.Path{Cluster: 65}, hass.Path{Cluster: 6, Attribute: 0x4001}, hass.Path{Cluster: 6, Attribute: 0x4003}:
	default:
		return nil, &interaction.StatusError{Status: interaction.UnsupportedWrite}
	}
	d.attributes[p], d.seen = v, nil
	return v, nil
}

// invoke carries out a command, and says which attribute it changed.
func (d *device) invoke(c interaction.CommandPath, fields tlv.Raw, timed time.Duration) (r interaction.CommandResult, changed *hass.Path) {
	at := hass.Path{Endpoint: *c.Endpoint, Cluster: c.Cluster}
	answer := func(v any) {
		b, err := tlv.Marshal(v)
		if err != nil {
			panic(err)
		}
		r.Fields = b
	}
	var on bool
	tlv.Unmarshal(d.attributes[at], &on)
	switch {
	case d.attributes[hass.Path{Endpoint: at.Endpoint, Cluster: at.Cluster, Attribute: 0xfffc}] == nil:
		r.Err = &interaction.StatusError{Status: interaction.UnsupportedEndpoint}
	case c.Cluster == 6 && c.Command <= 2:
		d.set(at, c.Command == 1 || c.Command == 2 && !on)
		return r, &at
	case c.Cluster == 3 && c.Command == 0:
		var q struct {
			Time uint16 `tlv:"0"`
		}
		if tlv.Unmarshal(fields, &q) != nil {
			r.Err = &interaction.StatusError{Status: interaction.InvalidCommand}
			break
		}
		d.set(at, q.Time)
		return r, &at
	case c.Cluster == 4 && c.Command == 0: // AddGroup
		var q struct {
			Group uint16 `tlv:"0"`
			Name  string `tlv:"1"`
		}
		if tlv.Unmarshal(fields, &q) != nil || strings.TrimSpace(q.Name) == "" {
			r.Err = &interaction.StatusError{Status: interaction.InvalidCommand}
			break
		}
		answer(struct {
			Status uint8  `tlv:"0"`
			Group  uint16 `tlv:"1"`
		}{0, q.Group})
	case c.Cluster == 60 && timed == 0:
		r.Err = &interaction.StatusError{Status: interaction.NeedsTimedInteraction}
	case c.Cluster == 60 && c.Command == 2:
		own := uint8(2) // WindowNotOpen
		r.Err = &interaction.StatusError{Status: interaction.Failure, Cluster: &own}
	case c.Cluster == 62 && c.Command == 10:
		path := hass.Path{Cluster: 62, Attribute: 1}
		var q struct {
			Index uint8 `tlv:"0"`
		}
		var list []descriptor
		if tlv.Unmarshal(fields, &q) != nil || tlv.Unmarshal(d.attributes[path], &list) != nil {
			r.Err = &interaction.StatusError{Status: interaction.InvalidCommand}
			break
		}
		left := slices.DeleteFunc(slices.Clone(list), func(x descriptor) bool { return x.Index == q.Index })
		status := uint8(0)
		if len(left) == len(list) {
			status = 11 // InvalidFabricIndex
		}
		d.set(path, left)
		answer(struct {
			Status uint8 `tlv:"0"`
			Index  uint8 `tlv:"1"`
		}{status, q.Index})
		return r, &path
	case c.Cluster == datamodel.WebRTCProvider && c.Command == datamodel.WebRTCEndSessionID:
	default:
		r.Err = &interaction.StatusError{Status: interaction.UnsupportedCommand}
	}
	return r, nil
}
