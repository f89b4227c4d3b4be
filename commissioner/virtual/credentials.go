package virtual

import (
	"context"
	"maps"
	"slices"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/tlv"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

// fabric is one the device is on.
type fabric struct {
	index      uint8
	identity   *securechannel.Identity
	compressed cert.CompressedFabricID
	root       []byte // TLV
	vendor     uint16
	label      string
	acl        []datamodel.ACLEntry
	ipk        cert.EpochKey
	moreIPKs   []cert.EpochKey // that it goes by as well
	clients    map[uint64]*client
}

// name is what the fabric's node is announced by.
func (f *fabric) name() string {
	return radio.OperationalInstance(uint64(f.compressed), uint64(f.identity.Node))
}

// identities are who the device is, on each of its fabrics.
func (d *Device) identities() []*securechannel.Identity {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []*securechannel.Identity
	for _, f := range d.fabrics {
		ids = append(ids, f.identity)
		for _, ipk := range f.moreIPKs {
			id := *f.identity
			id.IPK = ipk.Operational(f.compressed)
			ids = append(ids, &id)
		}
	}
	return ids
}

// visible are the fabrics the asker may see.
func (d *Device) visible(r *interaction.Request) []*fabric {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*fabric
	for _, i := range slices.Sorted(maps.Keys(d.fabrics)) {
		if !r.FabricFiltered || i == r.Session.Fabric() {
			list = append(list, d.fabrics[i])
		}
	}
	return list
}

// newIndex is one that no fabric has, nor had lately: sessions of one that was
// left may still be open. Call it with the lock.
func (d *Device) newIndex() uint8 {
	for {
		d.lastIndex = d.lastIndex%maxFabrics + 1
		if d.fabrics[d.lastIndex] == nil {
			return d.lastIndex
		}
	}
}

func each[T any](fabrics []*fabric, f func(*fabric) T) []T {
	list := []T{}
	for _, x := range fabrics {
		list = append(list, f(x))
	}
	return list
}

// Certificates are the NOCs, in TLV, that the device ever received, whether it
// took them or not, and those that it holds and will keep: what a pairing that
// is not complete gave it, its fail-safe may take back.
func (d *Device) Certificates() (received, kept [][]byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, i := range slices.Sorted(maps.Keys(d.fabrics)) {
		if f := d.fabrics[i]; f != d.failSafe.added {
			kept = append(kept, f.identity.NOC)
		}
	}
	return slices.Clone(d.received), kept
}

func (d *Device) operationalCredentials() *datamodel.Cluster {
	attribute := func(f func(*interaction.Request) any) datamodel.AttributeServer {
		return datamodel.AttributeServer{Read: f}
	}
	nocs := attribute(func(r *interaction.Request) any {
		return each(d.visible(r), func(f *fabric) datamodel.NOC {
			return datamodel.NOC{NOC: f.identity.NOC, ICAC: tlv.Null[[]byte]{Valid: len(f.identity.ICAC) > 0, Value: f.identity.ICAC}, FabricIndex: f.index}
		})
	})
	nocs.ReadAccess = datamodel.Administer
	command := func(response interaction.CommandID, f func(context.Context, *interaction.Request, tlv.Raw) (any, interaction.StatusIB)) datamodel.CommandServer {
		return datamodel.CommandServer{Access: datamodel.Administer, Response: response, Invoke: d.cfg.Hostile.command(f)}
	}
	return &datamodel.Cluster{ID: datamodel.OperationalCredentials, Revision: 1,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.CredentialsNOCs: nocs,
			datamodel.CredentialsFabrics: attribute(func(r *interaction.Request) any {
				return each(d.visible(r), func(f *fabric) datamodel.FabricDescriptor {
					key := f.identity.Root.Certificate().PublicKey
					return datamodel.FabricDescriptor{RootPublicKey: key[:], VendorID: f.vendor, FabricID: uint64(f.identity.Fabric),
						NodeID: uint64(f.identity.Node), Label: f.label, FabricIndex: f.index}
				})
			}),
			datamodel.CredentialsSupported:     datamodel.Value(uint8(d.cfg.MaxFabrics)),
			datamodel.CredentialsCommissioned:  attribute(func(*interaction.Request) any { return uint8(d.Fabrics()) }),
			datamodel.CredentialsCurrentFabric: attribute(func(r *interaction.Request) any { return r.Session.Fabric() }),
			datamodel.CredentialsRoots: attribute(func(*interaction.Request) any {
				return each(d.visible(&interaction.Request{}), func(f *fabric) []byte { return f.root })
			}),
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.AttestationRequestID:      command(datamodel.AttestationResponseID, d.attest),
			datamodel.CertificateChainRequestID: command(datamodel.CertificateChainResponseID, d.certificateChain),
			datamodel.CSRRequestID:              command(datamodel.CSRResponseID, d.csr),
			datamodel.AddNOCID:                  command(datamodel.NOCResponseID, d.addNOC),
			datamodel.UpdateNOCID:               command(datamodel.NOCResponseID, d.updateNOC),
			datamodel.UpdateFabricLabelID:       command(datamodel.NOCResponseID, d.updateLabel),
			datamodel.RemoveFabricID:            command(datamodel.NOCResponseID, d.removeFabric),
			datamodel.AddTrustedRootID:          command(0, d.addRoot),
		}}
}

