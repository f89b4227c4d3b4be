package trail

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"gatehouse/cluster/durable"
	"gatehouse/fabric/audit"
)

func config(t testing.TB, dir string) Config {
	return Config{Dir: dir, Log: slog.New(slog.DiscardHandler), Fatal: func(err error) { t.Errorf("fatal: %v", err) }}
}

// records are decisions, of some 300 octets as a home's are.
func records(from, n int) (all [][]byte) {
	for i := range n {
		all = append(all, fmt.Appendf(nil, `{"index":%d,"what":"device-admitted","details":{"text":"%0250d"}}`, from+i, i))
	}
	return all
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// reopened is what the next process has, whose trust state begins at a snapshot.
func reopened(t testing.TB, dir string, at audit.Tree) *Trail {
	t.Helper()
	r, err := Open(config(t, dir))
	must(t, err)
	must(t, r.Reset(at))
	return r
}

// holds checks that a trail has exactly some records from one on.
func holds(t testing.TB, r *Trail, from int, want [][]byte) {
	t.Helper()
	var got [][]byte
	next, err := r.Read(uint64(from), func(i uint64, line []byte) bool {
		if i != uint64(from+len(got)) {
			t.Fatalf("record %d comes as %d", from+len(got), i)
		}
		got = append(got, line)
		return true
	})
	if err != nil || next != uint64(len(want)) || !slices.EqualFunc(got, want[from:], bytes.Equal) {
		t.Fatalf("%d records from %d on, not %d: %v", len(got), from, len(want)-from, err)
	}
	l, err := r.Leaves()
	if err != nil || l.Tree().Root() != after(audit.Tree{}, want).Root() || !r.Tree().Same(l.Tree()) {
		t.Fatalf("it does not hash to the tree: %v", err)
	}
}

// TestTrail lives a gateway's life: records come, snapshots are taken, and the
// process ends without a word.
func TestTrail(t *testing.T) {
	for seed := range uint64(6) {
		random, dir := rand.New(rand.NewPCG(seed, 1)), filepath.Join(t.TempDir(), "trail")
		r := reopened(t, dir, audit.Tree{})
		var all [][]byte
		snapshots := []audit.Tree{{}}
		for range 40 {
			switch random.IntN(6) {
			case 0:
				must(t, r.Flush())
				snapshots = append(snapshots, r.Tree())
			case 1: // what follows the snapshot is applied again, from the one before it now and then
				snapshots = snapshots[:len(snapshots)-random.IntN(min(2, len(snapshots)))]
				s := snapshots[len(snapshots)-1]
				r = reopened(t, dir, s)
				holds(t, r, 0, all[:s.Size])
				must(t, r.Append(all[s.Size:]))
			default:
				more := records(len(all), 1+random.IntN(200))
				must(t, r.Append(more))
				all = append(all, more...)
			}
			holds(t, r, random.IntN(len(all)+1), all)
			if r.First() != 0 || r.Check() != nil {
				t.Fatal("something is missing")
			}
		}
		files, err := os.ReadDir(dir)
		must(t, err)
		if n := len(all) * 320 / joined; len(files) > n+2 {
			t.Errorf("%d files for %d records", len(files), len(all))
		}
	}
}

var errBroken = errors.New("input/output error")

// TestBrokenDisk breaks every step of every operation, twice: it failed and did
// not persist, and it failed but did. Nothing is written after that, and the
// next process has all that a snapshot rests on.
func TestBrokenDisk(t *testing.T) {
	all := records(0, 4800)
	for _, persisted := range []bool{false, true} {
		for pass := 0; ; pass++ {
			dir := filepath.Join(t.TempDir(), "trail")
			broke, fatal := false, 0
			snapshot := audit.Tree{}
			life := func() error {
				left := pass
				cfg := config(t, dir)
				cfg.Fatal = func(error) { fatal++ }
				cfg.Step = func(op string, do func() error) error {
					if broke {
						t.Errorf("%s after the disk failed", op)
					}
					if left--; left >= 0 {
						return do()
					}
					if broke = true; persisted {
						return errors.Join(do(), errBroken)
					}
					return errBroken
				}
				r, err := Open(cfg)
				if err != nil {
					return err
				}
				for i, n := range []int{0, 5, 300, 600, 4800} {
					if i > 0 {
						err = errors.Join(err, r.Append(all[r.Tree().Size:n]))
					}
					if err = errors.Join(err, r.Flush()); err == nil {
						snapshot = r.Tree()
					}
				}
				if err == nil { // the snapshot of before was put back
					snapshot = after(audit.Tree{}, all[:301])
					err = r.Reset(snapshot)
				}
				return err
			}
			err := life()
			if !broke {
				must(t, err)
				break
			}
			if !errors.Is(err, errBroken) || fatal == 0 && pass > 1 {
				t.Fatalf("step %d: %v, %d times fatal", pass, err, fatal)
			}
			r := reopened(t, dir, snapshot)
			holds(t, r, 0, all[:snapshot.Size])
			must(t, r.Append(all[snapshot.Size:]))
			must(t, r.Flush())
			holds(t, reopened(t, dir, r.Tree()), 0, all)
		}
	}
}

// lived is a directory with several files, and all that is in them.
func lived(t testing.TB) (dir string, all [][]byte) {
	dir, all = filepath.Join(t.TempDir(), "trail"), records(0, 2000)
	r := reopened(t, dir, audit.Tree{})
	for n := 500; n <= len(all); n += 500 {
		must(t, r.Append(all[n-500:n]))
		must(t, r.Flush())
	}
	if len(r.files) != 4 {
		t.Fatalf("%d files", len(r.files))
	}
	return dir, all
}

// heal fetches what is missing from another gateway.
func heal(t testing.TB, r, from *Trail) {
	t.Helper()
	for {
		end, _, ok := r.Missing()
		if !ok {
			return
		}
		before, run, err := from.Before(end.Size)
		must(t, err)
		must(t, r.Fill(before, run))
	}
}

// TestDamage changes octets of every file, at its ends and within, cuts it off
// and takes it away: it is noticed, nothing of it is given, and another gateway
// has it.
func TestDamage(t *testing.T) {
	dir, all := lived(t)
	whole := reopened(t, dir, after(audit.Tree{}, all))
	files, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		must(t, err)
		var bad [][]byte
		for _, at := range []int{0, 10, 40, 90, bytes.IndexByte(b, '\n'), bytes.IndexByte(b, '\n') + 1, len(b) / 2, len(b) - 2, len(b) - 1} {
			changed := bytes.Clone(b)
			changed[at] ^= 1
			bad = append(bad, changed, b[:at])
		}
		lines := bytes.SplitAfter(b, []byte("\n"))
		lines[3], lines[4] = lines[4], lines[3]
		bad = append(bad, nil, bytes.Join(lines, nil), append(bytes.Clone(b), "{}\n"...))
		for i, contents := range bad {
			hurt := filepath.Join(t.TempDir(), "trail")
			must(t, os.CopyFS(hurt, os.DirFS(dir)))
			path := filepath.Join(hurt, f.Name())
			if contents == nil {
				must(t, os.Remove(path))
			} else {
				must(t, os.WriteFile(path, contents, 0o600))
			}
			r := reopened(t, hurt, whole.Tree())
			r.Check()
			if _, _, ok := r.Missing(); !ok {
				t.Fatalf("%s, damage %d: nobody noticed", f.Name(), i)
			}
			got := 0
			_, err := r.Read(0, func(n uint64, line []byte) bool {
				got++
				return bytes.Equal(line, all[n])
			})
			if !errors.Is(err, ErrMissing) || got > 0 && r.First() != 0 {
				t.Fatalf("%s, damage %d: %d records were given, %v", f.Name(), i, got, err)
			}
			if _, err := r.Read(r.First(), func(n uint64, line []byte) bool { return bytes.Equal(line, all[n]) }); err != nil {
				t.Fatal(err)
			}
			heal(t, r, whole)
			holds(t, r, 0, all)
			holds(t, reopened(t, hurt, whole.Tree()), 0, all)
		}
	}
}

