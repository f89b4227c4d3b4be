package library

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gatehouse/fabric"
	"gatehouse/firmware"
	"gatehouse/firmware/dcl"
)

// node is a node of the ledger that knows version 2 of the product, whose image
// is at the node too.
type node struct {
	*httptest.Server
	image  []byte
	asked  []string
	broken bool
}

func newNode(t *testing.T, image []byte) *node {
	n := &node{image: image}
	n.Server = httptest.NewTLSServer(n)
	t.Cleanup(n.Close)
	return n
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.asked = append(n.asked, r.URL.Path)
	sum := sha256.Sum256(n.image)
	ids := `"vid":65521,"pid":32769`
	switch r.URL.Path {
	case "/image":
		if n.broken {
			n.image[0]++
		}
		w.Write(n.image)
	case "/dcl/model/models/65521/32769":
		if n.broken {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintf(w, `{"model":{%s,"productName":"Lamp"}}`, ids)
	case "/dcl/model/versions/65521/32769":
		fmt.Fprintf(w, `{"modelVersions":{%s,"softwareVersions":[1,2]}}`, ids)
	case "/dcl/model/versions/65521/32769/1":
		fmt.Fprintf(w, `{"modelVersion":{%s,"softwareVersion":1,"softwareVersionString":"1.0","softwareVersionValid":true}}`, ids)
	case "/dcl/model/versions/65521/32769/2":
		fmt.Fprintf(w, `{"modelVersion":{%s,"softwareVersion":2,"softwareVersionString":"2.0","softwareVersionValid":true,"firmwareInformation":"0a0b","otaUrl":"%s/image","otaFileSize":"%d","otaChecksum":%q,"otaChecksumType":1,
"minApplicableSoftwareVersion":1,"maxApplicableSoftwareVersion":1}}`, ids, n.URL, len(n.image), base64.StdEncoding.EncodeToString(sum[:]))
	case "/dcl/compliance/compliance-info/65521/32769/1/matter":
		fmt.Fprintf(w, `{"complianceInfo":{%s,"softwareVersion":1,"softwareVersionCertificationStatus":3,"reason":"it burns"}}`, ids)
	case "/dcl/compliance/compliance-info/65521/32769/2/matter":
		fmt.Fprintf(w, `{"complianceInfo":{%s,"softwareVersion":2,"softwareVersionCertificationStatus":2}}`, ids)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestLearn asks the ledger once a day, if at all, and gets an image from where
// the ledger says.
func TestLearn(t *testing.T) {
	h := newHouse(t)
	n := newNode(t, h.image)
	l, err := Open(Config{Dir: t.TempDir(), Now: h.now, HTTP: n.Client()})
	must(t, err)
	learn := func(version uint32, asked bool) {
		t.Helper()
		before := len(n.asked)
		must(t, l.Learn(t.Context(), vendor, product, version))
		if (len(n.asked) > before) != asked {
			t.Errorf("asked %v", n.asked[before:])
		}
	}
	learn(2, false) // without consent
	l.Follow(&fabric.Firmware{Ledger: n.URL})
	learn(2, true)
	if k := l.Known(vendor, product).Ledger; k == nil || k.From != 2 || len(k.Versions) != 1 || k.Versions[0].Firmware != "0a0b" {
		t.Fatalf("%+v", k)
	}
	learn(2, false)
	h.clock = h.clock.Add(2 * time.Hour)
	learn(1, true) // an older version
	learn(1, false)
	learn(2, false)
	if k := l.Known(vendor, product).Ledger; k.From != 1 || len(k.Versions) != 2 {
		t.Fatalf("%+v", k)
	}
	must(t, l.Learn(t.Context(), vendor, product+1, 1)) // one that it does not know
	before := len(n.asked)
	must(t, l.Learn(t.Context(), vendor, product+1, 1))
	if len(n.asked) != before || l.Records().Err != nil {
		t.Errorf("asked again at once: %v, %v", n.asked[before:], l.Records().Err)
	}
	h.clock = h.clock.Add(25 * time.Hour)
	n.broken = true
	if err := l.Learn(t.Context(), vendor, product, 1); err == nil || l.Records().Err == nil || l.Records().Products != 1 || l.Records().Oldest.IsZero() {
		t.Errorf("%v, %+v", err, l.Records())
	}
	must(t, l.Learn(t.Context(), vendor, product, 1)) // not at once
	n.broken = false
	h.clock = h.clock.Add(2 * time.Hour)
	learn(1, true)
	if l.Records().Err != nil {
		t.Error(l.Records().Err)
	}

	d := firmware.Decide(old(), l.Known(vendor, product), firmware.Policy{})
	if d.Verdict != firmware.Quarantine || d.Update == nil || d.Update.From != firmware.Ledger {
		t.Fatalf("%+v", d)
	}
	s := d.Standing(nil, h.clock, nil)
	l.Follow(nil)
	if _, err := l.Image(t.Context(), vendor, s.Update); err == nil {
		t.Error("fetched without consent")
	}
	l.Follow(&fabric.Firmware{Ledger: n.URL})
	n.broken = true
	if _, err := l.Image(t.Context(), vendor, s.Update); err == nil {
		t.Error("another image than the ledger says")
	}
	n.broken, n.image = false, h.image
	n.image[0]--
	i, err := l.Image(t.Context(), vendor, s.Update)
	must(t, err)
	if i.Header.Version != 2 {
		t.Errorf("version %d", i.Header.Version)
	}
	i.Close()
}

// TestListed takes from the ledger only images that can be checked.
func TestListed(t *testing.T) {
	good := dcl.Version{Version: 2, VersionString: "2", Status: dcl.Certified, OTA: &dcl.OTA{URL: "https://example.org", Size: 9, Digest: make([]byte, 32), DigestType: dcl.SHA256}}
	for name, change := range map[string]func(*dcl.Version){
		"":              func(*dcl.Version) {},
		"not certified": func(v *dcl.Version) { v.Status = dcl.Provisional },
		"revoked":       func(v *dcl.Version) { v.Status = dcl.Revoked },
		"withdrawn":     func(v *dcl.Version) { v.Invalid = true },
		"no image":      func(v *dcl.Version) { v.OTA = nil },
		"no size":       func(v *dcl.Version) { v.OTA.Size = 0 },
		"other digest":  func(v *dcl.Version) { v.OTA.DigestType = 8 },
		"short digest":  func(v *dcl.Version) { v.OTA.Digest = v.OTA.Digest[:16] },
		"not for it":    func(v *dcl.Version) { v.OTA.MinApplicable, v.OTA.MaxApplicable = 0, 0; v.Version = 1 },
	} {
		v, o := good, *good.OTA
		v.OTA = &o
		change(&v)
		d := firmware.Decide(old(), firmware.Known{Ledger: &dcl.Product{VendorID: vendor, ProductID: product, Versions: []dcl.Version{v}}}, firmware.Policy{})
		if (d.Update != nil) != (name == "") {
			t.Errorf("%s: %+v", name, d.Update)
		}
	}
}
