package attest_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/fabric/attest"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/fabric/cert"
)

var (
	now       = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	challenge = bytes.Repeat([]byte{1}, 16)
	nonce     = bytes.Repeat([]byte{2}, 32)
	maker     = attesttest.New("attest")
	workbench = attest.Exception{Name: "workbench", VendorID: 0xFFF1, ProductID: 0x8000, Expires: now.Add(time.Hour)}
)

// lamp is a product that passes under the workbench exception.
func lamp() attesttest.Product {
	return attesttest.Product{VendorID: 0xFFF1, ProductID: 0x8000, DeviceType: 0x100}
}

func evidence(d *attesttest.Device) attest.Evidence {
	elements, signature := d.Attest(challenge, nonce)
	return attest.Evidence{DAC: d.DAC, PAI: d.PAI, Elements: elements, Signature: signature,
		Challenge: challenge, Nonce: nonce, VendorID: 0xFFF1, ProductID: 0x8000}
}

func rules() attest.Rules {
	return attest.Rules{Trust: maker.Trust(), Now: now, Exceptions: []attest.Exception{workbench}}
}

// against is the codes of the reasons that no exception excuses.
func against(v attest.Verdict) (codes []attest.Code) {
	for _, r := range v.Reasons {
		if r.Exception == "" {
			codes = append(codes, r.Code)
		}
	}
	return codes
}

func TestTestDeviceNeedsAnException(t *testing.T) {
	e := evidence(maker.Device(lamp()))
	v := attest.Evaluate(e, attest.Rules{Trust: maker.Trust(), Now: now})
	want := []attest.Code{attest.TestRoot, attest.CDTestType, attest.CDTestSigner}
	if v.OK() || !slices.Equal(against(v), want) {
		t.Errorf("without an exception: %v", v.Reasons)
	}
	for _, r := range v.Reasons {
		if r.Message == "" || r.Remedy == "" {
			t.Errorf("%s has no explanation", r.Code)
		}
	}
	v = attest.Evaluate(e, rules())
	if !v.OK() || v.Exception() != "workbench" || len(v.Reasons) != len(want) {
		t.Errorf("with the exception %q: %v", v.Exception(), v.Reasons)
	}
	if !v.Has(attest.NoteRevocationUnchecked) {
		t.Errorf("notes: %v", v.Notes)
	}
	if v.DAC == nil || v.PAA == nil || v.Elements == nil || v.Declaration == nil || v.Declaration.DeviceType != 0x100 {
		t.Errorf("not everything is established: %+v", v)
	}
}

func TestExceptionScope(t *testing.T) {
	e := evidence(maker.Device(lamp()))
	for what, c := range map[string]struct {
		change func(*attest.Exception)
		ok     bool
	}{
		"as it is":           {func(*attest.Exception) {}, true},
		"every product":      {func(x *attest.Exception) { x.ProductID = 0 }, true},
		"every vendor":       {func(x *attest.Exception) { x.VendorID, x.ProductID = 0, 0 }, true},
		"another product":    {func(x *attest.Exception) { x.ProductID = 1 }, false},
		"another vendor":     {func(x *attest.Exception) { x.VendorID = 1 }, false},
		"product, no vendor": {func(x *attest.Exception) { x.VendorID = 0 }, false},
		"expired":            {func(x *attest.Exception) { x.Expires = now }, false},
		"never set to end":   {func(x *attest.Exception) { x.Expires = time.Time{} }, false},
		"no name":            {func(x *attest.Exception) { x.Name = "" }, false},
	} {
		r, x := rules(), workbench
		c.change(&x)
		r.Exceptions = []attest.Exception{{Name: "other", VendorID: 9, Expires: now.Add(time.Hour)}, x}
		if v := attest.Evaluate(e, r); v.OK() != c.ok {
			t.Errorf("%s: accepted %v", what, v.OK())
		}
	}
	r := rules()
	r.Now = time.Time{}
	if v := attest.Evaluate(e, r); v.OK() || !v.Has(attest.NoteTimeUnchecked) {
		t.Error("an exception holds although the time is not known")
	}
}

