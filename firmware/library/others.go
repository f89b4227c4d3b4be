package library

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"

	"gatehouse/firmware/dcl"
	"gatehouse/firmware/manifest"
	"gatehouse/firmware/shelf"
)

// ErrNotHere says that a gateway does not have a source's directory: the stick
// is in another one, or in none.
var ErrNotHere = errors.New("the source's directory is not here")

// beside reads a directory that may be here, or at another gateway.
type beside struct {
	manifest.Fetcher // here
	others           func() []manifest.Fetcher
}

// Fetch implements manifest.Fetcher. Whoever has the directory is asked for
// every file of it, in the same order.
func (b beside) Fetch(ctx context.Context, name string, size int64) (io.ReadCloser, error) {
	if holds(ctx, b.Fetcher) {
		return b.Fetcher.Fetch(ctx, name, size)
	}
	_, err := b.Fetcher.Fetch(ctx, name, size)
	for _, other := range b.others() {
		if r, elsewhere := other.Fetch(ctx, name, size); elsewhere == nil || errors.Is(elsewhere, fs.ErrNotExist) {
			return r, elsewhere
		}
	}
	return nil, err
}

func (l *Library) others(source string) []manifest.Fetcher {
	if l.cfg.Others == nil {
		return nil
	}
	return l.cfg.Others(source)
}

// holds reports whether a repository is there, and not just its folder: that of
// a stick that is pulled out is empty.
func holds(ctx context.Context, f manifest.Fetcher) bool {
	r, err := f.Fetch(ctx, "metadata/timestamp.json", 0)
	if err != nil {
		return false
	}
	r.Close()
	return true
}

// File opens a file of a source's directory for another gateway. An image may be
// on the shelf only.
func (l *Library) File(ctx context.Context, name, file string) (io.ReadCloser, error) {
	l.mu.Lock()
	s := l.sources[name]
	l.mu.Unlock()
	if s == nil || remote(s.of.Where) {
		return nil, ErrNotHere
	}
	if dir := manifest.Dir(s.of.Where); holds(ctx, dir) {
		return dir.Fetch(ctx, file, 0)
	}
	var d manifest.Digest
	if digest, name, _ := strings.Cut(path.Base(file), "."); strings.HasSuffix(name, ".ota") && d.UnmarshalText([]byte(digest)) == nil {
		if image, err := l.Shelf.Open(shelf.Digest(d)); err == nil {
			return struct {
				io.Reader
				io.Closer
			}{io.NewSectionReader(image, 0, image.Size()), image}, nil
		}
	}
	return nil, ErrNotHere
}

func remote(where string) bool { return strings.Contains(where, "://") }

// Export writes the ledger's records, for another gateway's Import.
func (l *Library) Export(w io.Writer) error {
	l.mu.Lock()
	records := l.records
	l.mu.Unlock()
	if records == nil {
		records = new(dcl.Snapshot)
	}
	return records.Write(w)
}
