package commissioner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
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
		return p.chooseNamed(radios)
	}
	known := p.known(radios)
	switch {
	case len(known) == 1:
		return p.choose(known[0])
	case len(known) == 0 && p.req.Ask == nil:
		return Fail(CodeNoNetwork, fmt.Errorf("it is for %v", radios[0].kind()))
	}
	seen := p.look(ctx, radios)
	if visible := strongest(known, seen); visible != nil {
		return p.choose(*visible)
	}
	if p.req.Ask == nil {
		return p.choose(known[0]) // hidden, perhaps
	}
	return p.askNetwork(ctx, radios, seen, nil)
}

// option is a radio and a network it could join.
type option struct {
	radio   netInterface
	network *fabric.Network
}

// known are the networks of the home that the radios could join, those that
// are preferred first.
func (p *pairing) known(radios []netInterface) (options []option) {
	state := p.Ledger.State()
	for _, r := range radios {
		for _, n := range state.NetworksOf(r.kind()) {
			options = append(options, option{r, n})
		}
	}
	slices.SortStableFunc(options, func(a, b option) int {
		switch {
		case a.network.Preferred == b.network.Preferred:
			return 0
		case a.network.Preferred:
			return -1
		}
		return 1
	})
	return options
}

func (p *pairing) chooseNamed(radios []netInterface) error {
	n := p.Ledger.State().Networks[p.req.Network]
	if n == nil {
		return Fail(CodeNetworkUnknown, fmt.Errorf("%q", p.req.Network))
	}
	for _, r := range radios {
		if r.kind() == n.Kind {
			return p.choose(option{r, n})
		}
	}
	return Fail(CodeNetworkKind, fmt.Errorf("%q is for %v", n.Name, n.Kind))
}

// choose opens the credentials of one of the home's networks.
func (p *pairing) choose(o option) error {
	secret, err := p.Authority.OpenNetwork(o.network)
	if err != nil {
		return Explain(err, CodeIssue)
	}
	p.joining.erase()
	p.joining = &joining{radio: o.radio, network: *o.network, secret: secret}
	return nil
}

// Seen is a network that a device sees.
type Seen struct {
	Kind   string `json:"kind"`            // wifi, thread
	ID     []byte `json:"id"`              // SSID or extended PAN id
	Name   string `json:"name"`            // as a person knows it
	Signal int8   `json:"signal_dbm"`      // of its nearest access point or router
	Open   bool   `json:"open,omitempty"`  // it has no password
	Known  string `json:"known,omitempty"` // what the home calls it
}

// look lets the device look for networks. One that cannot sees nothing.
func (p *pairing) look(ctx context.Context, radios []netInterface) (seen []Seen) {
	for _, r := range radios {
		p.extend(ctx, r.scanTime)
		var resp datamodel.ScanNetworksResponse
		err := p.network(ctx, r, datamodel.ScanNetworksID, r.scanTime, &datamodel.ScanNetworks{}, &resp)
		if err != nil || resp.Status != datamodel.NetworkingOK {
			p.Log.Info("the device could not look for networks", "status", resp.Status, "text", resp.Text, "err", err)
			continue
		}
		for _, w := range resp.WiFi {
			if len(w.SSID) > 0 { // else hidden
				seen = append(seen, Seen{Kind: fabric.WiFi.String(), ID: w.SSID, Name: string(w.SSID), Signal: w.RSSI, Open: w.Security&datamodel.WiFiUnencrypted != 0})
			}
		}
		for _, t := range resp.Thread {
			id := extendedPANID(t.ExtendedPANID)
			seen = append(seen, Seen{Kind: fabric.Thread.String(), ID: id, Name: t.Name, Signal: t.RSSI})
		}
	}
	return p.tidy(seen)
}

// tidy keeps the strongest of each network, names those the home knows, and
// sorts them by signal.
func (p *pairing) tidy(all []Seen) (seen []Seen) {
	slices.SortStableFunc(all, func(a, b Seen) int { return cmp.Compare(b.Signal, a.Signal) })
	for _, s := range all {
		if slices.ContainsFunc(seen, func(o Seen) bool { return o.Kind == s.Kind && string(o.ID) == string(s.ID) }) {
			continue
		}
		for _, n := range p.Ledger.State().Networks {
			if n.Kind.String() == s.Kind && string(n.ID) == string(s.ID) {
				s.Known = n.Name
			}
		}
		seen = append(seen, s)
	}
	return seen
}

