package dcl

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var asked = time.UnixMilli(1_800_000_000_000)

// answers are those of a node, in the shapes of the ledger's REST API.
func answers() map[string]string {
	version := func(n int, valid bool, ota string) string {
		return fmt.Sprintf(`{"modelVersion":{"vid":65521,"pid":32768,"softwareVersion":%d,"softwareVersionString":"%d.0","cdVersionNumber":1,"firmwareInformation":"",
"softwareVersionValid":%v,%s"minApplicableSoftwareVersion":1,"maxApplicableSoftwareVersion":%d,"releaseNotesUrl":"https://example.org/%d","creator":"cosmos1","schemaVersion":0}}`, n, n, valid, ota, n-1, n)
	}
	compliance := func(n, status int, reason string) string {
		return fmt.Sprintf(`{"complianceInfo":{"vid":65521,"pid":32768,"softwareVersion":%d,"certificationType":"matter","softwareVersionCertificationStatus":%d,"reason":%q,"history":[]}}`, n, status, reason)
	}
	return map[string]string{
		"/dcl/model/models/65521/32768":                        `{"model":{"vid":65521,"pid":32768,"deviceTypeId":257,"productName":"Lamp","productLabel":"A lamp","schemaVersion":0}}`,
		"/dcl/model/versions/65521/32768":                      `{"modelVersions":{"vid":65521,"pid":32768,"softwareVersions":[3,1,2],"schemaVersion":0}}`,
		"/dcl/model/versions/65521/32768/1":                    version(1, true, `"otaUrl":"","otaFileSize":"0","otaChecksum":"","otaChecksumType":0,`),
		"/dcl/model/versions/65521/32768/2":                    version(2, false, `"otaUrl":"http://example.org/2.ota","otaFileSize":"7","otaChecksum":"","otaChecksumType":1,`),
		"/dcl/model/versions/65521/32768/3":                    version(3, true, `"otaUrl":"https://example.org/3.ota","otaFileSize":"1234","otaChecksum":"AQID","otaChecksumType":1,`),
		"/dcl/compliance/compliance-info/65521/32768/1/matter": compliance(1, 2, ""),
		"/dcl/compliance/compliance-info/65521/32768/2/matter": compliance(2, 3, "it burns"),
	}
}

// node is a node of the ledger; what it does not know is told as the ledger does.
func node(t testing.TB, answers map[string]string) *Client {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := answers[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			a = `{"code":5,"message":"not found","details":[]}`
		}
		io.WriteString(w, a)
	}))
	t.Cleanup(s.Close)
	return &Client{HTTP: s.Client(), URL: s.URL, Now: func() time.Time { return asked }}
}

