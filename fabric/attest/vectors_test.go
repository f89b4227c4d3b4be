package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
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

// testing is the exception under which test roots are let pass.
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
