package publish

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/firmware/durable"
	"gatehouse/firmware/manifest"
)

const vendor, product = 0xFFF1, 0x8000

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func signer(name string) crypto.Signer {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func keys(threshold int, names ...string) Keys {
	k := Keys{Threshold: threshold}
	for _, n := range names {
		k.Public = append(k.Public, signer(n).Public())
	}
	return k
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// house is a repository with one release by its vendor, published.
func house(t *testing.T, dir string, clock *time.Time) *Repository {
	t.Helper()
	now := func() time.Time { return *clock }
	r, err := Init(dir, Setup{"House", keys(2, "r1", "r2"), keys(2, "t1", "t2"), keys(1, "s"), keys(1, "o")}, now, rand.Reader)
	must(t, err, r.AddVendor(vendor, keys(1, "v")))
	must(t, r.AddRelease("vendor-FFF1", vendor, product, manifest.Release{Version: 1, Name: "1"}, strings.NewReader("image 1")))
	must(t, r.Sign("root", signer("r1")), r.Sign("root", signer("r2")), r.Sign("targets", signer("t1")), r.Sign("targets", signer("t2")),
		r.Sign("vendor-FFF1", signer("v")), r.Publish(signer("s"), signer("o")))
	return r
}

func root(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "metadata/1.root.json"))
	must(t, err)
	return data
}

func pending(t *testing.T, r *Repository) string {
	t.Helper()
	all, err := r.Roles()
	must(t, err)
	var s []string
	for _, role := range all {
		if role.Staged == nil {
			continue
		}
		signed := 0
		for _, n := range role.Staged.Needs {
			signed += len(n.Given)
		}
		s = append(s, fmt.Sprintf("%s %d: %d %v", role.Name, role.Staged.Version, signed, role.Staged.Lacks() == 0))
	}
	return strings.Join(s, ", ")
}

func TestPendingSignatures(t *testing.T) {
	clock, dir := start, t.TempDir()
	r := house(t, dir, &clock)
	must(t, r.SetMinimum("targets", 0xFFF2, 1, 7))
	must(t, r.SetMinimum("vendor-FFF1", vendor, product, 1))
	must(t, r.Sign("targets", signer("t1")), r.Sign("targets", signer("t1")))
	must(t, r.Sign("vendor-FFF1", signer("v")))
	if got := pending(t, r); got != "targets 2: 1 false, vendor-FFF1 2: 1 true" {
		t.Errorf("pending: %s", got)
	}
	// What is signed is published; what is not waits, through a restart too.
	must(t, r.Publish(signer("s"), signer("o")))
	r, err := Open(dir, r.now, rand.Reader)
	must(t, err)
	if got := pending(t, r); got != "targets 2: 1 false" {
		t.Errorf("pending: %s", got)
	}
	must(t, r.Sign("targets", signer("t2")), r.Publish(signer("s"), signer("o")))
	if got := pending(t, r); got != "" {
		t.Errorf("pending: %s", got)
	}
	c, err := manifest.Open(manifest.Config{Dir: t.TempDir(), Root: root(t, dir), From: manifest.Dir(dir), Now: r.now})
	must(t, err, c.Refresh(context.Background()))
	if got := len(c.Products()); got != 2 {
		t.Errorf("%d products", got)
	}
	// A change after a signature makes it void.
	must(t, r.Extend("targets"), r.Sign("targets", signer("t1")), r.SetMinimum("targets", 0xFFF2, 1, 8))
	if got := pending(t, r); got != "targets 3: 0 false" {
		t.Errorf("pending: %s", got)
	}
	must(t, r.Discard("targets"))
	if got := pending(t, r); got != "" {
		t.Errorf("pending: %s", got)
	}
}

