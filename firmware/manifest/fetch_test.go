package manifest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/firmware/manifest"
)

func TestHTTPS(t *testing.T) {
	s := newShop(t)
	server := httptest.NewUnstartedServer(http.StripPrefix("/firmware/", http.FileServer(http.Dir(s.dir))))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	from, err := manifest.HTTPS(server.URL+"/firmware", server.Client())
	s.must(err)
	c := s.open(t.TempDir(), from)
	s.refresh(c)
	p, ok := c.Product(vendor, product)
	if !ok {
		t.Fatal("no product")
	}
	var w strings.Builder
	s.must(c.Image(context.Background(), vendor, p.Releases[0], &w))
	if w.String() != string(s.image) {
		t.Error("the image is another")
	}
	// A server that nobody vouches for.
	from, err = manifest.HTTPS(server.URL+"/firmware", &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{}}})
	s.must(err)
	s.refused(s.open(t.TempDir(), from), manifest.Unreachable)
}

func TestHTTPSAddress(t *testing.T) {
	for _, address := range []string{"", "http://example.com/", "https://", "ftp://example.com", "https://u:p@example.com/", "https://example.com/?q", "https://example.com/#f", "/tmp"} {
		if _, err := manifest.HTTPS(address, nil); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}

func TestRedirects(t *testing.T) {
	plain := httptest.NewServer(http.FileServer(http.Dir(t.TempDir())))
	defer plain.Close()
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	mux.Handle("/plain/", http.RedirectHandler(plain.URL, http.StatusFound))
	mux.HandleFunc("/loop/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
	mux.Handle("/there/f", http.RedirectHandler("/here/f", http.StatusFound))
	mux.HandleFunc("/here/f", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
	mux.HandleFunc("/broken/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mux.HandleFunc("/closed/", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	for path, want := range map[string]string{"plain": "refused to follow", "loop": "refused to follow", "there": "", "broken": "502", "closed": "403", "gone": "404"} {
		from, err := manifest.HTTPS(server.URL+"/"+path, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		body, err := from.Fetch(context.Background(), "f", 100)
		if err == nil {
			data, err2 := io.ReadAll(body)
			if err = errors.Join(err2, body.Close()); string(data) != "here" {
				t.Errorf("%s: %q", path, data)
			}
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if missing := want == "404" || want == "403"; errors.Is(err, fs.ErrNotExist) != missing {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// dripping answers after wait, then gives one octet, and waits again.
type dripping struct {
	wait, pause time.Duration
	size        int
	ctx         context.Context
}

func (d *dripping) RoundTrip(r *http.Request) (*http.Response, error) {
	d.ctx = r.Context()
	if err := d.sleep(d.wait); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(d), Request: r}, nil
}

func (d *dripping) sleep(wait time.Duration) error {
	select {
	case <-time.After(wait):
		return nil
	case <-d.ctx.Done():
		return d.ctx.Err()
	}
}

func (d *dripping) Read(p []byte) (int, error) {
	return min(len(p), d.size), d.sleep(d.pause)
}

func TestSlow(t *testing.T) {
	for _, c := range []struct {
		name   string
		d      dripping
		size   int64
		within time.Duration
		code   manifest.Code
	}{
		{"no answer", dripping{wait: time.Hour, pause: 1, size: 1}, 1 << 20, manifest.RateWindow, manifest.Slow},
		{"no octets", dripping{pause: time.Hour, size: 1}, 1 << 20, manifest.RateWindow, manifest.Slow},
		{"an octet a second", dripping{pause: time.Second, size: 1}, 1 << 20, manifest.RateWindow, manifest.Slow},
		{"just below the rate, in bursts", dripping{pause: 9 * time.Second, size: 8 << 10}, 1 << 20, manifest.RateWindow, manifest.Slow},
		{"for ever at the rate", dripping{pause: time.Second, size: manifest.MinRate + 512}, 8 * manifest.MinRate, manifest.Patience + 8*time.Second, manifest.Slow},
		{"fast enough", dripping{pause: 500 * time.Millisecond, size: 64 << 10}, 1 << 20, 2 * time.Minute, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from, err := manifest.HTTPS("https://example.com", &http.Client{Transport: &c.d})
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				body, err := from.Fetch(t.Context(), "metadata/timestamp.json", c.size)
				if err == nil {
					n := c.size
					if c.name == "for ever at the rate" {
						n = 1 << 40
					}
					_, err = io.CopyN(io.Discard, body, n)
					_ = body.Close()
				}
				if manifest.CodeOf(err) != c.code || time.Since(begin) > c.within {
					t.Errorf("%v after %v, want %q within %v", err, time.Since(begin), c.code, c.within)
				}
			})
		})
	}
}

// A Refresh as a whole ends, too, whatever the fetcher is.
func TestRefreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		c := s.open(t.TempDir(), stuck{})
		begin := time.Now()
		s.refused(c, manifest.Slow)
		if d := time.Since(begin); d != manifest.MaxRefresh {
			t.Errorf("after %v", d)
		}
	})
}

type stuck struct{}

func (stuck) String() string { return "stuck" }

func (stuck) Fetch(ctx context.Context, _ string, _ int64) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestDir(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	put(t, filepath.Join(outside, "secret"), []byte("secret"))
	put(t, filepath.Join(dir, "file"), []byte("file"))
	for _, err := range []error{
		os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "absolute")),
		os.Symlink("../"+filepath.Base(outside)+"/secret", filepath.Join(dir, "relative")),
		os.Symlink("file", filepath.Join(dir, "within")),
		os.Symlink("/dev/zero", filepath.Join(dir, "device")),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
		os.Mkdir(filepath.Join(dir, "folder"), 0o755),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, ok := range map[string]bool{"file": true, "within": true, "absolute": false, "relative": false, "device": false, "fifo": false, "folder": false,
		"missing": false, "../" + filepath.Base(outside) + "/secret": false, outside + "/secret": false} {
		body, err := manifest.Dir(dir).Fetch(context.Background(), name, 100)
		if (err == nil) != ok || errors.Is(err, fs.ErrNotExist) != (name == "missing") {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			_ = body.Close()
		}
	}
	if _, err := manifest.Dir(filepath.Join(dir, "none")).Fetch(context.Background(), "file", 1); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is missing: %v", err)
	}
}
