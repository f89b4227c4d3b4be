package issuer

import (
	"bytes"
	"crypto/x509"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/fabric/cert"
)

var birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

func newFabric(t testing.TB, seed byte) *Fabric {
	t.Helper()
	f, err := NewFabric(seeded(seed), Params{Birth: birth})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func reservation(t testing.TB, f *Fabric) Reservation {
	t.Helper()
	key, err := GenerateKey(seeded(200))
	if err != nil {
		t.Fatal(err)
	}
	return Reservation{Node: 0x1234, Fabric: f.FabricID, Serial: []byte("G-12345678"), PublicKey: key.PublicKey(),
		CATs: []cert.CAT{cert.NewCAT(1, 1), cert.NewCAT(2, 7), cert.NewCAT(3, 1)}, NotBefore: birth}
}

func TestIssue(t *testing.T) {
	f := newFabric(t, 1)
	rcac, err := cert.Parse(f.RCAC)
	if err != nil {
		t.Fatal(err)
	}
	root, err := cert.NewRoot(rcac)
	if err != nil {
		t.Fatal(err)
	}
	r := reservation(t, f)
	noc, err := Issue(f.ICAC, f.IssuerKey, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []time.Time{birth, birth.AddDate(90, 0, 0)} {
		n, err := root.Verify(noc, f.ICAC, cert.At(when))
		if err != nil || n.NodeID != r.Node || n.FabricID != f.FabricID || n.PublicKey != r.PublicKey ||
			!slices.Equal(n.CATs, r.CATs) {
			t.Errorf("%v: %+v, %v", when, n, err)
		}
	}
	if _, err := root.Verify(noc, f.ICAC, cert.At(birth.Add(-time.Second))); err == nil {
		t.Error("valid before the fabric's birth")
	}
	if f.Compressed != cert.CompressFabric(rcac.PublicKey, f.FabricID) {
		t.Error("the compressed id is not the fabric's")
	}
	c, err := cert.Parse(noc)
	if err != nil || !bytes.Equal(c.Serial, r.Serial) {
		t.Errorf("serial number %x, %v", c.Serial, err)
	}
	other := r
	other.Fabric++ // the root is for one fabric
	if strange, err := Issue(f.ICAC, f.IssuerKey, other); err != nil {
		t.Error(err)
	} else if _, err := root.Verify(strange, f.ICAC, cert.At(birth)); err == nil {
		t.Error("a node of another fabric is believed")
	}
	again, err := Issue(f.ICAC, f.IssuerKey, r)
	if err != nil || !bytes.Equal(again, noc) {
		t.Error("the same reservation gives another certificate")
	}
	der, err := c.DER()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509.ParseCertificate(der); err != nil {
		t.Error(err)
	}
}

func TestFabricIsDeterministic(t *testing.T) {
	a, b, c := newFabric(t, 1), newFabric(t, 1), newFabric(t, 2)
	if !bytes.Equal(a.RCAC, b.RCAC) || !bytes.Equal(a.ICAC, b.ICAC) || a.IPK.Reveal() != b.IPK.Reveal() ||
		!bytes.Equal(a.IssuerKey.Reveal(), b.IssuerKey.Reveal()) {
		t.Error("the same randomness gives another fabric")
	}
	if a.FabricID == c.FabricID || bytes.Equal(a.RCAC, c.RCAC) || a.IPK.Reveal() == c.IPK.Reveal() {
		t.Error("other randomness gives the same fabric")
	}
	if bytes.Equal(a.RootKey.Reveal(), a.IssuerKey.Reveal()) {
		t.Error("root and intermediate have one key")
	}
	for n := range 150 {
		if _, err := NewFabric(bytes.NewReader(make([]byte, n)), Params{FabricID: 1, RootID: 1, Birth: birth}); err == nil {
			t.Fatalf("a fabric from %d octets, all zero", n)
		}
	}
}

func TestNextGeneration(t *testing.T) {
	f := newFabric(t, 1)
	icac, key, err := NewIntermediate(seeded(9), f.RCAC, f.RootKey, 2, birth.AddDate(10, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	noc, err := Issue(icac, key, reservation(t, f))
	if err != nil {
		t.Fatal(err)
	}
	rcac, err := cert.Parse(f.RCAC)
	if err != nil {
		t.Fatal(err)
	}
	root, err := cert.NewRoot(rcac)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Verify(noc, icac, cert.At(birth)); err != nil {
		t.Error(err)
	}
	if _, err := root.Verify(noc, f.ICAC, cert.At(birth)); err == nil {
		t.Error("the former generation vouches for the next one's")
	}
	if _, err := root.Verify(noc, icac, cert.At(birth.AddDate(10, 0, 1))); err == nil {
		t.Error("valid after the intermediate has expired")
	}
	stranger := newFabric(t, 2)
	for what, c := range map[string]struct {
		root       PrivateKey
		generation uint32
	}{"another root's key": {stranger.RootKey, 2}, "generation 0": {f.RootKey, 0}, "no key": {PrivateKey{}, 2}} {
		if _, _, err := NewIntermediate(seeded(9), f.RCAC, c.root, c.generation, time.Time{}); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, _, err := NewIntermediate(seeded(9), f.ICAC, f.IssuerKey, 2, time.Time{}); err == nil {
		t.Error("an intermediate below an intermediate")
	}
}

func TestIssueRefuses(t *testing.T) {
	f, stranger := newFabric(t, 1), newFabric(t, 2)
	for what, spoil := range map[string]func(*Reservation){
		"node id 0":             func(r *Reservation) { r.Node = 0 },
		"a group's node id":     func(r *Reservation) { r.Node = 0xFFFF_FFFF_FFFF_0001 },
		"a CAT's node id":       func(r *Reservation) { r.Node = cert.NewCAT(1, 1).Subject() },
		"no fabric":             func(r *Reservation) { r.Fabric = 0 },
		"no serial number":      func(r *Reservation) { r.Serial = nil },
		"a short serial number": func(r *Reservation) { r.Serial = make([]byte, 7) },
		"serial number 0":       func(r *Reservation) { r.Serial = make([]byte, 13) },
		"a long serial number":  func(r *Reservation) { r.Serial = bytes.Repeat([]byte{1}, 21) },
		"one made long by sign": func(r *Reservation) { r.Serial = bytes.Repeat([]byte{0xFF}, 20) },
		"four CATs":             func(r *Reservation) { r.CATs = append(r.CATs, cert.NewCAT(9, 1)) },
		"a CAT of version 0":    func(r *Reservation) { r.CATs = []cert.CAT{cert.NewCAT(1, 0)} },
		"a CAT twice":           func(r *Reservation) { r.CATs = []cert.CAT{cert.NewCAT(1, 1), cert.NewCAT(1, 2)} },
		"no key":                func(r *Reservation) { r.PublicKey = cert.PublicKey{} },
		"a key off the curve":   func(r *Reservation) { r.PublicKey[40]++ },
		"the issuer's key":      func(r *Reservation) { r.PublicKey = f.IssuerKey.PublicKey() },
		"no birth":              func(r *Reservation) { r.NotBefore = time.Time{} },
		"an end before birth":   func(r *Reservation) { r.NotAfter = birth.Add(-time.Hour) },
	} {
		r := reservation(t, f)
		spoil(&r)
		if _, err := Issue(f.ICAC, f.IssuerKey, r); err == nil {
			t.Errorf("%s: issued", what)
		}
	}
	r := reservation(t, f)
	for what, c := range map[string]struct {
		icac []byte
		key  PrivateKey
	}{
		"another's key": {f.ICAC, stranger.IssuerKey}, "no key": {f.ICAC, PrivateKey{}},
		"the root": {f.RCAC, f.RootKey}, "no issuer": {nil, f.IssuerKey},
	} {
		if _, err := Issue(c.icac, c.key, r); err == nil {
			t.Errorf("by %s: issued", what)
		}
	}
	erased := newFabric(t, 1).IssuerKey
	erased.Erase()
	if _, err := Issue(f.ICAC, erased, r); err == nil {
		t.Error("issued with an erased key")
	}
}

// TestSerialNumbers shows that different serial numbers stay different, and
// positive.
func TestSerialNumbers(t *testing.T) {
	f := newFabric(t, 1)
	seen := map[string]bool{}
	for _, s := range []string{"\x00\x00\x00\x00\x00\x00\x00\x01", "\x00\x00\x00\x00\x00\x00\x00\x80",
		"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "\x47\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09",
		strings.Repeat("\x7F", 20)} {
		r := reservation(t, f)
		r.Serial = []byte(s)
		noc, err := Issue(f.ICAC, f.IssuerKey, r)
		if err != nil {
			t.Errorf("%x: %v", s, err)
			continue
		}
		c, err := cert.Parse(noc)
		if err != nil {
			t.Fatal(err)
		}
		der, err := c.DER()
		if err != nil {
			t.Fatal(err)
		}
		x, err := x509.ParseCertificate(der)
		if err != nil || x.SerialNumber.Sign() <= 0 || seen[x.SerialNumber.String()] {
			t.Errorf("%x: %v", s, err)
			continue
		}
		seen[x.SerialNumber.String()] = true
	}
}

// TestLongestCertificate has the longest numbers everywhere.
func TestLongestCertificate(t *testing.T) {
	f, err := NewFabric(seeded(1), Params{FabricID: 1<<64 - 1, RootID: 1<<64 - 1, Birth: birth, NotAfter: time.Date(2130, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	icac, key, err := NewIntermediate(seeded(2), f.RCAC, f.RootKey, 1<<32-1, time.Date(2130, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	r := reservation(t, f)
	r.Node, r.Serial = 0xFFFF_FFEF_FFFF_FFFF, bytes.Repeat([]byte{0x7F}, 20)
	r.CATs = []cert.CAT{0xFFFF_FFFF, 0xFFFE_FFFF, 0xFFFD_FFFF}
	noc, err := Issue(icac, key, r)
	if err != nil || len(noc) > cert.MaxTLV {
		t.Errorf("%d octets, %v", len(noc), err)
	}
}

func BenchmarkIssue(b *testing.B) {
	f := newFabric(b, 1)
	r := reservation(b, f)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Issue(f.ICAC, f.IssuerKey, r); err != nil {
			b.Fatal(err)
		}
	}
}
