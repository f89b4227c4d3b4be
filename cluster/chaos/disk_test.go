package chaos

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"

	"gatehouse/cluster/durable"
)

var (
	errDead = errors.New("the power is off")
	errFull = errors.New("no space left on device")
)

// disk is what stands between a gateway and its state directory: every write
// that must last goes through step. Once it is off nothing is written any more.
type disk struct {
	dir  string
	next string // where the directory is copied to when the power goes

	mu        sync.Mutex // never held in a wait of simulated time
	rand      *rand.Rand
	off       bool
	full      bool
	cut       bool // the power goes in the middle of the next step
	lies      bool // a sabotage: what it says is synced may be lost with the power
	shadow    string
	writes    int
	crashed   func()
	copyError error
}

func (d *disk) step(op string, do func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.off:
		return errDead
	case d.full:
		if d.rand.IntN(2) == 0 {
			return errors.Join(do(), errFull)
		}
		return errFull
	case d.cut:
		d.tear(op, do)
		return errDead
	}
	if d.writes++; d.lies && d.writes%lieEvery == 1 {
		d.shadow = d.next + ".shadow"
		d.copyError = errors.Join(d.copyError, os.RemoveAll(d.shadow), copyDir(d.dir, d.shadow))
	}
	return do()
}

// lieEvery is how many writes a disk that lies keeps in its cache.
const lieEvery = 25

// powerOff ends the writing, and gives the directory as the next process finds
// it.
func (d *disk) powerOff() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		d.off = true
		from := d.dir
		if d.shadow != "" {
			from = d.shadow
		}
		d.copyError = errors.Join(d.copyError, copyDir(from, d.next))
	}
	return d.next, d.copyError
}

// tear has the power go in the middle of a step: before it, after it, or, for
// a transaction or a file, when some of its pages are on the disk.
func (d *disk) tear(op string, do func() error) {
	d.off = true
	defer d.crashed()
	save := func() { d.copyError = errors.Join(d.copyError, copyDir(d.dir, d.next)) }
	switch d.rand.IntN(3) {
	case 0:
		save()
		return
	case 1:
		_ = do()
		save()
		return
	}
	database := filepath.Join(d.dir, "log", "state.db")
	before, err := os.ReadFile(database)
	_ = do()
	save()
	d.copyError = errors.Join(d.copyError, err)
	if after, err := os.ReadFile(database); err == nil && op == "commit" {
		d.copyError = errors.Join(d.copyError, os.WriteFile(filepath.Join(d.next, "log", "state.db"), mix(d.rand, before, after), 0o600))
	}
	if op == "write" {
		d.copyError = errors.Join(d.copyError, d.truncateNew())
	}
}

// mix is a database in the middle of a transaction: its first two pages, which
// are written last, as before, and of the others any.
func mix(r *rand.Rand, before, after []byte) []byte {
	page := os.Getpagesize()
	mixed := bytes.Clone(after)
	for at := 0; at+page <= len(before) && at+page <= len(after); at += page {
		if at < 2*page || r.IntN(2) == 0 {
			copy(mixed[at:at+page], before[at:at+page])
		}
	}
	return mixed
}

// truncateNew cuts off what was being written.
func (d *disk) truncateNew() error {
	return filepath.WalkDir(d.next, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != durable.Suffix {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Truncate(path, d.rand.Int64N(info.Size()+1))
	})
}

func (d *disk) set(change func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func copyDir(from, to string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		copied := filepath.Join(to, path[len(from):])
		if e.IsDir() {
			return os.Mkdir(copied, 0o700)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(copied, b, 0o600)
	})
}
