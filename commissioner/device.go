package commissioner

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"gatehouse/commissioner/enroll"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/attest"
)

// about is what a device says of itself before it is believed.
type about struct {
	facts      fabric.Facts
	info       datamodel.BasicCommissioningInfo
	location   datamodel.RegulatoryLocation // what its radio can do
	fabrics    []datamodel.FabricDescriptor
	supported  uint8
	occupied   uint8
	interfaces []netInterface
	hasClock   bool
}

// Fail-safe lengths of ours, where a device's own are of no use.
const (
	minFailSafe = 60 * time.Second
	maxFailSafe = 15 * time.Minute
)

func (a *about) failSafe() time.Duration {
	return min(max(time.Duration(a.info.FailSafe)*time.Second, minFailSafe), maxFailSafe)
}

// readAbout reads, in one interaction, all that the later steps need to know.
func (p *pairing) readAbout(ctx context.Context) error {
	root := datamodel.RootEndpoint
	paths := []interaction.AttributePath{
		interaction.Cluster(root, datamodel.BasicInformation),
		interaction.Cluster(root, datamodel.GeneralCommissioning),
		interaction.Attribute(root, datamodel.OperationalCredentials, datamodel.CredentialsFabrics),
		interaction.Attribute(root, datamodel.OperationalCredentials, datamodel.CredentialsSupported),
		interaction.Attribute(root, datamodel.OperationalCredentials, datamodel.CredentialsCommissioned),
		interaction.Attribute(root, datamodel.TimeSynchronization, datamodel.ClusterRevision),
		everywhere(datamodel.NetworkCommissioning, datamodel.FeatureMap),
	}
	if p.link != nil {
		for _, a := range []interaction.AttributeID{datamodel.NetworkList, datamodel.NetworkScanMaxTime, datamodel.NetworkConnectMaxTime} {
			paths = append(paths, everywhere(datamodel.NetworkCommissioning, a))
		}
	}
	report, err := p.Engine.Read(ctx, p.pase, interaction.ReadRequest{Attributes: paths})
	if err != nil {
		return Explain(err, CodeProtocol)
	}
	err = p.about.decode(report)
	a := &p.about
	switch {
	case a.facts.VendorID == enroll.VendorID && a.facts.ProductID == enroll.ProductID:
		return Fail(CodeGateway, nil)
	case err != nil:
		return Fail(CodeProtocol, err)
	case p.renewal:
		return nil // it is where it belongs
	}
	for _, id := range p.identities() {
		if f := listed(a.fabrics, id); f != nil && (p.former == nil || id == p.id) {
			return Fail(p.alreadyThere(), fmt.Errorf("as node %016X", f.NodeID))
		}
	}
	if a.supported > 0 && a.occupied >= a.supported {
		return Fail(CodeTableFull, fmt.Errorf("%d of %d", a.occupied, a.supported))
	}
	return nil
}

// alreadyThere is the failure of a device that is where it is to come.
func (p *pairing) alreadyThere() Code {
	if p.former != nil {
		return CodeMoveDoubt
	}
	return CodeMember
}

// listed is a fabric in a device's list, nil if it is not there.
func listed(fabrics []datamodel.FabricDescriptor, id *securechannel.Identity) *datamodel.FabricDescriptor {
	key := id.Root.Certificate().PublicKey
	for i, f := range fabrics {
		if f.FabricID == uint64(id.Fabric) && string(f.RootPublicKey) == string(key[:]) {
			return &fabrics[i]
		}
	}
	return nil
}

// decode takes what the report has. What a device may leave out keeps its
// zero value.
func (a *about) decode(r *interaction.Report) error {
	type field struct {
		cluster   interaction.ClusterID
		attribute interaction.AttributeID
		into      any
		optional  bool
	}
	var revision uint16
	basic, general, credentials := datamodel.BasicInformation, datamodel.GeneralCommissioning, datamodel.OperationalCredentials
	for _, f := range []field{
		{basic, datamodel.BasicVendorName, &a.facts.VendorName, false},
		{basic, datamodel.BasicVendorID, &a.facts.VendorID, false},
		{basic, datamodel.BasicProductName, &a.facts.ProductName, false},
		{basic, datamodel.BasicProductID, &a.facts.ProductID, false},
		{basic, datamodel.BasicHardwareVersion, &a.facts.HardwareVersion, false},
		{basic, datamodel.BasicSoftwareVersion, &a.facts.SoftwareVersion, false},
		{basic, datamodel.BasicSoftwareVersionString, &a.facts.SoftwareString, false},
		{basic, datamodel.BasicSerialNumber, &a.facts.SerialNumber, true},
		{basic, datamodel.BasicUniqueID, &a.facts.UniqueID, true},
		{general, datamodel.CommissioningInfo, &a.info, false},
		{general, datamodel.CommissioningLocation, &a.location, true},
		{credentials, datamodel.CredentialsFabrics, &a.fabrics, true},
		{credentials, datamodel.CredentialsSupported, &a.supported, false},
		{credentials, datamodel.CredentialsCommissioned, &a.occupied, false},
	} {
		err := r.Decode(interaction.Attribute(datamodel.RootEndpoint, f.cluster, f.attribute), f.into)
		if _, isStatus := interaction.StatusOf(err); err != nil && !(f.optional && isStatus) {
			return err
		}
	}
	a.interfaces = decodeInterfaces(r)
	a.hasClock = r.Decode(interaction.Attribute(datamodel.RootEndpoint, datamodel.TimeSynchronization, datamodel.ClusterRevision), &revision) == nil
	return nil
}

