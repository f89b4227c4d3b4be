package cert

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	birth = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	death = time.Date(2046, 1, 1, 0, 0, 0, 0, time.UTC)
)

// testKey is a private key like no other: n is all of it.
func testKey(t testing.TB, n byte) *ecdsa.PrivateKey {
	t.Helper()
	raw := make([]byte, 32)
	raw[31] = n
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func publicKey(t testing.TB, key *ecdsa.PrivateKey) PublicKey {
	t.Helper()
	k, err := PublicKeyOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func at(t testing.TB, when time.Time) Time {
	t.Helper()
	s, err := TimeOf(when)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// chain is a fabric's root, intermediate and one node, each with its key.
type chain struct {
	rcac, icac, noc          *Certificate
	rootKey, icaKey, nodeKey *ecdsa.PrivateKey
}

// newChain makes a valid chain; spoil may change the certificates before they
// are signed.
func newChain(t testing.TB, spoil func(*chain)) *chain {
	t.Helper()
	c := &chain{rootKey: testKey(t, 1), icaKey: testKey(t, 2), nodeKey: testKey(t, 3)}
	caExtensions := func(subject, authority PublicKey) Extensions {
		return Extensions{
			Order:          []ExtensionKind{ExtBasicConstraints, ExtKeyUsage, ExtSubjectKeyID, ExtAuthorityKeyID},
			IsCA:           true,
			KeyUsage:       KeyCertSign | CRLSign,
			SubjectKeyID:   subject.ID(),
			AuthorityKeyID: authority.ID(),
		}
	}
	root, ica, node := publicKey(t, c.rootKey), publicKey(t, c.icaKey), publicKey(t, c.nodeKey)
	rootName := Name{{Type: AttrRCAC, Number: 1}, {Type: AttrFabricID, Number: 0xFAB}}
	icaName := Name{{Type: AttrICAC, Number: 2}, {Type: AttrFabricID, Number: 0xFAB}}
	c.rcac = &Certificate{Serial: []byte{1}, Issuer: rootName, Subject: rootName, PublicKey: root,
		NotBefore: at(t, birth), Extensions: caExtensions(root, root)}
	c.icac = &Certificate{Serial: []byte{2}, Issuer: rootName, Subject: icaName, PublicKey: ica,
		NotBefore: at(t, birth), NotAfter: at(t, death), Extensions: caExtensions(ica, root)}
	c.noc = &Certificate{Serial: []byte{3}, Issuer: icaName, PublicKey: node,
		NotBefore: at(t, birth), NotAfter: at(t, death),
		Subject: Name{{Type: AttrNodeID, Number: 0x1234}, {Type: AttrFabricID, Number: 0xFAB},
			{Type: AttrCAT, Number: 0x00010002}, {Type: AttrCAT, Number: 0x00020001}},
		Extensions: Extensions{
			Order: []ExtensionKind{ExtBasicConstraints, ExtKeyUsage, ExtKeyPurposes,
				ExtSubjectKeyID, ExtAuthorityKeyID},
			KeyUsage:       DigitalSignature,
			KeyPurposes:    []KeyPurpose{ServerAuth, ClientAuth},
			SubjectKeyID:   node.ID(),
			AuthorityKeyID: ica.ID(),
		}}
	if spoil != nil {
		spoil(c)
	}
	for _, s := range []struct {
		cert *Certificate
		key  *ecdsa.PrivateKey
	}{{c.rcac, c.rootKey}, {c.icac, c.rootKey}, {c.noc, c.icaKey}} {
		if err := s.cert.Sign(nil, s.key); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *chain) verify(when Policy) (Node, error) {
	root, err := NewRoot(c.rcac)
	if err != nil {
		return Node{}, err
	}
	return root.Verify(c.noc.TLV(), c.icac.TLV(), when)
}

func TestVerify(t *testing.T) {
	c := newChain(t, nil)
	n, err := c.verify(At(birth))
	if err != nil {
		t.Fatal(err)
	}
	if n.NodeID != 0x1234 || n.FabricID != 0xFAB || n.PublicKey != publicKey(t, c.nodeKey) ||
		!slices.Equal(n.CATs, []CAT{NewCAT(1, 2), NewCAT(2, 1)}) || !n.Key.Equal(c.nodeKey.Public()) {
		t.Errorf("%+v", n)
	}
	for _, cert := range []*Certificate{c.rcac, c.icac, c.noc} {
		der, err := cert.DER()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x509.ParseCertificate(der); err != nil { // they serve as TLS certificates, too
			t.Error(err)
		}
		if back, err := ParseDER(der); err != nil || !back.Equal(cert) {
			t.Errorf("%v comes back as %v, %v", cert, back, err)
		}
	}
}

func TestVerifyWithoutIntermediate(t *testing.T) {
	c := newChain(t, func(c *chain) {
		c.noc.Issuer, c.noc.AuthorityKeyID = c.rcac.Subject, c.rcac.SubjectKeyID
	})
	if err := c.noc.Sign(nil, c.rootKey); err != nil {
		t.Fatal(err)
	}
	root, err := NewRoot(c.rcac)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := root.Verify(c.noc.TLV(), nil, At(birth)); err != nil {
		t.Error(err)
	}
	if _, err := root.Verify(c.noc.TLV(), c.icac.TLV(), At(birth)); err == nil {
		t.Error("accepted below an intermediate that did not issue it")
	}
}

func TestVerifyRefuses(t *testing.T) {
	without := func(x *Extensions, k ExtensionKind) {
		x.Order = slices.DeleteFunc(slices.Clone(x.Order), func(o ExtensionKind) bool { return o == k })
	}
	critical := []byte{0x30, 0x0B, 0x06, 0x03, 0x55, 0x1D, 0x11, 0x01, 0x01, 0xFF, 0x04, 0x01, 0x00}
	for what, spoil := range map[string]func(*chain){
		"root without rcac id":          func(c *chain) { c.rcac.Subject = Name{{Type: CommonName, Text: "root"}} },
		"root not self-issued":          func(c *chain) { c.rcac.Issuer = Name{{Type: AttrRCAC, Number: 9}} },
		"root key ids differ":           func(c *chain) { c.rcac.AuthorityKeyID[0]++ },
		"root is no CA":                 func(c *chain) { c.rcac.IsCA = false },
		"root path length 2":            func(c *chain) { c.rcac.PathLen, c.rcac.HasPathLen = 2, true },
		"root allows no intermediate":   func(c *chain) { c.rcac.HasPathLen = true },
		"root cannot sign certificates": func(c *chain) { c.rcac.KeyUsage = CRLSign },
		"root signs anything":           func(c *chain) { c.rcac.KeyUsage |= 1 << 4 },
		"root with key purposes": func(c *chain) {
			c.rcac.Order = append(c.rcac.Order, ExtKeyPurposes)
			c.rcac.KeyPurposes = []KeyPurpose{ServerAuth}
		},
		"root without basic constraints": func(c *chain) { without(&c.rcac.Extensions, ExtBasicConstraints) },
		"root without key usage":         func(c *chain) { without(&c.rcac.Extensions, ExtKeyUsage) },
		"root without subject key id":    func(c *chain) { without(&c.rcac.Extensions, ExtSubjectKeyID) },
		"root of another fabric": func(c *chain) {
			name := Name{{Type: AttrRCAC, Number: 1}, {Type: AttrFabricID, Number: 0xBAD}}
			c.rcac.Subject, c.rcac.Issuer, c.icac.Issuer = name, name, name
		},
		"root carries a CAT": func(c *chain) {
			name := Name{{Type: AttrRCAC, Number: 1}, {Type: AttrCAT, Number: 0x10001}}
			c.rcac.Subject, c.rcac.Issuer, c.icac.Issuer = name, name, name
		},
		"intermediate is a root":        func(c *chain) { c.icac.Subject = c.rcac.Subject; c.noc.Issuer = c.rcac.Subject },
		"intermediate is no CA":         func(c *chain) { c.icac.IsCA = false },
		"intermediate cannot sign":      func(c *chain) { c.icac.KeyUsage = DigitalSignature },
		"intermediate by another":       func(c *chain) { c.icac.Issuer = Name{{Type: AttrRCAC, Number: 9}} },
		"intermediate by another key":   func(c *chain) { c.icac.AuthorityKeyID[0]++ },
		"intermediate critical unknown": func(c *chain) { c.icac.Order = append(c.icac.Order, ExtFuture); c.icac.Future = [][]byte{critical} },
		"intermediate of another fabric": func(c *chain) {
			c.icac.Subject = Name{{Type: AttrICAC, Number: 2}, {Type: AttrFabricID, Number: 0xBAD}}
			c.noc.Issuer = c.icac.Subject
		},
		"node is a CA":              func(c *chain) { c.noc.IsCA = true },
		"node may sign certs":       func(c *chain) { c.noc.KeyUsage |= KeyCertSign },
		"node may not sign":         func(c *chain) { c.noc.KeyUsage = 0 },
		"node is no client":         func(c *chain) { c.noc.KeyPurposes = []KeyPurpose{ServerAuth} },
		"node has more purposes":    func(c *chain) { c.noc.KeyPurposes = []KeyPurpose{ServerAuth, ClientAuth, 3} },
		"node without purposes":     func(c *chain) { without(&c.noc.Extensions, ExtKeyPurposes); c.noc.KeyPurposes = nil },
		"node without authority id": func(c *chain) { without(&c.noc.Extensions, ExtAuthorityKeyID) },
		"node critical unknown":     func(c *chain) { c.noc.Order = append(c.noc.Order, ExtFuture); c.noc.Future = [][]byte{critical} },
		"node without fabric":       func(c *chain) { c.noc.Subject = Name{{Type: AttrNodeID, Number: 1}} },
		"node of another fabric": func(c *chain) {
			c.noc.Subject = Name{{Type: AttrNodeID, Number: 1}, {Type: AttrFabricID, Number: 0xBAD}}
		},
		"node twice": func(c *chain) {
			c.noc.Subject = Name{{Type: AttrNodeID, Number: 1}, {Type: AttrFabricID, Number: 0xFAB}, {Type: AttrNodeID, Number: 1}}
		},
		"node with two versions of a CAT": func(c *chain) { c.noc.Subject[3].Number = 0x00010003 },
		"node is an intermediate":         func(c *chain) { c.noc.Subject = c.icac.Subject },
		"firmware signer": func(c *chain) {
			c.noc.Subject = Name{{Type: AttrFirmwareSigning, Number: 1}, {Type: AttrFabricID, Number: 0xFAB}}
		},
		"public key off the curve": func(c *chain) { c.noc.PublicKey[64]++ },
	} {
		if _, err := newChain(t, spoil).verify(AnyTime); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	fabricless := func(c *chain) {
		c.rcac.Subject = c.rcac.Subject[:1]
		c.rcac.Issuer, c.icac.Issuer = c.rcac.Subject, c.rcac.Subject
		c.icac.Subject = c.icac.Subject[:1]
		c.noc.Issuer = c.icac.Subject
	}
	if _, err := newChain(t, fabricless).verify(AnyTime); err != nil {
		t.Errorf("CAs that name no fabric: %v", err)
	}
}

func TestVerifyNeedsEverySignature(t *testing.T) {
	for _, spoilt := range []func(*chain) *Certificate{
		func(c *chain) *Certificate { return c.rcac },
		func(c *chain) *Certificate { return c.icac },
		func(c *chain) *Certificate { return c.noc },
	} {
		for _, i := range []int{0, 31, 32, 63} {
			c := newChain(t, nil)
			spoilt(c).Signature[i] ^= 1
			if _, err := c.verify(AnyTime); err == nil {
				t.Error("accepted with a wrong signature")
			}
		}
	}
}

// TestIntermediateIsRemembered shows that the memory of the intermediate
// verified last changes no answer.
func TestIntermediateIsRemembered(t *testing.T) {
	good, bad := newChain(t, nil), newChain(t, nil)
	bad.icac.Signature[5] ^= 1
	root, err := NewRoot(good.rcac)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := root.Verify(good.noc.TLV(), good.icac.TLV(), AnyTime); err != nil {
			t.Error(err)
		}
		if _, err := root.Verify(bad.noc.TLV(), bad.icac.TLV(), AnyTime); err == nil {
			t.Error("an intermediate the root did not sign is accepted")
		}
		if _, err := root.Verify(good.noc.TLV(), good.icac.TLV(), At(death.Add(time.Second))); err == nil {
			t.Error("accepted after its time")
		}
	}
}

func TestIntermediateIssuesNoIntermediate(t *testing.T) {
	c := newChain(t, nil)
	root, err := NewRoot(c.rcac)
	if err != nil {
		t.Fatal(err)
	}
	first, err := root.Intermediate(c.icac)
	if err != nil {
		t.Fatal(err)
	}
	second := *c.icac
	second.Subject = Name{{Type: AttrICAC, Number: 3}, {Type: AttrFabricID, Number: 0xFAB}}
	second.Issuer, second.AuthorityKeyID = c.icac.Subject, c.icac.SubjectKeyID
	if err := second.Sign(nil, c.icaKey); err != nil {
		t.Fatal(err)
	}
	if _, err := first.Intermediate(&second); err == nil {
		t.Error("an intermediate below an intermediate is accepted")
	}
}

func TestPolicies(t *testing.T) {
	const ok, early, late = "", "not valid before", "expired"
	second := time.Second
	for _, c := range []struct {
		when            time.Time
		at, behind, any string
	}{
		{birth.Add(-second), early, ok, ok},
		{birth, ok, ok, ok},
		{death, ok, ok, ok},
		{death.Add(second), late, late, ok},
		{time.Date(2150, 1, 1, 0, 0, 0, 0, time.UTC), late, late, ok},
		{time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), early, ok, ok},
	} {
		for name, p := range map[string]struct {
			policy Policy
			want   string
		}{"At": {At(c.when), c.at}, "NotBehind": {NotBehind(c.when), c.behind}, "AnyTime": {AnyTime, c.any}} {
			_, err := newChain(t, nil).verify(p.policy)
			if (err == nil) != (p.want == "") || err != nil && !strings.Contains(err.Error(), p.want) {
				t.Errorf("%s(%v): %v, want %q", name, c.when, err, p.want)
			}
		}
	}
	// The issuers' time counts as well.
	for _, spoil := range []func(*chain){
		func(c *chain) { c.rcac.NotAfter = at(t, birth.Add(time.Hour)) },
		func(c *chain) { c.icac.NotAfter = at(t, birth.Add(time.Hour)) },
	} {
		if _, err := newChain(t, spoil).verify(At(birth.Add(2 * time.Hour))); err == nil {
			t.Error("accepted below an expired issuer")
		}
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want Time
		ok   bool
	}{
		{undefined, 0, true},
		{time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), 0, false}, // would read as undefined
		{time.Date(2000, 1, 1, 0, 0, 1, 0, time.UTC), 1, true},
		{time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), 0, false},
		{time.Unix(epoch+1<<32-1, 0), 1<<32 - 1, true},
		{time.Unix(epoch+1<<32, 0), 0, false},
	} {
		got, err := TimeOf(c.at)
		if (err == nil) != c.ok || c.ok && got != c.want {
			t.Errorf("TimeOf(%v) = %d, %v", c.at, got, err)
		}
		if c.ok && !got.Time().Equal(c.at) {
			t.Errorf("%v comes back as %v", c.at, got.Time())
		}
	}
	// DER has another form of time from 2050 on.
	for _, year := range []int{2049, 2050, 2135} {
		c := newChain(t, func(c *chain) { c.noc.NotAfter = at(t, time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC)) })
		der, err := c.noc.DER()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseDER(der); err != nil {
			t.Error(err)
		}
		if x, err := x509.ParseCertificate(der); err != nil || x.NotAfter.Year() != year {
			t.Errorf("%d: %v, %v", year, x.NotAfter, err)
		}
	}
}

func TestParseRefusesWhatFollows(t *testing.T) {
	c := newChain(t, nil).noc
	der, err := c.DER()
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(c.TLV()) {
		if _, err := Parse(c.TLV()[:i]); err == nil {
			t.Errorf("accepted when cut to %d octets", i)
		}
	}
	for i := range len(der) {
		if _, err := ParseDER(der[:i]); err == nil {
			t.Errorf("accepted in DER when cut to %d octets", i)
		}
	}
	if _, err := Parse(append(c.TLV(), 0x18)); err == nil {
		t.Error("accepted with an octet behind")
	}
	if _, err := ParseDER(append(der, 0)); err == nil {
		t.Error("accepted in DER with an octet behind")
	}
	keep := c.TLV()
	parsed, err := Parse(keep)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(keep)
	clear(keep)
	if !bytes.Equal(parsed.TLV(), want) {
		t.Error("a parsed certificate changes with the caller's buffer")
	}
}
