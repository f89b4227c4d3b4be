package manifest_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"gatehouse/firmware/manifest"
	"gatehouse/firmware/manifest/publish"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

const (
	vendor, product = 0xFFF1, 0x8000
	day             = 24 * time.Hour
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// elliptical is drawn anew in every run: ECDSA keys have no seed.
var elliptical, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)

// seeded is a key that is the same in every run. Such keys are told by name.
func seeded(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func keys(threshold int, signers ...crypto.Signer) publish.Keys {
	k := publish.Keys{Threshold: threshold}
	for _, s := range signers {
		k.Public = append(k.Public, s.Public())
	}
	return k
}

// shop is a publisher, its keys, and a clock.
type shop struct {
	*publish.Repository
	t     *testing.T
	dir   string
	clock time.Time
	root  []byte
	image []byte

	root1, root2, root3 crypto.Signer // two of them sign
	targets1, targets2  crypto.Signer // both sign
	snapshot, timestamp, acme/* of vendor FFF1 */ crypto.Signer
}

// built is a shop's folder, made once: syncing it to the disk takes its time.
var built struct {
	sync.Once
	files fstest.MapFS
}

// newShop has one published release, by a vendor.
func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, dir: filepath.Join(t.TempDir(), "repository"), clock: start,
		image: bytes.Repeat([]byte("image "), 1000),
		root1: seeded("root 1"), root2: elliptical, root3: seeded("root 3"),
		targets1: seeded("targets 1"), targets2: seeded("targets 2"),
		snapshot: seeded("snapshot"), timestamp: seeded("timestamp"), acme: seeded("acme")}
	built.Do(s.build)
	s.must(os.RemoveAll(s.dir), os.CopyFS(s.dir, built.files))
	var err1, err2 error
	s.Repository, err1 = publish.Open(s.dir, s.now, rand.Reader)
	s.root, err2 = os.ReadFile(s.file("metadata/1.root.json"))
	s.must(err1, err2)
	return s
}

func (s *shop) build() {
	var err error
	s.Repository, err = publish.Init(s.dir, publish.Setup{Name: "Our house",
		Root: keys(2, s.root1, s.root2, s.root3), Targets: keys(2, s.targets1, s.targets2),
		Snapshot: keys(1, s.snapshot), Timestamp: keys(1, s.timestamp)}, s.now, rand.Reader)
	s.must(err, s.Sign("root", s.root1), s.Sign("root", s.root2))
	s.must(s.AddVendor(vendor, keys(1, s.acme)))
	s.must(s.AddRelease("vendor-FFF1", vendor, product, manifest.Release{Version: 2, Name: "2.0", Notes: "https://example.com/2"}, bytes.NewReader(s.image)))
	s.publish("targets", "vendor-FFF1")
	built.files = fstest.MapFS{}
	s.must(filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			name, _ := filepath.Rel(s.dir, path)
			data, err := os.ReadFile(path)
			built.files[name] = &fstest.MapFile{Data: data, Mode: 0o644}
			return err
		}
		return err
	}))
}

func (s *shop) now() time.Time { return s.clock }

func (s *shop) must(errs ...error) {
	s.t.Helper()
	for _, err := range errs {
		if err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *shop) file(name string) string { return filepath.Join(s.dir, name) }

// publish signs what is staged for roles, and publishes.
func (s *shop) publish(roles ...string) {
	s.t.Helper()
	for _, role := range roles {
		switch role {
		case "targets":
			s.must(s.Sign(role, s.targets1), s.Sign(role, s.targets2))
		case "root":
			s.must(s.Sign(role, s.root1), s.Sign(role, s.root2))
		default:
			s.must(s.Sign(role, s.acme))
		}
	}
	s.must(s.Publish(s.snapshot, s.timestamp))
}

// copy keeps the repository as it is.
func (s *shop) copy() string {
	s.t.Helper()
	dir := filepath.Join(s.t.TempDir(), "copy")
	s.must(os.CopyFS(dir, os.DirFS(s.dir)))
	return dir
}

func (s *shop) client() *manifest.Client {
	s.t.Helper()
	return s.open(s.t.TempDir(), manifest.Dir(s.dir))
}

func (s *shop) open(cache string, from manifest.Fetcher) *manifest.Client {
	s.t.Helper()
	c, err := manifest.Open(manifest.Config{Dir: cache, Root: s.root, From: from, Now: s.now})
	s.must(err)
	return c
}

func (s *shop) refresh(c *manifest.Client) {
	s.t.Helper()
	s.must(c.Refresh(context.Background()))
}

// refused asks that a Refresh fails with code, and leaves what was said before.
func (s *shop) refused(c *manifest.Client, code manifest.Code) {
	s.t.Helper()
	before := c.Products()
	err := c.Refresh(context.Background())
	if manifest.CodeOf(err) != code {
		s.t.Errorf("refresh: %v, want %s", err, code)
	}
	if manifest.CodeOf(c.Status().Err) != code {
		s.t.Errorf("status: %v, want %s", c.Status().Err, code)
	}
	if fmt.Sprint(stripped(c.Products())) != fmt.Sprint(stripped(before)) {
		s.t.Errorf("a refused refresh changed %v to %v", before, c.Products())
	}
}

// stripped has the statements without what depends on the time of asking.
func stripped(all []manifest.Statement) (ps []manifest.Product) {
	for _, s := range all {
		ps = append(ps, s.Product)
	}
	return ps
}

// forge changes signed metadata and signs it with what keys the forger has.
func forge[T metadata.Roles](t *testing.T, path string, change func(*T), signers ...crypto.Signer) []byte {
	t.Helper()
	m, err := new(metadata.Metadata[T]).FromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change(&m.Signed)
	m.ClearSignatures()
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		k, err := metadata.KeyFromPublicKey(s.Public())
		if err != nil {
			t.Fatal(err)
		}
		id, err := k.ID()
		if err != nil {
			t.Fatal(err)
		}
		signature, err := s.Sign(rand.Reader, payload, crypto.Hash(0))
		if err != nil {
			t.Fatal(err)
		}
		m.Signatures = append(m.Signatures, metadata.Signature{KeyID: id, Signature: signature})
	}
	data, err := m.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func meta(version int64, data []byte) *metadata.MetaFiles {
	digest := sha256.Sum256(data)
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": digest[:]}}
}

// plant puts roles into dir as the thief of the online keys can: with a
// snapshot and a timestamp that name them.
func (s *shop) plant(dir string, roles map[string]*metadata.MetaFiles) {
	s.t.Helper()
	timestamp, err := metadata.Timestamp().FromFile(filepath.Join(dir, "metadata/timestamp.json"))
	s.must(err)
	version := timestamp.Signed.Meta["snapshot.json"].Version
	snapshot := forge(s.t, fmt.Sprintf("%s/metadata/%d.snapshot.json", dir, version), func(m *metadata.SnapshotType) {
		m.Version++
		for name, f := range roles {
			if m.Meta[name] = f; f == nil {
				delete(m.Meta, name)
			}
		}
	}, s.snapshot)
	put(s.t, fmt.Sprintf("%s/metadata/%d.snapshot.json", dir, version+1), snapshot)
	s.stamp(dir, func(m *metadata.TimestampType) { m.Meta["snapshot.json"] = meta(version+1, snapshot) })
}

// stamp signs a changed timestamp.
func (s *shop) stamp(dir string, change func(*metadata.TimestampType)) {
	s.t.Helper()
	path := filepath.Join(dir, "metadata/timestamp.json")
	put(s.t, path, forge(s.t, path, func(m *metadata.TimestampType) { m.Version++; change(m) }, s.timestamp))
}
