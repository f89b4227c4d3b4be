package inherit

import (
	"fmt"
	"time"

	"gatehouse/fabric/cert"
)

// Plan is what there is, and what taking it over would do, for a person. It
// holds no secret.
type Plan struct {
	Source     Source    `json:"source"`
	Path       string    `json:"path"`
	Fabric     string    `json:"fabric_id"`
	Compressed string    `json:"compressed_fabric_id"`
	Label      string    `json:"label,omitempty"`
	VendorID   uint16    `json:"vendor_id"`
	Controller string    `json:"controller,omitempty"` // node id of the old one
	RootKey    bool      `json:"root_key"`             // is there, and the root's
	RootEnds   time.Time `json:"root_ends,omitzero"`   // zero: never
	IPK        string    `json:"ipk"`                  // published, own or unknown
	Devices    []Device  `json:"devices"`
	Happens    []string  `json:"happens"`
	Stays      []string  `json:"does_not_happen"`
	Problems   []Problem `json:"problems,omitempty"`
	Usable     bool      `json:"usable"`
}

// Device is a Node as a Plan lists it.
type Device struct {
	Node        string    `json:"node"`
	Name        string    `json:"name,omitempty"`
	VendorID    uint16    `json:"vendor_id"`
	ProductID   uint16    `json:"product_id"`
	Vendor      string    `json:"vendor_name,omitempty"`
	Product     string    `json:"product_name,omitempty"`
	Serial      string    `json:"serial_number,omitempty"`
	Paired      time.Time `json:"paired,omitzero"`
	Seen        time.Time `json:"last_seen,omitzero"`
	KeyKnown    bool      `json:"key_known"` // else it is learnt when it is met
	OtherFabric int       `json:"other_fabrics,omitempty"`
	Groups      int       `json:"groups,omitempty"`
	Bindings    int       `json:"bindings,omitempty"`
	Access      int       `json:"access_entries,omitempty"` // but the old controller's
}

// Plan says what taking the home over would do.
func (h *Home) Plan() Plan {
	p := Plan{Source: h.Source, Path: h.Path, Fabric: h.FabricID.String(), Compressed: h.Compressed.String(), Label: h.Label, VendorID: h.VendorID,
		RootKey: h.RootKey.Reveal() != nil, IPK: "own", Devices: []Device{}, Usable: h.Usable() == nil}
	if h.Controller != 0 {
		p.Controller = h.Controller.String()
	}
	if c, err := cert.Parse(h.Root); err == nil && c.NotAfter != 0 {
		p.RootEnds = c.NotAfter.Time()
	}
	switch {
	case h.Published:
		p.IPK = "published"
	case h.IPK.Reveal() == [cert.GroupKeyLength]byte{}:
		p.IPK = "unknown"
	}
	var others, groups, bindings, access int
	for _, n := range h.Nodes {
		d := Device{Node: n.ID.String(), Name: n.Name, VendorID: n.VendorID, ProductID: n.ProductID, Vendor: n.VendorName, Product: n.ProductName, Serial: n.SerialNumber,
			Paired: n.Paired, Seen: n.Seen, KeyKnown: n.PublicKey != nil, OtherFabric: max(n.Fabrics-1, 0), Groups: n.Groups, Bindings: n.Bindings, Access: n.Access}
		p.Devices = append(p.Devices, d)
		others, groups, bindings, access = others+min(d.OtherFabric, 1), groups+d.Groups, bindings+d.Bindings, access+d.Access
	}
	for _, q := range h.Problems {
		p.Problems = append(p.Problems, *q)
	}
	p.Happens, p.Stays = h.happens(), stays(others, groups, bindings, access)
	return p
}

func (h *Home) happens() []string {
	l := []string{
		"root, fabric id and node ids stay, and so do Home Assistant's devices and entities",
		"the root's key goes into a recovery kit; a new authority below the root signs from then on",
		fmt.Sprintf("each of %d devices, when it is met: the gateways become its administrators and the old controller none, and it gets a new certificate", len(h.Nodes)),
	}
	if h.Published {
		l = append(l, "the identity protection key, which is printed in the Matter SDK's source, is replaced on each device that can")
	}
	return append(l, "devices that are off follow when they come back")
}

func stays(others, groups, bindings, access int) []string {
	l := []string{"the old server's files stay as they are: whoever has a copy of them can pose as this home's administrator. Switch the server off first, and destroy all copies after"}
	add := func(n int, format string) {
		if n > 0 {
			l = append(l, fmt.Sprintf(format, n))
		}
	}
	add(others, "%d devices are in other ecosystems too: these keep their rights, and Gatehouse has no say in them")
	add(groups, "%d groups are not taken over: their keys are not in the storage")
	add(bindings, "%d bindings stay on their devices; they work once both ends have been met, if both are in one zone")
	add(access, "%d entries in access lists that are not the old controller's go: the zone's entry takes their place")
	return append(l, "names, rooms and automations of Home Assistant are in Home Assistant, and are not touched")
}
