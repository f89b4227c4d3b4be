//go:build !race

// bbolt looks at damaged pages through unsafe pointers, which the race
// detector's build does not survive.

package store

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRot flips single bits and cuts the database off: it opens with all that
// was there, or not at all, or stops where it comes upon the damage. It never
// has other contents.
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
		cfg, stopped := config(t, copied(t, dir)), false
		cfg.Fatal = func(error) { stopped = true }
		if err := os.WriteFile(cfg.database(), b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(cfg)
		if err != nil {
			return true
		}
		got, err := look(s)
		if d := cmp.Diff(want, got); d != "" && !stopped {
			t.Errorf("other contents: %s, %v", d, err)
		}
		// What is written now must not destroy what was there.
		err = s.StoreLogs(entries(10, 200))
		s.Close()
		if stopped {
			return true
		}
		again, err2 := Open(cfg)
		if err := errors.Join(err, err2); err != nil {
			t.Errorf("after more was written: %v", err)
			return false
		}
		again.Close()
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
