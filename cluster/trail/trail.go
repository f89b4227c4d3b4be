// Package trail keeps the records of what the home decided on a gateway's disk.
//
// It promises that what it gives are the records of the trust state's trail,
// octet by octet: what is not, by the hashes, is thrown away, and fetched from
// another gateway. It costs no write and no sync when something is decided:
// until a snapshot of the trust state is taken the records follow from Raft's
// log, and only then they go to the disk, before the snapshot. It is fail-stop:
// after one failed write it writes nothing any more.
//
// The records are in files that say which tree was before them. The newest leads
// up to the State's tree, and each to what the next one says: so each proves the
// one before, and a gap proves nothing wrong.
package trail

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"gatehouse/cluster/durable"
	"gatehouse/fabric/audit"
)

// Limits of ours, in octets. A record has some 400.
const (
	// MaxSize bounds what is kept: beyond it the oldest go, whose hashes stay in
	// the tree. A home that decides 50 things a day comes to it in 50 years.
	MaxSize = 256 << 20
	// keepSize is what is left then; up to fillSize the oldest are fetched.
	keepSize = MaxSize / 16 * 15
	fillSize = MaxSize / 8 * 7
	// maxPending is what waits in memory for a snapshot.
	maxPending = 1 << 20
	// joined is how large a file becomes before another is begun.
	joined = 128 << 10
)

// Config says where the records are.
type Config struct {
	Dir string
	Log *slog.Logger
	// Fatal ends the process: the disk is not to be trusted any more.
	Fatal func(error)
	Step  durable.Step // nil but in tests
}

// Trail is the records on one disk. Its methods may be called from several
// goroutines; Reset and Append come from one.
type Trail struct {
	Config
	gap chan struct{} // has room for one notice

	disk   sync.Mutex // held while files are read or written
	failed error
	lost   atomic.Int64

	mu      sync.Mutex // never held in a wait
	files   []file     // in their order
	base    audit.Tree // of the records before pending
	pending [][]byte   // those not on the disk
	waiting int        // octets of these
	tree    audit.Tree // of all
}

// Open reads what is in a directory, which it makes if there is none. What holds
// of it, Reset says.
func Open(cfg Config) (*Trail, error) {
	t := &Trail{Config: cfg, gap: make(chan struct{}, 1)}
	if err := t.open(); err != nil {
		return nil, fmt.Errorf("open the audit trail in %s: %w", cfg.Dir, err)
	}
	return t, nil
}

func (t *Trail) open() error {
	if _, err := os.Stat(t.Dir); errors.Is(err, os.ErrNotExist) {
		return durable.MakeDir(t.Step, t.Dir)
	}
	entries, err := os.ReadDir(t.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(t.Dir, e.Name())
		if strings.HasSuffix(e.Name(), durable.Suffix) {
			if err := durable.Remove(t.Step, path); err != nil {
				return err
			}
		}
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		f, err := readHead(path)
		if err == nil && len(t.files) > 0 && t.files[len(t.files)-1].next() > f.first() {
			err = errors.New("another file has its records")
		}
		if err == nil {
			t.files = append(t.files, f)
		} else if err := t.discard(e.Name(), err); err != nil {
			return err
		}
	}
	return nil
}

// discard removes a file that is of no use.
func (t *Trail) discard(name string, why error) error {
	t.lost.Add(1)
	t.Log.Warn("a file of the audit trail is damaged; its records are fetched from another gateway, if there is one", "file", name, "err", why)
	return durable.Remove(t.Step, filepath.Join(t.Dir, name))
}

// Lost is how many files were of no use since Open: none, unless the disk or
// somebody changed them.
func (t *Trail) Lost() int { return int(t.lost.Load()) }

// Reset says which tree the trust state has. What is on the disk beyond it will
// be appended again; what is missing before it is a gap.
func (t *Trail) Reset(to audit.Tree) error {
	t.disk.Lock()
	defer t.disk.Unlock()
	if to.Size >= t.Tree().Size { // what was appended is of this trail, and may follow from no log any more
		if err := t.flush(); err != nil {
			return err
		}
	}
	if t.failed != nil {
		return t.failed
	}
	if err := t.cut(to); err != nil {
		return t.fail(err)
	}
	t.mu.Lock()
	t.base, t.tree, t.pending, t.waiting = to, to, nil, 0
	t.mu.Unlock()
	if _, _, ok := t.Missing(); ok {
		t.notice()
	}
	return nil
}

