package commissioner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

// Limits of ours.
const (
	answerLimit = 10 * time.Minute // for a person, with all attempts to join
	keepAlive   = 20 * time.Second // between signs of life to a device that waits
	meetMargin  = 2 * time.Minute  // of fail-safe beyond joining a network: for the steps after it
	maxRadios   = 8                // network interfaces of a device
)

// netInterface is one of a device's ways into a network.
type netInterface struct {
	endpoint    interaction.EndpointID
	features    uint32
	networks    []datamodel.NetworkInfo
	scanTime    time.Duration
	connectTime time.Duration
}

func (i netInterface) radio() bool {
	return i.features&(datamodel.FeatureWiFi|datamodel.FeatureThread) != 0
}

// kind is what network a radio is for.
func (i netInterface) kind() fabric.NetworkKind {
	if i.features&datamodel.FeatureThread != 0 {
		return fabric.Thread
	}
	return fabric.WiFi
}

func (i netInterface) connected() bool {
	return slices.ContainsFunc(i.networks, func(n datamodel.NetworkInfo) bool { return n.Connected })
}

// everywhere is an attribute on every endpoint.
func everywhere(c interaction.ClusterID, a interaction.AttributeID) interaction.AttributePath {
	return interaction.AttributePath{Cluster: &c, Attribute: &a}
}

// decodeInterfaces takes the network interfaces that a report tells of. What
// it does not tell keeps its zero value.
func decodeInterfaces(r *interaction.Report) (found []netInterface) {
	for _, a := range r.Attributes {
		if !a.Path.Concrete() || *a.Path.Cluster != datamodel.NetworkCommissioning || *a.Path.Attribute != datamodel.FeatureMap || len(found) == maxRadios {
			continue
		}
		i := netInterface{endpoint: *a.Path.Endpoint}
		decode := func(id interaction.AttributeID, into any) {
			r.Decode(interaction.Attribute(i.endpoint, datamodel.NetworkCommissioning, id), into)
		}
		var scan, connect uint8
		decode(datamodel.FeatureMap, &i.features)
		decode(datamodel.NetworkList, &i.networks)
		decode(datamodel.NetworkScanMaxTime, &scan)
		decode(datamodel.NetworkConnectMaxTime, &connect)
		i.scanTime, i.connectTime = time.Duration(scan)*time.Second, time.Duration(connect)*time.Second
		found = append(found, i)
	}
	return found
}

// joining is a device on its way into a network.
type joining struct {
	radio   netInterface
	network fabric.Network
	secret  seal.Secret // password or operational dataset
	save    bool        // in the trust state, once it is known to be right
}

func (j *joining) erase() {
	if j != nil {
		j.secret.Erase()
	}
}

// chooseNetwork settles which network the device is put on, before anything
// is committed: whoever has to be asked is asked now, and what would keep the
// device from being met again is said now.
func (p *pairing) chooseNetwork(ctx context.Context) error {
	if err := p.settleNetwork(ctx); err != nil {
		return err
	}
	return p.checkMesh(ctx)
}

func (p *pairing) settleNetwork(ctx context.Context) error {
	if p.link == nil || slices.ContainsFunc(p.about.interfaces, netInterface.connected) {
		return nil // it is on one
	}
	var radios []netInterface
	for _, i := range p.about.interfaces {
		if i.radio() {
			radios = append(radios, i)
		}
	}
	if len(radios) == 0 {
		return nil // on Ethernet, or what it says is of no use: it is looked for as it is
	}
	if p.req.Network != "" {
		return p.chooseNamed(ctx, radios, p.req.Network)
	}
	known := p.known(radios)
	switch {
	case len(known) == 1:
		return p.choose(ctx, known[0])
	case len(known) == 0 && p.req.Ask == nil:
		return Fail(CodeNoNetwork, fmt.Errorf("it is for %v", radios[0].kind()))
	}
	seen := p.look(ctx, radios)
	if visible := strongest(known, seen); visible != nil {
		return p.choose(ctx, *visible)
	}
	if p.req.Ask == nil {
		return p.choose(ctx, known[0]) // hidden, perhaps
	}
	return p.askNetwork(ctx, radios, seen, nil)
}

// option is a radio and a network it could join.
type option struct {
	radio   netInterface
	network *fabric.Network
}

// known are the networks of the home that the radios could join, of each kind
// the preferred one first.
func (p *pairing) known(radios []netInterface) (options []option) {
	state := p.Ledger.State()
	for _, r := range radios {
		for _, n := range state.NetworksOf(r.kind()) {
			options = append(options, option{r, n})
		}
	}
	return options
}

// NetworkNamed is one of the home's networks, or a Failure.
func (c *Commissioner) NetworkNamed(name string) (*fabric.Network, error) {
	n := c.Ledger.State().Networks[name]
	if n == nil {
		return nil, Fail(CodeNetworkUnknown, fmt.Errorf("%q", name))
	}
	return n, nil
}

func (p *pairing) chooseNamed(ctx context.Context, radios []netInterface, name string) error {
	n, err := p.NetworkNamed(name)
	if err != nil {
		return err
	}
	for _, r := range radios {
		if r.kind() == n.Kind {
			return p.choose(ctx, option{r, n})
		}
	}
	return Fail(CodeNetworkKind, fmt.Errorf("%q is for %v", n.Name, n.Kind))
}

// choose opens the credentials of one of the home's networks.
func (p *pairing) choose(ctx context.Context, o option) error {
	secret, err := p.Authority.OpenNetwork(ctx, o.network)
	if err != nil {
		return Explain(err, CodeIssue)
	}
	p.joining.erase()
	p.joining = &joining{radio: o.radio, network: *o.network, secret: secret}
	return nil
}
