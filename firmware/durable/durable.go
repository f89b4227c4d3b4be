// Package durable writes files that are, after a power cut at any moment,
// either what they were or what they were to become, whole.
//
// It promises the order: a temporary file beside the final one is written and
// synced, renamed over it, and the folder is synced. It never leaves a
// temporary file behind but after a cut: [Sweep] removes those.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// prefix begins the names of unfinished files.
const prefix = ".unfinished-"

// Write puts data at path. Missing folders are made.
func Write(path string, data []byte) error {
	return Create(path, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(data))
		return err
	})
}

// Create puts at path what fill writes. Where fill fails, path keeps what it
// held.
func Create(path string, fill func(io.Writer) error) error {
	temporary, err := Stage(filepath.Dir(path), fill)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return Rename(temporary, path)
}

// Stage writes what fill writes into a synced temporary file of folder, which
// is made where it is missing, and returns its path. [Rename] gives it its
// name, once that is known.
func Stage(folder string, fill func(io.Writer) error) (path string, err error) {
	if err := makeFolder(folder); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(folder, prefix+"*")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	// The published part is for everybody; what is private sits in a private folder.
	if err := f.Chmod(0o644); err != nil {
		return "", err
	}
	if err := fill(f); err != nil {
		return "", err
	}
	if err := f.Sync(); err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// Rename gives a staged file of the same folder its final name, durably.
func Rename(temporary, path string) error {
	if err := os.Rename(temporary, path); err != nil {
		_ = os.Remove(temporary)
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// Remove removes the file at path, durably. That it is missing is no error.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// Sweep removes what cuts left unfinished in folder, which may be missing.
func Sweep(folder string) error {
	entries, err := os.ReadDir(folder)
	if os.IsNotExist(err) {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			err = errors.Join(err, os.Remove(filepath.Join(folder, e.Name())))
		}
	}
	return err
}

// makeFolder syncs each parent too: a folder is no more durable than its entry.
func makeFolder(folder string) error {
	if _, err := os.Stat(folder); err == nil {
		return nil
	}
	parent := filepath.Dir(folder)
	if parent != folder {
		if err := makeFolder(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(folder, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	return syncFolder(parent)
}

func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
