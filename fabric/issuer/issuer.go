// Package issuer mints what a fabric rests on, its root and intermediate
// authorities with their keys and the identity protection key, and issues the
// certificates of its nodes.
//
//	f, err := issuer.NewFabric(rand.Reader, issuer.Params{Birth: now})
//	noc, err := issuer.Issue(f.ICAC, f.IssuerKey, issuer.Reservation{…})
//
// It promises that what it issues passes cert.Authority, that keys come out
// only in a type that cannot be printed, marshalled or compared, and that the
// same randomness and parameters give the same fabric: keys are drawn from the
// reader it is given, and signatures are deterministic (RFC 6979). It never
// chooses a node id or a serial number: these are reserved in the trust state
// before it is called. It keeps nothing.
//
// Matter Core Specification, 6.4.5, 6.5 and 11.18.
package issuer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/fabric/cert"
)

// Serial numbers of authorities begin with a letter, so that the root gives
// none twice.
const (
	rootSerial         = 'R'
	intermediateSerial = 'I' // then the generation
)

// minSerial is the shortest serial number of a node's certificate, in octets:
// long enough to be unique for ever.
const minSerial = 8

// Params says what fabric to mint.
type Params struct {
	FabricID cert.FabricID // 0: one is drawn
	RootID   uint64        // 0: one is drawn
	Birth    time.Time     // NotBefore of everything ever issued for the fabric
	NotAfter time.Time     // of root and intermediate; zero: they never expire
	// Generation is the intermediate's; 0 stands for 1, the first.
	Generation uint32
}

// Fabric is a new fabric. Certificates are in TLV.
type Fabric struct {
	FabricID   cert.FabricID
	Compressed cert.CompressedFabricID
	RCAC       []byte
	RootKey    PrivateKey // belongs into the recovery kit, and then nowhere
	ICAC       []byte
	IssuerKey  PrivateKey
	IPK        cert.EpochKey
}

// NewFabric mints a fabric with its first intermediate.
func NewFabric(random io.Reader, p Params) (*Fabric, error) {
	var err error
	if p.FabricID == 0 {
		var id uint64
		id, err = draw(random)
		p.FabricID = cert.FabricID(id)
	}
	if p.RootID == 0 && err == nil {
		p.RootID, err = draw(random)
	}
	if err != nil {
		return nil, fmt.Errorf("mint a fabric: %w", err)
	}
	f := &Fabric{FabricID: p.FabricID}
	if f.RootKey, err = GenerateKey(random); err != nil {
		return nil, fmt.Errorf("mint a fabric: %w", err)
	}
	if f.RCAC, err = mintRoot(f.RootKey, p); err != nil {
		return nil, fmt.Errorf("mint the root: %w", err)
	}
	if f.ICAC, f.IssuerKey, err = NewIntermediate(random, f.RCAC, f.RootKey, max(p.Generation, 1), p.NotAfter); err != nil {
		return nil, err
	}
	if f.IPK, err = cert.RandomEpochKey(random); err != nil {
		return nil, fmt.Errorf("mint a fabric: %w", err)
	}
	f.Compressed = cert.CompressFabric(f.RootKey.PublicKey(), f.FabricID)
	return f, nil
}

// PublishedIPK is the identity protection key that the Matter SDK's example
// issuer gives to every fabric: whoever wants to know it can look it up.
const PublishedIPK = "temporary ipk 01"

// PublishedKey is PublishedIPK as an epoch key.
func PublishedKey() cert.EpochKey {
	return cert.NewEpochKey([cert.GroupKeyLength]byte([]byte(PublishedIPK)))
}

// Inherit is a fabric that there is already, with its root's key and its
// identity protection key, and a first intermediate of ours below the root. A
// zero ipk has one drawn.
func Inherit(random io.Reader, rcac []byte, root PrivateKey, id cert.FabricID, ipk cert.EpochKey) (*Fabric, error) {
	f := &Fabric{FabricID: id, Compressed: cert.CompressFabric(root.PublicKey(), id), RCAC: rcac, RootKey: root, IPK: ipk}
	var err error
	if f.ICAC, f.IssuerKey, err = NewIntermediate(random, rcac, root, 1, time.Time{}); err != nil {
		return nil, err
	}
	if ipk.Reveal() == [cert.GroupKeyLength]byte{} {
		if f.IPK, err = cert.RandomEpochKey(random); err != nil {
			return nil, fmt.Errorf("inherit a fabric: %w", err)
		}
	}
	return f, nil
}

