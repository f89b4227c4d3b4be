package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A Fetcher reads the files of one repository. It need not be trusted: all
// that it brings is checked.
type Fetcher interface {
	// Fetch opens the file of a name like "metadata/1.root.json". One that is
	// not there is fs.ErrNotExist. Reading ends when ctx does; size, in octets,
	// is the most that will be read, and bounds the time that is given.
	Fetch(ctx context.Context, name string, size int64) (io.ReadCloser, error)
	// String says to people where the files come from.
	String() string
}

// Dir reads a repository from a folder, such as one on a USB stick. Nothing
// outside of the folder is read, whatever links it holds.
func Dir(path string) Fetcher { return dir(path) }

type dir string

func (d dir) String() string { return string(d) }

func (d dir) Fetch(ctx context.Context, name string, _ int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Opened anew each time: the stick comes and goes.
	root, err := os.OpenRoot(string(d))
	if err != nil {
		// A folder that is missing is not a file that is missing.
		return nil, fmt.Errorf("%v", err)
	}
	defer root.Close()
	// O_NONBLOCK: opening a FIFO would wait for a writer.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, fmt.Errorf("%s is not a file", name)
	}
	return f, nil
}

// read fetches a file of at most limit octets.
func read(ctx context.Context, from Fetcher, name string, limit int64) ([]byte, error) {
	body, err := from.Fetch(ctx, name, limit)
	if err != nil {
		return nil, unreachable(ctx, name, err)
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, unreachable(ctx, name, err)
	}
	if int64(len(data)) > limit {
		return nil, refuse(Endless, name, "more than %d octets", limit)
	}
	return data, nil
}

// unreachable keeps why ctx ended: a deadline of ours means that the
// repository was slow.
func unreachable(ctx context.Context, name string, err error) error {
	if cause := context.Cause(ctx); CodeOf(cause) != "" {
		return cause
	}
	if CodeOf(err) != "" {
		return err
	}
	return &Error{Unreachable, name, err}
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
