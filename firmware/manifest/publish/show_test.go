package publish

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/firmware/manifest"
)

func role(t *testing.T, r *Repository, name string) Role {
	t.Helper()
	all, err := r.Roles()
	must(t, err)
	i := slices.IndexFunc(all, func(role Role) bool { return role.Name == name })
	if i < 0 {
		t.Fatalf("there is no role %s", name)
	}
	return all[i]
}

func id(t *testing.T, name string) string {
	t.Helper()
	s, err := KeyID(signer(name).Public())
	must(t, err)
	return s
}

// Who has signed, who has not, and what a change is: for the next who signs.
func TestRoles(t *testing.T) {
	clock, dir := start, t.TempDir()
	r := house(t, dir, &clock)
	if root, name := role(t, r, "root"), second(r.Name()); name != nil || root.Version != 1 || !root.Expires.Equal(clock.Add(RootLife)) || root.Staged != nil ||
		root.Threshold != 2 || !slices.Equal(root.Keys, []string{id(t, "r1"), id(t, "r2")}) {
		t.Errorf("%+v", root)
	}
	if o := role(t, r, "timestamp"); o.Version != 1 || !o.Expires.Equal(clock.Add(TimestampLife)) || o.Keys[0] != id(t, "o") {
		t.Errorf("%+v", o)
	}
	must(t, r.Rotate("root", keys(1, "r1", "n")), r.Sign("root", signer("r1")))
	root := role(t, r, "root")
	old, next := root.Staged.Needs[0], root.Staged.Needs[1]
	if root.Threshold != 2 || old.Lacks() != 1 || next.Lacks() != 0 || !slices.Equal(old.Given, []string{id(t, "r1")}) || root.Staged.Lacks() != 1 ||
		len(root.Staged.May) != 4 {
		t.Errorf("%+v", root.Staged)
	}
	want := "root is signed by 1 of " + ShortID(id(t, "r1")) + ", " + ShortID(id(t, "n"))
	if got := root.Staged.Changes; !slices.Equal(got, []string{want}) {
		t.Errorf("%q", got)
	}
	// A signature over something else counts for nothing.
	path := filepath.Join(dir, "staged/root.json")
	data, err := os.ReadFile(path)
	must(t, err, os.WriteFile(path, []byte(strings.Replace(string(data), `"x-gatehouse-name": "House"`, `"x-gatehouse-name": "Horse"`, 1)), 0o600))
	if got := role(t, r, "root").Staged; got.Lacks() != 3 {
		t.Errorf("%+v", got)
	}
}

func TestChanges(t *testing.T) {
	clock, dir := start, t.TempDir()
	r := house(t, dir, &clock)
	image := manifest.Release{Version: 2, Name: "2", Applies: &manifest.Range{Min: 1, Max: 1}, Hardware: &manifest.Hardware{Min: 3, Max: 4}, Notes: "https://example.org/2"}
	must(t, r.AddRelease("vendor-FFF1", vendor, product, image, strings.NewReader("image 2")), r.SetMinimum("vendor-FFF1", vendor, product, 1),
		r.MarkBad("vendor-FFF1", vendor, product, manifest.Bad{From: 1, To: 2, Reason: "it burns"}), r.AddVendor(0xFFF3, keys(1, "w")),
		r.Rotate("vendor-FFF1", keys(1, "v2")))
	for name, want := range map[string][]string{
		"vendor-FFF1": {`"FFF1/8000": the lowest version that may run is 1, after 0`, `"FFF1/8000": versions 1 to 2 must not run: it burns`,
			`"FFF1/8000": release of version 2 (2), 7 octets, SHA-256 `},
		"vendor-FFF3": {},
		"targets": {`vendor-FFF1 is entrusted with ["FFF1/*"], signed by 1 of ` + ShortID(id(t, "v2")),
			`vendor-FFF3 is entrusted with ["FFF3/*"], signed by 1 of ` + ShortID(id(t, "w"))},
	} {
		got := role(t, r, name).Staged.Changes
		if len(got) != len(want) {
			t.Fatalf("%s: %q", name, got)
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s: %s", name, got[i])
			}
		}
	}
	if got := role(t, r, "vendor-FFF1").Staged.Changes[2]; !strings.HasSuffix(got, ", for versions 1 to 1, for hardware versions 3 to 4, notes at https://example.org/2") {
		t.Error(got)
	}
	// And back.
	must(t, r.Discard("vendor-FFF1"), r.Edit("vendor-FFF1", vendor, product, func(p *manifest.Product) error { p.Releases = nil; return nil }), r.RemoveVendor(0xFFF3))
	if got := role(t, r, "vendor-FFF1").Staged.Changes; !slices.Equal(got, []string{`"FFF1/8000": version 1 is no release any more`}) {
		t.Errorf("%q", got)
	}
	must(t, r.RemoveVendor(vendor))
	if got := role(t, r, "targets").Staged.Changes; !slices.Equal(got, []string{`vendor-FFF1 is entrusted with nothing any more`}) {
		t.Errorf("%q", got)
	}
}

