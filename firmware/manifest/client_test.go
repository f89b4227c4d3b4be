package manifest_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func TestReadsWhatIsPublished(t *testing.T) {
	s := newShop(t)
	c := s.client()
	if got := c.Products(); got != nil {
		t.Errorf("before the first refresh: %v", got)
	}
	s.refresh(c)
	p, ok := c.Product(vendor, product)
	if !ok || len(p.Releases) != 1 || p.Releases[0].Version != 2 || p.Role != "vendor-FFF1" || p.Expired {
		t.Fatalf("product: %+v, %v", p, ok)
	}
	var image bytes.Buffer
	s.must(c.Image(context.Background(), vendor, p.Releases[0], &image))
	if !bytes.Equal(image.Bytes(), s.image) {
		t.Error("the image is another")
	}
	unknown := p.Releases[0]
	unknown.SHA256[0]++
	if err := c.Image(context.Background(), vendor, unknown, &image); manifest.CodeOf(err) != manifest.WrongContent {
		t.Errorf("an image that nobody speaks of: %v", err)
	}
	st := c.Status()
	if st.Name != "Our house" || st.From != s.dir || !st.Signed.Equal(start) || st.Products != 1 || len(st.Roles) != 5 ||
		!st.Expires.Equal(start.Add(7*day)) || !st.Refreshed.Equal(start) || st.Expired || st.Err != nil || st.Faults != nil {
		t.Errorf("status: %+v", st)
	}
}

func TestHouseholdHasPrecedence(t *testing.T) {
	s := newShop(t)
	c := s.client()
	s.must(s.MarkBad("vendor-FFF1", vendor, product, manifest.Bad{From: 1, To: 1, Reason: "the lamp burns"}))
	s.publish("vendor-FFF1")
	s.must(s.SetMinimum("targets", vendor, product, 2), s.SetMinimum("targets", 0xFFF2, 1, 7))
	s.publish("targets")
	s.refresh(c)
	p, _ := c.Product(vendor, product)
	// Its word began with the vendor's: nothing that was said is lost.
	if p.Role != "targets" || p.Minimum != 2 || len(p.Bad) != 1 || len(p.Releases) != 1 {
		t.Errorf("product: %+v", p)
	}
	if p, ok := c.Product(0xFFF2, 1); !ok || p.Minimum != 7 {
		t.Errorf("a vendor without a role: %+v, %v", p, ok)
	}
}

func TestOffline(t *testing.T) {
	s := newShop(t)
	cache := t.TempDir()
	s.refresh(s.open(cache, manifest.Dir(s.dir)))
	s.clock = s.clock.Add(8 * day)
	c := s.open(cache, manifest.Dir(filepath.Join(t.TempDir(), "no stick")))
	if p, ok := c.Product(vendor, product); !ok || !p.Expired || len(p.Releases) != 1 {
		t.Errorf("product: %+v, %v", p, ok)
	}
	if st := c.Status(); !st.Expired || !st.Refreshed.Equal(start) || st.Err != nil || !st.Tried.IsZero() {
		t.Errorf("status: %+v", st)
	}
	s.refused(c, manifest.Unreachable)
}

// A vendor that does not renew spoils its own statements alone.
func TestVendorExpires(t *testing.T) {
	s := newShop(t)
	s.must(s.SetMinimum("targets", 0xFFF2, 1, 7))
	s.clock = s.clock.Add(60 * day)
	s.must(s.Extend("targets"))
	s.publish("targets")
	s.clock = s.clock.Add(60 * day)
	s.must(s.Extend("targets"))
	s.publish("targets")
	c := s.client()
	s.refresh(c)
	if p, _ := c.Product(vendor, product); !p.Expired || len(p.Releases) != 1 {
		t.Errorf("the vendor's: %+v", p)
	}
	if p, _ := c.Product(0xFFF2, 1); p.Expired || p.Minimum != 7 {
		t.Errorf("ours: %+v", p)
	}
}

// What a failed Refresh verified is not forgotten.
func TestSeenThoughFailed(t *testing.T) {
	s := newShop(t)
	old, cache := s.copy(), t.TempDir()
	s.refresh(s.open(cache, manifest.Dir(old)))
	s.must(s.SetMinimum("vendor-FFF1", vendor, product, 2))
	s.publish("vendor-FFF1")
	whole := s.copy()
	s.must(s.Renew(s.timestamp))
	s.must(os.Remove(s.file("metadata/2.vendor-FFF1.json")))
	s.refused(s.open(cache, manifest.Dir(s.dir)), manifest.Unreachable)
	s.refused(s.open(cache, manifest.Dir("/none")), manifest.Unreachable) // one that gets nowhere
	s.refused(s.open(cache, manifest.Dir(old)), manifest.Rollback)
	s.refused(s.open(cache, manifest.Dir(whole)), manifest.Rollback) // older by a renewal
	data, err := os.ReadFile(old + "/metadata/1.vendor-FFF1.json")
	s.must(err)
	s.stamp(whole, func(*metadata.TimestampType) {})
	s.plant(whole, map[string]*metadata.MetaFiles{"vendor-FFF1.json": meta(1, data)})
	c := s.open(cache, manifest.Dir(whole))
	s.refused(c, manifest.Rollback)
	if p, ok := c.Product(vendor, product); !ok || p.Expired {
		t.Errorf("the last good: %+v, %v", p, ok)
	}
}

