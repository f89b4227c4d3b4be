package library

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/fabric"
	"gatehouse/firmware"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/manifest/publish"
	"gatehouse/firmware/otaimage"
	"gatehouse/firmware/shelf"
)

const vendor, product = 0xFFF1, 0x8001

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// house is a repository on a stick, with an image of version 2 and no word of
// what is below 2.
type house struct {
	dir   string
	root  []byte
	image []byte
	clock time.Time
}

func (h *house) now() time.Time { return h.clock }

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{dir: filepath.Join(t.TempDir(), "stick"), clock: time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	seed := sha256.Sum256([]byte(t.Name()))
	key := ed25519.NewKeyFromSeed(seed[:])
	keys := publish.Keys{Threshold: 1, Public: []crypto.PublicKey{key.Public()}}
	r, err := publish.Init(h.dir, publish.Setup{Name: "House", Root: keys, Targets: keys, Snapshot: keys, Timestamp: keys}, h.now, rand.Reader)
	must(t, err)
	var image bytes.Buffer
	must(t, otaimage.Write(&image, otaimage.Header{VendorID: vendor, ProductID: product, Version: 2, VersionString: "2.0"}, bytes.Repeat([]byte("x"), 10_000)))
	h.image = image.Bytes()
	must(t, r.AddRelease("targets", vendor, product, manifest.Release{Version: 2, Name: "2.0"}, bytes.NewReader(h.image)),
		r.SetMinimum("targets", vendor, product, 2), r.Sign("root", key), r.Sign("targets", key), r.Publish(key))
	h.root, err = os.ReadFile(filepath.Join(h.dir, "metadata/1.root.json"))
	must(t, err)
	return h
}

func (h *house) settled() *fabric.Firmware {
	return &fabric.Firmware{Sources: map[string]*fabric.FirmwareSource{"house": {Name: "house", Where: h.dir, Root: h.root}}}
}

func (h *house) library(t *testing.T, dir string) *Library {
	t.Helper()
	l, err := Open(Config{Dir: dir, Now: h.now})
	must(t, err)
	return l
}

func old() firmware.Claim {
	return firmware.Claim{VendorID: vendor, ProductID: product, Version: 1}
}

// TestSource follows a source, forgets the stick, and opens the library anew:
// what it knew, it knows.
func TestSource(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	l := h.library(t, dir)
	l.Follow(h.settled())
	if k := l.Known(vendor, product); len(k.Statements) != 0 {
		t.Fatalf("known before anything was fetched: %+v", k)
	}
	must(t, l.Refresh(t.Context()))
	d := firmware.Decide(old(), l.Known(vendor, product), firmware.Policy{})
	if d.Verdict != firmware.Quarantine || d.Update == nil || d.Update.From != "house" {
		t.Fatalf("%+v", d)
	}
	s := d.Standing(nil, h.clock, nil)
	i, err := l.Image(t.Context(), vendor, s.Update)
	must(t, err)
	if i.Header.Version != 2 || i.Size() != int64(len(h.image)) {
		t.Errorf("version %d, %d octets", i.Header.Version, i.Size())
	}
	i.Close()
	must(t, os.Rename(h.dir, h.dir+" is pulled out"))
	l = h.library(t, dir)
	l.Follow(h.settled())
	if d := firmware.Decide(old(), l.Known(vendor, product), firmware.Policy{}); d.Verdict != firmware.Quarantine {
		t.Errorf("without the stick: %+v", d)
	}
	if err := l.Refresh(t.Context()); manifest.CodeOf(err) != manifest.Unreachable {
		t.Errorf("got %v", err)
	}
	if i, err = l.Image(t.Context(), vendor, s.Update); err != nil {
		t.Errorf("what was fetched is gone: %v", err)
	} else {
		i.Close()
	}
	if st := l.Status(); len(st) != 1 || st[0].Name != "house" || st[0].Err == nil || st[0].Refreshed.IsZero() {
		t.Errorf("%+v", st)
	}
	l.Follow(nil)
	if k := l.Known(vendor, product); len(k.Statements) != 0 {
		t.Error("a source that is not trusted any more is heard")
	}
}

