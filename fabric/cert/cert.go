// Package cert reads, writes, issues and verifies Matter operational
// certificates: the root (RCAC), the intermediate (ICAC) and the node's own
// (NOC), in Matter TLV and in X.509 DER, and the certificate request (CSR) a
// node answers with.
//
//	root, err := cert.NewRoot(rcac)                    // once per fabric
//	peer, err := root.Verify(noc, icac, cert.At(now))  // every CASE handshake
//
// A signature covers the DER form, whichever form travels. So the package
// promises that conversion is exact in both directions: a certificate it
// accepts in one form comes back octet for octet from the other, and one that
// would not is refused. It never reads a clock, and never accepts a critical
// extension that it does not understand.
//
// Matter Core Specification, 6.4 to 6.6; RFC 5280; RFC 2986.
package cert

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
)

// Specification constants.
const (
	MaxTLV = 400 // octets of a certificate in TLV
	MaxDER = 600 // octets of a certificate in DER

	maxSerial     = 20 // octets
	maxAttributes = 5  // in a distinguished name

	keyIDLength     = 20
	publicKeyLength = 65
	signatureLength = 64
)

// PublicKey is a point on P-256 as it travels: 0x04, x, y. It has not been
// checked to be on the curve.
type PublicKey [publicKeyLength]byte

// ID is the key's identifier in certificates: its SHA-1 (RFC 5280, 4.2.1.2).
func (k PublicKey) ID() KeyID { return sha1.Sum(k[:]) }

// KeyID identifies a key in certificates.
type KeyID [keyIDLength]byte

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Signature is ECDSA's r and s, each 32 octets, big-endian.
type Signature [signatureLength]byte

// Certificate is an operational certificate. Parse and ParseDER return it well
// formed; whether it is a proper RCAC, ICAC or NOC, Check says, and whether it
// is to be believed, Authority.
type Certificate struct {
	Serial    []byte // contents of the DER integer, at most 20 octets
	Issuer    Name
	NotBefore Time
	NotAfter  Time // 0: never expires
	Subject   Name
	PublicKey PublicKey
	Extensions
	Signature Signature
}

// validate holds what is true of every certificate in either form.
func (c *Certificate) validate() error {
	switch {
	case len(c.Serial) == 0 || len(c.Serial) > maxSerial:
		return fmt.Errorf("serial number of %d octets", len(c.Serial))
	case c.NotAfter != 0 && c.NotBefore >= c.NotAfter:
		return fmt.Errorf("valid from %v to %v", c.NotBefore, c.NotAfter)
	}
	if err := c.Issuer.validate(); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if err := c.Subject.validate(); err != nil {
		return fmt.Errorf("subject: %w", err)
	}
	return c.Extensions.validate()
}

// SelfIssued reports whether the certificate names itself as its issuer.
func (c *Certificate) SelfIssued() bool {
	return c.Issuer.Equal(c.Subject) && c.AuthorityKeyID == c.SubjectKeyID
}

// Equal reports whether c and d are the same certificate.
func (c *Certificate) Equal(d *Certificate) bool {
	return bytes.Equal(c.TLV(), d.TLV())
}
