package portal

import (
	"context"
	"sync"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/nodes"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// label is what the home's fabric is called on devices, where the apps of other
// ecosystems show it: as the home, unless Home Assistant says otherwise for as
// long as it is here.
type label struct {
	mu   sync.Mutex
	text string
}

func (a *assistant) Label() string {
	a.p.label.mu.Lock()
	defer a.p.label.mu.Unlock()
	if a.p.label.text != "" {
		return a.p.label.text
	}
	return fitLabel(a.p.C.Ledger.State().Home.Name)
}

// maxFabricLabel is what a device takes, in octets (Matter Core 11.18.4.1).
const maxFabricLabel = 32

func fitLabel(name string) string {
	for len(name) > maxFabricLabel {
		runes := []rune(name)
		name = string(runes[:len(runes)-1])
	}
	return name
}

// SetLabel has the devices that can be reached told, one after the other. It
// does not wait for them.
func (a *assistant) SetLabel(ctx context.Context, text string) error {
	a.p.label.mu.Lock()
	a.p.label.text = text
	a.p.label.mu.Unlock()
	go func() {
		for _, n := range a.Nodes() {
			if n.Available {
				a.relabel(context.WithoutCancel(ctx), n.ID)
			}
		}
	}()
	return nil
}

// relabel tells a device what the fabric is called, if it says something else.
func (a *assistant) relabel(ctx context.Context, n cert.NodeID) {
	said, _ := a.p.K.Nodes.Get(n)
	want := a.Label()
	if have, ok := labelOn(said, a.p.C.Identity().Root.Certificate().PublicKey); !ok || have == want {
		return
	}
	fields, err := tlv.Marshal(&datamodel.UpdateFabricLabel{Label: want})
	if err != nil {
		return
	}
	path := interaction.Command(datamodel.RootEndpoint, datamodel.OperationalCredentials, datamodel.UpdateFabricLabelID)
	if r, err := a.p.K.Invoke(ctx, n, 0, interaction.Invocation{Path: path, Fields: tlv.Raw(fields)}); err != nil || r.Err != nil {
		a.p.Log.Info("a device was not told what the fabric is called", "device", n, "err", err, "status", r.Err)
	}
}

// labelOn is what a device says that the fabric of a root is called.
func labelOn(said nodes.Node, root cert.PublicKey) (string, bool) {
	var fabrics []datamodel.FabricDescriptor
	path := nodes.Path{Endpoint: datamodel.RootEndpoint, Cluster: datamodel.OperationalCredentials, Attribute: datamodel.CredentialsFabrics}
	if data, ok := said.Values[path]; !ok || tlv.Unmarshal(data, &fabrics) != nil {
		return "", false
	}
	for _, f := range fabrics {
		if string(f.RootPublicKey) == string(root[:]) {
			return f.Label, true
		}
	}
	return "", false
}