// official makes the maker's roots ones that nobody else has, and its product
// a certified one.
func official(t *testing.T, change func(*attesttest.Product)) (attest.Evidence, attest.Rules) {
	t.Helper()
	p := lamp()
	p.CertificationType = attest.CertificationOfficial
	if change != nil {
		change(&p)
	}
	store, err := attest.NewTrustStore([]attest.Trusted{{Data: maker.PAA()}}, []attest.Trusted{{Data: maker.Signer()}})
	if err != nil {
		t.Fatal(err)
	}
	return evidence(maker.Device(p)), attest.Rules{Trust: store, Now: now}
}

// unknownExtension is an extension that means nothing to anybody.
func unknownExtension(critical bool) []byte {
	if critical {
		return []byte{0x30, 0x0B, 0x06, 0x03, 0x55, 0x1D, 0x7F, 0x01, 0x01, 0xFF, 0x04, 0x01, 0x00}
	}
	return []byte{0x30, 0x08, 0x06, 0x03, 0x55, 0x1D, 0x7F, 0x04, 0x01, 0x00}
}

func TestCertifiedDevice(t *testing.T) {
	e, r := official(t, nil)
	if v := attest.Evaluate(e, r); !v.OK() || len(v.Reasons) != 0 || v.Exception() != "" {
		t.Errorf("%v", v.Reasons)
	}
	e, r = official(t, func(p *attesttest.Product) {
		p.DAC = func(t *attesttest.Template) { t.Extra = unknownExtension(false) }
	})
	if v := attest.Evaluate(e, r); !v.OK() {
		t.Errorf("with an unknown extension: %v", v.Reasons)
	}
	e, r = official(t, func(p *attesttest.Product) { p.CertificationType = attest.CertificationProvisional })
	if v := attest.Evaluate(e, r); !v.OK() || !v.Has(attest.NoteProvisional) {
		t.Errorf("provisional: %v, %v", v.Reasons, v.Notes)
	}
}

