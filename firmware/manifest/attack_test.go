package manifest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/firmware/manifest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// plantVendor has the vendor itself sign a change of its role, and the
// publisher pass it on.
func (s *shop) plantVendor(dir string, change func(*metadata.TargetsType)) {
	s.t.Helper()
	data := forge(s.t, dir+"/metadata/1.vendor-FFF1.json", func(m *metadata.TargetsType) { m.Version = 9; change(m) }, s.acme)
	put(s.t, dir+"/metadata/9.vendor-FFF1.json", data)
	s.plant(dir, map[string]*metadata.MetaFiles{"vendor-FFF1.json": meta(9, data)})
}

func (s *shop) plantDocument(dir, name string, document []byte) {
	s.t.Helper()
	digest := sha256.Sum256(document)
	put(s.t, fmt.Sprintf("%s/targets/%s/%x.%s", dir, path.Dir(name), digest, path.Base(name)), document)
	s.plantVendor(dir, func(m *metadata.TargetsType) {
		m.Targets[name] = &metadata.TargetFiles{Length: int64(len(document)), Hashes: metadata.Hashes{"sha256": digest[:]}}
	})
}

// The attacks of the TUF specification (section 1.5.2) that a Refresh meets.
// The client has seen the shop's second state; what attack makes of a copy of
// it is what the client finds next.
func TestAttacks(t *testing.T) {
	for _, a := range []struct {
		name   string
		code   manifest.Code
		attack func(s *shop, dir, old string)
	}{
		{"rollback of the timestamp", manifest.Rollback, func(s *shop, dir, old string) {
			s.replace(dir, old, "metadata/timestamp.json")
		}},
		{"rollback of the snapshot, with the timestamp's key", manifest.Rollback, func(s *shop, dir, old string) {
			data, err := os.ReadFile(dir + "/metadata/1.snapshot.json")
			s.must(err)
			s.stamp(dir, func(m *metadata.TimestampType) { m.Meta["snapshot.json"] = meta(1, data) })
		}},
		{"rollback of a role, with both online keys", manifest.Rollback, func(s *shop, dir, old string) {
			data, err := os.ReadFile(dir + "/metadata/1.vendor-FFF1.json")
			s.must(err)
			s.plant(dir, map[string]*metadata.MetaFiles{"vendor-FFF1.json": meta(1, data)})
		}},
		{"rollback by leaving a role out", manifest.Rollback, func(s *shop, dir, old string) {
			s.plant(dir, map[string]*metadata.MetaFiles{"vendor-FFF1.json": nil})
		}},
		{"rollback of the root", manifest.Rollback, func(s *shop, dir, old string) {
			put(s.t, dir+"/metadata/2.root.json", s.root)
		}},
		{"freeze", manifest.Frozen, func(s *shop, dir, old string) { s.clock = s.clock.Add(8 * day) }},
		{"freeze of all but the timestamp", manifest.Frozen, func(s *shop, dir, old string) {
			s.clock = s.clock.Add(100 * day)
			s.stamp(dir, func(m *metadata.TimestampType) { m.Expires = s.clock.Add(day) })
		}},
		{"freeze of the targets", manifest.Frozen, func(s *shop, dir, old string) {
			s.clock = s.clock.Add(100 * day)
			s.plant(dir, nil)
			data := forge(s.t, dir+"/metadata/3.snapshot.json", func(m *metadata.SnapshotType) { m.Expires = s.clock.Add(day) }, s.snapshot)
			put(s.t, dir+"/metadata/3.snapshot.json", data)
			s.stamp(dir, func(m *metadata.TimestampType) {
				m.Expires, m.Meta["snapshot.json"] = s.clock.Add(day), meta(3, data)
			})
		}},
		{"freeze of the root", manifest.Frozen, func(s *shop, dir, old string) {
			s.clock = s.clock.Add(366 * day)
			s.stamp(dir, func(m *metadata.TimestampType) { m.Expires = s.clock.Add(day) })
		}},
		{"mix of snapshots", manifest.Mixed, func(s *shop, dir, old string) {
			s.next(dir)
			s.must(os.Rename(dir+"/metadata/2.snapshot.json", dir+"/metadata/3.snapshot.json"))
		}},
		{"mix of roles", manifest.Mixed, func(s *shop, dir, old string) {
			s.next(dir)
			s.must(os.Rename(dir+"/metadata/2.vendor-FFF1.json", dir+"/metadata/3.vendor-FFF1.json"))
		}},
		{"mix without digests", manifest.Mixed, func(s *shop, dir, old string) {
			s.must(os.Rename(dir+"/metadata/2.vendor-FFF1.json", dir+"/metadata/3.vendor-FFF1.json"))
			s.plant(dir, map[string]*metadata.MetaFiles{"vendor-FFF1.json": {Version: 3}})
		}},
		{"a role that the snapshot does not list", manifest.Mixed, func(s *shop, dir, old string) {
			data := forge(s.t, dir+"/metadata/1.targets.json", func(m *metadata.TargetsType) {
				m.Version = 2
				m.Delegations.Roles[0].Name = "vendor-FFF2"
			}, s.targets1, s.targets2)
			put(s.t, dir+"/metadata/2.targets.json", data)
			s.plant(dir, map[string]*metadata.MetaFiles{"targets.json": meta(2, data)})
		}},
		{"wrong document", manifest.WrongContent, func(s *shop, dir, old string) {
			s.next(dir)
			s.overwrite(dir, "8000.json")
		}},
		{"a document that is not there", manifest.Unreachable, func(s *shop, dir, old string) {
			s.next(dir)
			s.must(os.RemoveAll(dir + "/targets"))
		}},
		{"one targets key of two, and both online keys", manifest.Signatures, func(s *shop, dir, old string) {
			data := forge(s.t, dir+"/metadata/1.targets.json", func(m *metadata.TargetsType) { m.Version = 2 }, s.targets1, s.acme)
			put(s.t, dir+"/metadata/2.targets.json", data)
			s.plant(dir, map[string]*metadata.MetaFiles{"targets.json": meta(2, data)})
		}},
		{"one root key of two", manifest.Signatures, func(s *shop, dir, old string) {
			put(s.t, dir+"/metadata/2.root.json", forge(s.t, dir+"/metadata/1.root.json", func(m *metadata.RootType) {
				m.Version = 2
				m.Roles["root"].Threshold = 1
			}, s.root1))
		}},
		{"the online keys of another house", manifest.Signatures, func(s *shop, dir, old string) {
			s.timestamp = seeded("thief")
			s.stamp(dir, func(*metadata.TimestampType) {})
		}},
		{"a key that signs for another role", manifest.Signatures, func(s *shop, dir, old string) {
			s.timestamp = s.snapshot
			s.stamp(dir, func(*metadata.TimestampType) {})
		}},
		{"a vendor's role signed by another", manifest.Signatures, func(s *shop, dir, old string) {
			s.acme = s.targets1
			s.plantVendor(dir, func(*metadata.TargetsType) {})
		}},
		{"a timestamp that is no JSON", manifest.Malformed, func(s *shop, dir, old string) {
			put(s.t, dir+"/metadata/timestamp.json", []byte("<html>log in to the hotel</html>"))
		}},
		{"a timestamp that is a snapshot", manifest.Malformed, func(s *shop, dir, old string) {
			data, err := os.ReadFile(dir + "/metadata/2.snapshot.json")
			s.must(err)
			put(s.t, dir+"/metadata/timestamp.json", data)
		}},
		{"a null where a file should be", manifest.Malformed, func(s *shop, dir, old string) {
			s.stamp(dir, func(m *metadata.TimestampType) { m.Meta["snapshot.json"] = nil })
		}},
		{"a vendor that signs null", manifest.Malformed, func(s *shop, dir, old string) {
			s.plantVendor(dir, func(m *metadata.TargetsType) { m.Targets["FFF1/8000.json"] = nil })
		}},
		{"a key of the wrong length", manifest.Malformed, func(s *shop, dir, old string) {
			data := forge(s.t, dir+"/metadata/1.targets.json", func(m *metadata.TargetsType) {
				m.Version = 2
				m.Delegations.Keys[m.Delegations.Roles[0].KeyIDs[0]].Value.PublicKey = "00"
			}, s.targets1, s.targets2)
			put(s.t, dir+"/metadata/2.targets.json", data)
			s.plant(dir, map[string]*metadata.MetaFiles{"targets.json": meta(2, data)})
		}},
		{"a role named like a path", manifest.Malformed, func(s *shop, dir, old string) {
			data := forge(s.t, dir+"/metadata/1.targets.json", func(m *metadata.TargetsType) {
				m.Version = 2
				m.Delegations.Roles[0].Name = "../../targets"
			}, s.targets1, s.targets2)
			put(s.t, dir+"/metadata/2.targets.json", data)
			s.plant(dir, map[string]*metadata.MetaFiles{"targets.json": meta(2, data)})
		}},
		{"an announced length without end", manifest.Endless, func(s *shop, dir, old string) {
			s.plant(dir, map[string]*metadata.MetaFiles{"targets.json": {Version: 2, Length: 1 << 62}})
		}},
		{"no repository", manifest.Unreachable, func(s *shop, dir, old string) { s.must(os.RemoveAll(dir)) }},
	} {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			old, cache := s.copy(), t.TempDir()
			s.must(s.SetMinimum("vendor-FFF1", vendor, product, 2))
			s.publish("vendor-FFF1")
			c := s.open(cache, manifest.Dir(s.dir))
			s.refresh(c)
			dir := s.copy()
			s.refresh(s.open(cache, manifest.Dir(dir))) // unharmed, it is taken
			a.attack(s, dir, old)
			s.refused(s.open(cache, manifest.Dir(dir)), a.code)
			// The attack is over, and the online keys are others. Nothing stays of it.
			if a.code == manifest.Frozen {
				return
			}
			s.must(s.Rotate("snapshot", keys(1, seeded("fresh snapshot"))), s.Rotate("timestamp", keys(1, seeded("fresh timestamp"))))
			s.snapshot, s.timestamp = seeded("fresh snapshot"), seeded("fresh timestamp")
			s.publish("root")
			s.refresh(s.open(cache, manifest.Dir(s.dir)))
		})
	}
}

