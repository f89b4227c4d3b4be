package trail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"gatehouse/cluster/durable"
	"gatehouse/fabric/audit"
)

// A file is a line of JSON that says which records it holds and the tree of all
// that were before them, and then the records, each a line as it was hashed. It
// is called after its first record. Nothing is ever added to one: it is written
// anew, and takes the other's place.
const (
	suffix  = ".jsonl"
	maxHead = 8 << 10  // octets of the first line
	maxFile = 16 << 20 // octets that are read of one
)

// head is a file's first line.
type head struct {
	Records uint64 `json:"records"`
	First   uint64 `json:"first"`
	Edge    []byte `json:"edge"` // of the audit.Tree of those before First
}

// file is one of those in the directory.
type file struct {
	before  audit.Tree
	records uint64
	size    int64 // octets
}

func (f file) first() uint64 { return f.before.Size }
func (f file) next() uint64  { return f.before.Size + f.records }
func (f file) name() string  { return fmt.Sprintf("%016x%s", f.before.Size, suffix) }

func (h head) file(size int64) (file, error) {
	f := file{before: audit.Tree{Size: h.First, Edge: h.Edge}, records: h.Records, size: size}
	if len(f.before.Edge) == 0 {
		f.before.Edge = nil
	}
	if err := f.before.Check(); err != nil {
		return f, err
	}
	if h.Records == 0 || h.Records > maxFile {
		return f, fmt.Errorf("%d records", h.Records)
	}
	return f, nil
}

// encode is a file of records that follow a tree.
func encode(before audit.Tree, records [][]byte) ([]byte, file, error) {
	b, err := json.Marshal(head{uint64(len(records)), before.Size, before.Edge})
	if err != nil {
		return nil, file{}, err
	}
	b = append(b, '\n')
	for _, r := range records {
		b = append(append(b, r...), '\n')
	}
	return b, file{before, uint64(len(records)), int64(len(b))}, nil
}

// decode is the inverse of encode.
func decode(b []byte) (file, [][]byte, error) {
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	var h head
	if !ok || len(line) > maxHead {
		return file{}, nil, errors.New("it has no first line")
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return file{}, nil, err
	}
	f, err := h.file(int64(len(b)))
	if err != nil {
		return f, nil, err
	}
	if len(rest) == 0 || rest[len(rest)-1] != '\n' || uint64(bytes.Count(rest, []byte("\n"))) != f.records {
		return f, nil, fmt.Errorf("it does not have %d records", f.records)
	}
	return f, bytes.Split(rest[:len(rest)-1], []byte("\n")), nil
}

// readHead is what a file says that it holds.
func readHead(path string) (f file, err error) {
	o, err := os.Open(path)
	if err != nil {
		return f, err
	}
	defer o.Close()
	info, err := o.Stat()
	if err != nil {
		return f, err
	}
	line, err := bufio.NewReaderSize(o, maxHead).ReadSlice('\n')
	var h head
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err == nil {
		f, err = h.file(info.Size())
	}
	if err == nil && f.name() != filepath.Base(path) {
		err = fmt.Errorf("it is %s by its first line", f.name())
	}
	return f, err
}

// after is a tree with records more.
func after(t audit.Tree, records [][]byte) audit.Tree {
	for _, r := range records {
		t = t.Append(r)
	}
	return t
}

// put writes a file.
func (t *Trail) put(before audit.Tree, records [][]byte) (file, error) {
	b, f, err := encode(before, records)
	if err == nil {
		err = durable.WriteFile(t.Step, filepath.Join(t.Dir, f.name()), b)
	}
	return f, err
}

// load reads a file.
func (t *Trail) load(f file) ([][]byte, error) {
	path := filepath.Join(t.Dir, f.name())
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	got, records, err := decode(b)
	if err != nil || !got.before.Same(f.before) || got.records != f.records {
		return nil, fmt.Errorf("%s: %w", path, errors.Join(errDamaged, err))
	}
	return records, nil
}

// take is load of a file that leads up to a tree.
func (t *Trail) take(f file, next audit.Tree) ([][]byte, error) {
	records, err := t.load(f)
	if err == nil && !after(f.before, records).Same(next) {
		return nil, fmt.Errorf("%s: %w", f.name(), errDamaged)
	}
	return records, err
}

// errDamaged says that a file's records are not those that were decided.
var errDamaged = errors.New("its records are not those of the trail")
