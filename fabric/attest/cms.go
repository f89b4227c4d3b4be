package attest

import (
	"errors"

	"gatehouse/fabric/cert"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers in DER.
const (
	oidSignedData = "\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x02"
	oidData       = "\x06\x09\x2A\x86\x48\x86\xF7\x0D\x01\x07\x01"

	cmsVersion3 = "\x02\x01\x03"
)

// cms is the one shape of CMS message that a certification declaration has
// (6.3.1): version 3, SHA-256, one signer named by its key id, no certificates
// and no signed attributes.
type cms struct {
	content   []byte
	signer    cert.KeyID
	signature cert.Signature
}

func parseCMS(b []byte) (*cms, error) {
	m := new(cms)
	explicit := asn1.Tag(0).ContextSpecific().Constructed()
	s := cryptobyte.String(b)
	var info, wrapper, data, digests, algorithm, encap, content, octets cryptobyte.String
	if !s.ReadASN1(&info, asn1.SEQUENCE) || !s.Empty() || !skip(&info, oidSignedData) ||
		!info.ReadASN1(&wrapper, explicit) || !info.Empty() ||
		!wrapper.ReadASN1(&data, asn1.SEQUENCE) || !wrapper.Empty() {
		return nil, errors.New("not signed data")
	}
	if !skip(&data, cmsVersion3) {
		return nil, errors.New("not of version 3")
	}
	if !data.ReadASN1(&digests, asn1.SET) || !digests.ReadASN1Element(&algorithm, asn1.SEQUENCE) ||
		!digests.Empty() || !isAlgorithm(algorithm, oidSHA256) {
		return nil, errors.New("not digested with SHA-256")
	}
	if !data.ReadASN1(&encap, asn1.SEQUENCE) || !skip(&encap, oidData) || !encap.ReadASN1(&content, explicit) ||
		!encap.Empty() || !content.ReadASN1(&octets, asn1.OCTET_STRING) || !content.Empty() {
		return nil, errors.New("malformed content")
	}
	m.content = octets
	var signers, signer cryptobyte.String
	if !data.ReadASN1(&signers, asn1.SET) || !data.Empty() || !signers.ReadASN1(&signer, asn1.SEQUENCE) || !signers.Empty() {
		return nil, errors.New("not exactly one signer")
	}
	if err := m.readSigner(signer); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *cms) readSigner(s cryptobyte.String) error {
	var id, digest, algorithm, octets cryptobyte.String
	if !skip(&s, cmsVersion3) || !s.ReadASN1(&id, asn1.Tag(0).ContextSpecific()) ||
		!id.CopyBytes(m.signer[:]) || !id.Empty() {
		return errors.New("the signer is not named by its key id")
	}
	if !s.ReadASN1Element(&digest, asn1.SEQUENCE) || !isAlgorithm(digest, oidSHA256) ||
		!s.ReadASN1Element(&algorithm, asn1.SEQUENCE) || !isAlgorithm(algorithm, oidECDSAWithSHA256) {
		return errors.New("not signed with ECDSA and SHA-256")
	}
	if !s.ReadASN1(&octets, asn1.OCTET_STRING) || !s.Empty() {
		return errors.New("malformed signature")
	}
	var err error
	m.signature, err = cert.ParseSignature(octets)
	return err
}

func (m *cms) signedBy(c *Certificate) bool {
	key, err := c.PublicKey.Key()
	return err == nil && m.signature.Verify(key, m.content)
}
