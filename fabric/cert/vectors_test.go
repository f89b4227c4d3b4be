package cert

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const vectorRoot = "../../../shared/vectors/matter-sdk/"

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

// arrays is a C source's arrays by name.
func arrays(t testing.TB, name string) map[string][]byte {
	t.Helper()
	var file struct{ Arrays map[string]string }
	if err := json.Unmarshal(readVector(t, "derived/"+name+".json"), &file); err != nil {
		t.Fatal(err)
	}
	m := map[string][]byte{}
	for k, v := range file.Arrays {
		b, err := hex.DecodeString(v)
		if err != nil {
			t.Fatalf("%s: %v", k, err)
		}
		m[k] = b
	}
	return m
}

// sdk is the certificate of the SDK's test vectors with that name, in TLV.
func sdk(t testing.TB, name string) *Certificate {
	t.Helper()
	c, err := Parse(arrays(t, "CHIPCert_test_vectors")["sTestCert_"+name+"_Chip"])
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return c
}

// TestConversion converts every pair of the SDK's test certificates both ways.
func TestConversion(t *testing.T) {
	all := arrays(t, "CHIPCert_test_vectors")
	pairs := 0
	for name, raw := range all {
		base, ok := strings.CutSuffix(name, "_Chip")
		if !ok || strings.HasSuffix(base, "_Err01") {
			continue
		}
		pairs++
		want := all[base+"_DER"]
		c, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		if got, err := c.DER(); err != nil || string(got) != string(want) {
			t.Errorf("%s: DER is %x, %v; want %x", base, got, err, want)
		}
		d, err := ParseDER(want)
		if err != nil {
			t.Errorf("%s: %v", base, err)
			continue
		}
		if got := d.TLV(); string(got) != string(raw) {
			t.Errorf("%s: TLV is %x, want %x", base, got, raw)
		}
		if id := all[base+"_SubjectKeyId"]; id != nil && string(id) != string(c.SubjectKeyID[:]) {
			t.Errorf("%s: subject key id %v", base, c.SubjectKeyID)
		}
		if id := all[base+"_AuthorityKeyId"]; id != nil && string(id) != string(c.AuthorityKeyID[:]) {
			t.Errorf("%s: authority key id %v", base, c.AuthorityKeyID)
		}
		if key := all[base+"_PublicKey"]; key != nil && string(key) != string(c.PublicKey[:]) {
			t.Errorf("%s: public key %x", base, c.PublicKey)
		}
	}
	if pairs != 18 {
		t.Errorf("%d pairs, want 18", pairs)
	}
	if _, err := Parse(all["sTestCert_Node01_01_Err01_Chip"]); err == nil {
		t.Error("Node01_01_Err01 is accepted")
	}
}

func TestUnitTestChains(t *testing.T) {
	all := arrays(t, "CHIPCert_unit_test_vectors")
	for _, c := range []struct{ root, ica, node string }{
		{"RootA", "IA_A1", "NodeA1"}, {"RootA", "IA_A1", "NodeA2"}, {"RootA", "", "NodeA3"},
		{"RootA", "IA_A1", "NodeA4"}, {"RootB", "IA_B1", "NodeB1"}, {"JF_Root_A", "JF_IA_A", "JF_Node_A"},
		{"JF_Root_B", "JF_IA_B", "JF_Node_B"},
	} {
		root, err := Parse(all["UnitTest_"+c.root+"_crt"])
		if err != nil {
			t.Errorf("%s: %v", c.root, err)
			continue
		}
		anchor, err := NewRoot(root)
		if err != nil {
			t.Errorf("%s: %v", c.root, err)
			continue
		}
		noc, err := Parse(all["UnitTest_"+c.node+"_crt"])
		if err != nil {
			t.Errorf("%s: %v", c.node, err)
			continue
		}
		// Which intermediate issued a node, its issuer says best.
		var icac []byte
		for name, b := range all {
			if ca, err := Parse(b); err == nil && strings.Contains(name, "IA_") && ca.Subject.Equal(noc.Issuer) &&
				ca.SubjectKeyID == noc.AuthorityKeyID {
				icac = b
			}
		}
		if _, err := anchor.Verify(all["UnitTest_"+c.node+"_crt"], icac, AnyTime); err != nil {
			t.Errorf("%s: %v", c.node, err)
		}
	}
}

// errorCase names one of the SDK's malformed certificates, and what the SDK's
// tests expect of it (TestChipCert.cpp and its lists of error cases).
type errorCase struct {
	name string
	want string // parse, kind or root: the first of these checks that must fail
}