// TestDamageLater changes a file while the gateway runs.
func TestDamageLater(t *testing.T) {
	dir, all := lived(t)
	r := reopened(t, dir, after(audit.Tree{}, all))
	copied := filepath.Join(t.TempDir(), "trail")
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	must(t, os.WriteFile(filepath.Join(dir, r.files[1].name()), []byte("{}\n"), 0o600))
	select {
	case <-r.Gaps():
		t.Fatal("a gap")
	default:
	}
	if _, err := r.Read(600, func(uint64, []byte) bool { return true }); !errors.Is(err, ErrMissing) {
		t.Fatal(err)
	}
	<-r.Gaps()
	heal(t, r, reopened(t, copied, r.Tree()))
	holds(t, r, 0, all)
}

// TestGap has a gateway that got the trust state in a snapshot, with files of
// before and without, and goes on before it has what is missing.
func TestGap(t *testing.T) {
	dir, all := lived(t)
	whole := reopened(t, dir, after(audit.Tree{}, all))
	for _, had := range []int{0, 1, 499, 500, 700, 1999, 2000} {
		r := reopened(t, filepath.Join(t.TempDir(), "trail"), audit.Tree{})
		must(t, r.Append(all[:had]))
		must(t, r.Reset(whole.Tree()))
		if _, from, ok := r.Missing(); ok != (had < 2000) || from != uint64(had)%2000 {
			t.Fatalf("with %d: missing from %d on, %v", had, from, ok)
		}
		more := records(2000, 10)
		must(t, r.Append(more))
		must(t, r.Flush())
		if had < 2000 && r.First() != 2000 {
			t.Fatalf("with %d: the first is %d", had, r.First())
		}
		heal(t, r, whole)
		holds(t, r, 0, append(slices.Clone(all), more...))
		holds(t, reopened(t, r.Dir, r.Tree()), 0, append(slices.Clone(all), more...))
	}
}

