package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

const vectorRoot = "../../../shared/vectors/matter-sdk/"

// now is a time at which the vectors that are to be valid now, are.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func readVector(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(vectorRoot + path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("the Matter SDK's vectors are not beside the repository (../shared/vectors)")
	} else if err != nil {
		t.Fatal(err)
	}
	return b
}

func readVectors(t testing.TB, pattern string) map[string][]byte {
	t.Helper()
	readVector(t, "README.md")
	files, err := filepath.Glob(vectorRoot + pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors %s: %v", pattern, err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(f, vectorRoot)] = b
	}
	return all
}

func trusted(t testing.TB, test bool, patterns ...string) (all []Trusted) {
	t.Helper()
	for _, p := range patterns {
		for _, b := range readVectors(t, p) {
			all = append(all, Trusted{b, test})
		}
	}
	return all
}

// testStore trusts what the SDK's tests trust.
func testStore(t testing.TB) *TrustStore {
	t.Helper()
	s, err := NewTrustStore(
		trusted(t, true, "credentials/test/attestation/Chip-Test-PAA-FFF1-Cert.der", "credentials/test/attestation/Chip-Test-PAA-NoVID-Cert.der"),
		trusted(t, true, "credentials/development/cd-certs/Chip-Test-CD-Cert.der"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// testException is the exception under which test roots are let pass.
var testException = Exception{Name: "vectors", Expires: now.Add(time.Hour)}

// device is a vector of one device, in the SDK's format.
type device struct {
	Description string
	Success     string `json:"is_success_case"`
	ProductID   uint16 `json:"basic_info_pid"`
	DAC         string `json:"dac_cert"`
	PAI         string `json:"pai_cert"`
	CD          string `json:"certification_declaration"`
	PrivateKey  string `json:"dac_private_key"`
}

// evidence lets the device answer an attestation request.
func (d device) evidence(t testing.TB, vendor uint16) Evidence {
	t.Helper()
	decode := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	e := Evidence{DAC: decode(d.DAC), PAI: decode(d.PAI), VendorID: vendor, ProductID: d.ProductID,
		Challenge: bytes.Repeat([]byte{7}, 16), Nonce: bytes.Repeat([]byte{9}, 32)}
	var w tlv.Writer
	w.Struct(tlv.Anonymous)
	w.Octets(tlv.Context(1), decode(d.CD))
	w.Octets(tlv.Context(2), e.Nonce)
	w.Uint(tlv.Context(3), 0)
	w.End()
	e.Elements = w.Bytes()
	e.Signature = sign(t, decode(d.PrivateKey), append(bytes.Clone(e.Elements), e.Challenge...))
	return e
}

func sign(t testing.TB, rawKey, message []byte) []byte {
	t.Helper()
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), rawKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cert.SignMessage(nil, key, message)
	if err != nil {
		t.Fatal(err)
	}
	return s[:]
}

// overruled are cases that the SDK's own test takes for successes although the
// vectors say otherwise: a commissioner is told not to look at these fields.
var overruled = []string{"struct_cd_device_type_id_mismatch", "struct_cd_security_info_wrong",
	"struct_cd_security_level_wrong", "struct_cd_version_number_wrong", "struct_cd_cert_id_mismatch"}

func TestCommissionerVectors(t *testing.T) {
	store := testStore(t)
	files := readVectors(t, "credentials/development/commissioner_dut/*/test_case_vector.json")
	for path, b := range files {
		name := filepath.Base(filepath.Dir(path))
		var d device
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := d.Success == "true" || slices.Contains(overruled, name)
		rules := Rules{Trust: store, Now: now, Exceptions: []Exception{testException}}
		v := Evaluate(d.evidence(t, 0xFFF1), rules)
		if v.OK() != want {
			t.Errorf("%s (%s): accepted %v, because of %v", name, d.Description, v.OK(), v.Reasons)
		}
		rules.Exceptions = nil
		if v := Evaluate(d.evidence(t, 0xFFF1), rules); v.OK() {
			t.Errorf("%s: accepted without an exception", name)
		}
	}
	if len(files) != 106 {
		t.Errorf("%d vectors, want 106", len(files))
	}
}

// TestRoots loads every root there is, in DER, and as PEM.
func TestRoots(t *testing.T) {
	production := trusted(t, false, "credentials/production/paa-root-certs/*.der")
	signers := trusted(t, false, "credentials/production/cd-certs/*.der")
	s, err := NewTrustStore(production, signers)
	if test, all := s.PAAs(); err != nil || test != 0 || all != len(production) || all != 76 {
		t.Errorf("%d of %d production roots: %v", all, len(production), err)
	}
	development := trusted(t, true, "credentials/development/paa-root-certs/*.der")
	testSigners := trusted(t, true, "credentials/development/cd-certs/*.der")
	s, err = NewTrustStore(append(production, development...), append(signers, testSigners...))
	if test, all := s.PAAs(); err != nil || test != len(development) || all != len(production)+len(development) {
		t.Errorf("%d and %d of %d development roots: %v", test, all, len(development), err)
	}
	var bundle []byte
	for _, r := range production {
		bundle = append(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Data})...)
	}
	s, err = NewTrustStore([]Trusted{{bundle, false}}, nil)
	if _, all := s.PAAs(); err != nil || all != len(production) {
		t.Errorf("%d roots in PEM: %v", all, err)
	}
	s, err = NewTrustStore([]Trusted{{[]byte("junk"), false}, production[0]}, nil)
	if _, all := s.PAAs(); err == nil || all != 1 {
		t.Errorf("%d roots beside a bad one: %v", all, err)
	}
}