// invoke invokes a command of the root endpoint.
func (c *Commissioner) invoke(ctx context.Context, s *exchange.Session, cluster interaction.ClusterID, id interaction.CommandID, fields, response any) error {
	return c.Engine.InvokeCommand(ctx, s, 0, interaction.Command(datamodel.RootEndpoint, cluster, id), fields, response)
}

// general invokes a command of GeneralCommissioning, all of which answer alike.
func (c *Commissioner) general(ctx context.Context, s *exchange.Session, id interaction.CommandID, fields any, otherwise Code) error {
	var r datamodel.CommissioningResponse
	if err := c.invoke(ctx, s, datamodel.GeneralCommissioning, id, fields, &r); err != nil {
		return Explain(err, otherwise)
	}
	if r.Code == datamodel.CommissioningBusyWithOtherAdmin {
		otherwise = CodeBusy
	}
	if r.Code != datamodel.CommissioningOK {
		return Fail(otherwise, fmt.Errorf("%v %s", r.Code, r.Text))
	}
	return nil
}

// armFailSafe makes the device roll back by itself unless we finish in time.
func (p *pairing) armFailSafe(ctx context.Context) error { return p.arm(ctx, p.about.failSafe()) }

func (p *pairing) arm(ctx context.Context, length time.Duration) error {
	err := p.general(ctx, p.pase, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{Seconds: uint16(length.Seconds())}, CodeFailSafe)
	if until := p.Now().Add(length); codeOf(err) != CodeBusy && until.After(p.armed) {
		p.armed = until // even if its answer was lost
	}
	return err
}

// disarm makes the device roll back now: over whichever session still works.
// A device that was told that its commissioning is complete may have nothing
// to roll back, and says yes all the same.
func (p *pairing) disarm(ctx context.Context) {
	if p.rolled || p.ended {
		return
	}
	for _, s := range []*exchange.Session{p.oper, p.pase} {
		if s == nil {
			continue
		}
		err := p.general(ctx, s, datamodel.ArmFailSafeID, &datamodel.ArmFailSafe{}, CodeFailSafe)
		if p.rolled = err == nil; p.rolled {
			return
		}
		p.Log.Info("disarming the fail-safe failed; it will expire", "err", err)
	}
}

// regulatory tells a device with a radio where it is.
func (p *pairing) regulatory(ctx context.Context) error {
	if !slices.ContainsFunc(p.about.interfaces, netInterface.radio) {
		return nil
	}
	location := datamodel.IndoorOutdoor
	if p.about.location < datamodel.IndoorOutdoor {
		location = p.about.location
	}
	return p.general(ctx, p.pase, datamodel.SetRegulatoryConfigID, &datamodel.SetRegulatoryConfig{Location: location, Country: "XX"}, CodeRegulatory)
}

// matterEpoch is the start of Matter's clock, in Unix seconds.
const matterEpoch = 946684800

// setTime sets the clock of a device that has one. A device may refuse, having
// a better source.
func (p *pairing) setTime(ctx context.Context) error {
	if !p.about.hasClock {
		return nil
	}
	now := uint64(p.Now().UnixMicro() - matterEpoch*1e6)
	err := p.invoke(ctx, p.pase, datamodel.TimeSynchronization, datamodel.TimeSynchronizationSetUTCTime,
		&datamodel.SetUTCTime{Time: now, Granularity: datamodel.GranularitySeconds}, nil)
	if _, refused := interaction.StatusOf(err); err != nil && !refused {
		return Explain(err, CodeProtocol)
	}
	return nil
}

