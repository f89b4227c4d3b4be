package powercut

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var inFlag = flag.String("powercut.in", "", "the directory in which TestProcess is recorded")

// TestProcess is the process that TestRecord records.
func TestProcess(t *testing.T) {
	if *inFlag == "" {
		t.Skip("this is run by TestRecord")
	}
	in := func(name string) string { return filepath.Join(*inFlag, name) }
	must := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	note := func(text string) {
		_, err := os.NewFile(Notes, "notes").WriteString(text)
		must(err)
	}
	f, err := os.OpenFile(in("a.new"), os.O_CREATE|os.O_RDWR, 0o600)
	must(err)
	_, err1 := f.Write([]byte("one"))
	_, err2 := f.Write([]byte("two"))
	_, err3 := f.WriteAt([]byte("THREE"), 4)
	must(err1, err2, err3, f.Sync(), f.Truncate(700), os.Rename(in("a.new"), in("a")))
	d, err := os.Open(*inFlag)
	must(err, d.Sync())
	note("there is a")
	must(os.Mkdir(in("dir"), 0o700), os.WriteFile(in("dir/b"), []byte("b"), 0o600), os.WriteFile(in("dir/b"), []byte("B"), 0o600), os.Remove(in("old")))
	appended, err := os.OpenFile(in("a"), os.O_APPEND|os.O_WRONLY, 0)
	must(err)
	_, err = appended.WriteString("end")
	must(err, f.Close())
	var wg sync.WaitGroup
	for i := range 8 { // threads
		wg.Go(func() {
			f, err := os.Create(in(fmt.Sprint("dir/", i)))
			for n := range 50 {
				_, err1 := f.WriteAt([]byte{byte(n)}, int64(n))
				err = errors.Join(err, err1, f.Sync())
			}
			if err := errors.Join(err, f.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// recorded is what TestProcess did.
func recorded(t *testing.T) []Op {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	ops, err := Record(dir, os.Stderr, os.Args[0], "-test.run=^TestProcess$", "-powercut.in="+dir)
	if errors.Is(err, ErrNotPermitted) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

func TestRecord(t *testing.T) {
	var got []string
	for _, o := range recorded(t) {
		if !strings.HasPrefix(o.Path, "dir/") || o.Path == "dir/b" {
			got = append(got, o.String())
		}
	}
	want := []string{
		"create old", "write 3 octets of old at 0", "sync old", "sync directory .",
		"create a.new", "write 3 octets of a.new at 0", "write 3 octets of a.new at 3", "write 5 octets of a.new at 4", "sync a.new", "truncate a.new",
		"rename a.new to a", "sync directory .", `note "there is a"`,
		"mkdir dir", "create dir/b", "write 1 octets of dir/b at 0", "truncate dir/b", "write 1 octets of dir/b at 0", "remove old",
		"write 3 octets of a at 700",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestLost has what must be there always there, and the rest in all ways.
func TestLost(t *testing.T) {
	ops, d := recorded(t), NewDisk()
	for _, o := range ops {
		d.Do(o)
		if o.Kind == Rename {
			break
		}
	}
	if d.Settled() {
		t.Error("what is not synced would last")
	}
	if got, want := d.Lasting(), (Tree{"old": []byte("old")}); want.differs(got) != "" {
		t.Errorf("%q", got)
	}
	long := string(append([]byte("onetTHREE"), make([]byte, 691)...))
	seen, r := map[string]bool{}, rand.New(rand.NewPCG(1, 1))
	for range 200 {
		got := d.Lost(r, r.Uint64())
		delete(got, "old")
		seen[fmt.Sprintf("%q", got)] = true
	}
	want := map[string]bool{}
	for _, contents := range []string{"onetTHREE", long} {
		want[fmt.Sprintf("%q", Tree{"a": []byte(contents)})] = true
		want[fmt.Sprintf("%q", Tree{"a.new": []byte(contents)})] = true
	}
	want[fmt.Sprintf("%q", Tree{})] = true
	if d := cmp.Diff(want, seen); d != "" {
		t.Error(d)
	}
	w := Op{Kind: Write, Path: "a", File: ops[slices.IndexFunc(ops, func(o Op) bool { return o.Path == "a.new" })].File, Offset: 1, Data: []byte("XYZ")}
	if got := d.Torn(w, 1, 2)["a"]; string(got) != "onYtTHREE"+long[9:] {
		t.Errorf("%q", got)
	}
	if got := d.Now()["a"]; string(got) != long {
		t.Errorf("%q", got)
	}
}

// TestSectors loses parts of a long write, each for itself.
func TestSectors(t *testing.T) {
	d := NewDisk()
	d.Do(Op{Kind: Create, Path: "a", File: 1})
	d.Do(Op{Kind: SyncDir, Path: ".", Before: 1})
	data := make([]byte, 8*Sector)
	for i := range data {
		data[i] = 1
	}
	d.Do(Op{Kind: Write, Path: "a", File: 1, Data: data})
	r, seen := rand.New(rand.NewPCG(1, 1)), map[string]bool{}
	for range 500 {
		got := d.Lost(r, r.Uint64())["a"]
		for from := 0; from < len(got); from += Sector {
			if s := got[from : from+Sector]; slices.Min(s) != slices.Max(s) {
				t.Fatal("a sector was torn")
			}
		}
		seen[string(got)] = true
	}
	if len(seen) < 200 {
		t.Errorf("%d ways to lose 8 sectors", len(seen))
	}
	d.Do(Op{Kind: Sync, Path: "a", File: 1, Before: 2}) // the write was under way
	if d.Settled() {
		t.Error("a sync that began before a write ended made it last")
	}
	d.Do(Op{Kind: Sync, Path: "a", File: 1, Before: 3})
	if got := d.Lost(r, r.Uint64())["a"]; !d.Settled() || !slices.Equal(got, data) {
		t.Error("a write that was synced was lost")
	}
}