// next publishes a third state into dir.
func (s *shop) next(dir string) {
	s.t.Helper()
	s.must(s.SetMinimum("vendor-FFF1", vendor, product, 1))
	s.publish("vendor-FFF1")
	s.must(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(s.dir)))
}

func (s *shop) replace(dir, from, name string) {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(from, name))
	s.must(err)
	put(s.t, filepath.Join(dir, name), data)
}

// overwrite changes an octet of each target whose name ends so.
func (s *shop) overwrite(dir, suffix string) {
	s.t.Helper()
	s.must(filepath.WalkDir(dir+"/targets", func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, suffix) {
			var data []byte
			if data, err = os.ReadFile(path); err == nil {
				data[0] ^= 1
				err = os.WriteFile(path, data, 0o644)
			}
		}
		return err
	}))
}

func TestWrongImage(t *testing.T) {
	s := newShop(t)
	c := s.client()
	s.refresh(c)
	p, _ := c.Product(vendor, product)
	s.overwrite(s.dir, ".ota")
	var w bytes.Buffer
	if err := c.Image(context.Background(), vendor, p.Releases[0], &w); manifest.CodeOf(err) != manifest.WrongContent {
		t.Errorf("another image: %v", err)
	}
	name := s.file("targets/FFF1/" + p.Releases[0].SHA256.String() + "." + p.Releases[0].SHA256.String() + ".ota")
	put(t, name, s.image[:100])
	if err := c.Image(context.Background(), vendor, p.Releases[0], &w); manifest.CodeOf(err) != manifest.WrongContent {
		t.Errorf("a shorter image: %v", err)
	}
	put(t, name, append(bytes.Clone(s.image), 0))
	w.Reset()
	if err := c.Image(context.Background(), vendor, p.Releases[0], &w); manifest.CodeOf(err) != manifest.Endless || w.Len() > len(s.image) {
		t.Errorf("a longer image: %v, %d octets written", err, w.Len())
	}
}

