package trail

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"gatehouse/fabric/audit"
)

// ErrMissing says that records are not on this gateway's disk, or not yet.
var ErrMissing = errors.New("these records are not on this gateway")

// piece is a run of records that were read, and the tree before them.
type piece struct {
	before  audit.Tree
	records [][]byte
}

func (p piece) next() uint64 { return p.before.Size + uint64(len(p.records)) }

// piece reads what holds record n: a file, or what waits in memory. What turns
// out to be damaged is thrown away.
func (t *Trail) piece(n uint64) (piece, error) {
	t.disk.Lock()
	defer t.disk.Unlock()
	t.mu.Lock()
	files, waits := t.files, piece{t.base, t.pending}
	t.mu.Unlock()
	if n >= waits.before.Size && n < waits.next() {
		return waits, nil
	}
	next := waits.before
	for i, f := range slices.Backward(files) {
		if f.next() != next.Size {
			break // what leads up to the gap nobody knows
		}
		if n < f.first() {
			next = f.before
			continue
		}
		records, err := t.take(f, next)
		if errors.Is(err, errDamaged) || errors.Is(err, fs.ErrNotExist) {
			err = errors.Join(err, t.lose(i, err))
		}
		if err != nil {
			return piece{}, fmt.Errorf("record %d: %w: %w", n, ErrMissing, err)
		}
		return piece{f.before, records}, nil
	}
	return piece{}, fmt.Errorf("record %d: %w", n, ErrMissing)
}

// lose makes a gap of a file that is of no use.
func (t *Trail) lose(i int, why error) error {
	if t.failed != nil {
		return t.failed
	}
	t.mu.Lock()
	f := t.files[i]
	t.files = slices.Delete(slices.Clone(t.files), i, i+1)
	t.mu.Unlock()
	t.notice()
	if err := t.discard(f.name(), why); err != nil {
		return t.fail(err)
	}
	return nil
}

// Read tells of records in their order, from one of them on, until there are no
// more or each returns false, and gives the one after the last. The error is
// ErrMissing where some are missing: from First on none is.
func (t *Trail) Read(from uint64, each func(index uint64, record []byte) bool) (next uint64, err error) {
	for from < t.Tree().Size {
		p, err := t.piece(from)
		if err != nil {
			return from, err
		}
		for _, r := range p.records[from-p.before.Size:] {
			from++
			if !each(from-1, r) {
				return from, nil
			}
		}
	}
	return from, nil
}

// First is the first record since which none is missing.
func (t *Trail) First() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := t.base.Size
	for _, f := range slices.Backward(t.files) {
		if f.next() != first {
			break
		}
		first = f.first()
	}
	return first
}

// Leaves are all records since which none is missing, to prove things with. It
// reads all of them.
func (t *Trail) Leaves() (*audit.Leaves, error) {
	from := t.First()
	var l *audit.Leaves
	for size := t.Tree().Size; from < size; {
		p, err := t.piece(from)
		if err != nil {
			return nil, err
		}
		if l == nil {
			l = &audit.Leaves{Before: p.before}
		}
		for _, r := range p.records {
			l.Hashes = append(l.Hashes, tlog.RecordHash(r))
		}
		from = p.next()
	}
	if l == nil {
		l = &audit.Leaves{Before: t.Tree()}
	}
	return l, nil
}

// Check reads everything, and throws away what is damaged.
func (t *Trail) Check() (err error) {
	for _, f := range slices.Backward(slices.Clone(t.all())) { // the newest proves the others
		if _, damage := t.piece(f.first()); damage != nil {
			err = errors.Join(err, damage)
		}
	}
	return err
}

// Before is a run of records up to one, which is not among them, and the tree
// before the run: what proves itself to who knows the tree up to there.
func (t *Trail) Before(n uint64) (before audit.Tree, records [][]byte, err error) {
	if n == 0 || n > t.Tree().Size {
		return before, nil, fmt.Errorf("before record %d: %w", n, ErrMissing)
	}
	p, err := t.piece(n - 1)
	if err != nil {
		return before, nil, err
	}
	return p.before, p.records[:n-p.before.Size], nil
}

// Missing is the newest gap: the tree before what comes after it, and its first
// record.
func (t *Trail) Missing() (end audit.Tree, from uint64, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	end = t.base
	for _, f := range slices.Backward(t.files) {
		if f.next() != end.Size {
			return end, f.next(), true
		}
		end = f.before
	}
	return end, 0, end.Size > 0 && sum(t.files) < fillSize
}

// Gaps gives a notice when there may be one.
func (t *Trail) Gaps() <-chan struct{} { return t.gap }

func (t *Trail) notice() {
	select {
	case t.gap <- struct{}{}:
	default:
	}
}

// Fill takes records that another gateway says were before the end of the newest
// gap, if they lead up to it.
func (t *Trail) Fill(before audit.Tree, records [][]byte) error {
	t.disk.Lock()
	defer t.disk.Unlock()
	end, from, ok := t.Missing()
	switch {
	case !ok:
		return nil
	case before.Check() != nil || len(records) == 0 || before.Size+uint64(len(records)) != end.Size || !after(before, records).Same(end):
		return errors.New("the records it gave are not those of the trail")
	}
	for before.Size < from { // these are here
		before, records = before.Append(records[0]), records[1:]
	}
	if t.failed != nil {
		return t.failed
	}
	f, err := t.put(before, records)
	if err != nil {
		return t.fail(err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.files, func(o file) bool { return o.first() > f.first() })
	if i < 0 {
		i = len(t.files)
	}
	t.files = slices.Insert(slices.Clone(t.files), i, f)
	return nil
}