func TestProduct(t *testing.T) {
	got, err := node(t, answers()).Product(t.Context(), 0xFFF1, 0x8000, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := &Product{VendorID: 0xFFF1, ProductID: 0x8000, Name: "Lamp", Fetched: asked.UnixMilli(), Versions: []Version{
		{Version: 1, VersionString: "1.0", Status: Certified, ReleaseNotes: "https://example.org/1"},
		{Version: 2, VersionString: "2.0", Status: Revoked, Reason: "it burns", Invalid: true, ReleaseNotes: "https://example.org/2"},
		{Version: 3, VersionString: "3.0", Status: Unlisted, ReleaseNotes: "https://example.org/3",
			OTA: &OTA{URL: "https://example.org/3.ota", Size: 1234, Digest: []byte{1, 2, 3}, DigestType: 1, MinApplicable: 1, MaxApplicable: 2}},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got.Find(2).Reason != "it burns" || got.Find(4) != nil {
		t.Error("finds another version")
	}
	got, err = node(t, answers()).Product(t.Context(), 0xFFF1, 0x8000, 3)
	if err != nil || len(got.Versions) != 1 || got.Versions[0].Version != 3 {
		t.Errorf("from version 3 on: %+v, %v", got, err)
	}
}

func TestNoVersionsYet(t *testing.T) {
	a := answers()
	delete(a, "/dcl/model/versions/65521/32768")
	got, err := node(t, a).Product(t.Context(), 0xFFF1, 0x8000, 0)
	if err != nil || len(got.Versions) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestAnswers(t *testing.T) {
	const model, list, version, compliance = "/dcl/model/models/65521/32768", "/dcl/model/versions/65521/32768", "/dcl/model/versions/65521/32768/3", "/dcl/compliance/compliance-info/65521/32768/1/matter"
	many := new(strings.Builder)
	for n := range maxVersions + 1 {
		fmt.Fprintf(many, "%d,", n+1)
	}
	replace := func(path, from, to string) func(map[string]string) {
		return func(a map[string]string) {
			if !strings.Contains(a[path], from) {
				t.Fatalf("%s does not have %q", path, from)
			}
			a[path] = strings.Replace(a[path], from, to, 1)
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]string)
		want   string
	}{
		"unknown product":       {func(a map[string]string) { delete(a, model) }, "does not know"},
		"another product":       {replace(model, `"pid":32768`, `"pid":1`), "another product"},
		"another list":          {replace(list, `"vid":65521`, `"vid":1`), "another product"},
		"another version":       {replace(version, `"softwareVersion":3`, `"softwareVersion":4`), "another one"},
		"another compliance":    {replace(compliance, `"softwareVersion":1`, `"softwareVersion":2`), "makes no sense"},
		"unknown status":        {replace(compliance, `Status":2`, `Status":4`), "makes no sense"},
		"number too large":      {replace(model, "65521", "165521"), "cannot unmarshal"},
		"negative size":         {replace(version, `"1234"`, `"-1"`), "cannot be read"},
		"checksum not base64":   {replace(version, "AQID", "?"), "cannot be read"},
		"applies to nothing":    {replace(version, `"minApplicableSoftwareVersion":1`, `"minApplicableSoftwareVersion":9`), "not described right"},
		"listed, but not there": {func(a map[string]string) { delete(a, version) }, "does not know"},
		"not JSON":              {func(a map[string]string) { a[model] = "<html>" }, "answer"},
		"two values":            {func(a map[string]string) { a[model] += "{}" }, "goes on"},
		"endless":               {func(a map[string]string) { a[model] += strings.Repeat(" ", maxAnswer) }, "longer than"},
		"too many versions":     {replace(list, "3,1,2", strings.TrimSuffix(many.String(), ",")), "version"},
	} {
		t.Run(name, func(t *testing.T) {
			a := answers()
			c.change(a)
			if got, err := node(t, a).Product(t.Context(), 0xFFF1, 0x8000, 0); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	c := node(t, nil)
	c.HTTP = &http.Client{Transport: broken{}}
	if _, err := c.Product(t.Context(), 1, 1, 0); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	c.HTTP = &http.Client{Transport: answering{http.StatusBadGateway, []byte("{}")}}
	if _, err := c.Product(t.Context(), 1, 1, 0); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a gateway's error: got %v", err)
	}
}

type broken struct{}

func (broken) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }

// answering gives the same answer to everything.
type answering struct {
	status int
	body   []byte
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Status: http.StatusText(a.status), Body: io.NopCloser(bytes.NewReader(a.body))}, nil
}

func TestCheckURL(t *testing.T) {
	for s, good := range map[string]bool{
		MainNet: true, "https://[::1]:8443/": true, "http://127.0.0.1:26640": true, "http://[::1]:26640": true,
		"http://example.org": false, "http://192.168.1.1": false, "https://": false, "https://user:pass@example.org": false, "ftp://example.org": false, "": false, "::": false,
	} {
		if err := CheckURL(s); (err == nil) != good {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestSnapshot(t *testing.T) {
	p, err := node(t, answers()).Product(t.Context(), 0xFFF1, 0x8000, 0)
	if err != nil {
		t.Fatal(err)
	}
	var none *Snapshot
	s, err := none.With(p)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Read(&b)
	if err != nil {
		t.Fatal(err)
	}
	got, age := again.Product(0xFFF1, 0x8000, asked.Add(48*time.Hour))
	if d := cmp.Diff(p, got); d != "" || age != 48*time.Hour {
		t.Errorf("age %v, %s", age, d)
	}
	if got, _ := again.Product(0xFFF1, 0x8001, asked); got != nil || again.Len() != 1 {
		t.Errorf("%d products; found %+v", again.Len(), got)
	}
	older := *p
	older.Fetched, older.Name = p.Fetched-1, "older"
	if again, err = again.With(&older); err != nil {
		t.Fatal(err)
	}
	if got, _ := again.Product(0xFFF1, 0x8000, asked); got.Name != "Lamp" {
		t.Error("an older record took a younger one's place")
	}
}

func TestBadSnapshots(t *testing.T) {
	for name, s := range map[string]string{
		"not JSON":        "x",
		"another format":  `{"format":2,"products":[]}`,
		"empty record":    `{"format":1,"products":[null]}`,
		"no ids":          `{"format":1,"products":[{}]}`,
		"out of order":    `{"format":1,"products":[{"vendor_id":1,"product_id":1,"versions":[{"version":2},{"version":2}]}]}`,
		"insecure image":  `{"format":1,"products":[{"vendor_id":1,"product_id":1,"versions":[{"version":2,"ota":{"url":"http://x"}}]}]}`,
		"unknown status":  `{"format":1,"products":[{"vendor_id":1,"product_id":1,"versions":[{"version":2,"status":9}]}]}`,
		"long text":       `{"format":1,"products":[{"vendor_id":1,"product_id":1,"name":"` + strings.Repeat("x", 257) + `"}]}`,
		"something after": `{"format":1,"products":[]} {}`,
	} {
		if _, err := Read(strings.NewReader(s)); err == nil {
			t.Errorf("%s: is read", name)
		}
	}
}

// FuzzAnswers has a node give any one answer to everything.
func FuzzAnswers(f *testing.F) {
	for _, a := range answers() {
		f.Add([]byte(a))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Client{HTTP: &http.Client{Transport: answering{http.StatusOK, b}}, URL: "https://node.example", Now: func() time.Time { return asked }}
		p, err := c.Product(t.Context(), 0xFFF1, 0x8000, 0)
		if err != nil {
			return
		}
		s, err := new(Snapshot).With(p)
		if err != nil {
			t.Fatalf("a product that was accepted is refused: %v", err)
		}
		var out bytes.Buffer
		if err := s.Write(&out); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(&out); err != nil {
			t.Fatalf("a snapshot cannot be read again: %v", err)
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(`{"format":1,"products":[{"vendor_id":1,"product_id":1,"versions":[{"version":2,"ota":{"url":"https://x","digest":"AQID"}}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := s.Write(&out); err != nil {
			t.Fatal(err)
		}
		again, err := Read(&out)
		if err != nil || again.Len() != s.Len() {
			t.Fatalf("%d products became %d: %v", s.Len(), again.Len(), err)
		}
	})
}