func invalid() (any, interaction.StatusIB) {
	return nil, interaction.StatusIB{Status: interaction.InvalidCommand}
}

func (d *Device) attest(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.AttestationRequest
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	challenge := r.Session.Challenge()
	attestation := *d.attestation
	if d.cfg.Firmware != nil {
		version, _ := d.Software()
		attestation.Firmware = d.cfg.Firmware(version)
	}
	elements, signature := attestation.Attest(challenge[:], d.cfg.Hostile.nonce(req.Nonce[:]))
	return &datamodel.AttestationResponse{Elements: elements, Signature: signature}, interaction.StatusIB{}
}

func (d *Device) certificateChain(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.CertificateChainRequest
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	switch req.Type {
	case datamodel.CertificateDAC:
		return &datamodel.CertificateChainResponse{Certificate: d.attestation.DAC}, interaction.StatusIB{}
	case datamodel.CertificatePAI:
		return &datamodel.CertificateChainResponse{Certificate: d.attestation.PAI}, interaction.StatusIB{}
	}
	return invalid()
}

func (d *Device) csr(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.CSRRequest
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	key, err := issuer.GenerateKey(d.cfg.Random)
	if err != nil {
		return nil, interaction.StatusIB{Status: interaction.Failure}
	}
	csr, err := cert.NewRequest(d.cfg.Random, key)
	if err != nil {
		return nil, interaction.StatusIB{Status: interaction.Failure}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.failSafe.armed() {
		return nil, interaction.StatusIB{Status: interaction.FailsafeRequired}
	}
	d.failSafe.key, d.failSafe.forNOC = &key, req.UpdateNOC
	challenge := r.Session.Challenge()
	elements, signature := d.attestation.NOCSR(challenge[:], d.cfg.Hostile.csrNonce(req.Nonce[:]), csr)
	return &datamodel.CSRResponse{Elements: elements, Signature: signature}, interaction.StatusIB{}
}

func (d *Device) addRoot(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.AddTrustedRoot
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	c, err := cert.Parse(req.Root)
	if err != nil {
		return invalid()
	}
	root, err := cert.NewRoot(c)
	if err != nil {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.failSafe.armed():
		return nil, interaction.StatusIB{Status: interaction.FailsafeRequired}
	case d.failSafe.root != nil:
		return nil, interaction.StatusIB{Status: interaction.ConstraintError}
	}
	d.failSafe.root = root
	return nil, interaction.StatusIB{}
}

func nocStatus(s datamodel.NOCStatus, text string) (any, interaction.StatusIB) {
	return &datamodel.NOCResponse{Status: s, Text: text}, interaction.StatusIB{}
}

// checkNOC verifies a certificate for the key that was made last. Call it with
// the lock.
func (d *Device) checkNOC(root *cert.Authority, noc, icac []byte, update bool) (cert.Node, datamodel.NOCStatus) {
	if d.failSafe.key == nil || d.failSafe.forNOC != update {
		return cert.Node{}, datamodel.NOCMissingCSR
	}
	node, err := root.Verify(noc, icac, cert.AnyTime)
	switch {
	case err != nil:
		return node, datamodel.NOCInvalid
	case node.PublicKey != d.failSafe.key.PublicKey():
		return node, datamodel.NOCInvalidPublicKey
	}
	return node, datamodel.NOCOK
}

func (d *Device) addNOC(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.AddNOC
	if tlv.Unmarshal(fields, &req) != nil || len(req.IPK) != cert.GroupKeyLength {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.received = append(d.received, req.NOC)
	root := d.failSafe.root
	switch {
	case !d.failSafe.armed():
		return nil, interaction.StatusIB{Status: interaction.FailsafeRequired}
	case d.failSafe.added != nil || d.failSafe.updated != nil:
		return nil, interaction.StatusIB{Status: interaction.ConstraintError}
	case root == nil:
		return nocStatus(datamodel.NOCInvalid, "no trusted root was added")
	case len(d.fabrics) >= d.cfg.MaxFabrics:
		return nocStatus(datamodel.NOCTableFull, "")
	}
	node, status := d.checkNOC(root, req.NOC, req.ICAC, false)
	if status != datamodel.NOCOK {
		return nocStatus(status, "")
	}
	subject := cert.NodeID(req.AdminSubject)
	if _, isCAT := subject.CAT(); !subject.Operational() && !isCAT {
		return nocStatus(datamodel.NOCInvalidAdminSubject, "")
	}
	key := root.Certificate().PublicKey
	for _, f := range d.fabrics {
		if f.identity.Root.Certificate().PublicKey == key && f.identity.Fabric == node.FabricID {
			return nocStatus(datamodel.NOCFabricConflict, "")
		}
	}
	f := d.enter(root, node, &req, *d.failSafe.key)
	d.failSafe.added, d.failSafe.fabric = f, f.index
	if d.cfg.OnNOC != nil {
		d.cfg.OnNOC(req.NOC)
	}
	go d.changed(0, datamodel.OperationalCredentials, datamodel.CredentialsFabrics, datamodel.CredentialsCommissioned, datamodel.CredentialsNOCs, datamodel.CredentialsRoots)
	return &datamodel.NOCResponse{FabricIndex: &f.index}, interaction.StatusIB{}
}

// enter puts the device on a fabric. Call it with the lock.
func (d *Device) enter(root *cert.Authority, node cert.Node, req *datamodel.AddNOC, key issuer.PrivateKey) *fabric {
	f := &fabric{index: d.newIndex(), compressed: cert.CompressFabric(root.Certificate().PublicKey, node.FabricID), root: root.Certificate().TLV(), vendor: req.AdminVendor,
		ipk: cert.NewEpochKey([cert.GroupKeyLength]byte(req.IPK)), clients: make(map[uint64]*client)}
	f.acl = []datamodel.ACLEntry{{Privilege: datamodel.Administer, AuthMode: datamodel.AuthCASE, Subjects: tlv.Some([]uint64{req.AdminSubject}), FabricIndex: f.index}}
	f.identity = &securechannel.Identity{Index: f.index, Fabric: node.FabricID, Node: node.NodeID, Root: root, NOC: req.NOC, ICAC: req.ICAC,
		Key: key, IPK: f.ipk.Operational(f.compressed), Valid: cert.AnyTime}
	d.fabrics[f.index] = f
	s := dnssd.OperationalService(radio.Advertisement{Kind: radio.Operational, Instance: f.name(), CompressedFabric: uint64(f.compressed), Node: uint64(node.NodeID)}, d.cfg.Port)
	d.advertise(f.name(), &s)
	return f
}

// Join puts the device on a fabric as if it had been paired to it long ago,
// with that private key, by a controller that nobody simulates.
func (d *Device) Join(root []byte, added datamodel.AddNOC, key issuer.PrivateKey) error {
	c, err := cert.Parse(root)
	if err != nil {
		return err
	}
	authority, err := cert.NewRoot(c)
	if err != nil {
		return err
	}
	node, err := authority.Verify(added.NOC, added.ICAC, cert.AnyTime)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.enter(authority, node, &added, key)
	d.received = append(d.received, added.NOC)
	return nil
}

func (d *Device) updateNOC(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.UpdateNOC
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.received = append(d.received, req.NOC)
	f := d.fabrics[r.Session.Fabric()]
	switch {
	case !d.failSafe.armed() || f == nil:
		return nil, interaction.StatusIB{Status: interaction.FailsafeRequired}
	case d.failSafe.added != nil || d.failSafe.updated != nil || d.failSafe.root != nil:
		return nil, interaction.StatusIB{Status: interaction.ConstraintError}
	}
	node, status := d.checkNOC(f.identity.Root, req.NOC, req.ICAC, true)
	if status == datamodel.NOCOK && node.FabricID != f.identity.Fabric {
		status = datamodel.NOCInvalid
	}
	if status != datamodel.NOCOK {
		return nocStatus(status, "")
	}
	if d.cfg.Hostile == KeepNOC {
		return &datamodel.NOCResponse{FabricIndex: &f.index}, interaction.StatusIB{}
	}
	updated, identity := *f, *f.identity
	identity.Node, identity.NOC, identity.ICAC, identity.Key = node.NodeID, req.NOC, req.ICAC, *d.failSafe.key
	updated.identity = &identity
	d.failSafe.updated, d.fabrics[f.index] = f, &updated
	d.resumptions.Forget(f.index, 0)
	for _, s := range d.manager.Sessions(func(s *exchange.Session) bool {
		return s.Kind() == exchange.CASE && s.Fabric() == f.index && s != r.Session
	}) {
		go s.Close()
	}
	go d.changed(0, datamodel.OperationalCredentials, datamodel.CredentialsNOCs)
	return &datamodel.NOCResponse{FabricIndex: &f.index}, interaction.StatusIB{}
}

func (d *Device) updateLabel(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.UpdateFabricLabel
	if tlv.Unmarshal(fields, &req) != nil || len(req.Label) > 32 {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	own := d.fabrics[r.Session.Fabric()]
	if own == nil {
		return nil, interaction.StatusIB{Status: interaction.UnsupportedAccess}
	}
	for _, f := range d.fabrics {
		if f != own && f.label == req.Label && req.Label != "" {
			return nocStatus(datamodel.NOCLabelConflict, "")
		}
	}
	own.label = req.Label
	go d.changed(0, datamodel.OperationalCredentials, datamodel.CredentialsFabrics)
	return &datamodel.NOCResponse{FabricIndex: &own.index}, interaction.StatusIB{}
}

func (d *Device) removeFabric(_ context.Context, _ *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	var req datamodel.RemoveFabric
	if tlv.Unmarshal(fields, &req) != nil {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fabrics[req.FabricIndex]
	if f == nil {
		return nocStatus(datamodel.NOCInvalidFabricIndex, "")
	}
	if d.cfg.Hostile == KeepFabric {
		return &datamodel.NOCResponse{FabricIndex: &f.index}, interaction.StatusIB{}
	}
	d.drop(f)
	d.reopen()
	return &datamodel.NOCResponse{FabricIndex: &f.index}, interaction.StatusIB{}
}