// endless gives one file without an end.
type endless struct {
	manifest.Fetcher
	name string
	read int
}

func (e *endless) Fetch(ctx context.Context, name string, size int64) (io.ReadCloser, error) {
	if !strings.HasSuffix(name, e.name) {
		return e.Fetcher.Fetch(ctx, name, size)
	}
	return io.NopCloser(e), nil
}

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func TestEndless(t *testing.T) {
	for name, most := range map[string]int{
		".root.json": manifest.MaxRoot, "timestamp.json": manifest.MaxTimestamp, ".snapshot.json": manifest.MaxSnapshot,
		".targets.json": manifest.MaxTargets, ".vendor-FFF1.json": manifest.MaxVendor, ".8000.json": manifest.MaxDocument,
	} {
		for _, announced := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " announced ", announced), func(t *testing.T) {
				t.Parallel()
				s := newShop(t)
				if !announced {
					s.plant(s.dir, map[string]*metadata.MetaFiles{"targets.json": {Version: 1}, "vendor-FFF1.json": {Version: 1}})
					s.stamp(s.dir, func(m *metadata.TimestampType) { m.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 2} })
				}
				s.refresh(s.client())
				e := &endless{Fetcher: manifest.Dir(s.dir), name: name}
				s.refused(s.open(t.TempDir(), e), manifest.Endless)
				if e.read > 2*most+4096 {
					t.Errorf("%d octets were read", e.read)
				}
			})
		}
	}
}

