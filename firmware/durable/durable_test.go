package durable_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/firmware/durable"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "file")
	for _, content := range []string{"one", "two"} {
		if err := durable.Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q, %v", got, err)
		}
	}
	full := errors.New("the disk is full")
	err := durable.Create(path, func(w io.Writer) error {
		_, _ = w.Write([]byte("thr"))
		return full
	})
	if got, _ := os.ReadFile(path); !errors.Is(err, full) || string(got) != "two" {
		t.Errorf("after a failure: %q, %v", got, err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("it leaves %v", left)
	}
	if err := errors.Join(durable.Remove(path), durable.Remove(path)); err != nil {
		t.Error(err)
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	if _, err := durable.Stage(dir, func(io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(durable.Write(filepath.Join(dir, "kept"), nil), durable.Sweep(dir), durable.Sweep(filepath.Join(dir, "missing"))); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 || left[0].Name() != "kept" {
		t.Errorf("it leaves %v", left)
	}
}
