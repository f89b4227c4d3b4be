package commissioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

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
	if err := p.arm(ctx, min(max(p.about.failSafe(), need+meetMargin), maxFailSafe)); err != nil {
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
	case left(err):
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
	id, fields := AddNetworkCommand(&j.network, credentials)
	var r datamodel.NetworkConfigResponse
	err := p.network(ctx, j.radio, id, 0, fields, &r)
	return r.Status, r.Text, err
}

// AddNetworkCommand is the command of NetworkCommissioning that tells a device
// a network, and its fields.
func AddNetworkCommand(n *fabric.Network, credentials []byte) (interaction.CommandID, any) {
	if n.Kind == fabric.Thread {
		return datamodel.AddThreadNetworkID, &datamodel.AddThreadNetwork{Dataset: credentials}
	}
	return datamodel.AddWiFiNetworkID, &datamodel.AddWiFiNetwork{SSID: n.ID, Credentials: credentials}
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
func left(err error) bool {
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
			p.saveNetwork(ctx)
			return nil
		}
		if err := p.askAgain(ctx, err); err != nil {
			return err
		}
		if err := p.addNetwork(ctx); err != nil {
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
	case left(err):
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
func (p *pairing) saveNetwork(ctx context.Context) {
	if j := p.joining; j.save {
		if err := p.SetNetwork(ctx, j.network, j.secret); err != nil {
			p.Log.Warn("the network was not kept", "network", j.network.Name, "err", err)
		}
	}
}

// SetNetwork seals and commits a network's credentials.
func (c *Commissioner) SetNetwork(ctx context.Context, n fabric.Network, credentials seal.Secret) error {
	if err := c.Authority.SealNetwork(ctx, &n, credentials); err != nil {
		return Explain(err, CodeIssue)
	}
	_, err := c.propose(ctx, fabric.Command{SetNetwork: &fabric.SetNetwork{Name: n.Name, Kind: n.Kind, ID: n.ID, Sealed: n.Sealed, DataKey: n.DataKey}})
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
