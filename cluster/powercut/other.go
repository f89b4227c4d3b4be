//go:build !linux || !(amd64 || arm64)

package powercut

import "os"

// Record is not made for this system.
func Record(string, *os.File, ...string) ([]Op, error) { return nil, ErrNotPermitted }
