package attest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/fabric/cert"
)

// maxRevocationEntries bounds what is read; the ledger holds some dozens.
const maxRevocationEntries = 100_000

// RevocationSet is the serial numbers of revoked PAIs and DACs by their
// issuer, as collected from the makers' revocation lists. It does not change
// once made.
type RevocationSet struct {
	byIssuer map[cert.KeyID][]revokedBy
}

type revokedBy struct {
	issuer  Name
	serials map[string]bool
}

// revocationEntry is one entry in the format of the Matter SDK's tools.
type revocationEntry struct {
	Type        string   `json:"type"`
	IssuerKeyID string   `json:"issuer_subject_key_id"`  // hexadecimal
	IssuerName  string   `json:"issuer_name"`            // DER in base 64
	Serials     []string `json:"revoked_serial_numbers"` // hexadecimal
	Signer      string   `json:"crl_signer_cert"`        // DER in base 64
	Delegator   string   `json:"crl_signer_delegator"`   // who let the signer sign, if another
}

// ParseRevocationSet reads a list of entries in JSON. It returns a set of all
// that could be read, and an error that names the entries that could not: one
// bad entry must not unrevoke all others. The set is nil only if nothing could
// be read.
func ParseRevocationSet(b []byte) (*RevocationSet, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, fmt.Errorf("revocation set: %w", err)
	}
	if len(raw) > maxRevocationEntries {
		return nil, fmt.Errorf("revocation set: %d entries", len(raw))
	}
	s := &RevocationSet{byIssuer: map[cert.KeyID][]revokedBy{}}
	var problems []error
	for i, r := range raw {
		if err := s.add(r); err != nil {
			problems = append(problems, fmt.Errorf("revocation set: entry %d: %w", i, err))
		}
	}
	return s, errors.Join(problems...)
}

func (s *RevocationSet) add(raw json.RawMessage) error {
	var e revocationEntry
	if err := json.Unmarshal(raw, &e); err != nil {
		return err
	}
	if e.Type != "revocation_set" {
		return fmt.Errorf("type %q", e.Type)
	}
	id, err := hex.DecodeString(e.IssuerKeyID)
	if err != nil || len(id) != len(cert.KeyID{}) {
		return fmt.Errorf("key id %q", e.IssuerKeyID)
	}
	issuer, err := base64.StdEncoding.DecodeString(e.IssuerName)
	if err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	if err := e.checkSigner(cert.KeyID(id), issuer); err != nil {
		return err
	}
	serials := map[string]bool{}
	for _, text := range e.Serials {
		serial, err := hex.DecodeString(text)
		if err != nil {
			return fmt.Errorf("serial number %q", text)
		}
		serials[canonicalSerial(serial)] = true
	}
	s.byIssuer[cert.KeyID(id)] = append(s.byIssuer[cert.KeyID(id)], revokedBy{issuer, serials})
	return nil
}

// checkSigner holds the certificate that vouches for the list, the signer's or
// that of whoever let it sign, against the issuer of the revoked certificates:
// nobody may revoke what is not their own.
func (e revocationEntry) checkSigner(id cert.KeyID, issuer Name) error {
	text := e.Signer
	if e.Delegator != "" {
		text = e.Delegator
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	c, err := ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("signer: %w", err)
	}
	if c.SubjectKeyID != id || !c.Subject.Equal(issuer) {
		return errors.New("the list's signer is not the issuer")
	}
	return nil
}

// canonicalSerial is a serial number without leading zeros.
func canonicalSerial(serial []byte) string { return string(bytes.TrimLeft(serial, "\x00")) }

// Has reports whether c is revoked.
func (s *RevocationSet) Has(c *Certificate) bool {
	for _, r := range s.byIssuer[c.AuthorityKeyID] {
		if r.serials[canonicalSerial(c.Serial)] && r.issuer.Equal(c.Issuer) {
			return true
		}
	}
	return false
}

// Len is the number of revoked certificates.
func (s *RevocationSet) Len() int {
	n := 0
	for _, issuers := range s.byIssuer {
		for _, r := range issuers {
			n += len(r.serials)
		}
	}
	return n
}