// A vendor is taken away, and comes back with other keys: clients follow.
func TestVendorLeaves(t *testing.T) {
	clock, dir := start, t.TempDir()
	r := house(t, dir, &clock)
	c, err := manifest.Open(manifest.Config{Dir: t.TempDir(), Root: root(t, dir), From: manifest.Dir(dir), Now: r.now})
	must(t, err, c.Refresh(context.Background()))
	publish := func(wantProducts int) {
		t.Helper()
		must(t, r.Sign("targets", signer("t1")), r.Sign("targets", signer("t2")), r.Publish(signer("s"), signer("o")), c.Refresh(context.Background()))
		if got := len(c.Products()); got != wantProducts {
			t.Errorf("%d products", got)
		}
	}
	must(t, r.SetMinimum("vendor-FFF1", vendor, product, 1), r.RemoveVendor(vendor))
	publish(0)
	for _, err := range []error{r.RemoveVendor(vendor), r.SetMinimum("vendor-FFF1", vendor, product, 1), r.Extend("vendor-FFF1"), r.Sign("vendor-FFF1", signer("v"))} {
		if err == nil {
			t.Error("who was taken away still speaks")
		}
	}
	must(t, r.AddVendor(vendor, keys(1, "v2")))
	if got := role(t, r, "vendor-FFF1"); got.Staged == nil || got.Staged.Version != 2 {
		t.Fatalf("%+v", got)
	}
	must(t, r.SetMinimum("vendor-FFF1", vendor, product, 2), r.Sign("vendor-FFF1", signer("v2")))
	publish(1)
}

func TestDiscard(t *testing.T) {
	clock := start
	fresh, err := Init(t.TempDir(), Setup{"House", keys(1, "r"), keys(1, "t"), keys(1, "s"), keys(1, "o")}, func() time.Time { return clock }, rand.Reader)
	must(t, err, fresh.AddVendor(vendor, keys(1, "v")))
	for _, name := range []string{"root", "targets", "vendor-FFF1", "snapshot", "../staged/root", "none"} {
		if err := fresh.Discard(name); err == nil {
			t.Errorf("%s was discarded", name)
		}
	}
	r := house(t, t.TempDir(), &clock)
	must(t, r.Extend("root"), r.Discard("root"))
	if got := pending(t, r); got != "" {
		t.Errorf("pending: %s", got)
	}
	if r.Discard("root") == nil {
		t.Error("nothing was discarded")
	}
}

func TestKeys(t *testing.T) {
	clock := start
	r := house(t, t.TempDir(), &clock)
	must(t, r.Rotate("vendor-FFF1", keys(1, "v", "v2")))
	for name, want := range map[string]int{"root": 2, "targets": 2, "snapshot": 1, "timestamp": 1, "vendor-FFF1": 2} {
		k, err := r.Keys(name)
		must(t, err)
		if len(k.Public) != want {
			t.Errorf("%s: %+v", name, k)
		}
	}
	if _, err := r.Keys("vendor-FFF2"); err == nil {
		t.Error("keys of nobody")
	}
}

// FuzzStaged reads what a stick may bring: it is refused or shown, and never
// ends the process.
func FuzzStaged(f *testing.F) {
	clock := start
	whole := f.TempDir()
	now := func() time.Time { return clock }
	r, err := Init(whole, Setup{"House", keys(1, "r"), keys(1, "t"), keys(1, "s"), keys(1, "o")}, now, rand.Reader)
	for _, err := range []error{err, r.AddVendor(vendor, keys(1, "v")), r.SetMinimum("vendor-FFF1", vendor, product, 1), r.Sign("root", signer("r"))} {
		if err != nil {
			f.Fatal(err)
		}
	}
	for _, name := range []string{"root", "targets", "vendor-FFF1"} {
		data, err := os.ReadFile(filepath.Join(whole, "staged", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, data)
		// Each value is null once, and too short.
		var any any
		if err := json.Unmarshal(data, &any); err != nil {
			f.Fatal(err)
		}
		spoil(any, func() {
			data, err := json.Marshal(any)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(name, data)
		})
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if !slices.Contains([]string{"root", "targets", "vendor-FFF1"}, name) {
			return
		}
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(whole)), os.WriteFile(filepath.Join(dir, "staged", name+".json"), data, 0o600))
		r, err := Open(dir, now, rand.Reader)
		if err != nil {
			return
		}
		if _, err := r.Roles(); err != nil {
			return
		}
		_, _ = r.Keys(name)
		_ = r.SetMinimum("vendor-FFF1", vendor, product, 9)
		_ = r.Sign(name, signer("r"))
		_ = r.Rotate("targets", keys(1, "t2"))
		_ = r.Publish(signer("s"), signer("o"))
	})
}

// spoil calls f with each value below v being spoilt, one after the other.
func spoil(v any, f func()) {
	each := func(was any, set func(any)) {
		for _, bad := range []any{nil, "00"} {
			set(bad)
			f()
		}
		set(was)
		spoil(was, f)
	}
	switch v := v.(type) {
	case map[string]any:
		for k, was := range v {
			each(was, func(to any) { v[k] = to })
		}
	case []any:
		for i, was := range v {
			each(was, func(to any) { v[i] = to })
		}
	}
}