// draw is a number that is not 0.
func draw(random io.Reader) (uint64, error) {
	for {
		var b [8]byte
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, fmt.Errorf("draw a number: %w", err)
		}
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n, nil
		}
	}
}

func mintRoot(key PrivateKey, p Params) ([]byte, error) {
	name := cert.Name{{Type: cert.AttrRCAC, Number: p.RootID}, {Type: cert.AttrFabricID, Number: uint64(p.FabricID)}}
	c := &cert.Certificate{Serial: []byte{rootSerial}, Issuer: name, Subject: name, PublicKey: key.PublicKey(),
		Extensions: authority(key.PublicKey(), key.PublicKey())}
	if err := setValidity(c, p.Birth, p.NotAfter); err != nil {
		return nil, err
	}
	return finish(c, key, cert.KindRoot)
}

// NewIntermediate mints the intermediate of a generation (from 1) under the
// root, valid from the root's birth on.
func NewIntermediate(random io.Reader, rcac []byte, root PrivateKey, generation uint32, notAfter time.Time) (icac []byte, key PrivateKey, err error) {
	if key, err = GenerateKey(random); err == nil {
		icac, err = mintIntermediate(key.PublicKey(), rcac, root, generation, notAfter)
	}
	if err != nil {
		return nil, PrivateKey{}, fmt.Errorf("mint the intermediate of generation %d: %w", generation, err)
	}
	return icac, key, nil
}

func mintIntermediate(key cert.PublicKey, rcac []byte, root PrivateKey, generation uint32, notAfter time.Time) ([]byte, error) {
	issuer, err := authorityOf(rcac, root, cert.KindRoot)
	if err != nil {
		return nil, err
	}
	if generation == 0 {
		return nil, errors.New("generations count from 1")
	}
	c := &cert.Certificate{
		Serial: binary.BigEndian.AppendUint32([]byte{intermediateSerial}, generation),
		Issuer: issuer.Subject,
		// The fabric's id is left out: this name is in every NOC, and one with
		// three CATs would become longer than MaxDER.
		Subject:    cert.Name{{Type: cert.AttrICAC, Number: uint64(generation)}},
		PublicKey:  key,
		Extensions: authority(key, issuer.PublicKey),
	}
	c.AuthorityKeyID = issuer.SubjectKeyID // of a root that others made, it may be no hash of the key
	c.HasPathLen = true                    // and 0: it issues nodes only
	if err := setValidity(c, issuer.NotBefore.Time(), notAfter); err != nil {
		return nil, err
	}
	return finish(c, root, cert.KindIntermediate)
}

// authority is the extensions of an authority.
func authority(subject, issuer cert.PublicKey) cert.Extensions {
	return cert.Extensions{
		Order:          []cert.ExtensionKind{cert.ExtBasicConstraints, cert.ExtKeyUsage, cert.ExtSubjectKeyID, cert.ExtAuthorityKeyID},
		IsCA:           true,
		KeyUsage:       cert.KeyCertSign | cert.CRLSign,
		SubjectKeyID:   subject.ID(),
		AuthorityKeyID: issuer.ID(),
	}
}

// setValidity gives c its time; a zero notAfter is for ever.
func setValidity(c *cert.Certificate, notBefore, notAfter time.Time) (err error) {
	if c.NotBefore, err = cert.TimeOf(notBefore); err != nil || notAfter.IsZero() {
		return err
	}
	c.NotAfter, err = cert.TimeOf(notAfter)
	return err
}

// authorityOf reads the certificate of the authority that key belongs to.
func authorityOf(tlv []byte, key PrivateKey, kind cert.Kind) (*cert.Certificate, error) {
	c, err := cert.Parse(tlv)
	if err != nil {
		return nil, err
	}
	if err := c.Check(kind); err != nil {
		return nil, err
	}
	if c.PublicKey != key.PublicKey() {
		return nil, fmt.Errorf("the key is not that of the %v", kind)
	}
	return c, nil
}

// finish signs c and checks that others will accept it.
func finish(c *cert.Certificate, key PrivateKey, kind cert.Kind) ([]byte, error) {
	if err := c.Check(kind); err != nil {
		return nil, err
	}
	if _, err := c.PublicKey.Key(); err != nil {
		return nil, err
	}
	if err := c.Sign(nil, key); err != nil {
		return nil, err
	}
	tlv := c.TLV()
	if len(tlv) > cert.MaxTLV {
		return nil, fmt.Errorf("%d octets, at most %d", len(tlv), cert.MaxTLV)
	}
	_, err := c.DER() // for its length
	return tlv, err
}
