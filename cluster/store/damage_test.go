package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

// edit changes the database behind the store's back.
func edit(t *testing.T, dir string, change func(*bbolt.Tx) error) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, databaseName), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func compact(t *testing.T, dir string, high uint64) {
	t.Helper()
	s := opened(t, config(t, dir))
	if err := errors.Join(s.DeleteRange(1, high), s.Close()); err != nil {
		t.Fatal(err)
	}
}

// patch changes a branch of the log's tree. There is one once the log is long.
func patch(t *testing.T, dir string, change func(page []byte)) {
	t.Helper()
	s := opened(t, config(t, dir))
	if err := errors.Join(s.StoreLogs(entries(10, 300)), s.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, databaseName))
	if err != nil {
		t.Fatal(err)
	}
	meta := newestMeta(b)
	for p, size := b, int(octets.Uint32(meta[8:])); len(p) > 0; p = p[size:] {
		if octets.Uint16(p[8:]) == branchPage {
			change(p[:size])
		}
	}
	if err := os.WriteFile(filepath.Join(dir, databaseName), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[at%len(b)] ^= 1 << (at % 8)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsRefused has the ways a state directory gets lost, mixed up or
// half copied.
func TestDamageIsRefused(t *testing.T) {
	database := func(dir string) string { return filepath.Join(dir, databaseName) }
	newest := func(t *testing.T, dir string) string {
		names, err := snapshotFiles(dir)
		if err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, snapshotsDir, names[0])
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   string // in the error
	}{
		"database missing": {func(t *testing.T, dir string) { os.Remove(database(dir)) }, "missing"},
		"database empty":   {func(t *testing.T, dir string) { os.Truncate(database(dir), 0) }, "empty"},
		"pages in a circle": {func(t *testing.T, dir string) {
			patch(t, dir, func(page []byte) { octets.PutUint64(page[pageHead+8:], octets.Uint64(page)) })
		}, "in use twice"},
		"page lost":        {func(t *testing.T, dir string) { patch(t, dir, func(page []byte) { clear(page) }) }, wayOut},
		"database cut off": {func(t *testing.T, dir string) { os.Truncate(database(dir), 8192) }, wayOut},
		"no database":      {func(t *testing.T, dir string) { os.WriteFile(database(dir), bytes.Repeat([]byte("x"), 65536), 0o600) }, "damaged"},
		"another database": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error { return tx.DeleteBucket(metaBucket) })
		}, "not a trust state"},
		"wrong magic": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(magicKey, []byte("other")) })
		}, "not a trust state"},
		"newer format": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(metaBucket).Put(formatKey, []byte{Format + 1}) })
		}, "install the release"},
		"another's": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error {
				m, err := readSummary(tx)
				m.Owner = "00000000000000A2"
				return errors.Join(err, m.put(tx))
			})
		}, "belongs to gateway 00000000000000A2"},
		"snapshots not copied": {func(t *testing.T, dir string) {
			compact(t, dir, 4)
			os.RemoveAll(filepath.Join(dir, snapshotsDir))
			os.Mkdir(filepath.Join(dir, snapshotsDir), 0o700)
		}, "snapshots were lost"},
		"snapshots' directory missing": {func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, snapshotsDir)) }, wayOut},
		"older snapshot only":          {func(t *testing.T, dir string) { compact(t, dir, 6) }, "snapshots were lost"},
		"snapshot damaged":             {func(t *testing.T, dir string) { flip(t, newest(t, dir), 60) }, older},
		"snapshot cut off":             {func(t *testing.T, dir string) { os.Truncate(newest(t, dir), 70) }, older},
		"snapshot empty":               {func(t *testing.T, dir string) { os.Truncate(newest(t, dir), 0) }, older},
		"snapshot of another release": {func(t *testing.T, dir string) {
			b, _ := os.ReadFile(newest(t, dir))
			b[len(snapshotMagic)-1]++
			os.WriteFile(newest(t, dir), b, 0o600)
		}, "this release reads"},
		"snapshot renamed": {func(t *testing.T, dir string) {
			os.Rename(newest(t, dir), filepath.Join(dir, snapshotsDir, head{Index: 9, Term: 2}.name()))
		}, older},
		"log entry missing": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(logBucket).Delete(key(7)) })
		}, "entry 7 is missing"},
		"log entry damaged": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error {
				b := bytes.Clone(tx.Bucket(logBucket).Get(key(7)))
				b[30]++
				return tx.Bucket(logBucket).Put(key(7), b)
			})
		}, "entry 7 is damaged"},
		"log entry moved": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error {
				return tx.Bucket(logBucket).Put(key(8), bytes.Clone(tx.Bucket(logBucket).Get(key(7))))
			})
		}, "entry 8 is damaged"},
		"log entries at the end missing": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error { return tx.Bucket(logBucket).Delete(key(9)) })
		}, "9 are missing"},
		"vote damaged": {func(t *testing.T, dir string) {
			edit(t, dir, func(tx *bbolt.Tx) error {
				b := bytes.Clone(tx.Bucket(metaBucket).Get(summaryKey))
				b[len(b)/2]++
				return tx.Bucket(metaBucket).Put(summaryKey, b)
			})
		}, "summary is damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := made(t)
			c.damage(t, dir)
			s, err := Open(config(t, dir))
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrNone) {
				t.Errorf("%v; want %q", err, c.want)
			}
			if _, err := os.Stat(database(dir)); err != nil && name != "database missing" {
				t.Error(err)
			}
		})
	}
}

