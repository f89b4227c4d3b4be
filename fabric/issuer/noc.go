package issuer

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"gatehouse/fabric/cert"
)

// Reservation is what was set aside for a node, and the key it asked a
// certificate for.
type Reservation struct {
	Node      cert.NodeID
	Fabric    cert.FabricID
	Serial    []byte     // 8 to 20 octets, big-endian, not 0; never used before
	CATs      []cert.CAT // at most three
	PublicKey cert.PublicKey
	// NotBefore is the fabric's birth: devices with a wrong clock refuse a
	// certificate that is not valid yet, but mostly accept an expired one.
	NotBefore time.Time
	NotAfter  time.Time // zero: never expires
}

// Issue is the certificate of a node (NOC), in TLV, issued by the intermediate
// authority icac (in TLV) whose key is given.
func Issue(icac []byte, key PrivateKey, r Reservation) ([]byte, error) {
	noc, err := issue(icac, key, r)
	if err != nil {
		return nil, fmt.Errorf("issue the certificate of node %v: %w", r.Node, err)
	}
	return noc, nil
}

func issue(icac []byte, key PrivateKey, r Reservation) ([]byte, error) {
	issuer, err := authorityOf(icac, key, cert.KindIntermediate)
	switch {
	case err != nil:
		return nil, err
	case r.PublicKey == issuer.PublicKey:
		return nil, errors.New("it is for the issuer's own key")
	case len(r.Serial) < minSerial || len(bytes.Trim(r.Serial, "\x00")) == 0:
		return nil, fmt.Errorf("serial number %x", r.Serial)
	}
	c := &cert.Certificate{
		Serial:    integer(r.Serial),
		Issuer:    issuer.Subject,
		Subject:   subject(r),
		PublicKey: r.PublicKey,
		Extensions: cert.Extensions{
			Order: []cert.ExtensionKind{cert.ExtBasicConstraints, cert.ExtKeyUsage, cert.ExtKeyPurposes,
				cert.ExtSubjectKeyID, cert.ExtAuthorityKeyID},
			KeyUsage:       cert.DigitalSignature,
			KeyPurposes:    []cert.KeyPurpose{cert.ClientAuth, cert.ServerAuth},
			SubjectKeyID:   r.PublicKey.ID(),
			AuthorityKeyID: issuer.SubjectKeyID,
		},
	}
	if err := setValidity(c, r.NotBefore, r.NotAfter); err != nil {
		return nil, err
	}
	return finish(c, key, cert.KindNode)
}

func subject(r Reservation) cert.Name {
	name := cert.Name{
		{Type: cert.AttrNodeID, Number: uint64(r.Node)},
		{Type: cert.AttrFabricID, Number: uint64(r.Fabric)},
	}
	for _, c := range r.CATs {
		name = append(name, cert.Attribute{Type: cert.AttrCAT, Number: uint64(c)})
	}
	return name
}

// integer is a positive number, big-endian, as the contents of a DER integer.
func integer(b []byte) []byte {
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	if b[0] >= 0x80 {
		return append([]byte{0}, b...)
	}
	return b
}