// cut leaves of the files what leads up to a tree.
func (t *Trail) cut(to audit.Tree) error {
	files := slices.Clone(t.all())
	for n := len(files); n > 0 && files[n-1].next() >= to.Size; n-- {
		last := files[n-1]
		files = files[:n-1]
		if last.next() == to.Size {
			if _, err := t.take(last, to); err == nil {
				files = append(files, last)
				break
			} else if err := t.discard(last.name(), err); err != nil {
				return err
			}
			continue
		}
		var kept [][]byte
		if last.first() < to.Size { // an older snapshot than it was written for
			kept = t.first(last, to)
		}
		if kept == nil {
			if err := durable.Remove(t.Step, filepath.Join(t.Dir, last.name())); err != nil {
				return err
			}
			continue
		}
		f, err := t.put(last.before, kept)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	t.mu.Lock()
	t.files = files
	t.mu.Unlock()
	return nil
}

// first are a file's records up to a tree, nil if they do not lead there.
func (t *Trail) first(f file, to audit.Tree) [][]byte {
	records, err := t.load(f)
	if err != nil || uint64(len(records)) < to.Size-f.first() {
		return nil
	}
	records = records[:to.Size-f.first()]
	if !after(f.before, records).Same(to) {
		return nil
	}
	return records
}

// Append adds what was decided. It writes nothing, but now and then.
func (t *Trail) Append(records [][]byte) error {
	t.mu.Lock()
	for _, r := range records {
		t.pending = append(t.pending, r)
		t.waiting += len(r)
		t.tree = t.tree.Append(r)
	}
	full := t.waiting > maxPending
	t.mu.Unlock()
	if full {
		return t.Flush()
	}
	return nil
}

// Tree is the tree of all records, those in a gap too.
func (t *Trail) Tree() audit.Tree {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tree
}

func (t *Trail) all() []file {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.files
}

// Flush puts on the disk what was appended: it is there once it returns nil.
func (t *Trail) Flush() error {
	t.disk.Lock()
	defer t.disk.Unlock()
	return t.flush()
}

func (t *Trail) flush() error {
	if t.failed != nil {
		return t.failed
	}
	t.mu.Lock()
	base, records, files := t.base, t.pending, slices.Clone(t.files)
	t.mu.Unlock()
	if len(records) == 0 {
		return nil
	}
	whole, before := records, base
	if n := len(files); n > 0 && files[n-1].next() == base.Size && files[n-1].size < joined {
		if former, err := t.take(files[n-1], base); err == nil {
			whole, before, files = slices.Concat(former, records), files[n-1].before, files[:n-1]
		}
	}
	f, err := t.put(before, whole)
	if err == nil {
		files, err = t.prune(append(files, f))
	}
	if err != nil {
		return t.fail(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files, t.base = files, after(base, records)
	t.pending, t.waiting = slices.Clone(t.pending[len(records):]), 0
	for _, r := range t.pending {
		t.waiting += len(r)
	}
	return nil
}

// prune removes the oldest files if there is too much.
func (t *Trail) prune(files []file) ([]file, error) {
	if sum(files) <= MaxSize {
		return files, nil
	}
	for len(files) > 1 && sum(files) > keepSize {
		t.Log.Warn("the audit trail is full: its oldest records go", "first", files[0].first(), "records", files[0].records)
		if err := durable.Remove(t.Step, filepath.Join(t.Dir, files[0].name())); err != nil {
			return nil, err
		}
		files = files[1:]
	}
	return files, nil
}

func sum(files []file) (n int64) {
	for _, f := range files {
		n += f.size
	}
	return n
}

// fail ends the process; see Config.Fatal. Should that return, or end this
// goroutine alone, nothing is written any more.
func (t *Trail) fail(err error) error {
	if t.failed == nil {
		t.failed = fmt.Errorf("the audit trail's disk: %w", err)
	}
	t.Fatal(t.failed)
	return t.failed
}
