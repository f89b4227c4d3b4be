package datamodel

import (
	"fmt"

	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

// OperationalCredentials: attestation, certificates and fabrics of a node.
const (
	OperationalCredentials                             = interaction.ClusterID(0x003E)
	CredentialsNOCs            interaction.AttributeID = 0
	CredentialsFabrics         interaction.AttributeID = 1
	CredentialsSupported       interaction.AttributeID = 2
	CredentialsCommissioned    interaction.AttributeID = 3
	CredentialsRoots           interaction.AttributeID = 4
	CredentialsCurrentFabric   interaction.AttributeID = 5
	AttestationRequestID       interaction.CommandID   = 0
	AttestationResponseID      interaction.CommandID   = 1
	CertificateChainRequestID  interaction.CommandID   = 2
	CertificateChainResponseID interaction.CommandID   = 3
	CSRRequestID               interaction.CommandID   = 4
	CSRResponseID              interaction.CommandID   = 5
	AddNOCID                   interaction.CommandID   = 6
	UpdateNOCID                interaction.CommandID   = 7
	NOCResponseID              interaction.CommandID   = 8
	UpdateFabricLabelID        interaction.CommandID   = 9
	RemoveFabricID             interaction.CommandID   = 10
	AddTrustedRootID           interaction.CommandID   = 11
)

// NOC is what a node shows of its operational certificates.
type NOC struct {
	NOC         []byte           `tlv:"1"`
	ICAC        tlv.Null[[]byte] `tlv:"2"` // null where the root issued the NOC
	FabricIndex uint8            `tlv:"254"`
}

// FabricDescriptor is a fabric that a node is on.
type FabricDescriptor struct {
	RootPublicKey []byte `tlv:"1"`
	VendorID      uint16 `tlv:"2"` // of its administrator
	FabricID      uint64 `tlv:"3"`
	NodeID        uint64 `tlv:"4"`
	Label         string `tlv:"5"`
	FabricIndex   uint8  `tlv:"254"`
}

// AttestationRequest asks a node to prove what it is.
type AttestationRequest struct {
	Nonce [32]byte `tlv:"0"`
}

// AttestationResponse is the proof: elements, signed with the DAC's key.
type AttestationResponse struct {
	Elements  []byte `tlv:"0"`
	Signature []byte `tlv:"1"`
}

// CertificateType says which certificate of the attestation chain is asked for.
type CertificateType uint8

const (
	CertificateDAC CertificateType = 1
	CertificatePAI CertificateType = 2
)

type CertificateChainRequest struct {
	Type CertificateType `tlv:"0"`
}

type CertificateChainResponse struct {
	Certificate []byte `tlv:"0"` // DER
}

// CSRRequest asks a node for a new key and its signing request.
type CSRRequest struct {
	Nonce     [32]byte `tlv:"0"`
	UpdateNOC bool     `tlv:"1,omitempty"`
}

// CSRResponse is the signing request, signed with the DAC's key.
type CSRResponse struct {
	Elements  []byte `tlv:"0"`
	Signature []byte `tlv:"1"`
}

// AddTrustedRoot gives a node the root of a fabric to be added.
type AddTrustedRoot struct {
	Root []byte `tlv:"0"` // TLV
}

// AddNOC puts a node on a fabric.
type AddNOC struct {
	NOC          []byte `tlv:"0"`
	ICAC         []byte `tlv:"1,omitempty"`
	IPK          []byte `tlv:"2"` // epoch key
	AdminSubject uint64 `tlv:"3"`
	AdminVendor  uint16 `tlv:"4"`
}

// UpdateNOC renews a node's certificate on its fabric.
type UpdateNOC struct {
	NOC  []byte `tlv:"0"`
	ICAC []byte `tlv:"1,omitempty"`
}

type UpdateFabricLabel struct {
	Label string `tlv:"0"`
}

type RemoveFabric struct {
	FabricIndex uint8 `tlv:"0"`
}

// NOCStatus is a code of OperationalCredentials.
type NOCStatus uint8

const (
	NOCOK                  NOCStatus = 0
	NOCInvalidPublicKey    NOCStatus = 1
	NOCInvalidNodeID       NOCStatus = 2
	NOCInvalid             NOCStatus = 3
	NOCMissingCSR          NOCStatus = 4
	NOCTableFull           NOCStatus = 5
	NOCInvalidAdminSubject NOCStatus = 6
	NOCFabricConflict      NOCStatus = 9
	NOCLabelConflict       NOCStatus = 10
	NOCInvalidFabricIndex  NOCStatus = 11
)

var nocStatusNames = map[NOCStatus]string{
	NOCOK: "ok", NOCInvalidPublicKey: "invalid public key", NOCInvalidNodeID: "invalid node id", NOCInvalid: "invalid NOC",
	NOCMissingCSR: "missing CSR", NOCTableFull: "fabric table full", NOCInvalidAdminSubject: "invalid administrator subject",
	NOCFabricConflict: "fabric conflict", NOCLabelConflict: "label conflict", NOCInvalidFabricIndex: "invalid fabric index",
}

func (s NOCStatus) String() string {
	if name := nocStatusNames[s]; name != "" {
		return name
	}
	return fmt.Sprintf("status %d", uint8(s))
}

// NOCResponse answers AddNOC, UpdateNOC, UpdateFabricLabel and RemoveFabric.
type NOCResponse struct {
	Status      NOCStatus `tlv:"0"`
	FabricIndex *uint8    `tlv:"1"`
	Text        string    `tlv:"2,omitempty"`
}