func errorCases() (cases []errorCase) {
	list := func(want, form string, kinds string, names ...string) {
		for kind := range strings.SplitSeq(kinds, " ") {
			for _, name := range names {
				cases = append(cases, errorCase{kind + "-" + name + "-Cert." + form, want})
			}
		}
	}
	const all = "NOC ICAC RCAC"
	malformed := []string{"Oversized", "Sig-Algo-ECDSA-With-SHA1", "Validity-Not-Before-Missing",
		"Validity-Not-After-Missing", "Validity-Wrong", "Subject-FabricId-Invalid", "Subject-CAT-Invalid",
		"Sig-Curve-Secp256k1", "Ext-Basic-CA-Missing", "Ext-AKID-Length-Invalid", "Ext-SKID-Length-Invalid"}
	list("parse", "der", all, malformed...)
	list("parse", "der", all, "Cert-Version-V2", "Ext-Basic-Critical-Missing", "Ext-Basic-Critical-Wrong",
		"Ext-KeyUsage-Critical-Missing", "Ext-KeyUsage-Critical-Wrong")
	list("parse", "der", "NOC", "Subject-NodeId-Invalid", "Ext-Basic-PathLen-Presence-Wrong")
	list("parse", "chip", all, malformed...)
	list("parse", "chip", all, "Serial-Number-Missing", "Issuer-Missing", "Subject-Missing")
	list("parse", "chip", "NOC", "Subject-NodeId-Invalid")
	list("kind", "chip", all, "Subject-MatterId-Missing", "Subject-MatterId-Twice", "Subject-FabricId-Twice")
	list("kind", "chip", "NOC", "Subject-FabricId-Missing")
	list("kind", "chip", "ICAC RCAC", "Subject-CAT-Twice")
	list("root", "chip", all, "PublicKey-Wrong", "Ext-Basic-Missing", "Ext-Basic-CA-Wrong",
		"Ext-Basic-PathLen-Presence-Wrong", "Ext-Basic-PathLen2", "Ext-KeyUsage-Missing",
		"Ext-KeyUsage-KeyCertSign-Wrong", "Ext-AKID-Missing", "Ext-SKID-Missing", "Signature-Wrong")
	list("root", "chip", "NOC", "Subject-CAT-Twice")
	return cases
}

func TestErrorCases(t *testing.T) {
	const dir = "credentials/test/operational-certificates-error-cases/Chip-Test-"
	seen := map[string]bool{}
	for _, c := range errorCases() {
		b := readVector(t, dir+c.name)
		seen[c.name] = true
		read := Parse
		if strings.HasSuffix(c.name, ".der") {
			read = ParseDER
		}
		parsed, err := read(b)
		if c.want == "parse" {
			if err == nil {
				t.Errorf("%s is accepted", c.name)
			}
			continue
		}
		if err != nil {
			if c.want == "kind" {
				t.Errorf("%s: %v, before its kind is looked at", c.name, err)
			}
			continue
		}
		kind, err := parsed.Kind()
		if c.want == "kind" && err == nil {
			t.Errorf("%s is a %v", c.name, kind)
		}
		if _, err := NewRoot(parsed); err == nil {
			t.Errorf("%s is taken for a root", c.name)
		}
	}
	files, err := filepath.Glob(vectorRoot + dir + "*-Cert.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if name := strings.TrimPrefix(filepath.Base(f), "Chip-Test-"); !seen[name] {
			t.Errorf("nothing is expected of %s", name)
		}
	}
	t.Logf("%d cases", len(seen))
}

// TestErrorCasesInTheirChain shows every malformed certificate that can be
// parsed to the chain it was made for.
func TestErrorCasesInTheirChain(t *testing.T) {
	anchors := map[KeyID]*Authority{}
	for _, name := range []string{"Root01", "Root02"} {
		root, err := NewRoot(sdk(t, name))
		if err != nil {
			t.Fatal(err)
		}
		anchors[root.cert.SubjectKeyID] = root
	}
	for _, name := range []string{"ICA01", "ICA02"} {
		c := sdk(t, name)
		ca, err := anchors[c.AuthorityKeyID].Intermediate(c)
		if err != nil {
			t.Fatal(err)
		}
		anchors[c.SubjectKeyID] = ca
	}
	for _, c := range errorCases() {
		if !strings.HasSuffix(c.name, ".chip") {
			continue
		}
		parsed, err := Parse(readVector(t, "credentials/test/operational-certificates-error-cases/Chip-Test-"+c.name))
		if err != nil {
			continue
		}
		issuer := anchors[parsed.AuthorityKeyID]
		switch {
		case strings.HasPrefix(c.name, "RCAC"):
			_, err = NewRoot(parsed)
		case issuer == nil: // spoilt beyond finding it
			continue
		case strings.HasPrefix(c.name, "ICAC"):
			_, err = issuer.Intermediate(parsed)
		default:
			_, err = issuer.Node(parsed, AnyTime)
		}
		if err == nil {
			t.Errorf("%s is accepted in its chain", c.name)
		}
	}
}

// TestPEM converts the certificates the SDK keeps as PEM.
func TestPEM(t *testing.T) {
	const dir = "credentials/test/operational-certificates/Chip-Test-"
	for _, name := range []string{"ICA02-Cert", "Root01-Cert"} {
		block, _ := pem.Decode(readVector(t, dir+name+".pem"))
		want, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(readVector(t, dir+name+".chip-b64"))))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseDER(block.Bytes)
		if err != nil || string(c.TLV()) != string(want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	files, err := filepath.Glob(vectorRoot + "src/credentials/tests/certificates/*.crt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(b)
		if _, err := ParseDER(block.Bytes); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}
