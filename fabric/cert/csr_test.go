package cert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
)

func TestRequest(t *testing.T) {
	key := testKey(t, 7)
	der, err := NewRequest(nil, key)
	if err != nil {
		t.Fatal(err)
	}
	if k, err := ParseRequest(der); err != nil || k != publicKey(t, key) {
		t.Errorf("%x, %v", k, err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil || request.CheckSignature() != nil {
		t.Errorf("crypto/x509 refuses it: %v", err)
	}
	if again, err := NewRequest(nil, key); err != nil || !bytes.Equal(again, der) {
		t.Error("signed without randomness, it is not the same again")
	}
	for i := range len(der) {
		if _, err := ParseRequest(der[:i]); err == nil {
			t.Errorf("accepted when cut to %d octets", i)
		}
		spoilt := bytes.Clone(der)
		spoilt[i] ^= 1
		if k, err := ParseRequest(spoilt); err == nil {
			t.Errorf("accepted with octet %d changed, for key %x", i, k)
		}
	}
	if _, err := ParseRequest(append(der, 0)); err == nil {
		t.Error("accepted with an octet behind")
	}
}

func TestRequestOfOthers(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.CertificateRequest{
		Subject:         pkix.Name{Organization: []string{"CSA"}, CommonName: "device"},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 2, 7, 128}}},
	}
	for _, c := range []struct {
		what string
		key  *ecdsa.PrivateKey
		algo x509.SignatureAlgorithm
		ok   bool
	}{
		{"with attributes", p256, x509.ECDSAWithSHA256, true},
		{"with another hash", p256, x509.ECDSAWithSHA512, false},
		{"for another curve", p384, x509.ECDSAWithSHA256, false},
	} {
		template.SignatureAlgorithm = c.algo
		der, err := x509.CreateCertificateRequest(rand.Reader, template, c.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseRequest(der); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, p256)
	if err != nil {
		t.Fatal(err)
	}
	der[len(der)-1] ^= 1
	if _, err := ParseRequest(der); !errors.Is(err, ErrSignature) {
		t.Errorf("wrong signature: %v", err)
	}
	if _, err := NewRequest(nil, p384); err == nil {
		t.Error("a request for a key on P-384")
	}
}