// TestImages asks for images that are not what they should be.
func TestImages(t *testing.T) {
	h := newHouse(t)
	l := h.library(t, t.TempDir())
	l.Follow(h.settled())
	must(t, l.Refresh(t.Context()))
	sum := sha256.Sum256(h.image)
	good := fabric.FirmwareImage{From: "house", Version: 2, Name: "2.0", SHA256: sum[:], Size: int64(len(h.image))}
	for name, change := range map[string]func(*fabric.FirmwareImage){
		"another source": func(i *fabric.FirmwareImage) { i.From = "x" },
		"another digest": func(i *fabric.FirmwareImage) { i.SHA256 = make([]byte, 32) },
		"another size":   func(i *fabric.FirmwareImage) { i.Size++ },
		"more than fits": func(i *fabric.FirmwareImage) { i.Size = Room + 1 },
	} {
		i := good
		change(&i)
		if image, err := l.Image(t.Context(), vendor, &i); err == nil {
			t.Errorf("%s: opened", name)
			image.Close()
		}
	}
	if all, err := l.Shelf.List(); err != nil || len(all) != 0 {
		t.Errorf("%d on the shelf, %v", len(all), err)
	}
	// One that is damaged on the shelf is fetched again.
	i, err := l.Image(t.Context(), vendor, &good)
	must(t, err)
	i.Close()
	all, err := l.Shelf.List()
	must(t, err)
	must(t, os.Truncate(filepath.Join(l.cfg.Dir, "images", all[0].Digest.String()+".ota"), 100))
	i, err = l.Image(t.Context(), vendor, &good)
	must(t, err)
	i.Close()
	must(t, os.RemoveAll(h.dir), l.Shelf.Remove(shelf.Digest(sum)))
	if _, err := l.Image(t.Context(), vendor, &good); err == nil {
		t.Error("an image from nowhere")
	}
}

func TestLedger(t *testing.T) {
	h, dir := newHouse(t), t.TempDir()
	l := h.library(t, dir)
	if err := l.Ask(t.Context(), vendor, product, 0); !errors.Is(err, ErrNoConsent) {
		t.Errorf("asked without consent: %v", err)
	}
	n, err := l.Import(strings.NewReader(`{"format":1,"products":[{"vendor_id":65521,"product_id":32769,"fetched":1,"versions":[{"version":1,"status":3,"reason":"it burns"}]}]}`))
	if must(t, err); n != 1 {
		t.Errorf("%d products", n)
	}
	for range 2 {
		if d := firmware.Decide(old(), l.Known(vendor, product), firmware.Policy{}); d.Verdict != firmware.Quarantine || d.Reasons[0].Code != firmware.Revoked {
			t.Errorf("%+v", d)
		}
		l = h.library(t, dir) // opened anew
	}
	if _, err := l.Import(strings.NewReader("no snapshot")); err == nil {
		t.Error("nonsense is imported")
	}
	must(t, os.WriteFile(filepath.Join(dir, "ledger.json"), []byte("damaged"), 0o600))
	l = h.library(t, dir)
	if k := l.Known(vendor, product); k.Ledger != nil {
		t.Error("a damaged snapshot is believed")
	}
}

func TestBadSources(t *testing.T) {
	h := newHouse(t)
	l := h.library(t, t.TempDir())
	f := h.settled()
	f.Sources["insecure"] = &fabric.FirmwareSource{Name: "insecure", Where: "http://example.org", Root: h.root}
	f.Sources["rootless"] = &fabric.FirmwareSource{Name: "rootless", Where: h.dir, Root: []byte("{}")}
	l.Follow(f)
	err := l.Refresh(t.Context())
	if err == nil || !strings.Contains(err.Error(), "insecure") || !strings.Contains(err.Error(), "rootless") || strings.Contains(err.Error(), `"house"`) {
		t.Errorf("got %v", err)
	}
	if k := l.Known(vendor, product); len(k.Statements) != 1 {
		t.Errorf("bad sources keep a good one from being heard: %+v", k)
	}
}
