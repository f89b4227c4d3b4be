package library

import (
	"context"
	"crypto/sha256"
	"io"
	"os"
	"strings"
	"testing"

	"gatehouse/fabric"
	"gatehouse/firmware/manifest"
)

// box is another gateway's library, asked over no wire.
type box struct {
	l     *Library
	asked *int
}

func (b box) String() string { return "another gateway" }

func (b box) Fetch(ctx context.Context, name string, _ int64) (io.ReadCloser, error) {
	*b.asked++
	return b.l.File(ctx, "house", name)
}

// TestOthers has the stick in one gateway only, then in none.
func TestOthers(t *testing.T) {
	h := newHouse(t)
	first, none := h.library(t, t.TempDir()), h.library(t, t.TempDir())
	first.Follow(h.settled())
	asked := 0
	second, err := Open(Config{Dir: t.TempDir(), Now: h.now, Others: func(source string) []manifest.Fetcher {
		if source != "house" {
			t.Errorf("asked for source %q", source)
		}
		return []manifest.Fetcher{box{none, &asked}, box{first, &asked}}
	}})
	must(t, err)
	settled := h.settled()
	for _, where := range []string{t.TempDir(), "/nowhere"} { // an empty mount point, and none
		settled.Sources["house"] = &fabric.FirmwareSource{Name: "house", Where: where, Root: h.root}
		second.Follow(settled)
		must(t, second.Refresh(t.Context()))
		if k := second.Known(vendor, product); len(k.Statements) != 1 || asked == 0 {
			t.Fatalf("%+v, asked %d times", k, asked)
		}
	}
	sum := sha256.Sum256(h.image)
	wanted := fabric.FirmwareImage{From: "house", Version: 2, Name: "2.0", SHA256: sum[:], Size: int64(len(h.image))}
	if _, err := first.File(t.Context(), "house", "../"+h.dir); err == nil {
		t.Error("a file that is none of the source's")
	}
	if _, err := first.File(t.Context(), "x", "metadata/timestamp.json"); err == nil {
		t.Error("a file of no source")
	}
	must(t, first.Refresh(t.Context()))
	i, err := first.Image(t.Context(), vendor, &wanted) // it has it on the shelf now
	must(t, err)
	i.Close()
	must(t, os.Rename(h.dir, h.dir+" is pulled out"))
	i, err = second.Image(t.Context(), vendor, &wanted)
	must(t, err)
	i.Close()
	if err := second.Refresh(t.Context()); manifest.CodeOf(err) != manifest.Unreachable {
		t.Errorf("got %v", err)
	}
	if k := second.Known(vendor, product); len(k.Statements) != 1 {
		t.Error("what it knew is gone")
	}

	// Its own stick comes first.
	must(t, os.Rename(h.dir+" is pulled out", h.dir))
	second.Follow(h.settled())
	asked = 0
	must(t, second.Refresh(t.Context()))
	if asked != 0 {
		t.Errorf("others were asked %d times", asked)
	}
}

// TestExport gives the ledger's records to another library: the same octets each
// time.
func TestExport(t *testing.T) {
	h := newHouse(t)
	l, other := h.library(t, t.TempDir()), h.library(t, t.TempDir())
	var b strings.Builder
	must(t, l.Export(&b))
	_, err := other.Import(strings.NewReader(b.String()))
	must(t, err)
	_, err = l.Import(strings.NewReader(`{"format":1,"products":[{"vendor_id":3,"product_id":2,"fetched":1,"versions":[]},{"vendor_id":1,"product_id":2,"fetched":1,"versions":[]},
{"vendor_id":1,"product_id":1,"fetched":1,"versions":[]}]}`))
	must(t, err)
	b.Reset()
	must(t, l.Export(&b))
	for range 10 {
		var again strings.Builder
		must(t, l.Export(&again))
		if again.String() != b.String() {
			t.Fatal("other octets")
		}
	}
	if n, err := other.Import(strings.NewReader(b.String())); err != nil || n != 3 || other.Records().Products != 3 {
		t.Errorf("%d products, %v", n, err)
	}
}