// A repository may leave out the digests of its metadata: then nothing says
// that what is kept is still the same.
func TestWithoutDigests(t *testing.T) {
	s := newShop(t)
	cache := t.TempDir()
	s.refresh(s.open(cache, manifest.Dir(s.dir)))
	s.must(s.SetMinimum("vendor-FFF1", vendor, product, 2))
	s.publish("vendor-FFF1")
	s.plant(s.dir, map[string]*metadata.MetaFiles{"targets.json": {Version: 1}, "vendor-FFF1.json": {Version: 2}})
	s.stamp(s.dir, func(m *metadata.TimestampType) { m.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 3} })
	c := s.open(cache, manifest.Dir(s.dir))
	s.refresh(c)
	if p, _ := c.Product(vendor, product); p.Minimum != 2 {
		t.Errorf("product: %+v", p)
	}
}

func TestDamagedCache(t *testing.T) {
	for _, damage := range []string{"good.json", "seen.json"} {
		t.Run(damage, func(t *testing.T) {
			s := newShop(t)
			old, cache := s.copy(), t.TempDir()
			s.must(s.SetMinimum("vendor-FFF1", vendor, product, 2))
			s.publish("vendor-FFF1")
			s.refresh(s.open(cache, manifest.Dir(s.dir)))
			path := filepath.Join(cache, damage)
			data, err := os.ReadFile(path)
			s.must(err)
			for _, at := range []int{0, 30, 65, len(data) / 2, len(data) - 1} {
				broken := bytes.Clone(data)
				broken[at] ^= 4
				put(t, path, broken)
				c := s.open(cache, manifest.Dir(old))
				if manifest.CodeOf(c.Status().Err) != manifest.Damaged {
					t.Fatalf("octet %d: %v", at, c.Status().Err)
				}
				// The other file still says what was seen.
				s.refused(c, manifest.Rollback)
				c = s.open(cache, manifest.Dir(s.dir))
				s.refresh(c)
				if p, _ := c.Product(vendor, product); p.Minimum != 2 {
					t.Fatalf("octet %d: %+v", at, p)
				}
			}
			put(t, path, data[:len(data)/2])
			put(t, filepath.Join(cache, ".unfinished-1"), data)
			c := s.open(cache, manifest.Dir(s.dir))
			s.refresh(c)
			left, err := os.ReadDir(cache)
			if s.must(err); len(left) != 2 {
				t.Errorf("the cache holds %v", left)
			}
		})
	}
}

// A cache that another root leads to says nothing.
func TestCacheOfAnotherRepository(t *testing.T) {
	s, cache := newShop(t), t.TempDir()
	s.refresh(s.open(cache, manifest.Dir(s.dir)))
	s.root = forge(t, s.file("metadata/1.root.json"), func(r *metadata.RootType) {
		for role, name := range map[string]string{"root": "root 1", "timestamp": "another"} {
			k, err := metadata.KeyFromPublicKey(seeded(name).Public())
			s.must(err)
			r.Roles[role] = &metadata.Role{Threshold: 1}
			s.must(r.AddKey(k, role))
		}
	}, s.root1)
	c := s.open(cache, manifest.Dir(s.dir))
	if got := c.Products(); got != nil || manifest.CodeOf(c.Status().Err) != manifest.Damaged {
		t.Errorf("products: %v, %v", got, c.Status().Err)
	}
	s.refused(c, manifest.Signatures)
}

func TestStorageFails(t *testing.T) {
	s := newShop(t)
	cache := filepath.Join(t.TempDir(), "cache")
	c := s.open(cache, manifest.Dir(s.dir))
	put(t, cache, nil) // a file where the folder should be
	s.refused(c, manifest.Storage)
}

func TestOpenWantsARoot(t *testing.T) {
	for _, root := range []string{"", "{}", `{"signed":{"_type":"root","roles":{"root":null}}}`} {
		if _, err := manifest.Open(manifest.Config{Dir: t.TempDir(), Root: []byte(root)}); err == nil || !strings.Contains(err.Error(), "root") {
			t.Errorf("%q: %v", root, err)
		}
	}
}

// What only its signer can do wrong spoils that statement, and no other.
func TestFaults(t *testing.T) {
	s := newShop(t)
	s.must(s.SetMinimum("targets", 0xFFF2, 1, 7))
	s.publish("targets")
	for name, f := range map[string]struct {
		document string
		code     manifest.Code
	}{
		"other ids":    {`{"version":1,"vendor":65521,"product":1}`, manifest.Malformed},
		"newer":        {`{"version":2,"vendor":{}}`, manifest.Newer},
		"no image":     {`{"version":1,"vendor":65521,"product":32768,"releases":[{"version":1,"name":"1","sha256":"` + strings.Repeat("00", 32) + `","size":1}]}`, manifest.Malformed},
		"not a letter": {`x`, manifest.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			dir := s.copy()
			s.plantDocument(dir, "FFF1/8000.json", []byte(f.document))
			c := s.open(t.TempDir(), manifest.Dir(dir))
			s.refresh(c)
			st := c.Status()
			if len(st.Faults) != 1 || st.Faults[0].Code != f.code || st.Faults[0].Part != "FFF1/8000.json" {
				t.Errorf("faults: %v", st.Faults)
			}
			if _, ok := c.Product(vendor, product); ok {
				t.Error("it is used")
			}
			if p, _ := c.Product(0xFFF2, 1); p.Minimum != 7 {
				t.Errorf("another: %+v", p)
			}
		})
	}
}