// readCertificates reads the device's attestation chain.
func (p *pairing) readCertificates(ctx context.Context) error {
	read := func(t datamodel.CertificateType) ([]byte, error) {
		var r datamodel.CertificateChainResponse
		err := p.invoke(ctx, p.pase, datamodel.OperationalCredentials, datamodel.CertificateChainRequestID, &datamodel.CertificateChainRequest{Type: t}, &r)
		if err != nil {
			return nil, Explain(err, CodeProtocol)
		}
		return r.Certificate, nil
	}
	var err error
	if p.evidence.PAI, err = read(datamodel.CertificatePAI); err != nil {
		return err
	}
	p.evidence.DAC, err = read(datamodel.CertificateDAC)
	return err
}

// attest lets the device prove that it is genuine, and judges the proof.
func (p *pairing) attest(ctx context.Context) error {
	var req datamodel.AttestationRequest
	if _, err := io.ReadFull(p.Random, req.Nonce[:]); err != nil {
		return err
	}
	var r datamodel.AttestationResponse
	if err := p.invoke(ctx, p.pase, datamodel.OperationalCredentials, datamodel.AttestationRequestID, &req, &r); err != nil {
		return Explain(err, CodeProtocol)
	}
	challenge := p.pase.Challenge()
	e := &p.evidence
	e.Elements, e.Signature, e.Challenge, e.Nonce = r.Elements, r.Signature, challenge[:], req.Nonce[:]
	e.VendorID, e.ProductID = p.about.facts.VendorID, p.about.facts.ProductID
	state, err := p.Ledger.Current(ctx)
	if err != nil {
		return Explain(err, CodeCommit)
	}
	p.verdict = attest.Evaluate(*e, p.rules(state))
	if !p.verdict.OK() {
		refused := refusedBy(p.verdict)
		var reasons []fabric.FirmwareReason
		for _, r := range refused.Reasons {
			reasons = append(reasons, fabric.FirmwareReason{Code: fabric.Cut(r.Code), Text: fabric.Cut(r.Message)})
		}
		p.turnAway(ctx, state, reasons, nil)
		return refused
	}
	return nil
}

// requestCSR lets the device make its operational key and prove that it has it.
func (p *pairing) requestCSR(ctx context.Context) error {
	req := datamodel.CSRRequest{UpdateNOC: p.renewal}
	if _, err := io.ReadFull(p.Random, req.Nonce[:]); err != nil {
		return err
	}
	var r datamodel.CSRResponse
	err := p.invoke(ctx, p.pase, datamodel.OperationalCredentials, datamodel.CSRRequestID, &req, &r)
	if err != nil {
		return Explain(err, CodeProtocol)
	}
	challenge := p.pase.Challenge()
	if p.key, err = attest.VerifyNOCSR(p.verdict.DAC, r.Elements, r.Signature, challenge[:], req.Nonce[:]); err != nil {
		return Fail(CodeCSR, err)
	}
	return nil
}

// addRoot gives the device the home's root certificate.
func (p *pairing) addRoot(ctx context.Context) error {
	err := p.invoke(ctx, p.pase, datamodel.OperationalCredentials, datamodel.AddTrustedRootID,
		&datamodel.AddTrustedRoot{Root: p.root}, nil)
	if err != nil {
		return Explain(err, CodeRoot)
	}
	return nil
}

// addNOC gives the device its certificate, the fabric's IPK, and names the
// gateways as its administrators. From the sending on, it may have them.
func (p *pairing) addNOC(ctx context.Context) error {
	epoch, err := p.Authority.IPK(ctx)
	if err != nil {
		return Fail(CodeIssue, err)
	}
	state := p.Ledger.State() // after the key
	home := &state.Home
	if !bytes.Equal(home.Root, p.root) { // then this is another fabric's key
		return Fail(CodeRerooted, nil)
	}
	ipk := epoch.Reveal()
	p.offered = true
	var r datamodel.NOCResponse
	err = p.invoke(ctx, p.pase, datamodel.OperationalCredentials, datamodel.AddNOCID, &datamodel.AddNOC{
		NOC: p.noc, ICAC: p.icac, IPK: ipk[:], AdminSubject: uint64(p.tag(state, p.device(state)).Subject()), AdminVendor: home.VendorID}, &r)
	if err != nil {
		return Explain(err, CodeNOC)
	}
	switch r.Status {
	case datamodel.NOCOK:
		return nil
	case datamodel.NOCTableFull:
		return Fail(CodeTableFull, fmt.Errorf("%s", r.Text))
	}
	return Fail(CodeNOC, fmt.Errorf("%v %s", r.Status, r.Text))
}

func hash(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}