func TestRefusals(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC) }
	type product = attesttest.Product
	dac := func(f func(*attesttest.Template)) func(*product) { return func(p *product) { p.DAC = f } }
	pai := func(f func(*attesttest.Template)) func(*product) { return func(p *product) { p.PAI = f } }
	cd := func(f func(*attest.Declaration)) func(*product) { return func(p *product) { p.Declaration = f } }
	other := attest.ID{Value: 0xBEEF, Present: true}
	for _, c := range []struct {
		what  string
		make  func(*product)
		spoil func(*attest.Evidence)
		want  attest.Code
	}{
		{"DAC is a CA", dac(func(t *attesttest.Template) { t.IsCA = true }), nil, attest.DACProfile},
		{"DAC has a path length", dac(func(t *attesttest.Template) { t.PathLen = 0 }), nil, attest.DACProfile},
		{"DAC may sign certificates", dac(func(t *attesttest.Template) { t.KeyUsage |= cert.KeyCertSign }), nil, attest.DACProfile},
		{"DAC of no product", dac(func(t *attesttest.Template) { t.Subject.ProductID = attest.ID{} }), nil, attest.DACProfile},
		{"DAC of another vendor", dac(func(t *attesttest.Template) { t.Subject.VendorID = other }), nil, attest.DACVendor},
		{"DAC by another name", dac(func(t *attesttest.Template) { t.Issuer.CommonName = "nobody" }), nil, attest.DACIssuer},
		{"DAC by another key id", dac(func(t *attesttest.Template) { t.AuthorityKeyID[0]++ }), nil, attest.DACIssuer},
		{"DAC expired", dac(func(t *attesttest.Template) { t.NotAfter = now }), nil, attest.DACExpired},
		{"DAC early", dac(func(t *attesttest.Template) { t.NotBefore = year(2027) }), nil, attest.DACNotYetValid},
		{"DAC older than the PAI", dac(func(t *attesttest.Template) { t.NotBefore = year(2020) }), nil, attest.PAITime},
		{"DAC older than the PAA", dac(func(t *attesttest.Template) { t.NotBefore = year(2020) }), nil, attest.PAATime},
		{"DAC younger than the PAI", pai(func(t *attesttest.Template) { t.NotAfter = year(2023) }), nil, attest.PAITime},
		{"DAC with something critical", dac(func(t *attesttest.Template) { t.Extra = unknownExtension(true) }), nil, attest.DACProfile},
		{"PAI with something critical", pai(func(t *attesttest.Template) { t.Extra = unknownExtension(true) }), nil, attest.PAIProfile},
		{"PAI is no CA", pai(func(t *attesttest.Template) { t.IsCA = false }), nil, attest.PAIProfile},
		{"PAI path length 1", pai(func(t *attesttest.Template) { t.PathLen = 1 }), nil, attest.PAIProfile},
		{"PAI without path length", pai(func(t *attesttest.Template) { t.PathLen = -1 }), nil, attest.PAIProfile},
		{"PAI cannot sign lists", pai(func(t *attesttest.Template) { t.KeyUsage = cert.KeyCertSign }), nil, attest.PAIProfile},
		{"PAI of no vendor", pai(func(t *attesttest.Template) { t.Subject.VendorID = attest.ID{} }), nil, attest.PAIProfile},
		{"PAI for another product", pai(func(t *attesttest.Template) { t.Subject.ProductID = other }), nil, attest.DACProduct},
		{"PAI by another name", pai(func(t *attesttest.Template) { t.Issuer.CommonName = "nobody" }), nil, attest.PAIIssuer},
		{"PAI by another key", pai(func(t *attesttest.Template) { t.AuthorityKeyID[0]++ }), nil, attest.PAAUnknown},
		{"CD for another vendor", cd(func(d *attest.Declaration) { d.VendorID = 1 }), nil, attest.CDVendor},
		{"CD for another product", cd(func(d *attest.Declaration) { d.ProductIDs = []uint16{1, 2} }), nil, attest.CDProduct},
		{"CD for no product", cd(func(d *attest.Declaration) { d.ProductIDs = nil }), nil, attest.CDProduct},
		{"CD for another origin", cd(func(d *attest.Declaration) { d.OriginVendorID, d.OriginProductID = other, other }), nil, attest.CDVendor},
		{"CD with half an origin", cd(func(d *attest.Declaration) { d.OriginVendorID = other }), nil, attest.CDMalformed},
		{"CD of format 2", cd(func(d *attest.Declaration) { d.FormatVersion = 2 }), nil, attest.CDFormat},
		{"CD of type 3", cd(func(d *attest.Declaration) { d.CertificationType = 3 }), nil, attest.CDFormat},
		{"CD for other roots", cd(func(d *attest.Declaration) { d.HasAuthorizedPAAs, d.AuthorizedPAAs = true, make([]cert.KeyID, 1) }), nil, attest.CDPAA},
		{"CD for no roots", cd(func(d *attest.Declaration) { d.HasAuthorizedPAAs = true }), nil, attest.CDPAA},
		{"CD with too many roots", cd(func(d *attest.Declaration) { d.HasAuthorizedPAAs, d.AuthorizedPAAs = true, make([]cert.KeyID, 11) }), nil, attest.CDMalformed},
		{"CD with a short id", cd(func(d *attest.Declaration) { d.CertificateID = "1" }), nil, attest.CDMalformed},
		{"no DAC", nil, func(e *attest.Evidence) { e.DAC = nil }, attest.DACMalformed},
		{"no PAI", nil, func(e *attest.Evidence) { e.PAI = nil }, attest.PAIMalformed},
		{"PAI for DAC", nil, func(e *attest.Evidence) { e.DAC = e.PAI }, attest.DACProfile},
		{"DAC for PAI", nil, func(e *attest.Evidence) { e.PAI = e.DAC }, attest.PAIProfile},
		{"another device's PAI", nil, func(e *attest.Evidence) { e.PAI = attesttest.New("x").Device(lamp()).PAI }, attest.DACSignature},
		{"another maker's device", nil, func(e *attest.Evidence) { *e = evidence(attesttest.New("x").Device(lamp())) }, attest.PAAUnknown},
		{"another maker's declaration", nil, func(e *attest.Evidence) { *e = evidence(attesttest.New("x").Device(lamp())) }, attest.CDSignerUnknown},
		{"another device's DAC", nil, func(e *attest.Evidence) {
			p := lamp()
			p.Number = 7
			e.DAC = maker.Device(p).DAC
		}, attest.ElementsSignature},
		{"another session", nil, func(e *attest.Evidence) { e.Challenge = make([]byte, 16) }, attest.ElementsSignature},
		{"no session", nil, func(e *attest.Evidence) {
			e.Challenge = nil
			e.Elements, e.Signature = maker.Device(lamp()).Attest(nil, nonce)
		}, attest.ElementsSignature},
		{"no signature", nil, func(e *attest.Evidence) { e.Signature = nil }, attest.ElementsSignature},
		{"replayed answer", nil, func(e *attest.Evidence) { e.Nonce = make([]byte, 32) }, attest.ElementsNonce},
		{"no nonce", nil, func(e *attest.Evidence) { e.Nonce = nil }, attest.ElementsNonce},
		{"no elements", nil, func(e *attest.Evidence) { e.Elements = nil }, attest.ElementsMalformed},
		{"cut elements", nil, func(e *attest.Evidence) { e.Elements = e.Elements[:len(e.Elements)-1] }, attest.ElementsMalformed},
		{"says it is another vendor's", nil, func(e *attest.Evidence) { e.VendorID = 2 }, attest.CDVendor},
		{"says it is another product", nil, func(e *attest.Evidence) { e.ProductID = 2 }, attest.CDProduct},
	} {
		e, r := official(t, c.make)
		if c.spoil != nil {
			c.spoil(&e)
		}
		v := attest.Evaluate(e, r)
		if v.OK() || !slices.Contains(against(v), c.want) {
			t.Errorf("%s: %v, want %s", c.what, v.Reasons, c.want)
		}
		// No exception lets false evidence pass.
		r.Exceptions = []attest.Exception{{Name: "everything", Expires: now.Add(time.Hour)}}
		if v := attest.Evaluate(e, r); v.OK() {
			t.Errorf("%s: accepted under an exception", c.what)
		}
	}
}