func TestRefused(t *testing.T) {
	clock, dir := start, t.TempDir()
	r := house(t, dir, &clock)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	before := tree(t, dir)
	release := manifest.Release{Version: 2, Name: "2"}
	for name, err := range map[string]error{
		"init again":            second(Init(dir, Setup{}, r.now, rand.Reader)),
		"open nothing":          second(Open(t.TempDir(), r.now, rand.Reader)),
		"no keys":               second(Init(t.TempDir(), Setup{}, r.now, rand.Reader)),
		"sign nothing":          r.Sign("root", signer("r1")),
		"a stranger":            r.Sign("targets", signer("x")),
		"an unknown role":       r.Sign("vendor-FFF2", signer("v")),
		"another curve":         r.Rotate("root", Keys{[]crypto.PublicKey{p384.Public()}, 1}),
		"a key twice":           r.Rotate("root", keys(2, "a", "a")),
		"too high a threshold":  r.Rotate("root", keys(2, "a")),
		"no threshold":          r.Rotate("root", keys(0, "a")),
		"rotate nobody":         r.Rotate("vendor-FFF2", keys(1, "a")),
		"rotate nothing":        r.Rotate("mirror", keys(1, "a")),
		"the vendor again":      r.AddVendor(vendor, keys(1, "v")),
		"an unknown vendor":     r.SetMinimum("vendor-FFF2", 0xFFF2, 1, 1),
		"a reason that is none": r.MarkBad("vendor-FFF1", vendor, product, manifest.Bad{From: 2, To: 1}),
		"no image":              r.AddRelease("vendor-FFF1", vendor, product, release, strings.NewReader("")),
		"too large an image":    r.AddRelease("vendor-FFF1", vendor, product, release, bytes.NewReader(make([]byte, manifest.MaxImage+1))),
		"publish unsigned":      r.Publish(signer("s")),
		"publish without keys":  r.Publish(),
		"renew without key":     r.Renew(signer("s")),
	} {
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if after := tree(t, dir); after != before {
		t.Errorf("what was refused left\n%s", after)
	}
	// What the client would find at fault is not published.
	must(t, r.SetMinimum("vendor-FFF1", 0xFFF2, 1, 1), r.Sign("vendor-FFF1", signer("v")))
	if err := r.Publish(signer("s"), signer("o")); manifest.CodeOf(err) != manifest.Outside {
		t.Errorf("a vendor that speaks of others: %v", err)
	}
	clock = clock.Add(100 * 24 * time.Hour)
	if err := r.Renew(signer("o")); manifest.CodeOf(err) != manifest.Frozen {
		t.Errorf("a timestamp for what has expired: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// tree lists what a repository holds.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var s strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			data, err := os.ReadFile(path)
			must(t, err)
			fmt.Fprintf(&s, "%s %x\n", path, sha256.Sum256(data))
		}
		return err
	}))
	return s.String()
}

func TestExpiries(t *testing.T) {
	clock, dir := start, t.TempDir()
	r := house(t, dir, &clock)
	c, err := manifest.Open(manifest.Config{Dir: t.TempDir(), Root: root(t, dir), From: manifest.Dir(dir), Now: r.now})
	must(t, err)
	for range 12 { // a timer
		clock = clock.Add(TimestampLife - time.Hour)
		must(t, r.Renew(signer("o")), c.Refresh(context.Background()))
	}
	clock = clock.Add(TargetsLife - 12*(TimestampLife-time.Hour) + time.Hour)
	if err := r.Renew(signer("o")); manifest.CodeOf(err) != manifest.Frozen {
		t.Errorf("renew: %v", err)
	}
	must(t, r.Extend("targets"), r.Extend("vendor-FFF1"), r.Extend("root"))
	for role, names := range map[string][]string{"targets": {"t1", "t2"}, "vendor-FFF1": {"v"}, "root": {"r1", "r2"}} {
		for _, n := range names {
			must(t, r.Sign(role, signer(n)))
		}
	}
	must(t, r.Publish(signer("s"), signer("o")), c.Refresh(context.Background()))
	lives := map[string]time.Duration{"root": RootLife, "targets": TargetsLife, "snapshot": SnapshotLife, "timestamp": TimestampLife, "vendor-FFF1": TargetsLife}
	for _, role := range c.Status().Roles {
		if !role.Expires.Equal(clock.Add(lives[role.Name])) {
			t.Errorf("%s expires %v", role.Name, role.Expires)
		}
	}
}

// A root is signed by the old and the new threshold.
func TestRotateRoot(t *testing.T) {
	clock, dir := start, t.TempDir()
	r := house(t, dir, &clock)
	must(t, r.Rotate("root", keys(2, "n1", "n2")))
	for i, name := range []string{"r1", "n1", "n2", "r2"} {
		if strings.Contains(pending(t, r), "true") {
			t.Fatalf("complete after %d signatures", i)
		}
		must(t, r.Sign("root", signer(name)))
	}
	if got := pending(t, r); got != "root 2: 4 true" {
		t.Errorf("pending: %s", got)
	}
}

var errCut = errors.New("the power is cut")

