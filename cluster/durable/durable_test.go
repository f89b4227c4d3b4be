package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, contents := range []string{"one", "two, longer", ""} {
		var steps []string
		err := WriteFile(func(op string, do func() error) error { steps = append(steps, op); return do() }, path, []byte(contents))
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"create", "write", "rename", "sync directory"}; !slices.Equal(steps, want) {
			t.Errorf("%q, want %q", steps, want)
		}
		b, err := os.ReadFile(path)
		if err != nil || string(b) != contents {
			t.Errorf("%q, %v", b, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestBroken breaks every step, before and after it is done: the file has the
// old contents or the new.
func TestBroken(t *testing.T) {
	broken := errors.New("input/output error")
	for _, persisted := range []bool{false, true} {
		for at := range 4 {
			path := filepath.Join(t.TempDir(), "file")
			if err := WriteFile(nil, path, []byte("old")); err != nil {
				t.Fatal(err)
			}
			n, which := -1, ""
			err := WriteFile(func(op string, do func() error) error {
				if n++; n != at {
					return do()
				}
				which = op
				if persisted {
					return errors.Join(do(), broken)
				}
				return broken
			}, path, []byte("new"))
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", which, err)
			}
			want := "old"
			if which == "sync directory" || which == "rename" && persisted {
				want = "new"
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != want {
				t.Errorf("%s, persisted: %v: %q, %v", which, persisted, b, err)
			}
			if err := WriteFile(nil, path, []byte("again")); err != nil {
				t.Errorf("%s: then %v", which, err)
			}
		}
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := errors.Join(WriteFile(nil, path, nil), Remove(nil, path, path)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}
}

// TestMakeDir makes every directory on the way last, and one that is there
// already, too: whoever made it may have died before.
func TestMakeDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one", "two")
	for _, want := range []int{2, 1} {
		syncs := 0
		if err := MakeDir(func(_ string, do func() error) error { syncs++; return do() }, dir); err != nil || syncs != want {
			t.Errorf("%d directories synced, want %d: %v", syncs, want, err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}
