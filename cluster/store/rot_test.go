//go:build !race

// bbolt looks at damaged pages through unsafe pointers, which the race
// detector's build does not survive.

package store

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRot flips single bits and cuts the database off: it opens with all that
// was there, or not at all.
func TestRot(t *testing.T) {
	dir := made(t)
	s := opened(t, config(t, dir))
	want := contents(t, s)
	s.Close()
	whole, err := os.ReadFile(filepath.Join(dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	try := func(b []byte) (refused bool) {
		rotten := copied(t, dir)
		if err := os.WriteFile(filepath.Join(rotten, databaseName), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(config(t, rotten))
		if err != nil {
			return true
		}
		if d := cmp.Diff(want, contents(t, s)); d != "" {
			t.Errorf("other contents: %s", d)
		}
		// What is written now must not destroy what was there.
		if err := s.StoreLogs(entries(10, 200)); err != nil {
			t.Error(err)
		}
		s.Close()
		if s, err = Open(config(t, rotten)); err != nil {
			t.Errorf("after more was written: %v", err)
			return false
		}
		s.Close()
		return false
	}
	metaPages := 2 * os.Getpagesize()
	random, refused := rand.New(rand.NewPCG(1, 1)), 0
	for range 400 {
		b := bytes.Clone(whole)
		// Not in the two meta pages: where the newer one is damaged bbolt takes
		// it for torn, and goes back one transaction. Nothing tells the two apart.
		at := metaPages
		for at == metaPages || b[at] == 0 { // most of it is empty
			at = metaPages + random.IntN(len(b)-metaPages)
		}
		b[at] ^= 1 << random.IntN(8)
		if try(b) {
			refused++
		}
	}
	for n := 0; n < len(whole); n += 1000 {
		if !try(whole[:n]) && bytes.Trim(whole[n:], "\x00") != nil {
			t.Logf("opened with %d of %d octets", n, len(whole))
		}
	}
	t.Logf("%d of 400 flipped bits were refused", refused)
}