func TestOfficialDeclarationByTestKey(t *testing.T) {
	p := lamp()
	p.CertificationType = attest.CertificationOfficial
	if v := attest.Evaluate(evidence(maker.Device(p)), rules()); v.OK() || !v.Has(attest.CDSignerType) {
		t.Errorf("%v", v.Reasons)
	}
}

// TestForgedIntermediate shows an intermediate that names the trusted root,
// but was signed by somebody else.
func TestForgedIntermediate(t *testing.T) {
	root, err := attest.ParseCertificate(maker.PAA())
	if err != nil {
		t.Fatal(err)
	}
	p := lamp()
	p.PAI = func(t *attesttest.Template) {
		t.Issuer.CommonName = "Gatehouse Test PAA attest"
		t.AuthorityKeyID = root.SubjectKeyID
	}
	e := evidence(attesttest.New("forger").Device(p))
	e.Elements, e.Signature = (&attesttest.Device{CD: maker.Device(lamp()).CD, Key: attesttest.New("forger").Device(p).Key}).Attest(challenge, nonce)
	if v := attest.Evaluate(e, rules()); !slices.Equal(against(v), []attest.Code{attest.PAISignature}) {
		t.Errorf("%v", v.Reasons)
	}
}

func TestRootOfOneVendor(t *testing.T) {
	for vendor, want := range map[uint16][]attest.Code{0xFFF1: nil, 2: {attest.PAIVendor}} {
		m := attesttest.NewForVendor("vendor", attest.ID{Value: vendor, Present: true})
		r := rules()
		r.Trust = m.Trust()
		if v := attest.Evaluate(evidence(m.Device(lamp())), r); !slices.Equal(against(v), want) {
			t.Errorf("vendor %04X: %v", vendor, v.Reasons)
		}
	}
}

func TestAuthorizedRoots(t *testing.T) {
	root, err := attest.ParseCertificate(maker.PAA())
	if err != nil {
		t.Fatal(err)
	}
	e, r := official(t, func(p *attesttest.Product) {
		p.Declaration = func(d *attest.Declaration) {
			d.HasAuthorizedPAAs, d.AuthorizedPAAs = true, []cert.KeyID{{1}, root.SubjectKeyID}
		}
	})
	if v := attest.Evaluate(e, r); !v.OK() {
		t.Errorf("%v", v.Reasons)
	}
	if r.Trust, err = attest.NewTrustStore(nil, []attest.Trusted{{Data: maker.Signer()}}); err != nil {
		t.Fatal(err)
	}
	if v := attest.Evaluate(e, r); !v.Has(attest.PAAUnknown) || !v.Has(attest.CDPAA) {
		t.Errorf("root unknown: %v", v.Reasons)
	}
}

