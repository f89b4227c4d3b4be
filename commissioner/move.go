package commissioner

import (
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

// moveSteps is the path of a device from the home's former fabric to the
// present one. It is that of a pairing, over a session on the former fabric
// where a pairing has PASE.
var moveSteps = []step{
	{"read-information", 30 * time.Second, (*pairing).readAbout, nil},
	{"arm-failsafe", 30 * time.Second, (*pairing).armAnew, (*pairing).disarm},
	{"certificates", 30 * time.Second, (*pairing).readCertificates, nil},
	{"attestation", 30 * time.Second, (*pairing).attest, nil},
	{"reserve", 30 * time.Second, (*pairing).reserveMove, (*pairing).abandonMove},
	{"csr", 30 * time.Second, (*pairing).requestCSR, nil},
	{"issue", 30 * time.Second, (*pairing).issueMove, nil},
	{"add-root", 30 * time.Second, (*pairing).addRoot, nil},
	{"add-noc", 30 * time.Second, (*pairing).addNOC, (*pairing).disarm},
	{"case", time.Minute, (*pairing).meetAgain, nil},
	{"write-access", 30 * time.Second, (*pairing).writeAccess, nil},
	{"verify-access", 30 * time.Second, (*pairing).verifyAccess, nil},
	{"complete", 30 * time.Second, (*pairing).complete, nil},
	{"commit", 30 * time.Second, (*pairing).commitMove, nil},
}

// MoveSteps are the names of the steps of a move, in order.
func MoveSteps() []string {
	names := make([]string, len(moveSteps))
	for i, s := range moveSteps {
		names[i] = s.name
	}
	return names
}

// Move takes a device that belongs from the home's former fabric, over a
// session with it there, to the present one, where the session it returns is.
// Of an attempt before, the device must be free: see SettleMove. The device
// keeps the former fabric: see LeaveFormer. The error is a *Failure.
func (c *Commissioner) Move(ctx context.Context, d *fabric.Device, former *exchange.Session, progress func(Progress)) (*exchange.Session, error) {
	p := &pairing{Commissioner: c, tell: progress, node: d.Node, pase: former, former: former,
		peer: securechannel.Peer{Link: former.Link(), Addr: former.Addr()}}
	if p.tell == nil {
		p.tell = func(Progress) {}
	}
	return p.again(ctx, moveSteps)
}

// again takes a device that belongs through steps that give it another
// certificate, and gives the session with it under that.
func (p *pairing) again(ctx context.Context, steps []step) (*exchange.Session, error) {
	if err := p.aim(ctx, p.Ledger.State()); err != nil {
		return nil, err
	}
	if err := p.walk(ctx, steps); err != nil {
		if p.oper != nil {
			securechannel.Close(p.Manager, p.oper)
		}
		return nil, err
	}
	return p.oper, nil
}

// SettleMove ends the doubt that an attempt left whose certificate was issued.
// Its first answer is a session on the present fabric: the device has moved.
// nil is a device that, by its own word over the session which former opens on
// the former fabric, has not; any error leaves the doubt.
func (c *Commissioner) SettleMove(ctx context.Context, d *fabric.Device, former func(context.Context) (*exchange.Session, error)) (*exchange.Session, error) {
	id, err := c.IdentityFor(ctx, nil)
	if err != nil {
		return nil, err
	}
	known := (*securechannel.Peer)(nil)
	if addr, ok := c.Addresses.Get(d.Node); ok {
		known = &securechannel.Peer{Link: c.Link, Addr: addr}
	}
	dialCtx, cancel := context.WithTimeout(ctx, settleDial)
	s, err := c.dial(dialCtx, id, d.Node, known)
	cancel()
	if err == nil {
		if err = c.finishMove(ctx, s, d); err != nil {
			securechannel.Close(c.Manager, s)
			return nil, err
		}
		return s, nil
	}
	old, err := former(ctx)
	if err != nil {
		return nil, err
	}
	return nil, c.stayed(ctx, old, id, d)
}

// finishMove takes the steps that are left with a device that is met on the
// present fabric.
func (c *Commissioner) finishMove(ctx context.Context, s *exchange.Session, d *fabric.Device) error {
	state := c.Ledger.State()
	there := arrived(state, d)
	if err := c.settleDown(ctx, s, state, there); err != nil {
		return err
	}
	return c.admitMove(ctx, d, d.Next.Credential.Serial, c.tag(state, there).Version())
}

// stayed commits that a device does not have the certificate that was issued:
// it does not list the fabric, and has let go of whatever was begun. One that
// waits for the end of a move does not do that on the former fabric's word.
func (c *Commissioner) stayed(ctx context.Context, s *exchange.Session, id *securechannel.Identity, d *fabric.Device) error {
	if err := c.general(ctx, s, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{}, CodeMoveDoubt); err != nil {
		return err
	}
	fabrics, err := c.fabrics(ctx, s)
	switch {
	case err != nil:
		return err
	case listed(fabrics, id) != nil:
		return Fail(CodeMoveDoubt, nil)
	}
	_, err = c.propose(ctx, fabric.Command{AbandonMove: &fabric.AbandonMove{Node: d.Node, Gateway: id.Node, Serial: d.Next.Credential.Serial}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	return nil
}

// fabrics are all that a device is on. The read must not be filtered: then it
// shows but the one that is asked on.
func (c *Commissioner) fabrics(ctx context.Context, s *exchange.Session) (list []datamodel.FabricDescriptor, err error) {
	path := interaction.Attribute(datamodel.RootEndpoint, datamodel.OperationalCredentials, datamodel.CredentialsFabrics)
	report, err := c.Engine.Read(ctx, s, interaction.ReadRequest{Attributes: []interaction.AttributePath{path}})
	if err == nil {
		err = report.Decode(path, &list)
	}
	if err != nil {
		return nil, Explain(err, CodeProtocol)
	}
	return list, nil
}

// LeaveFormer makes a device that was moved forget the home's former fabric,
// over a session on the present one, and has its own word that it did.
func (c *Commissioner) LeaveFormer(ctx context.Context, s *exchange.Session, d *fabric.Device) error {
	id, err := c.IdentityFor(ctx, nil)
	if err != nil {
		return err
	}
	fabrics, err := c.fabrics(ctx, s)
	if err != nil {
		return err
	}
	if listed(fabrics, id) == nil { // it must not be thrown out altogether
		return Fail(CodeProtocol, errors.New("it does not list the fabric that it answers on"))
	}
	for _, f := range others(fabrics, id, d.Node) {
		if err := c.removeFabric(ctx, s, f.FabricIndex); err != nil {
			return Explain(err, CodeNotLeft)
		}
	}
	if fabrics, err = c.fabrics(ctx, s); err != nil {
		return err
	}
	if left := others(fabrics, id, d.Node); len(left) > 0 {
		return Fail(CodeNotLeft, nil)
	}
	if _, err := c.propose(ctx, fabric.Command{LeftFormer: &fabric.LeftFormer{Node: d.Node, Gateway: id.Node}}); err != nil {
		return Explain(err, CodeCommit)
	}
	c.Log.Info("a device has left the home's former fabric", "device", d.Node)
	return nil
}

// others are a device's fabrics that were this home's under another root: the
// fabric and the node keep their ids.
func others(fabrics []datamodel.FabricDescriptor, id *securechannel.Identity, n cert.NodeID) (of []datamodel.FabricDescriptor) {
	for _, f := range fabrics {
		if f.FabricID == uint64(id.Fabric) && f.NodeID == uint64(n) && listed([]datamodel.FabricDescriptor{f}, id) == nil {
			of = append(of, f)
		}
	}
	return of
}

// armAnew arms the fail-safe, after it had the device drop what an attempt
// before may have left behind.
func (p *pairing) armAnew(ctx context.Context) error {
	if err := p.general(ctx, p.pase, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{}, CodeFailSafe); err != nil {
		return err
	}
	return p.armFailSafe(ctx)
}

// reserveMove commits a serial number to this attempt.
func (p *pairing) reserveMove(ctx context.Context) error {
	state, err := p.propose(ctx, fabric.Command{ReserveMove: &fabric.ReserveMove{Node: p.node, Gateway: p.id.Node, FailSafe: p.about.failSafe().Milliseconds(), Renewal: p.renewal}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	d := state.Devices[p.node]
	if d == nil || d.Next == nil {
		return Fail(CodeCommit, fmt.Errorf("somebody else gives device %v its certificate", p.node))
	}
	p.serial = d.Next.Credential.Serial
	return nil
}

// abandonMove gives the attempt up, unless the device may have its certificate
// and did not confirm that it rolled back: SettleMove or SettleRenewal finds out.
func (p *pairing) abandonMove(ctx context.Context) {
	if p.serial == nil || p.offered && !p.rolled {
		return
	}
	_, err := p.propose(ctx, fabric.Command{AbandonMove: &fabric.AbandonMove{Node: p.node, Gateway: p.id.Node, Serial: p.serial}})
	if err != nil {
		p.Log.Warn("abandoning a certificate failed; it will be settled", "device", p.node, "err", err)
	}
}

// issueMove signs the certificate and commits its hash, before the device can
// have it.
func (p *pairing) issueMove(ctx context.Context) error {
	var err error
	if p.noc, p.icac, err = p.Authority.Issue(ctx, p.node, p.key); err != nil {
		return Explain(err, CodeIssue)
	}
	_, err = p.propose(ctx, fabric.Command{IssueMove: &fabric.IssueMove{Node: p.node, Gateway: p.id.Node, Serial: p.serial, NOCHash: hash(p.noc), PublicKey: p.key[:]}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	return nil
}

func (p *pairing) commitMove(ctx context.Context) error {
	d := p.Ledger.State().Devices[p.node]
	if d == nil {
		return Fail(CodeUnknownDevice, nil)
	}
	return p.admitMove(ctx, d, p.serial, p.access) // of a renewal, access is 0
}

func (c *Commissioner) admitMove(ctx context.Context, d *fabric.Device, serial []byte, access uint16) error {
	_, err := c.propose(ctx, fabric.Command{AdmitMove: &fabric.AdmitMove{Node: d.Node, Gateway: c.Identity().Node, Serial: serial, Access: access}})
	if err != nil {
		return Explain(err, CodeCommit)
	}
	c.Log.Info("a device has another certificate", "device", d.Node, "name", d.Name)
	return nil
}
