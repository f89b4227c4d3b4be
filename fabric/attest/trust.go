package attest

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"

	"gatehouse/fabric/cert"
)

// Root is a certificate that is trusted: a PAA, or a signer of certification
// declarations.
type Root struct {
	*Certificate
	Test bool // anybody may have its key; an Exception must allow it
}

// Trusted is certificates to be trusted: one in DER, or any number in PEM.
type Trusted struct {
	Data []byte
	Test bool
}

// TrustStore is the certificates a gateway trusts. It does not change once
// made.
type TrustStore struct {
	paas, signers map[cert.KeyID][]*Root
}

// NewTrustStore reads the PAAs and the signers of declarations. It returns a
// store of all that could be read, and an error that names those that could
// not: a missing root only makes the gateway refuse more.
func NewTrustStore(paas, signers []Trusted) (*TrustStore, error) {
	s := &TrustStore{paas: map[cert.KeyID][]*Root{}, signers: map[cert.KeyID][]*Root{}}
	var problems []error
	read := func(what string, into map[cert.KeyID][]*Root, all []Trusted, check func(*Certificate) error) {
		for i, t := range all {
			ders, err := t.split()
			for _, der := range ders {
				if e := add(into, der, t.Test, check); e != nil {
					err = errors.Join(err, e)
				}
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s %d: %w", what, i, err))
			}
		}
	}
	read("PAA", s.paas, paas, (*Certificate).CheckPAA)
	read("declaration signer", s.signers, signers, checkSigner)
	return s, errors.Join(problems...)
}

func checkSigner(c *Certificate) error {
	if !c.HasSubjectKeyID {
		return errors.New("no subject key id")
	}
	return nil
}

func add(into map[cert.KeyID][]*Root, der []byte, test bool, check func(*Certificate) error) error {
	c, err := ParseCertificate(bytes.Clone(der))
	if err == nil {
		err = check(c)
	}
	if err != nil {
		return err
	}
	into[c.SubjectKeyID] = append(into[c.SubjectKeyID], &Root{c, test})
	return nil
}

// split is the certificates in t, in DER.
func (t Trusted) split() ([][]byte, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(t.Data), []byte("-----BEGIN")) {
		return [][]byte{t.Data}, nil
	}
	var ders [][]byte
	rest := t.Data
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return ders, fmt.Errorf("a PEM block of type %q", block.Type)
		}
		ders = append(ders, block.Bytes)
	}
	if len(bytes.TrimSpace(rest)) != 0 || len(ders) == 0 {
		return ders, errors.New("malformed PEM")
	}
	return ders, nil
}

// paa is the PAA whose key signed pai, or else any that claims to have.
func (s *TrustStore) paa(pai *Certificate) *Root {
	if s == nil || !pai.HasAuthorityKeyID {
		return nil
	}
	return pick(s.paas[pai.AuthorityKeyID], func(r *Root) bool { return pai.signedBy(r.Certificate) })
}

// signer is the certificate whose key signed m, or else any that claims to have.
func (s *TrustStore) signer(m *cms) *Root {
	if s == nil {
		return nil
	}
	return pick(s.signers[m.signer], func(r *Root) bool { return m.signedBy(r.Certificate) })
}

// pick is the root with this key id that suits, or else any with it: several
// certificates may be for one key. One that is no test root goes before others.
func pick(roots []*Root, suits func(*Root) bool) *Root {
	var best *Root
	for _, r := range roots {
		if best == nil || suits(r) && (!suits(best) || best.Test && !r.Test) {
			best = r
		}
	}
	return best
}

// PAAs is the number of PAAs in the store, of test roots and of all.
func (s *TrustStore) PAAs() (test, all int) {
	for _, roots := range s.paas {
		for _, r := range roots {
			all++
			if r.Test {
				test++
			}
		}
	}
	return test, all
}