func TestOrigin(t *testing.T) {
	// A device of vendor 2 built around a module whose DAC is vendor FFF1's.
	e, r := official(t, func(p *attesttest.Product) {
		p.Declaration = func(d *attest.Declaration) {
			d.VendorID, d.ProductIDs = 2, []uint16{3}
			d.OriginVendorID = attest.ID{Value: 0xFFF1, Present: true}
			d.OriginProductID = attest.ID{Value: 0x8000, Present: true}
		}
	})
	e.VendorID, e.ProductID = 2, 3
	if v := attest.Evaluate(e, r); !v.OK() {
		t.Errorf("%v", v.Reasons)
	}
}

func TestUnknownRootIsNamed(t *testing.T) {
	e, _ := official(t, nil)
	v := attest.Evaluate(e, attest.Rules{Now: now})
	root, err := attest.ParseCertificate(maker.PAA())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range v.Reasons {
		if r.Code == attest.PAAUnknown {
			if !strings.Contains(r.Error(), root.SubjectKeyID.String()) || !strings.Contains(r.Error(), "FFF1") {
				t.Errorf("%v", r)
			}
			return
		}
	}
	t.Errorf("%v", v.Reasons)
}

func TestNOCSR(t *testing.T) {
	d := maker.Device(lamp())
	dac, err := attest.ParseCertificate(d.DAC)
	if err != nil {
		t.Fatal(err)
	}
	key := maker.Key("operational")
	csr, err := cert.NewRequest(nil, key)
	if err != nil {
		t.Fatal(err)
	}
	elements, signature := d.NOCSR(challenge, nonce, csr)
	got, err := attest.VerifyNOCSR(dac, elements, signature, challenge, nonce)
	want, _ := cert.PublicKeyOf(key.Public())
	if err != nil || got != want {
		t.Fatalf("%x, %v", got, err)
	}
	spoilt := bytes.Clone(csr)
	spoilt[len(spoilt)-1] ^= 1
	badCSR, badSignature := d.NOCSR(challenge, nonce, spoilt)
	stranger, strangers := attesttest.New("x").Device(lamp()).NOCSR(challenge, nonce, csr)
	for what, c := range map[string]struct {
		elements, signature, challenge, nonce []byte
		want                                  attest.Code
	}{
		"nonce":        {elements, signature, challenge, make([]byte, 32), attest.CSRNonce},
		"no nonce":     {elements, signature, challenge, nil, attest.CSRNonce},
		"challenge":    {elements, signature, make([]byte, 16), nonce, attest.CSRSignature},
		"signature":    {elements, make([]byte, 64), challenge, nonce, attest.CSRSignature},
		"no signature": {elements, nil, challenge, nonce, attest.CSRSignature},
		"other device": {stranger, strangers, challenge, nonce, attest.CSRSignature},
		"bad request":  {badCSR, badSignature, challenge, nonce, attest.CSRMalformed},
		"cut":          {elements[:len(elements)-1], signature, challenge, nonce, attest.CSRMalformed},
		"nothing":      {nil, signature, challenge, nonce, attest.CSRMalformed},
	} {
		_, err := attest.VerifyNOCSR(dac, c.elements, c.signature, c.challenge, c.nonce)
		var r attest.Reason
		if !errors.As(err, &r) || r.Code != c.want {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

// TestMakerIsOrthodox shows that others can read what attesttest makes.
func TestMakerIsOrthodox(t *testing.T) {
	d := maker.Device(lamp())
	pool, inter := x509.NewCertPool(), x509.NewCertPool()
	var parsed []*x509.Certificate
	for _, der := range [][]byte{maker.PAA(), d.PAI, d.DAC, maker.Signer()} {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, c)
	}
	pool.AddCert(parsed[0])
	inter.AddCert(parsed[1])
	if _, err := parsed[2].Verify(x509.VerifyOptions{Roots: pool, Intermediates: inter, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(attesttest.New("attest").Device(lamp()).DAC, d.DAC) {
		t.Error("the same seed makes another device")
	}
	if bytes.Equal(attesttest.New("other").Device(lamp()).DAC, d.DAC) {
		t.Error("another seed makes the same device")
	}
	if d.Key.Curve != elliptic.P256() {
		t.Error("not on P-256")
	}
}
