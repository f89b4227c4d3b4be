package powercut

import (
	"os"
	"testing"
)

// memory is where Linux has a file system in memory.
const memory = "/dev/shm"

// TempDir is t.TempDir, on a file system in memory if there is one.
func TempDir(t testing.TB) string {
	dir, err := os.MkdirTemp(memory, "gatehouse")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