func attCert(t testing.TB, name string) *Certificate {
	t.Helper()
	c, err := ParseCertificate(readVector(t, "credentials/test/attestation/Chip-Test-"+name+"-Cert.der"))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// TestProfiles expects what the SDK's TestX509_VerifyAttestationCertificateFormat does.
func TestProfiles(t *testing.T) {
	var file struct{ Arrays map[string]string }
	if err := json.Unmarshal(readVector(t, "derived/DacValidationExplicitVectors.json"), &file); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		check func(*Certificate) error
		ok    bool
	}{
		"kPaaWithNoPathlen":   {(*Certificate).CheckPAA, true},
		"kPaiPathLenMissing":  {(*Certificate).CheckPAI, false},
		"kPaiPathLen1":        {(*Certificate).CheckPAI, false},
		"kPaaPathLen2":        {(*Certificate).CheckPAA, false},
		"kWrongPathLenFormat": {(*Certificate).CheckPAI, false},
		"kDacMalformedSkid":   {(*Certificate).CheckDAC, false},
		"kDacMalformedAkid":   {(*Certificate).CheckDAC, false},
		"kPaiMalformedSkid":   {(*Certificate).CheckPAI, false},
		"kPaiMalformedAkid":   {(*Certificate).CheckPAI, false},
	} {
		der, err := hex.DecodeString(file.Arrays[name])
		if err != nil || len(der) == 0 {
			t.Fatalf("%s: %v", name, err)
		}
		parsed, err := ParseCertificate(der)
		if err == nil {
			err = c.check(parsed)
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		check func(*Certificate) error
		ok    bool
	}{
		"PAA-FFF1":                       {(*Certificate).CheckPAA, true},
		"PAI-FFF1-8000":                  {(*Certificate).CheckPAI, true},
		"DAC-FFF2-8002-0017":             {(*Certificate).CheckDAC, true},
		"PAI-FFF2-NoPID-FB":              {(*Certificate).CheckDAC, false},
		"DAC-FFF2-8006-0025-ValInFuture": {(*Certificate).CheckPAA, false},
	} {
		if err := c.check(attCert(t, name)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryTestCertificate reads all of the SDK's, each under its own profile.
func TestEveryTestCertificate(t *testing.T) {
	for _, pattern := range []string{"credentials/test/attestation/*-Cert.der", "credentials/development/attestation/*-Cert.der",
		"credentials/test/revoked-attestation-certificates/*-Cert.der"} {
		for path, der := range readVectors(t, pattern) {
			name := filepath.Base(path)
			c, err := ParseCertificate(der)
			switch {
			case err != nil:
			case strings.Contains(name, "DAC-"):
				err = c.CheckDAC()
			case strings.Contains(name, "PAI-"):
				err = c.CheckPAI()
			default:
				err = c.CheckPAA()
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestChains expects what the SDK's TestX509_CertChainValidation does.
func TestChains(t *testing.T) {
	for _, c := range []struct {
		paa, pai, dac string
		want          []Code
	}{
		{"PAA-FFF1", "PAI-FFF1-8000", "DAC-FFF1-8000-0000", nil},
		{"PAA-NoVID", "PAI-FFF2-NoPID", "DAC-FFF2-8002-0017", nil},
		{"PAA-NoVID", "PAI-FFF2-NoPID-FB", "DAC-FFF2-8003-0018-FB", nil},
		{"PAA-NoVID", "PAI-FFF2-8004-FB", "DAC-FFF2-8004-001C-FB", nil},
		{"PAA-NoVID", "PAI-FFF2-8004-FB", "DAC-FFF2-8004-0020-ValInPast", nil},
		{"PAA-NoVID", "PAI-FFF2-8004-FB", "DAC-FFF2-8004-0021-ValInFuture", nil},
		{"PAA-NoVID", "PAI-FFF2-8005-ValInPast", "DAC-FFF2-8005-0022-ValInPast", nil},
		{"PAA-NoVID", "PAI-FFF2-8005-ValInFuture", "DAC-FFF2-8005-0023-ValInFuture", nil},
		{"PAA-FFF2-ValInPast", "PAI-FFF2-8006-ValInPast", "DAC-FFF2-8006-0024-ValInPast", nil},
		{"PAA-FFF2-ValInFuture", "PAI-FFF2-8006-ValInFuture", "DAC-FFF2-8006-0025-ValInFuture", nil},
		{"PAA-FFF1", "PAI-FFF2-NoPID", "DAC-FFF1-8000-0000", []Code{DACVendor, DACIssuer, DACSignature, PAAUnknown}},
		{"PAA-NoVID", "PAI-FFF1-8000", "DAC-FFF1-8000-0000", []Code{PAAUnknown}},
		{"PAA-NoVID", "PAI-FFF2-8004-FB", "DAC-FFF2-8004-0030-Val1SecBefore", []Code{PAITime, PAATime}},
		{"PAA-NoVID", "PAI-FFF2-8005-Val1SecBefore", "DAC-FFF2-8005-0032-Val1SecBefore", []Code{PAATime}},
		{"PAA-NoVID", "PAI-FFF2-8005-ValInFuture", "DAC-FFF2-8005-0033-Val1SecBefore", []Code{PAITime}},
		{"PAA-FFF2-ValInPast", "PAI-FFF2-8006-ValInPast", "DAC-FFF2-8006-0034-ValInFuture", []Code{PAITime, PAATime}},
		{"PAA-FFF2-ValInFuture", "PAI-FFF2-8006-ValInFuture", "DAC-FFF2-8006-0035-Val1SecBefore", []Code{PAITime, PAATime}},
	} {
		read := func(name string) []byte {
			return readVector(t, "credentials/test/attestation/Chip-Test-"+name+"-Cert.der")
		}
		store, err := NewTrustStore([]Trusted{{read(c.paa), false}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		check := checker{Evidence: Evidence{DAC: read(c.dac), PAI: read(c.pai)}, Rules: Rules{Trust: store}}
		check.certificates()
		check.chain()
		var got []Code
		for _, r := range check.Reasons {
			got = append(got, r.Code)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s, %s, %s: %v, want %v", c.paa, c.pai, c.dac, check.Reasons, c.want)
		}
	}
}

// TestIDs expects what the SDK's TestVIDPID_x509Extraction does.
func TestIDs(t *testing.T) {
	for name, want := range map[string][2]ID{
		"PAI-FFF1-8000":         {{0xFFF1, true}, {0x8000, true}},
		"DAC-FFF2-8003-0019-FB": {{0xFFF2, true}, {0x8003, true}},
		"DAC-FFF2-8004-001E-FB": {{0xFFF2, true}, {0x8004, true}},
		"PAI-FFF2-8004-FB":      {{0xFFF2, true}, {0x8004, true}},
		"PAA-FFF1":              {{0xFFF1, true}, {}},
		"PAI-FFF2-NoPID":        {{0xFFF2, true}, {}},
		"PAI-FFF2-NoPID-FB":     {{0xFFF2, true}, {}},
		"PAA-NoVID":             {},
	} {
		if c := attCert(t, name); c.VendorID != want[0] || c.ProductID != want[1] {
			t.Errorf("%s: %v, %v", name, c.VendorID, c.ProductID)
		}
	}
}

func TestRevocationVectors(t *testing.T) {
	const dir = "credentials/test/revoked-attestation-certificates/"
	set, err := ParseRevocationSet(readVector(t, dir+"revocation-sets/revocation-set.json"))
	if err != nil || set.Len() != 9 {
		t.Fatalf("%d revoked, %v", set.Len(), err)
	}
	store := testStore(t)
	want := map[string][]Code{
		"revoked-dac-01":                 {DACRevoked},
		"revoked-dac-02":                 {DACRevoked},
		"revoked-dac-03":                 {DACRevoked},
		"revoked-pai":                    {PAIRevoked},
		"revoked-dac-and-pai":            {DACRevoked, PAIRevoked},
		"indirect-revoked-dac-01":        {DACRevoked},
		"indirect-revoked-pai-03":        {PAIRevoked},
		"indirect-revoked-dac-01-pai-03": {DACRevoked, PAIRevoked},
	}
	files := readVectors(t, dir+"dac-provider-test-vectors/*.json")
	for path, b := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		var d device
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		rules := Rules{Trust: store, Now: now, Exceptions: []Exception{testException}}
		if v := Evaluate(d.evidence(t, 0xFFF1), rules); !v.OK() {
			t.Errorf("%s without the set: %v", name, v.Reasons)
		}
		rules.Revoked = set
		v := Evaluate(d.evidence(t, 0xFFF1), rules)
		var got []Code
		for _, r := range v.Reasons {
			if r.Exception == "" {
				got = append(got, r.Code)
			}
		}
		if !slices.Equal(got, want[name]) {
			t.Errorf("%s: %v, want %v", name, v.Reasons, want[name])
		}
	}
	if len(files) != len(want) {
		t.Errorf("%d vectors, want %d", len(files), len(want))
	}
	for _, name := range []string{"Matter-Development-DAC-FFF1-8001-Revoked-01", "Chip-Test-PAI-FFF1-noPID-Revoked"} {
		c, err := ParseCertificate(readVector(t, dir+name+"-Cert.der"))
		if err != nil || !set.Has(c) {
			t.Errorf("%s is not revoked: %v", name, err)
		}
	}
	for _, name := range []string{"Matter-Development-PAI-FFF1-noPID", "Chip-Test-PAA-FFF1"} {
		c, err := ParseCertificate(readVector(t, dir+name+"-Cert.der"))
		if err != nil || set.Has(c) {
			t.Errorf("%s is revoked: %v", name, err)
		}
	}
}

func TestDeclarationVectors(t *testing.T) {
	signer := testStore(t)
	for path, b := range readVectors(t, "credentials/test/certification-declaration/*.der") {
		m, err := parseCMS(b)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		root := signer.signer(m)
		if root == nil || !m.signedBy(root.Certificate) {
			t.Errorf("%s: the signature does not verify", path)
		}
		d, err := ParseDeclaration(m.content)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if d.OriginVendorID.Present != strings.Contains(path, "WithDACOrigin") || d.FormatVersion != 1 ||
			len(d.ProductIDs) != strings.Count(path, "-800") {
			t.Errorf("%s: %+v", path, d)
		}
		for i := range m.content {
			m.content[i] ^= 1
			if m.signedBy(root.Certificate) {
				t.Errorf("%s: octet %d may be changed", path, i)
			}
			m.content[i] ^= 1
		}
	}
}