// TestLies has another gateway give records that were never decided.
func TestLies(t *testing.T) {
	dir, all := lived(t)
	whole := reopened(t, dir, after(audit.Tree{}, all))
	before, run, err := whole.Before(2000)
	must(t, err)
	other := slices.Clone(run)
	other[7] = []byte(`{"index":7}`)
	swapped := slices.Clone(run)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	edge := bytes.Clone(before.Edge)
	edge[5] ^= 1
	split := slices.Clone(run)
	split[0] = append(append(bytes.Clone(run[0]), '\n'), run[1]...)
	r := reopened(t, filepath.Join(t.TempDir(), "trail"), whole.Tree())
	for what, lie := range map[string]piece{
		"another record":      {before, other},
		"in another order":    {before, swapped},
		"one less":            {before, run[:len(run)-1]},
		"without the first":   {before, run[1:]},
		"another tree before": {audit.Tree{Size: before.Size, Edge: edge}, run},
		"no tree at all":      {audit.Tree{Size: before.Size}, run},
		"a tree too large":    {audit.Tree{Size: ^uint64(0) - uint64(len(run)) + 2001}, run},
		"nothing":             {whole.Tree(), nil},
		"two in one line":     {before, split},
		"from the beginning":  {audit.Tree{}, all[:len(all)-1]},
	} {
		if err := r.Fill(lie.before, lie.records); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
	if files, err := os.ReadDir(r.Dir); err != nil || len(files) > 0 {
		t.Errorf("%d files, %v", len(files), err)
	}
	heal(t, r, whole)
	holds(t, r, 0, all)
	if _, _, err := whole.Before(2001); !errors.Is(err, ErrMissing) {
		t.Errorf("before what was not decided: %v", err)
	}
	if _, _, err := whole.Before(0); !errors.Is(err, ErrMissing) {
		t.Errorf("before the first: %v", err)
	}
}

// TestFull has more on the disk than may be: the oldest go, and are not fetched
// again.
func TestFull(t *testing.T) {
	dir, all := lived(t)
	r := reopened(t, dir, after(audit.Tree{}, all))
	for i := range r.files {
		r.files[i].size = keepSize/3 - 1000
	}
	more := records(2000, 1)
	must(t, r.Append(more))
	must(t, r.Flush())
	if r.First() == 0 {
		t.Fatal("nothing went")
	}
	if _, _, ok := r.Missing(); ok {
		t.Error("what went is fetched again")
	}
	all = append(all, more...)
	if l, err := r.Leaves(); err != nil || l.Tree().Root() != after(audit.Tree{}, all).Root() {
		t.Errorf("it does not hash to the tree: %v", err)
	}
	first := r.First()
	if _, err := r.Read(first, func(n uint64, line []byte) bool { return bytes.Equal(line, all[n]) }); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != len(r.files) {
		t.Errorf("%d files, %d known", len(files), len(r.files))
	}
}

// TestForeign finds files that are none of the trail's.
func TestForeign(t *testing.T) {
	dir, all := lived(t)
	for name, contents := range map[string]string{"0000000000000001.jsonl": "", "0000000000000400.jsonl" + durable.Suffix: "half", "notes.txt": "mine",
		"ffffffffffffffff.jsonl": `{"records":1,"first":18446744073709551615,"edge":""}` + "\n{}\n", "zz.jsonl": string(bytes.Repeat([]byte("a"), 100_000))} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o600))
	}
	holds(t, reopened(t, dir, after(audit.Tree{}, all)), 0, all)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 5 {
		t.Errorf("%d files, %v", len(files), err)
	}
}

func FuzzFile(f *testing.F) {
	for _, n := range []int{1, 5} {
		b, _, err := encode(after(audit.Tree{}, records(0, n+2)), records(n+2, n))
		must(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m0, m1 runtime.MemStats
		runtime.ReadMemStats(&m0)
		h, lines, err := decode(b)
		runtime.ReadMemStats(&m1)
		if used := m1.TotalAlloc - m0.TotalAlloc; used > 1<<20+100*uint64(len(b)) {
			t.Errorf("%d octets allocated for %d", used, len(b))
		}
		if err != nil {
			return
		}
		once, _, err := encode(h.before, lines)
		must(t, err)
		again, same, err := decode(once)
		if err != nil || !again.before.Same(h.before) || !slices.EqualFunc(lines, same, bytes.Equal) {
			t.Errorf("%q is %q, %v", b, once, err)
		}
	})
}

// TestAppendWhileWriting has records come while others go to the disk, and many
// snapshots of few.
func TestAppendWhileWriting(t *testing.T) {
	cfg, all := config(t, filepath.Join(t.TempDir(), "trail")), records(0, 101)
	var r *Trail
	cfg.Step = func(op string, do func() error) error {
		if n := r; n != nil && op == "rename" {
			must(t, n.Append(all[n.Tree().Size:][:1]))
		}
		return do()
	}
	r, err := Open(cfg)
	must(t, err)
	must(t, r.Append(all[:1]))
	for range 100 {
		must(t, r.Flush())
	}
	holds(t, r, 0, all)
	if len(r.files) != 1 || r.waiting != len(all[100]) {
		t.Errorf("%d files for %d records, %d octets wait", len(r.files), len(all), r.waiting)
	}
}
