package commissioner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

// renewSteps give a device another certificate below the same root (Matter
// Core 11.18.6.9): over a session with it, where a pairing has PASE.
var renewSteps = []step{
	{"read-information", 30 * time.Second, (*pairing).readAbout, nil},
	{"arm-failsafe", 30 * time.Second, (*pairing).armAnew, (*pairing).disarm},
	{"certificates", 30 * time.Second, (*pairing).readCertificates, nil},
	{"attestation", 30 * time.Second, (*pairing).attest, nil},
	{"reserve", 30 * time.Second, (*pairing).reserveMove, (*pairing).abandonMove},
	{"csr", 30 * time.Second, (*pairing).requestCSR, nil},
	{"issue", 30 * time.Second, (*pairing).issueMove, nil},
	{"update-noc", 30 * time.Second, (*pairing).updateNOC, (*pairing).disarm},
	{"case", time.Minute, (*pairing).meetRenewed, nil},
	{"complete", 30 * time.Second, (*pairing).complete, nil},
	{"commit", 30 * time.Second, (*pairing).commitMove, nil},
}

// Renew gives a device that belongs the certificate that its standing asks for,
// over a session that ends with that; it returns the one after. Of an attempt
// before, the device must be free: see SettleRenewal. The error is a *Failure.
func (c *Commissioner) Renew(ctx context.Context, d *fabric.Device, s *exchange.Session) (*exchange.Session, error) {
	p := &pairing{Commissioner: c, tell: func(Progress) {}, node: d.Node, pase: s, renewal: true, peer: securechannel.Peer{Link: s.Link(), Addr: s.Addr()}}
	return p.again(ctx, renewSteps)
}

// Attest has a device that belongs prove anew, over a session with it, what its
// maker made it, and gives the firmware information in its attestation; nil:
// there is none.
func (c *Commissioner) Attest(ctx context.Context, s *exchange.Session, f fabric.Facts) ([]byte, error) {
	p := &pairing{Commissioner: c, pase: s, about: about{facts: f}}
	if err := p.readCertificates(ctx); err != nil {
		return nil, err
	}
	if err := p.attest(ctx); err != nil {
		return nil, err
	}
	return p.verdict.Elements.Firmware, nil
}

// updateNOC gives the device its certificate. From the sending on, it may have
// it.
func (p *pairing) updateNOC(ctx context.Context) error {
	p.offered = true
	var r datamodel.NOCResponse
	err := p.invoke(ctx, p.pase, datamodel.OperationalCredentials, datamodel.UpdateNOCID, &datamodel.UpdateNOC{NOC: p.noc, ICAC: p.icac}, &r)
	switch {
	case err != nil:
		return Explain(err, CodeNOC)
	case r.Status != datamodel.NOCOK:
		return Fail(CodeNOC, fmt.Errorf("%v %s", r.Status, r.Text))
	}
	return nil
}

// meetRenewed opens a session with the device as the holder of its new key, and
// of no other.
func (p *pairing) meetRenewed(ctx context.Context) error {
	id := *p.id
	id.Knows = func(n cert.NodeID, key cert.PublicKey) bool { return n == p.node && key == p.key }
	p.resumptions.Forget(id.Index, p.node) // a resumed session proves no key
	var err error
	if p.oper, err = p.dial(ctx, &id, p.node, &p.peer); err != nil {
		return Fail(CodeCASE, fmt.Errorf("device %v: %w", p.node, err))
	}
	return nil
}

// SettleRenewal ends the doubt that a renewal left whose certificate was
// issued: by the device's own word over a session with it, it has that
// certificate, and is held to it, or has the one of before.
func (c *Commissioner) SettleRenewal(ctx context.Context, d *fabric.Device, s *exchange.Session) error {
	own, err := c.ownCertificates(ctx, s)
	if err != nil {
		return err
	}
	noc := own.NOC
	m := d.Next.Credential
	cmd := fabric.Command{AbandonMove: &fabric.AbandonMove{Node: d.Node, Gateway: c.Identity().Node, Serial: m.Serial}}
	switch {
	case bytes.Equal(hash(noc), d.NOCHash):
		// What was begun ends, or it might take the other one yet.
		err = c.general(ctx, s, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{}, CodeFailSafe)
	case bytes.Equal(hash(noc), m.NOCHash):
		err = c.endFailSafe(ctx, s)
		cmd = fabric.Command{AdmitMove: &fabric.AdmitMove{Node: d.Node, Gateway: c.Identity().Node, Serial: m.Serial}}
	default:
		err = Fail(CodeProtocol, errors.New("it has a certificate that it was never given"))
	}
	if err != nil {
		return Explain(err, CodeProtocol)
	}
	if _, err := c.propose(ctx, cmd); err != nil {
		return Explain(err, CodeCommit)
	}
	c.Log.Info("the renewal of a device's certificate is settled", "device", d.Node, "renewed", cmd.AdmitMove != nil)
	return nil
}

// ownCertificates are those that a device has on the fabric of a session.
func (c *Commissioner) ownCertificates(ctx context.Context, s *exchange.Session) (own datamodel.NOC, err error) {
	var list []datamodel.NOC
	path := interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, datamodel.CredentialsNOCs)
	report, err := c.Engine.Read(ctx, s, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}, FabricFiltered: true})
	if err == nil {
		err = report.Decode(path, &list)
	}
	switch {
	case err != nil:
		return own, Explain(err, CodeProtocol)
	case len(list) != 1:
		return own, Fail(CodeProtocol, fmt.Errorf("it lists %d certificates of this fabric", len(list)))
	}
	return list[0], nil
}
