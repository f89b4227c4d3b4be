package webpki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"gatehouse/commissioner"
)

// Limits of ours.
const (
	maxFile  = 64 << 10 // octets of a certificate's file
	maxChain = 8        // certificates
	minRSA   = 2048     // bits
)

// Codes of what is wrong with a certificate that the user brought.
const (
	CodeFile    commissioner.Code = "certificate-unreadable"
	CodeKey     commissioner.Code = "certificate-key-unusable"
	CodeOther   commissioner.Code = "certificate-key-mismatch"
	CodeChain   commissioner.Code = "certificate-chain-broken"
	CodeExpired commissioner.Code = "certificate-expired"
	CodeUse     commissioner.Code = "certificate-not-for-servers"
)

var remedies = map[commissioner.Code]string{
	CodeFile:    "give the certificate, and those that it was signed with, in one file of PEM blocks",
	CodeKey:     "give its private key as a PEM file without a passphrase: ECDSA of P-256 or P-384, or RSA of at least 2048 bits",
	CodeOther:   "give the key that the certificate was asked for with",
	CodeChain:   "put the server's certificate first, then each one that signed the one before",
	CodeExpired: "renew the certificate",
	CodeUse:     "ask for a certificate for a TLS server, with its names as subject alternative names",
}

func refuse(code commissioner.Code, format string, of ...any) *commissioner.Failure {
	return &commissioner.Failure{Code: code, Message: "the certificate cannot be used: " + fmt.Sprintf(format, of...), Remedy: remedies[code]}
}

// Files are where a certificate of the user's own is: PEM, the chain with the
// server's certificate first, and its key.
type Files struct{ Chain, Key string }

// stamp tells whether files were changed.
type stamp [2]struct {
	changed time.Time
	size    int64
}

// stamp is taken before files are read: what changes meanwhile is seen next time.
func (f Files) stamp() (s stamp) {
	for i, name := range []string{f.Chain, f.Key} {
		if info, err := os.Stat(name); err == nil {
			s[i].changed, s[i].size = info.ModTime(), info.Size()
		}
	}
	return s
}

func (f Files) read(now time.Time) (*tls.Certificate, error) {
	chain, err := readFile(f.Chain)
	if err != nil {
		return nil, refuse(CodeFile, "%v", err)
	}
	key, err := readFile(f.Key)
	if err != nil {
		return nil, refuse(CodeKey, "%v", err)
	}
	defer clear(key)
	return parseOwn(chain, key, now)
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		clear(b)
		return nil, fmt.Errorf("%s is longer than %d octets", name, maxFile)
	}
	return b, err
}

// parseOwn takes a certificate that a browser could take, too.
func parseOwn(chain, key []byte, now time.Time) (*tls.Certificate, error) {
	all, err := parseChain(chain)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(key, []byte("ENCRYPTED")) {
		return nil, refuse(CodeKey, "its key has a passphrase")
	}
	leaf := all[0]
	switch public := leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() && public.Curve != elliptic.P384() {
			return nil, refuse(CodeKey, "its key is of a curve that browsers do not know")
		}
	case *rsa.PublicKey:
		if public.N.BitLen() < minRSA {
			return nil, refuse(CodeKey, "its key has %d bits only", public.N.BitLen())
		}
	default:
		return nil, refuse(CodeKey, "its key is of a kind that browsers do not take")
	}
	named := len(leaf.DNSNames)+len(leaf.IPAddresses) > 0
	if leaf.IsCA && !named {
		return nil, refuse(CodeChain, "the first in its file is an authority's")
	}
	if !named {
		return nil, refuse(CodeUse, "it has no names of a server")
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.ContainsFunc(leaf.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny
	}) {
		return nil, refuse(CodeUse, "it is not one for servers")
	}
	for i, c := range all[1:] {
		if err := all[i].CheckSignatureFrom(c); err != nil {
			return nil, refuse(CodeChain, "number %d of its chain did not sign number %d", i+2, i+1)
		}
	}
	if !now.Before(leaf.NotAfter) { // a clock that is behind must not refuse a new one
		return nil, refuse(CodeExpired, "it was good until %s", leaf.NotAfter.Format(time.DateOnly))
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		if block, _ := pem.Decode(key); block == nil {
			return nil, refuse(CodeKey, "there is no key in the key's file")
		}
		return nil, refuse(CodeOther, "the key is not the certificate's")
	}
	pair.Leaf = leaf
	return &pair, nil
}

func parseChain(text []byte) (all []*x509.Certificate, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, refuse(CodeFile, "%v", err)
		}
		if all = append(all, c); len(all) > maxChain {
			return nil, refuse(CodeFile, "its chain is longer than %d", maxChain)
		}
	}
	if len(all) == 0 {
		return nil, refuse(CodeFile, "there is none in its file")
	}
	return all, nil
}