// A thief of the online keys ran the versions up to where the publisher never
// comes. Other online keys end that.
func TestFastForward(t *testing.T) {
	s := newShop(t)
	cache, dir := t.TempDir(), s.copy()
	data := forge(t, dir+"/metadata/1.snapshot.json", func(m *metadata.SnapshotType) { m.Version = 1 << 40 }, s.snapshot)
	put(t, fmt.Sprintf("%s/metadata/%d.snapshot.json", dir, 1<<40), data)
	s.stamp(dir, func(m *metadata.TimestampType) { m.Version, m.Meta["snapshot.json"] = 1<<40, meta(1<<40, data) })
	s.refresh(s.open(cache, manifest.Dir(dir)))
	s.refused(s.open(cache, manifest.Dir(s.dir)), manifest.Rollback)

	fresh := []string{"snapshot", "timestamp"}
	for _, role := range fresh {
		s.must(s.Rotate(role, keys(1, seeded("fresh "+role))))
	}
	s.snapshot, s.timestamp = seeded("fresh snapshot"), seeded("fresh timestamp")
	s.publish("root")
	c := s.open(cache, manifest.Dir(s.dir))
	s.refresh(c)
	if st := c.Status(); st.Roles[1].Version != 2 || st.Roles[0].Version != 2 {
		t.Errorf("roles: %v", st.Roles)
	}
}

func TestRootRotations(t *testing.T) {
	s := newShop(t)
	cache := t.TempDir()
	s.refresh(s.open(cache, manifest.Dir(s.dir)))
	for n := range 4 {
		a, b := seeded(fmt.Sprint("a", n)), seeded(fmt.Sprint("b", n))
		s.must(s.Rotate("root", keys(2, a, b)), s.Rotate("timestamp", keys(1, a)))
		s.must(s.Sign("root", s.root1), s.Sign("root", s.root2), s.Sign("root", a), s.Sign("root", b))
		s.root1, s.root2, s.timestamp = a, b, a
		s.publish()
	}
	dir := s.copy()
	s.must(os.Remove(dir + "/metadata/3.root.json"))
	s.refused(s.open(cache, manifest.Dir(dir)), manifest.Signatures)
	c := s.open(cache, manifest.Dir(s.dir))
	s.refresh(c)
	if st := c.Status(); st.Roles[0].Version != 5 {
		t.Errorf("roles: %v", st.Roles)
	}
	// Without a network the rotations are verified from the first root again.
	c = s.open(cache, manifest.Dir(s.dir))
	if st := c.Status(); st.Err != nil || st.Roles[0].Version != 5 {
		t.Errorf("offline: %+v", st)
	}
	// The keys that were rotated away have no say any more.
	s.timestamp = seeded("a2")
	s.stamp(s.dir, func(*metadata.TimestampType) {})
	s.refused(c, manifest.Signatures)
}

