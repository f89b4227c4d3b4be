//go:build !linux || !(amd64 || arm64)

package hci

import (
	"errors"
	"log/slog"
	"os/exec"
)

var errPlatform = errors.New("adapters are emulated on Linux alone, on amd64 and arm64")

// Available says why programs cannot be emulated here.
func Available() error { return errPlatform }

// Child returns at once.
func Child() {}

// Emulate fails.
func Emulate(*exec.Cmd, map[int]Device, *slog.Logger) (stop func(), err error) {
	return nil, errPlatform
}
