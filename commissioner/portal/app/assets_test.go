package app

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"gatehouse/commissioner/portal/webpki"
	"gatehouse/fabric"
)

// maxFirst is what the first screen may take over the wire, and devices how many
// are on it.
const (
	maxFirst = 150_000
	devices  = 500
)

func newAuthorityless() *webpki.Authority { return nil }

var (
	imports = regexp.MustCompile(`(?m)^import [^;]*"\./([\w.]+)";`)
	loaded  = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)
)

func zipped(path string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://gatehouse.local"+path, nil)
	r.Header.Set("Accept-Encoding", "gzip, deflate, br")
	return r
}

// TestWeight adds up what a browser fetches for the first screen.
func TestWeight(t *testing.T) {
	a, _ := newApp(t, devices)
	w := a.do(fabric.Administrator, zipped("/"))
	z, err := gzip.NewReader(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int{"/": w.Body.Len()}
	var load func(path string)
	load = func(path string) {
		if sizes[path] != 0 {
			return
		}
		w := a.do(0, zipped(path))
		if w.Code != http.StatusOK || w.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("%s: %d, %v", path, w.Code, w.Header())
		}
		sizes[path] = w.Body.Len()
		for _, m := range imports.FindAllStringSubmatch(string(a.assets.files[strings.TrimPrefix(path, a.assets.base)].plain), -1) {
			load(a.assets.path(m[1]))
		}
	}
	for _, m := range loaded.FindAllStringSubmatch(string(page), -1) {
		load(m[1])
	}
	all := 0
	for _, n := range sizes {
		all += n
	}
	if all > maxFirst || len(sizes) < 10 {
		t.Errorf("the first screen takes %d octets: %v", all, sizes)
	}
	t.Logf("the first screen with %d devices: %d octets, %d of them the page", devices, all, sizes["/"])
}

// BenchmarkFirst makes the first screen with many devices.
func BenchmarkFirst(b *testing.B) {
	a, _ := newApp(b, devices)
	for b.Loop() {
		if w := a.do(fabric.Administrator, zipped("/")); w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// TestAssets holds that assets are kept for good, and that what a module imports
// is there, next to it.
func TestAssets(t *testing.T) {
	a, _ := newApp(t, 1)
	for name, f := range a.assets.files {
		w := a.get(0, a.assets.base+name)
		if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "public, max-age=31536000, immutable" || w.Header().Get("Content-Type") == "" || !bytes.Equal(w.Body.Bytes(), f.plain) {
			t.Errorf("%s: %d, %v", name, w.Code, w.Header())
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:import|export) .*$`).FindAllString(string(f.plain), -1) {
			if strings.HasPrefix(m, "import") && !imports.MatchString(m) {
				t.Errorf("%s imports from elsewhere: %s", name, m)
			}
		}
		for _, m := range imports.FindAllStringSubmatch(string(f.plain), -1) {
			if _, ok := a.assets.files[m[1]]; !ok {
				t.Errorf("%s imports %s, which is not there", name, m[1])
			}
		}
	}
	for _, path := range []string{a.assets.base, a.assets.base + "nothing.js", a.assets.base + "../app.go", "/assets/0000000000000000/app.js"} {
		if w := a.get(0, path); w.Code != http.StatusNotFound && w.Code != http.StatusMovedPermanently && w.Code != http.StatusTemporaryRedirect {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if again := newAssets(); again.base != a.assets.base {
		t.Errorf("the same assets are at %s and at %s", a.assets.base, again.base)
	}
}

// TestGzip answers who takes no gzip without it.
func TestGzip(t *testing.T) {
	a, _ := newApp(t, 1)
	for accept, want := range map[string]string{"": "", "gzip": "gzip", "deflate, gzip;q=1.0, br": "gzip", "gzip;q=0": "", "identity": ""} {
		r := httptest.NewRequest(http.MethodGet, "https://gatehouse.local/login", nil)
		r.Header.Set("Accept-Encoding", accept)
		w := a.do(0, r)
		if got := w.Header().Get("Content-Encoding"); got != want || strings.Contains(w.Body.String(), "<html") == (want == "gzip") {
			t.Errorf("%q: %q", accept, got)
		}
	}
}

// forbidden in modules is what would run a text, or leave the gateway.
var forbidden = regexp.MustCompile(`innerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|https?://|localStorage|sessionStorage`)

var apiPath = regexp.MustCompile("[\"`](/api/v1/[^\"`?$]*)")

// TestModules holds that modules make elements rather than HTML, keep nothing in
// the browser, and ask for what the API has.
func TestModules(t *testing.T) {
	a, api := newApp(t, 1)
	for name, f := range a.assets.files {
		if !strings.HasSuffix(name, ".js") || name == "text.js" {
			continue
		}
		source := strings.ReplaceAll(string(f.plain), "http://www.w3.org/2000/svg", "")
		if found := forbidden.FindString(source); found != "" {
			t.Errorf("%s has %q", name, found)
		}
		for _, m := range apiPath.FindAllStringSubmatch(source, -1) {
			known := false
			for pattern := range api.routes {
				_, path, _ := strings.Cut(pattern, " ")
				known = known || path == m[1] || strings.HasSuffix(m[1], "/") && strings.HasPrefix(path, m[1])
			}
			if !known {
				t.Errorf("%s asks for %s", name, m[1])
			}
		}
	}
	if css := string(a.assets.files["style.css"].plain); regexp.MustCompile(`@import|@font-face|url\("?https?:`).MatchString(css) {
		t.Error("the style sheet loads something")
	}
}
