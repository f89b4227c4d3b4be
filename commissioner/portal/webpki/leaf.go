package webpki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// Limits of ours.
const (
	usualLife = 90 * 24 * time.Hour
	// longestLife is what browsers take of a certificate at most, in days, less
	// one for those who count the first and the last.
	longestLife  = 397 * 24 * time.Hour
	maxNames     = 16
	maxAddresses = 32
	maxCommon    = 64 // octets of a common name
)

// When is what a gateway knows of the time.
type When struct {
	Now time.Time
	// Floor is the latest time that has certainly passed: when the release was
	// built, or the last one that was seen before the power went. Without it the
	// authority's own beginning is the floor.
	Floor time.Time
}

// sane is the time to sign at, and whether the clock told it. A clock that is
// before the floor or after the authority's end is wrong.
func (a *Authority) sane(w When) (time.Time, bool) {
	floor := w.Floor
	if begin := a.cert.NotBefore.Add(clockSlack); floor.Before(begin) {
		floor = begin
	}
	if w.Now.Before(floor) || !w.Now.Before(a.cert.NotAfter) {
		return floor, false
	}
	return w.Now, true
}

// Leaf signs a certificate for a new key, for a server of some names and
// addresses. It is good for 90 days; for 397 from the floor on if the clock is
// wrong, in the hope that the true time is among them. random is for the
// serial number: the standard library draws keys from the system's, whatever it
// is told.
func (a *Authority) Leaf(names []string, addresses []netip.Addr, when When, random io.Reader) (*tls.Certificate, error) {
	if len(names)+len(addresses) == 0 || len(names) > maxNames || len(addresses) > maxAddresses {
		return nil, fmt.Errorf("a web certificate is for at most %d names and %d addresses", maxNames, maxAddresses)
	}
	template := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true}
	for _, name := range names {
		if !a.Covers(name) {
			return nil, fmt.Errorf("the home's web authority may not sign for %.80q", name)
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	for _, address := range addresses {
		if !local(address) {
			return nil, fmt.Errorf("the home's web authority may not sign for %v", address)
		}
		template.IPAddresses = append(template.IPAddresses, address.Unmap().AsSlice())
	}
	if len(names) > 0 && len(names[0]) <= maxCommon {
		template.Subject = pkix.Name{CommonName: names[0]}
	}
	at, told := a.sane(when)
	life := usualLife
	if !told {
		life = longestLife - clockSlack
	}
	template.NotBefore, template.NotAfter = at.Add(-clockSlack).UTC(), at.Add(life).UTC()
	if a.cert.NotAfter.Before(template.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	if !at.Before(a.cert.NotAfter) {
		return nil, errors.New("the home's web authority has expired")
	}
	return a.sign(template, random)
}

func (a *Authority) sign(template *x509.Certificate, random io.Reader) (*tls.Certificate, error) {
	var err error
	if template.SerialNumber, err = serial(random); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), random)
	if err != nil {
		return nil, fmt.Errorf("draw a web key: %w", err)
	}
	signer, err := a.key.signer()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(random, template, a.cert, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign a web certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read a web certificate back: %w", err)
	}
	// The authority's goes along for who knows only its fingerprint.
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