// The power is cut after each write of each change; what clients find is valid,
// old or new, and the publisher can go on.
func TestCuts(t *testing.T) {
	sign := func(r *Repository, role string, names ...string) error {
		var err error
		for _, n := range names {
			err = errors.Join(err, r.Sign(role, signer(n)))
		}
		return err
	}
	for _, change := range []struct {
		name  string
		stage func(r *Repository) error
		run   func(r *Repository) error
		hole  bool // clients may refuse, for a while, what they find
	}{
		{"a release", func(r *Repository) error {
			return errors.Join(r.AddRelease("vendor-FFF1", vendor, product, manifest.Release{Version: 2, Name: "2"}, strings.NewReader("image 2")),
				r.SetMinimum("targets", 0xFFF2, 1, 2), sign(r, "vendor-FFF1", "v"), sign(r, "targets", "t1", "t2"))
		}, func(r *Repository) error { return r.Publish(signer("s"), signer("o")) }, false},
		{"a renewal", func(*Repository) error { return nil }, func(r *Repository) error { return r.Renew(signer("o")) }, false},
		{"other vendor's keys", func(r *Repository) error {
			return errors.Join(r.Rotate("vendor-FFF1", keys(1, "v2")), sign(r, "vendor-FFF1", "v2"), sign(r, "targets", "t1", "t2"))
		}, func(r *Repository) error { return r.Publish(signer("s"), signer("o")) }, false},
		{"all other keys, while there are the old", func(r *Repository) error {
			return errors.Join(r.Rotate("root", keys(1, "r3")), r.Rotate("targets", keys(1, "t3")), r.Rotate("snapshot", keys(1, "s3")), r.Rotate("timestamp", keys(1, "o3")),
				sign(r, "root", "r1", "r2", "r3"), sign(r, "targets", "t1", "t2", "t3"))
		}, func(r *Repository) error {
			return r.Publish(signer("s"), signer("o"), signer("s3"), signer("o3"))
		}, false},
		{"an online key that was lost", func(r *Repository) error {
			return errors.Join(r.Rotate("timestamp", keys(1, "o3")), sign(r, "root", "r1", "r2"))
		}, func(r *Repository) error { return r.Publish(signer("s"), signer("o3")) }, true},
	} {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			holes := 0
			clock, whole := start, filepath.Join(t.TempDir(), "whole")
			must(t, change.stage(house(t, whole, &clock)))
			for cut := 0; ; cut++ {
				dir, cache := filepath.Join(t.TempDir(), "repository"), t.TempDir()
				must(t, os.CopyFS(dir, os.DirFS(whole)))
				r, err := Open(dir, func() time.Time { return clock }, rand.Reader)
				must(t, err)
				open := func(cache string) *manifest.Client {
					c, err := manifest.Open(manifest.Config{Dir: cache, Root: root(t, dir), From: manifest.Dir(dir), Now: r.now})
					must(t, err)
					return c
				}
				must(t, open(cache).Refresh(context.Background()))
				left := cut
				r.write = func(path string, data []byte) error {
					if left--; left < 0 {
						must(t, os.WriteFile(filepath.Join(filepath.Dir(path), ".unfinished-1"), data[:len(data)/2], 0o644))
						return errCut
					}
					return durable.Write(path, data)
				}
				err = change.run(r)
				if err != nil && !errors.Is(err, errCut) {
					t.Fatal(err)
				}
				for _, c := range []*manifest.Client{open(cache), open(t.TempDir())} {
					if err := c.Refresh(context.Background()); err != nil {
						holes++
						if !change.hole || manifest.CodeOf(err) != manifest.Signatures {
							t.Fatalf("cut %d: %v", cut, err)
						}
					}
				}
				r, err2 := Open(dir, r.now, rand.Reader)
				must(t, err2, change.run(r), open(cache).Refresh(context.Background()), open(t.TempDir()).Refresh(context.Background()))
				if got := pending(t, r); got != "" {
					t.Errorf("cut %d: pending: %s", cut, got)
				}
				if err != nil {
					continue
				}
				// Cut before what is staged was removed: it is not taken for new.
				staged := filepath.Join(dir, "staged")
				must(t, os.RemoveAll(staged), os.CopyFS(staged, os.DirFS(filepath.Join(whole, "staged"))))
				if got := pending(t, r); got != "" {
					t.Errorf("left behind: %s", got)
				}
				break
			}
			if (holes > 0) != change.hole {
				t.Errorf("%d times clients refused", holes)
			}
		})
	}
}