func TestNoneAndLocked(t *testing.T) {
	for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
		if _, err := Open(config(t, dir)); !errors.Is(err, ErrNone) {
			t.Errorf("%v", err)
		}
		if names, _ := os.ReadDir(dir); len(names) > 0 {
			t.Errorf("Open made %v", names)
		}
	}
	dir := made(t)
	opened(t, config(t, dir))
	if _, err := Open(config(t, dir)); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
}

func FuzzEntry(f *testing.F) {
	f.Add(uint64(9), encodeEntry(entry(9)))
	f.Add(uint64(1), encodeEntry(&raft.Log{Index: 1, Type: raft.LogNoop, Extensions: []byte("x")}))
	f.Fuzz(func(t *testing.T, index uint64, b []byte) {
		var l raft.Log
		if decodeEntry(index, b, &l) == nil && !bytes.Equal(encodeEntry(&l), b) {
			t.Errorf("%x becomes %x", b, encodeEntry(&l))
		}
	})
}

func FuzzSnapshotFile(f *testing.F) {
	b, err := encodeSnapshot(head{Index: 3, Term: 1}, []byte("state"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, state, err := decodeSnapshot(b); err == nil {
			if _, err := encodeSnapshot(h, state); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzPages overwrites a part of a database: it is refused, or bbolt can make
// something of it, without an end of memory or of the stack.
func FuzzPages(f *testing.F) {
	dir := f.TempDir()
	err := Create(config(f, dir), func(s *Store) error { return s.StoreLogs(entries(1, 200)) })
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, databaseName))
	if err != nil {
		f.Fatal(err)
	}
	first := 2 * os.Getpagesize() // behind the metas, which have checksums
	f.Add(uint32(0), []byte{})
	for at := 0; at+first < len(whole); at += os.Getpagesize() {
		f.Add(uint32(at), whole[first:first+64])
		f.Add(uint32(at)+10, []byte{0xFF, 0xFF, 1})
		f.Add(uint32(at)+24, bytes.Clone(whole[at+first:at+first+8]))
	}
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(whole)
		copy(b[first+int(at)%(len(b)-first):], patch)
		cfg := config(t, t.TempDir())
		cfg.Fatal = func(error) {}
		if err := errors.Join(os.Mkdir(filepath.Join(cfg.Dir, snapshotsDir), 0o700), os.WriteFile(cfg.database(), b, 0o600)); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(cfg); err == nil {
			s.Close()
		}
	})
}
