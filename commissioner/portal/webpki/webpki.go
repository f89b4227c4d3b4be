// Package webpki is the certificate authority of a home's own web page: what
// makes a browser trust https://gatehouse.local without anybody's help.
//
// It promises that who trusts the authority on a phone trusts it for nothing but
// this page: its certificate is constrained to names that are nobody's on the
// internet, to addresses of local networks, and to servers. The authority's key
// is derived from a secret of the caller's, and is never stored nor printed. It
// opens no connection; the only files it reads are those of a certificate that
// the user brought.
//
// Source: RFC 5280 (sections 4.2.1.9 and 4.2.1.10), and what browsers ask of
// server certificates besides.
package webpki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/commissioner"
)

// Limits of ours.
const (
	authorityYears = 20
	clockSlack     = 24 * time.Hour // that the clocks of the home may be apart
	maxHome        = 40             // runes of a home's name in the authority's
	maxDomains     = 8              // that an authority is for
	maxDomain      = 200            // octets of one
	serialSize     = 16             // octets
)

// CodeDomain says that the authority cannot be for a name.
const CodeDomain commissioner.Code = "authority-name-refused"

// localDomains are the ends of names that are nobody's on the internet: of
// multicast DNS (RFC 6762), of homes (RFC 8375), ICANN's for private use, and
// the one that routers took.
var localDomains = []string{".local", ".home.arpa", ".internal", ".lan"}

// localNetworks are the addresses that the authority is for.
var localNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"),
}

// Authority is a home's certificate authority. It is safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  Key
}

// NewAuthority makes an authority for a home's domains, such as gatehouse.local,
// and all names below them. birth is when the home was founded. random is for the
// serial number: the standard library signs with the system's, whatever it is
// told.
func NewAuthority(home string, birth time.Time, domains []string, key Key, random io.Reader) (*Authority, error) {
	if len(domains) == 0 || len(domains) > maxDomains {
		return nil, fmt.Errorf("a web authority is for 1 to %d domains", maxDomains)
	}
	for _, d := range domains {
		if !localDomain(d) {
			return nil, &commissioner.Failure{Code: CodeDomain, Message: fmt.Sprintf("the home's own authority cannot be for the name %.80q", d),
				Remedy: "choose a name that ends in .local, .home.arpa, .internal or .lan, or bring a certificate for a name of the internet"}
		}
	}
	number, err := serial(random)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: number, Subject: pkix.Name{CommonName: commonName(home)},
		NotBefore: birth.Add(-clockSlack).UTC(), NotAfter: birth.AddDate(authorityYears, 0, 0).UTC(),
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: domains, PermittedIPRanges: ranges(),
	}
	signer, err := key.signer()
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(random, template, template, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("sign the web authority's certificate: %w", err)
	}
	return OpenAuthority(der, key)
}

// OpenAuthority takes an authority's certificate, as DER gave it, and the key
// that it was made with.
func OpenAuthority(der []byte, key Key) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the web authority's certificate: %w", err)
	}
	signer, err := key.signer()
	if err != nil {
		return nil, err
	}
	public, ok := cert.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || !public.Equal(signer.Public()):
		return nil, errors.New("the web authority's certificate is of another key")
	case !cert.IsCA || !cert.PermittedDNSDomainsCritical || len(cert.PermittedDNSDomains) == 0 || len(cert.PermittedIPRanges) == 0:
		return nil, errors.New("the web authority's certificate is none of an authority for a home")
	}
	return &Authority{cert, key}, nil
}

// DER is the authority's certificate, for storing and for phones.
func (a *Authority) DER() []byte { return slices.Clone(a.cert.Raw) }

// Name is the authority's name, as phones show it.
func (a *Authority) Name() string { return a.cert.Subject.CommonName }

// Covers says whether the authority may sign for a name or, where it is one, an
// address.
func (a *Authority) Covers(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return local(ip)
	}
	return hostname(host) && slices.ContainsFunc(a.cert.PermittedDNSDomains, func(d string) bool {
		return host == d || strings.HasSuffix(host, "."+d)
	})
}

// commonName is at most 64 octets long, as X.520 has it.
func commonName(home string) string {
	home = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, home)
	if runes := []rune(home); len(runes) > maxHome {
		home = string(runes[:maxHome])
	}
	name := "Gatehouse"
	if home = strings.TrimSpace(home); home != "" {
		name += " · " + home
	}
	for len(name) > 64 {
		_, last := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-last]
	}
	return strings.TrimSpace(name)
}

func localDomain(d string) bool {
	return hostname(d) && slices.ContainsFunc(localDomains, func(end string) bool { return strings.HasSuffix(d, end) })
}

// hostname says whether a name is one in lower case, without wildcards.
func hostname(name string) bool {
	if name == "" || len(name) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// local says whether an address is one that the authority is for.
func local(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(localNetworks, func(p netip.Prefix) bool { return p.Contains(a) })
}

func ranges() (all []*net.IPNet) {
	for _, p := range localNetworks {
		all = append(all, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return all
}

// serial draws a serial number, which is positive and of one length.
func serial(random io.Reader) (*big.Int, error) {
	b := make([]byte, serialSize)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b), nil
}
