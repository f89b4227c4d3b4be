package webpki

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/pem"
	"encoding/xml"
	"io"
	"regexp"
	"strings"
	"testing"
)

func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestFingerprint(t *testing.T) {
	f := Fingerprint(sha256.Sum256(nil))
	if f.String() != "E3:B0:C4:42:98:FC:1C:14:9A:FB:F4:C8:99:6F:B9:24:27:AE:41:E4:64:9B:93:4C:A4:95:99:1B:78:52:B8:55" {
		t.Errorf("%s", f)
	}
	if got := strings.Join(f.Groups(), " "); got != "E3B0 C442 98FC 1C14 9AFB F4C8 996F B924 27AE 41E4 649B 934C A495 991B 7852 B855" {
		t.Error(got)
	}
}

func TestPEM(t *testing.T) {
	a := newAuthority(t, "Lindenhof")
	if block, rest := pem.Decode(a.PEM()); block == nil || len(rest) != 0 || !bytes.Equal(block.Bytes, a.DER()) {
		t.Error("the PEM is not the certificate")
	}
}

// strings of a profile by their keys, of the outer and the inner dictionary.
func readProfile(t *testing.T, profile []byte) map[string][]string {
	t.Helper()
	found, key, text := map[string][]string{}, "", ""
	for d := xml.NewDecoder(bytes.NewReader(profile)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		switch v := token.(type) {
		case xml.StartElement:
			text = ""
		case xml.CharData:
			text += string(v)
		case xml.EndElement:
			switch v.Name.Local {
			case "key":
				key = text
			case "string", "data", "integer":
				found[key] = append(found[key], text)
			}
		}
	}
}

func TestProfile(t *testing.T) {
	a := newAuthority(t, `<b>"Linden" & Hof</b>`)
	profile := a.Profile("Lets this phone open <the home's> page.")
	if !bytes.Equal(profile, a.Profile("Lets this phone open <the home's> page.")) {
		t.Error("twice made it differs")
	}
	p := readProfile(t, profile)
	if der, err := base64.StdEncoding.DecodeString(p["PayloadContent"][0]); err != nil || !bytes.Equal(der, a.DER()) {
		t.Errorf("it holds another certificate (%v)", err)
	}
	if got := strings.Join(p["PayloadType"], " "); got != "com.apple.security.root Configuration" {
		t.Error(got)
	}
	if p["PayloadDisplayName"][0] != a.Name() || p["PayloadDisplayName"][1] != a.Name() || p["PayloadDescription"][1] != "Lets this phone open <the home's> page." {
		t.Errorf("%v %v", p["PayloadDisplayName"], p["PayloadDescription"])
	}
	ids := p["PayloadUUID"]
	form := regexp.MustCompile(`^[0-9A-F]{8}-[0-9A-F]{4}-8[0-9A-F]{3}-[89AB][0-9A-F]{3}-[0-9A-F]{12}$`)
	if len(ids) != 2 || ids[0] == ids[1] || !form.MatchString(ids[0]) || !form.MatchString(ids[1]) || p["PayloadIdentifier"][0] == p["PayloadIdentifier"][1] {
		t.Errorf("%v %v", ids, p["PayloadIdentifier"])
	}
	if other := readProfile(t, newAuthority(t, "Lindenhof").Profile("")); other["PayloadUUID"][0] == ids[0] {
		t.Error("another authority has the same UUID")
	}
	if got := strings.Join(p["PayloadVersion"], " "); got != "1 1" {
		t.Error(got)
	}
}
