// Package powercut records what a process does to a directory, system call by
// system call, and rebuilds the directory as a power cut at any of them may
// leave it. Tests and measurements only.
//
// It promises to see every change: Record compares, in the end, what its
// recording rebuilds with what is there. It takes for lasting only what POSIX
// does: the contents of a file after it was synced, and what has a name after
// its directory was. All else may be there after a power cut or not, in parts
// of 512 octets. It knows no hard or symbolic links, no directory that is
// renamed and no file that is written through memory: these are errors.
package powercut

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ErrNotPermitted is a machine on which processes may not be traced.
var ErrNotPermitted = errors.New("this machine does not let processes be traced")

// Notes is the number of the open file in whose writes the process says what
// it has done.
const Notes = 3

// Kind is what an Op does.
type Kind uint8

const (
	Note Kind = iota
	Create
	Mkdir
	Write
	Truncate // or extend
	Rename
	Remove
	Sync
	SyncDir
)

func (k Kind) String() string {
	return [...]string{"note", "create", "mkdir", "write", "truncate", "rename", "remove", "sync", "sync directory"}[k]
}

// Op is one system call that changed the directory, or made a change last, or
// a note. Paths are relative to the directory.
type Op struct {
	Kind   Kind
	Path   string
	To     string // Rename: the new path
	File   int    // which file it is, whatever it is called; not of directories
	Offset int64  // Write
	Size   int64  // Truncate
	Data   []byte // Write, Note
	// Before is how many calls had ended when this one began. A sync makes
	// those last, and nothing that was under way.
	Before int
	There  bool // before the process began
}

func (o Op) String() string {
	switch o.Kind {
	case Note:
		return fmt.Sprintf("note %q", o.Data)
	case Write:
		return fmt.Sprintf("write %d octets of %s at %d", len(o.Data), o.Path, o.Offset)
	case Rename:
		return fmt.Sprintf("rename %s to %s", o.Path, o.To)
	}
	return fmt.Sprintf("%v %s", o.Kind, o.Path)
}

// Tree is a directory: files by path, and directories, whose contents are nil.
type Tree map[string][]byte

// ReadTree reads a directory. Sockets are left out.
func ReadTree(dir string) (Tree, error) {
	t := Tree{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			t[name] = nil
			return nil
		case e.Type() == fs.ModeSocket:
			return nil
		case !e.Type().IsRegular():
			return fmt.Errorf("%s is neither a file nor a directory", path)
		}
		b, err := os.ReadFile(path)
		t[name] = slices.Concat([]byte{}, b) // never nil
		return err
	})
	return t, err
}

// Put makes dir, which must be empty or missing, the directory.
func (t Tree) Put(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, name := range t.names() {
		path, contents := filepath.Join(dir, name), t[name]
		var err error
		if contents == nil {
			err = os.Mkdir(path, 0o700)
		} else {
			err = os.WriteFile(path, contents, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names are sorted: a directory comes before what is in it.
func (t Tree) names() []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// differs says where two trees differ first, or nothing.
func (t Tree) differs(other Tree) string {
	for name, contents := range t {
		have, there := other[name]
		if !there || (have == nil) != (contents == nil) || !bytes.Equal(have, contents) {
			return name
		}
	}
	for name := range other {
		if _, there := t[name]; !there {
			return name
		}
	}
	return ""
}

// below is a path relative to dir, if it is below it.
func below(dir, path string) (string, bool) {
	if path == dir {
		return ".", true
	}
	return strings.CutPrefix(filepath.Clean(path), dir+string(filepath.Separator))
}

// Sum tells trees apart.
func (t Tree) Sum() [sha256.Size]byte {
	h := sha256.New()
	for _, name := range t.names() {
		fmt.Fprintf(h, "%q %v %d\n", name, t[name] == nil, len(t[name]))
		h.Write(t[name])
	}
	return [sha256.Size]byte(h.Sum(nil))
}