// strongest is the known network that is seen best: the preferred one if it
// is seen at all.
func strongest(known []option, seen []Seen) *option {
	var best *option
	signal := int8(-128)
	for i := range known {
		n := known[i].network
		for _, s := range seen {
			if s.Kind != n.Kind.String() || string(s.ID) != string(n.ID) {
				continue
			}
			if n.Preferred {
				return &known[i]
			}
			if s.Signal > signal || best == nil {
				best, signal = &known[i], s.Signal
			}
		}
	}
	return best
}

// network invokes a command of a radio's NetworkCommissioning.
func (p *pairing) network(ctx context.Context, r netInterface, id interaction.CommandID, work time.Duration, fields, response any) error {
	results, err := p.Engine.Invoke(ctx, p.pase, 0, interaction.Invocation{
		Path: interaction.Command(r.endpoint, datamodel.NetworkCommissioning, id), Fields: fields, Work: work})
	if err != nil {
		return err
	}
	return results[0].Decode(response)
}

// extend makes the fail-safe last for what comes next. A device may refuse:
// then what there is must do.
func (p *pairing) extend(ctx context.Context, need time.Duration) {
	seconds := uint16(min(max(p.about.failSafe(), need+meetMargin), maxFailSafe).Seconds())
	if err := p.general(ctx, p.pase, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{Seconds: seconds}, CodeFailSafe); err != nil {
		p.Log.Info("the fail-safe was not extended", "err", err)
	}
}

// addNetwork tells the device the network's credentials.
func (p *pairing) addNetwork(ctx context.Context) error {
	if p.joining == nil {
		return nil
	}
	// The device may leave as soon as it has them: the fail-safe must last
	// for all that follows.
	p.extend(ctx, p.joining.radio.connectTime)
	return p.offerNetwork(ctx)
}

// offerNetwork tells the device credentials, and others if it refuses these
// and there is somebody to ask.
func (p *pairing) offerNetwork(ctx context.Context) error {
	for {
		err := p.tellNetwork(ctx)
		if err == nil {
			return nil
		}
		if err := p.askAgain(ctx, err); err != nil {
			return err
		}
	}
}

func (p *pairing) tellNetwork(ctx context.Context) error {
	status, text, err := p.addOnce(ctx)
	if err == nil && status == datamodel.NetworkingBoundsExceeded && p.makeRoom(ctx) {
		status, text, err = p.addOnce(ctx)
	}
	switch {
	case p.left(err):
		return nil
	case err != nil:
		return Explain(err, CodeNetworkRefused)
	}
	return NetworkFailure(status, text)
}

func (p *pairing) addOnce(ctx context.Context) (datamodel.NetworkingStatus, string, error) {
	j := p.joining
	credentials := j.secret.Reveal()
	defer clear(credentials)
	id, fields := datamodel.AddWiFiNetworkID, any(&datamodel.AddWiFiNetwork{SSID: j.network.ID, Credentials: credentials})
	if j.network.Kind == fabric.Thread {
		id, fields = datamodel.AddThreadNetworkID, &datamodel.AddThreadNetwork{Dataset: credentials}
	}
	var r datamodel.NetworkConfigResponse
	err := p.network(ctx, j.radio, id, 0, fields, &r)
	return r.Status, r.Text, err
}

// makeRoom removes a network that the device cannot join, or knows from an
// earlier life. The fail-safe brings the latter back if the pairing fails.
func (p *pairing) makeRoom(ctx context.Context) bool {
	var networks []datamodel.NetworkInfo
	r := p.joining.radio
	if err := p.Engine.ReadAttribute(ctx, p.pase, interaction.Attribute(r.endpoint, datamodel.NetworkCommissioning, datamodel.NetworkList), &networks); err != nil {
		return false
	}
	for _, n := range networks {
		var removed datamodel.NetworkConfigResponse
		err := p.network(ctx, r, datamodel.RemoveNetworkID, 0, &datamodel.NetworkID{ID: n.ID}, &removed)
		if err == nil && removed.Status == datamodel.NetworkingOK {
			return true
		}
	}
	return false
}

// left reports whether the device broke Bluetooth off, as one does that has a
// single radio and now joins the network with it.
func (p *pairing) left(err error) bool {
	return errors.Is(err, exchange.ErrLinkLost)
}

