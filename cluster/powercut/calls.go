//go:build linux && (amd64 || arm64)

package powercut

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// call is a system call under way. done is what it does if it succeeds.
type call struct {
	number uint64
	args   [6]uint64
	before int
	done   func(result int64) error
}

// enter reads what a system call is about to do to the directory.
func (t *tracer) enter(c *call) (err error) {
	switch c.number {
	case unix.SYS_OPENAT:
		return t.open(c)
	case unix.SYS_MKDIRAT:
		return t.named(c, func(name string) {
			t.add(Op{Kind: Mkdir, Path: name, Before: c.before})
		})
	case unix.SYS_UNLINKAT:
		return t.named(c, func(name string) {
			delete(t.files, name)
			t.add(Op{Kind: Remove, Path: name, Before: c.before})
		})
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return t.rename(c)
	case unix.SYS_WRITE:
		return t.write(c, -1)
	case unix.SYS_PWRITE64:
		return t.write(c, int64(c.args[3]))
	case unix.SYS_FTRUNCATE:
		return t.file(c, func(o Op) {
			o.Kind, o.Size = Truncate, int64(c.args[1])
			t.add(o)
		})
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return t.sync(c)
	case unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_PWRITEV2, unix.SYS_FALLOCATE, unix.SYS_SENDFILE:
		return t.refuse(c, c.args[0])
	case unix.SYS_COPY_FILE_RANGE, unix.SYS_SPLICE:
		return t.refuse(c, c.args[2])
	case unix.SYS_MMAP:
		if c.args[2]&unix.PROT_WRITE != 0 && c.args[3]&unix.MAP_SHARED != 0 && c.args[3]&unix.MAP_ANONYMOUS == 0 {
			return t.refuse(c, c.args[4])
		}
	case unix.SYS_LINKAT:
		return t.refuseLink(c.args[2], c.args[3])
	case unix.SYS_SYMLINKAT:
		return t.refuseLink(c.args[1], c.args[2])
	}
	return nil
}

// path is the path, relative to the directory, that arguments of a call name.
func (t *tracer) path(at, pointer uint64) (name string, ours bool, err error) {
	text, err := t.text(pointer)
	if err != nil {
		return "", false, err
	}
	if !filepath.IsAbs(text) {
		from := "cwd"
		if int32(at) != unix.AT_FDCWD {
			from = "fd/" + strconv.Itoa(int(int32(at)))
		}
		base, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", t.pid, from))
		if err != nil { // the call is about to fail, too
			return "", false, nil
		}
		text = filepath.Join(base, text)
	}
	name, ours = below(t.dir, text)
	return name, ours, nil
}

// named is a call that begins with a directory and a path.
func (t *tracer) named(c *call, done func(name string)) error {
	name, ours, err := t.path(c.args[0], c.args[1])
	if ours {
		c.done = func(int64) error { done(name); return nil }
	}
	return err
}

func (t *tracer) open(c *call) error {
	name, ours, err := t.path(c.args[0], c.args[1])
	if !ours || err != nil || c.args[2]&unix.O_DIRECTORY != 0 {
		return err
	}
	c.done = func(int64) error {
		file, there := t.files[name]
		switch {
		case !there && c.args[2]&unix.O_CREAT != 0:
			t.create(name, c.before)
		case there && c.args[2]&unix.O_TRUNC != 0:
			t.add(Op{Kind: Truncate, Path: name, File: file, Before: c.before})
		}
		return nil
	}
	return nil
}

func (t *tracer) rename(c *call) error {
	from, ours, err := t.path(c.args[0], c.args[1])
	if err != nil {
		return err
	}
	to, too, err := t.path(c.args[2], c.args[3])
	if !ours && !too || err != nil {
		return err
	}
	file, known := t.files[from]
	if !known || !too || filepath.Dir(from) != filepath.Dir(to) {
		return fmt.Errorf("%s is renamed to %s: only files are, within a directory", from, to)
	}
	c.done = func(int64) error {
		delete(t.files, from)
		t.files[to] = file
		t.add(Op{Kind: Rename, Path: from, To: to, File: file, Before: c.before})
		return nil
	}
	return nil
}

// opened is what a file of the process is called, relative to the directory.
func (t *tracer) opened(fd uint64) (name string, ours bool) {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, int32(fd)))
	if err != nil {
		return "", false
	}
	return below(t.dir, path)
}

// file is a call that begins with an open file. One that was removed is nobody's.
func (t *tracer) file(c *call, done func(Op)) error {
	name, ours := t.opened(c.args[0])
	file, known := t.files[name]
	if ours && known {
		c.done = func(int64) error {
			done(Op{Path: name, File: file, Before: c.before})
			return nil
		}
	}
	return nil
}

func (t *tracer) write(c *call, offset int64) error {
	if c.number == unix.SYS_WRITE && c.args[0] == Notes {
		note, err := t.octets(c.args[1], c.args[2])
		t.add(Op{Kind: Note, Data: note, Before: c.before})
		return err
	}
	name, ours := t.opened(c.args[0])
	file, known := t.files[name]
	if !ours || !known {
		return nil
	}
	data, err := t.octets(c.args[1], c.args[2])
	if err == nil && offset < 0 {
		offset, err = t.position(c.args[0], name)
	}
	c.done = func(written int64) error {
		t.add(Op{Kind: Write, Path: name, File: file, Offset: offset, Data: data[:written], Before: c.before})
		return nil
	}
	return err
}

// position is where an open file is written next.
func (t *tracer) position(fd uint64, name string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", t.pid, int32(fd)))
	if err != nil {
		return 0, err
	}
	var position int64
	var flags int
	if _, err := fmt.Sscanf(string(b), "pos:\t%d\nflags:\t0%o\n", &position, &flags); err != nil {
		return 0, fmt.Errorf("%q: %w", b, err)
	}
	if flags&unix.O_APPEND != 0 {
		info, err := os.Stat(filepath.Join(t.dir, name))
		if err != nil {
			return 0, err
		}
		position = info.Size()
	}
	return position, nil
}

func (t *tracer) sync(c *call) error {
	name, ours := t.opened(c.args[0])
	if !ours || strings.HasSuffix(name, " (deleted)") {
		return nil
	}
	o := Op{Kind: SyncDir, Path: name, Before: c.before}
	if file, known := t.files[name]; known {
		o.Kind, o.File = Sync, file
	}
	c.done = func(int64) error { t.add(o); return nil }
	return nil
}

// refuse ends the recording if a call that is not understood is about one of
// the directory's files.
func (t *tracer) refuse(c *call, fd uint64) error {
	if name, ours := t.opened(fd); ours {
		return fmt.Errorf("system call %d on %s is not understood", c.number, name)
	}
	return nil
}

func (t *tracer) refuseLink(at, pointer uint64) error {
	if name, ours, err := t.path(at, pointer); ours || err != nil {
		return errors.Join(fmt.Errorf("a link %s is not understood", name), err)
	}
	return nil
}
