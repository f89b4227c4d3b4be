// Package inherittest is another controller's fabric, for tests: its
// authorities and devices' certificates, and its storage as the servers write
// it. Keys are drawn anew each time.
package inherittest

import (
	"crypto/rand"
	"testing"
	"time"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// Controller is the node id under which both servers go.
const Controller = 112233

// Fabric is a fabric as the Matter SDK's example issuer makes one: a root and
// an intermediate, all with the serial number 1.
type Fabric struct {
	ID       cert.FabricID
	Root     []byte // TLV
	RootKey  issuer.PrivateKey
	ICAC     []byte // TLV; nil: the root signs itself, as in matter.js
	ICACKey  issuer.PrivateKey
	IPK      [cert.GroupKeyLength]byte
	VendorID uint16
	NOC      []byte // the controller's
	Nodes    []Node
}

// Node is a device of the fabric.
type Node struct {
	ID       uint64
	Name     string
	NOC      []byte
	Fabrics  int
	Groups   int
	Bindings int
	Subjects []uint64 // of further entries in its access list
}

// birth is what the SDK's issuer takes for the beginning.
var birth = time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)

// New is a fabric without devices; intermediate says whether it has one.
func New(t testing.TB, intermediate bool) *Fabric {
	t.Helper()
	f := &Fabric{ID: 2, VendorID: 0x134B, RootKey: key(t), ICACKey: key(t)}
	copy(f.IPK[:], "temporary ipk 01")
	root := cert.Name{{Type: cert.AttrRCAC, Number: 1}}
	f.Root = f.sign(t, root, root, f.RootKey.PublicKey(), f.RootKey, true)
	if intermediate {
		f.ICAC = f.sign(t, root, cert.Name{{Type: cert.AttrICAC, Number: 2}}, f.ICACKey.PublicKey(), f.RootKey, true)
	}
	own := key(t)
	f.NOC = f.Certify(t, Controller, own.PublicKey())
	return f
}

func key(t testing.TB) issuer.PrivateKey {
	t.Helper()
	k, err := issuer.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Certify is a node's certificate, in TLV.
func (f *Fabric) Certify(t testing.TB, node uint64, public cert.PublicKey) []byte {
	t.Helper()
	name := cert.Name{{Type: cert.AttrNodeID, Number: node}, {Type: cert.AttrFabricID, Number: uint64(f.ID)}}
	if f.ICAC == nil {
		return f.sign(t, cert.Name{{Type: cert.AttrRCAC, Number: 1}}, name, public, f.RootKey, false)
	}
	return f.sign(t, cert.Name{{Type: cert.AttrICAC, Number: 2}}, name, public, f.ICACKey, false)
}

// Add makes a device with a key of its own.
func (f *Fabric) Add(t testing.TB, id uint64, name string) *Node {
	t.Helper()
	f.Nodes = append(f.Nodes, Node{ID: id, Name: name, NOC: f.Certify(t, id, key(t).PublicKey()), Fabrics: 1})
	return &f.Nodes[len(f.Nodes)-1]
}

// Compressed is the fabric's compressed id.
func (f *Fabric) Compressed() cert.CompressedFabricID {
	return cert.CompressFabric(f.RootKey.PublicKey(), f.ID)
}

func (f *Fabric) sign(t testing.TB, issuer, subject cert.Name, public cert.PublicKey, by issuer.PrivateKey, ca bool) []byte {
	t.Helper()
	x := cert.Extensions{SubjectKeyID: public.ID(), AuthorityKeyID: by.PublicKey().ID(), IsCA: ca}
	if ca {
		x.Order = []cert.ExtensionKind{cert.ExtBasicConstraints, cert.ExtKeyUsage, cert.ExtSubjectKeyID, cert.ExtAuthorityKeyID}
		x.KeyUsage = cert.KeyCertSign | cert.CRLSign
	} else {
		x.Order = []cert.ExtensionKind{cert.ExtBasicConstraints, cert.ExtKeyUsage, cert.ExtKeyPurposes, cert.ExtSubjectKeyID, cert.ExtAuthorityKeyID}
		x.KeyUsage, x.KeyPurposes = cert.DigitalSignature, []cert.KeyPurpose{cert.ClientAuth, cert.ServerAuth}
	}
	c := &cert.Certificate{Serial: []byte{1}, Issuer: issuer, Subject: subject, PublicKey: public, Extensions: x}
	from, err := cert.TimeOf(birth)
	if err != nil {
		t.Fatal(err)
	}
	c.NotBefore, c.NotAfter = from, from+10*365*24*3600
	if err := c.Sign(nil, by); err != nil {
		t.Fatal(err)
	}
	return c.TLV()
}
