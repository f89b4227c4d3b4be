// Package attesttest makes attestation credentials for virtual devices and
// tests: a root (PAA), intermediates (PAI), device certificates (DAC) and
// signed certification declarations, all derived from a seed.
//
//	maker := attesttest.New("lab")
//	device := maker.Device(attesttest.Product{VendorID: 0xFFF1, ProductID: 0x8000})
//	elements, signature := device.Attest(challenge, nonce)
//	verdict := attest.Evaluate(…, attest.Rules{Trust: maker.Trust(), …})
//
// The same seed gives the same credentials, so that a device and a gateway in
// different processes agree on them. Whoever knows the seed knows the keys:
// production code never imports this package. It panics where only a mistake
// of the caller can lead.
package attesttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"gatehouse/fabric/attest"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Validity of what is made here.
var (
	birth   = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	forever = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
)

// Maker makes credentials under a root of its own.
type Maker struct {
	paa, signer Authority
	seed        string
}

// New is the maker of the seed. Its root may certify every vendor's devices.
func New(seed string) *Maker { return NewForVendor(seed, attest.ID{}) }

// NewForVendor is the maker of the seed whose root is for one vendor's devices.
func NewForVendor(seed string, vendor attest.ID) *Maker {
	m := &Maker{seed: seed}
	m.paa = m.root("paa", 1, Subject{CommonName: "Gatehouse Test PAA " + seed, VendorID: vendor})
	m.signer = m.root("cd", 0, Subject{CommonName: "Gatehouse Test CD Signer " + seed})
	return m
}

// root is self-signed. Its path length tells a PAA from a signer.
func (m *Maker) root(role string, pathLen int, name Subject) Authority {
	key := m.Key(role)
	t := Template{
		Serial: []byte{1}, Issuer: name, Subject: name,
		NotBefore: birth, NotAfter: forever, PublicKey: publicKey(key),
		IsCA: true, PathLen: pathLen, KeyUsage: cert.KeyCertSign | cert.CRLSign,
	}
	t.AuthorityKeyID = t.PublicKey.ID()
	return Authority{t.Sign(key), t.Subject, key}
}

// Authority is a certificate that signs others, and its key.
type Authority struct {
	DER     []byte
	Subject Subject
	Key     *ecdsa.PrivateKey
}

// PAA is the root's certificate, in DER.
func (m *Maker) PAA() []byte { return m.paa.DER }

// Signer is the certificate of the signer of declarations, in DER.
func (m *Maker) Signer() []byte { return m.signer.DER }

// Trust is a store that trusts this maker's roots alone, as test roots.
func (m *Maker) Trust() *attest.TrustStore {
	s, err := attest.NewTrustStore([]attest.Trusted{{Data: m.PAA(), Test: true}}, []attest.Trusted{{Data: m.Signer(), Test: true}})
	if err != nil {
		panic(err)
	}
	return s
}

// Key is the private key of a role under the seed.
func (m *Maker) Key(role string) *ecdsa.PrivateKey {
	for counter := 0; ; counter++ {
		raw, err := hkdf.Key(sha256.New, []byte(m.seed), nil, fmt.Sprintf("attesttest %s %d", role, counter), 32)
		if err != nil {
			panic(err)
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err == nil {
			return key
		}
	}
}

func publicKey(key *ecdsa.PrivateKey) cert.PublicKey {
	k, err := cert.PublicKeyOf(key.Public())
	if err != nil {
		panic(err)
	}
	return k
}

// Product is what to make credentials for. The hooks, where present, change
// things just before they are signed, to make bad ones.
type Product struct {
	VendorID, ProductID uint16
	DeviceType          uint32
	Number              uint64 // tells devices of one product apart
	CertificationType   attest.CertificationType

	PAI, DAC    func(*Template)
	Declaration func(*attest.Declaration)
}

// Device is the credentials of a device.
type Device struct {
	DAC, PAI []byte // certificates in DER
	CD       []byte // certification declaration
	Key      *ecdsa.PrivateKey
	Firmware []byte // firmware information; empty: it gives none
}

// Device makes a device of the product.
func (m *Maker) Device(p Product) *Device {
	pai := m.pai(p)
	key := m.Key(fmt.Sprintf("dac %04X %04X %d", p.VendorID, p.ProductID, p.Number))
	t := Template{
		Serial:    binary.BigEndian.AppendUint64([]byte{1}, p.Number),
		Issuer:    pai.Subject,
		Subject:   Subject{fmt.Sprintf("Gatehouse Test DAC %d", p.Number), attest.ID{Value: p.VendorID, Present: true}, attest.ID{Value: p.ProductID, Present: true}},
		NotBefore: birth, NotAfter: forever, PublicKey: publicKey(key), PathLen: -1, KeyUsage: cert.DigitalSignature,
		AuthorityKeyID: publicKey(pai.Key).ID(),
	}
	if p.DAC != nil {
		p.DAC(&t)
	}
	return &Device{DAC: t.Sign(pai.Key), PAI: pai.DER, CD: m.declaration(p), Key: key}
}

func (m *Maker) pai(p Product) Authority {
	key := m.Key(fmt.Sprintf("pai %04X", p.VendorID))
	t := Template{
		Serial:    []byte{2, byte(p.VendorID >> 8), byte(p.VendorID)},
		Issuer:    m.paa.Subject,
		Subject:   Subject{"Gatehouse Test PAI", attest.ID{Value: p.VendorID, Present: true}, attest.ID{}},
		NotBefore: birth, NotAfter: forever, PublicKey: publicKey(key),
		IsCA: true, KeyUsage: cert.KeyCertSign | cert.CRLSign, AuthorityKeyID: publicKey(m.paa.Key).ID(),
	}
	if p.PAI != nil {
		p.PAI(&t)
	}
	return Authority{t.Sign(m.paa.Key), t.Subject, key}
}

func (m *Maker) declaration(p Product) []byte {
	d := attest.Declaration{
		FormatVersion: 1, VendorID: p.VendorID, ProductIDs: []uint16{p.ProductID}, DeviceType: p.DeviceType,
		CertificateID: "CSA00000SWC00000-00", VersionNumber: 1, CertificationType: p.CertificationType,
	}
	if p.Declaration != nil {
		p.Declaration(&d)
	}
	return SignDeclaration(EncodeDeclaration(d), publicKey(m.signer.Key).ID(), m.signer.Key)
}

// Attest answers an attestation request: elements, and their signature with
// the session's challenge.
func (d *Device) Attest(challenge, nonce []byte) (elements, signature []byte) {
	var w tlv.Writer
	w.Struct(tlv.Anonymous)
	w.Octets(tlv.Context(1), d.CD)
	w.Octets(tlv.Context(2), nonce)
	w.Uint(tlv.Context(3), 0)
	if len(d.Firmware) > 0 {
		w.Octets(tlv.Context(4), d.Firmware)
	}
	w.End()
	return w.Bytes(), d.sign(w.Bytes(), challenge)
}

// NOCSR answers a CSR request with the request csr: elements, and their
// signature with the session's challenge.
func (d *Device) NOCSR(challenge, nonce, csr []byte) (elements, signature []byte) {
	var w tlv.Writer
	w.Struct(tlv.Anonymous)
	w.Octets(tlv.Context(1), csr)
	w.Octets(tlv.Context(2), nonce)
	w.End()
	return w.Bytes(), d.sign(w.Bytes(), challenge)
}

func (d *Device) sign(elements, challenge []byte) []byte {
	s, err := cert.SignMessage(nil, d.Key, append(elements[:len(elements):len(elements)], challenge...))
	if err != nil {
		panic(err)
	}
	return s[:]
}
