// Package durable puts files on the disk so that a power cut leaves either the
// old contents or the new, and never less than what was said to be there.
//
// It promises that a file is synced before it gets its name, and the directory
// before the call returns. It never retries a sync that failed: the kernel may
// have thrown the pages away and say yes the second time.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Suffix marks a file that is still being written. One that is found was left
// by a crash and holds nothing.
const Suffix = ".new"

// Step is how an operation that changes the disk is done. Nil just does it.
// Tests break it: where do is not called nothing is persisted, where it is
// called and an error returned all the same it is.
type Step func(op string, do func() error) error

// Do does an operation.
func (s Step) Do(op string, do func() error) error {
	if s == nil {
		return do()
	}
	return s(op, do)
}

// WriteFile makes data the contents of the file path, readable by its owner
// only:
//
//	open(path.new, O_CREATE|O_TRUNC, 0600) write fsync close rename(path.new, path) fsync(dir)
func WriteFile(step Step, path string, data []byte) error {
	temporary := path + Suffix
	var f *os.File
	err := step.Do("create", func() (err error) {
		f, err = os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		return err
	})
	if err == nil {
		err = errors.Join(step.Do("write", func() error { return write(f, data) }), f.Close())
	}
	if err == nil {
		err = Rename(step, temporary, path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func write(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// MakeDir makes a directory and those above it that are missing, readable by
// its owner only. One that is there is no error, but may not yet be one that
// lasts.
func MakeDir(step Step, dir string) error {
	parent := filepath.Dir(dir)
	if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
		if err := MakeDir(step, parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return SyncDir(step, parent)
}

// Rename gives a file that is synced already its name.
func Rename(step Step, from, to string) error {
	if err := step.Do("rename", func() error { return os.Rename(from, to) }); err != nil {
		return err
	}
	return SyncDir(step, filepath.Dir(to))
}

// Remove takes files away; one that is not there is no error.
func Remove(step Step, paths ...string) error {
	for _, path := range paths {
		err := step.Do("remove", func() error { return os.Remove(path) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// SyncDir makes what was created, renamed or removed in a directory last.
func SyncDir(step Step, dir string) error {
	return step.Do("sync directory", func() error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	})
}