func TestVendorOutside(t *testing.T) {
	s := newShop(t)
	dir := s.copy()
	s.must(os.MkdirAll(dir+"/targets/FFF2", 0o755))
	s.plantDocument(dir, "FFF2/0001.json", []byte(`{"version":1,"vendor":65522,"product":1}`))
	c := s.open(t.TempDir(), manifest.Dir(dir))
	s.refresh(c)
	if f := c.Status().Faults; len(f) != 1 || f[0].Code != manifest.Outside || f[0].Part != "vendor-FFF1" {
		t.Errorf("faults: %v", f)
	}
	if _, ok := c.Product(0xFFF2, 1); ok {
		t.Error("it is used")
	}
	if _, ok := c.Product(vendor, product); !ok {
		t.Error("what it may say is not used")
	}
}

// A terminating role has the last word on its part, be it silence.
func TestTerminating(t *testing.T) {
	s := newShop(t)
	for _, terminating := range []bool{true, false} {
		dir := s.copy()
		document := []byte(`{"version":1,"vendor":65521,"product":1}`)
		digest := sha256.Sum256(document)
		put(t, fmt.Sprintf("%s/targets/FFF1/%x.0001.json", dir, digest), document)
		second := forge(t, dir+"/metadata/1.vendor-FFF1.json", func(m *metadata.TargetsType) {
			m.Targets = map[string]*metadata.TargetFiles{"FFF1/0001.json": {Length: int64(len(document)), Hashes: metadata.Hashes{"sha256": digest[:]}}}
		}, s.acme)
		put(t, dir+"/metadata/1.second.json", second)
		targets := forge(t, dir+"/metadata/1.targets.json", func(m *metadata.TargetsType) {
			m.Version = 2
			m.Delegations.Roles[0].Terminating = terminating
			role := m.Delegations.Roles[0]
			role.Name = "second"
			m.Delegations.Roles = append(m.Delegations.Roles, role)
		}, s.targets1, s.targets2)
		put(t, dir+"/metadata/2.targets.json", targets)
		s.plant(dir, map[string]*metadata.MetaFiles{"targets.json": meta(2, targets), "second.json": meta(1, second)})
		c := s.open(t.TempDir(), manifest.Dir(dir))
		s.refresh(c)
		if p, ok := c.Product(vendor, 1); ok == terminating || ok && p.Role != "second" {
			t.Errorf("terminating %v: %+v, %v", terminating, p, ok)
		}
	}
}

// A timestamp that go-tuf panics over is not kept: the next one is read.
func TestPoisonedTimestamp(t *testing.T) {
	s := newShop(t)
	dir, cache := s.copy(), t.TempDir()
	s.stamp(dir, func(m *metadata.TimestampType) { m.Meta["snapshot.json"] = nil })
	s.refused(s.open(cache, manifest.Dir(dir)), manifest.Malformed)
	s.must(s.Renew(s.timestamp), s.Renew(s.timestamp))
	s.refresh(s.open(cache, manifest.Dir(s.dir)))
}

func TestEveryCodeIsExplained(t *testing.T) {
	for _, code := range []manifest.Code{manifest.Unreachable, manifest.Slow, manifest.Endless, manifest.Malformed, manifest.Newer, manifest.Signatures, manifest.Frozen,
		manifest.Rollback, manifest.Mixed, manifest.WrongContent, manifest.Outside, manifest.Damaged, manifest.Storage} {
		e := &manifest.Error{Code: code}
		if e.Means() == "" || e.Do() == "" || !strings.HasPrefix(e.Error(), string(code)+": ") {
			t.Errorf("%s: %q, %q, %q", code, e.Means(), e.Do(), e.Error())
		}
	}
}
