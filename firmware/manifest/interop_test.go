//go:build interop

package manifest_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What is known to work; any later one should, too.
var packages = []string{"tuf==7.0.1", "securesystemslib[crypto]==1.6.0"}

var pythonOnce = sync.OnceValues(func() (string, error) {
	python := os.Getenv("GATEHOUSE_PYTHON")
	if python != "" {
		return python, exec.Command(python, "-c", "import tuf.ngclient").Run()
	}
	dir, err := os.MkdirTemp("", "gatehouse-tuf-")
	if err != nil {
		return "", err
	}
	python = filepath.Join(dir, "bin/python")
	for _, args := range [][]string{{"python3", "-m", "venv", dir}, append([]string{python, "-m", "pip", "install", "-q"}, packages...)} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return python, fmt.Errorf("%v: %w\n%s", args, err, out)
		}
	}
	return python, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if python, _ := pythonOnce(); os.Getenv("GATEHOUSE_PYTHON") == "" && strings.Contains(python, "gatehouse-tuf-") {
		_ = os.RemoveAll(filepath.Dir(filepath.Dir(python)))
	}
	os.Exit(code)
}

// run runs a script of testdata with python-tuf.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	python, err := pythonOnce()
	if err != nil {
		t.Skipf("python-tuf cannot be imported here; GATEHOUSE_PYTHON may name an interpreter that has it: %v", err)
	}
	out, err := exec.Command(python, args...).CombinedOutput()
	return string(out), err
}

// python-tuf's client reads what we publish, before and after rotations, and
// refuses what was changed.
func TestPythonReads(t *testing.T) {
	s := newShop(t)
	s.clock = time.Now()
	s.must(s.Extend("root"), s.Extend("targets"), s.SetMinimum("vendor-FFF1", vendor, product, 2))
	s.publish("root", "targets", "vendor-FFF1")
	s.must(s.Rotate("timestamp", keys(1, seeded("fresh"))), s.Rotate("vendor-FFF1", keys(1, s.root1)))
	s.acme = s.root1
	s.must(s.Publish(s.snapshot, s.timestamp)) // what is not signed yet waits
	s.timestamp = seeded("fresh")
	s.publish("root", "targets", "vendor-FFF1")
	s.must(s.Renew(s.timestamp))
	server := httptest.NewServer(http.FileServer(http.Dir(s.dir)))
	defer server.Close()

	c := s.client()
	s.refresh(c)
	p, _ := c.Product(vendor, product)
	image := manifest.ImagePath(vendor, p.Releases[0].SHA256)
	read := func() (string, error) {
		return run(t, "testdata/read.py", server.URL, s.file("metadata/1.root.json"), filepath.Join(t.TempDir(), "cache"), "FFF1/8000.json", image, "FFF2/0001.json")
	}
	out, err := read()
	s.must(err)
	want := fmt.Sprintf("%s %s\nFFF2/0001.json none\n", image, p.Releases[0].SHA256)
	if !strings.HasPrefix(out, "FFF1/8000.json ") || !strings.HasSuffix(out, want) {
		t.Errorf("python read\n%s", out)
	}
	s.overwrite(s.dir, ".ota")
	if out, err := read(); err == nil || !strings.Contains(out, "LengthOrHashMismatchError") {
		t.Errorf("a wrong image: %v\n%s", err, out)
	}
	s.timestamp = seeded("thief")
	s.stamp(s.dir, func(*metadata.TimestampType) {})
	if out, err := read(); err == nil || !strings.Contains(out, "UnsignedMetadataError") {
		t.Errorf("a thief's timestamp: %v\n%s", err, out)
	}
}

// Our client reads what python-tuf publishes, with and without digests of the
// metadata.
func TestPythonPublishes(t *testing.T) {
	for _, mode := range []string{"hashes", "plain"} {
		t.Run(mode, func(t *testing.T) {
			dir, cache := filepath.Join(t.TempDir(), "repository"), t.TempDir()
			if out, err := run(t, "testdata/make.py", dir, mode); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			root, err := os.ReadFile(dir + "/metadata/1.root.json")
			if err != nil {
				t.Fatal(err)
			}
			for _, from := range []string{dir, "/none"} { // the second time from the cache
				c, err := manifest.Open(manifest.Config{Dir: cache, Root: root, From: manifest.Dir(from), Now: time.Now})
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Refresh(context.Background()); (err == nil) != (from == dir) {
					t.Fatal(err)
				}
				p, ok := c.Product(vendor, product)
				if !ok || p.Minimum != 3 || p.Role != "vendor-FFF1" || len(c.Status().Faults) > 0 || c.Status().Roles[0].Version != 2 {
					t.Fatalf("%+v %+v", p, c.Status())
				}
				var w bytes.Buffer
				if err := c.Image(context.Background(), vendor, p.Releases[0], &w); (err == nil) != (from == dir) {
					t.Fatal(err)
				}
			}
		})
	}
}