// connectNetwork lets the device join, with other credentials if these turn
// out to be wrong and there is somebody to ask.
func (p *pairing) connectNetwork(ctx context.Context) error {
	if p.joining == nil {
		return nil
	}
	for {
		err := p.join(ctx)
		if err == nil {
			return p.saveNetwork(ctx)
		}
		if err := p.askAgain(ctx, err); err != nil {
			return err
		}
		p.extend(ctx, p.joining.radio.connectTime)
		if err := p.offerNetwork(ctx); err != nil {
			return err
		}
	}
}

// mendable are the failures that another answer may mend.
var mendable = map[Code]bool{CodeNetworkUnseen: true, CodeNetworkPassword: true, CodeNetworkSecurity: true, CodeNetworkFailed: true,
	CodeNetworkAddress: true, CodeNetworkRefused: true}

// askAgain asks for another network or other credentials, inside the same
// fail-safe. It returns err itself where that is of no use.
func (p *pairing) askAgain(ctx context.Context, err error) error {
	var f *Failure
	if p.req.Ask == nil || !errors.As(err, &f) || !mendable[f.Code] {
		return err
	}
	radios := []netInterface{p.joining.radio}
	return p.askNetwork(ctx, radios, p.look(ctx, radios), f)
}

func (p *pairing) join(ctx context.Context) error {
	j := p.joining
	var r datamodel.ConnectNetworkResponse
	err := p.network(ctx, j.radio, datamodel.ConnectNetworkID, j.radio.connectTime, &datamodel.NetworkID{ID: j.network.ID}, &r)
	switch {
	case p.left(err):
		return nil // it says no more; whether it joined, CASE finds out
	case err != nil:
		return Explain(err, CodeNetworkFailed)
	}
	if r.Error.Valid {
		r.Text = fmt.Sprintf("%s, its own error %d", r.Text, r.Error.Value)
	}
	return NetworkFailure(r.Status, r.Text)
}

// saveNetwork keeps credentials that a person gave and that turned out right.
// The device has joined: that they are not kept does not fail its pairing.
func (p *pairing) saveNetwork(ctx context.Context) error {
	if j := p.joining; j.save {
		if err := p.SetNetwork(ctx, j.network, j.secret); err != nil {
			p.Log.Warn("the network was not kept", "network", j.network.Name, "err", err)
		}
	}
	return nil
}

// SetNetwork seals and commits a network's credentials.
func (c *Commissioner) SetNetwork(ctx context.Context, n fabric.Network, credentials seal.Secret) error {
	if err := c.Authority.SealNetwork(&n, credentials); err != nil {
		return Explain(err, CodeIssue)
	}
	_, err := c.propose(ctx, fabric.Command{SetNetwork: &fabric.SetNetwork{Name: n.Name, Kind: n.Kind, ID: n.ID, Sealed: n.Sealed, Generation: n.Generation}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	return nil
}

// NetworkFailure turns what a device says of a network into what a person
// should know.
func NetworkFailure(s datamodel.NetworkingStatus, text string) error {
	code, ok := networkCodes[s]
	switch {
	case s == datamodel.NetworkingOK:
		return nil
	case !ok:
		code = CodeNetworkFailed
	}
	if text == "" {
		return Fail(code, errors.New(s.String()))
	}
	return Fail(code, fmt.Errorf("%v: %s", s, text))
}

var networkCodes = map[datamodel.NetworkingStatus]Code{
	datamodel.NetworkingOutOfRange:          CodeNetworkRefused,
	datamodel.NetworkingBoundsExceeded:      CodeNetworkFull,
	datamodel.NetworkingIDNotFound:          CodeNetworkRefused,
	datamodel.NetworkingDuplicateID:         CodeNetworkRefused,
	datamodel.NetworkingNotFound:            CodeNetworkUnseen,
	datamodel.NetworkingRegulatory:          CodeRegulatory,
	datamodel.NetworkingAuthFailure:         CodeNetworkPassword,
	datamodel.NetworkingUnsupportedSecurity: CodeNetworkSecurity,
	datamodel.NetworkingOtherFailure:        CodeNetworkFailed,
	datamodel.NetworkingIPv6Failed:          CodeNetworkAddress,
	datamodel.NetworkingIPBindFailed:        CodeNetworkAddress,
	datamodel.NetworkingUnknownError:        CodeNetworkFailed,
}
