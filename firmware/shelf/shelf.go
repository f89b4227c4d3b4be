// Package shelf keeps software images by the SHA-256 digest of their files.
//
// It promises that no octet leaves it that does not belong to the digest it
// was asked for: a file is checked when it is put there and when it is opened,
// and each block of it again when it is read. What is damaged is taken off. It
// does not know what an image is wanted for.
package shelf

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gatehouse/firmware/durable"
	"gatehouse/firmware/otaimage"
)

// suffix ends the names of images; what has another is half done.
const suffix = ".ota"

// Digest names an image: the SHA-256 of the whole file.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String writes.
func ParseDigest(s string) (d Digest, err error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("%q is no SHA-256 digest: 64 hexadecimal digits are due", s)
	}
	return Digest(b), nil
}

var (
	// ErrAbsent says that an image is not there.
	ErrAbsent = errors.New("the image is not on the shelf")
	// ErrDamaged says that an image was there, and is not what it was.
	ErrDamaged = errors.New("the image is damaged")
	// ErrFull says that an image does not fit on the shelf.
	ErrFull = errors.New("there is no room on the shelf for the image")
)

// Shelf is a directory of images.
type Shelf struct {
	dir  string
	room int64
}

// Open is the shelf in a directory, which is made if it is not there, with room
// for so many octets. What was being put there in a crash is thrown away.
func Open(dir string, room int64) (*Shelf, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
	}
	return &Shelf{dir, room}, nil
}

func (s *Shelf) path(d Digest) string { return filepath.Join(s.dir, d.String()+suffix) }

// Has reports whether an image is there, unchecked.
func (s *Shelf) Has(d Digest) bool {
	_, err := os.Stat(s.path(d))
	return err == nil
}

// Put takes an image from r, of that digest and size in octets and with a
// header that agrees with it. One that is there is left there, and r unread.
func (s *Shelf) Put(r io.Reader, d Digest, size int64) error {
	if s.Has(d) {
		return nil
	}
	if used, err := s.used(); err != nil {
		return err
	} else if size < 0 || size > s.room-used {
		return fmt.Errorf("%w: it has %d octets, and %d of %d are taken", ErrFull, size, used, s.room)
	}
	return durable.Create(s.path(d), func(w io.Writer) error {
		sum, limited := sha256.New(), &io.LimitedReader{R: r, N: size + 1}
		// It reads to the end, so that sum is of the whole file.
		if _, err := otaimage.Verify(io.TeeReader(limited, io.MultiWriter(w, sum))); err != nil {
			return err
		}
		if n := size + 1 - limited.N; n != size {
			return fmt.Errorf("the image has %d octets, and %d are due", n, size)
		}
		if Digest(sum.Sum(nil)) != d {
			return fmt.Errorf("%w: its digest is %x, and %v is due", ErrDamaged, sum.Sum(nil), d)
		}
		return nil
	})
}

// Entry is an image on the shelf.
type Entry struct {
	Digest Digest
	Size   int64 // octets
}

// List is all images, unchecked.
func (s *Shelf) List() (all []Entry, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		d, err := ParseDigest(name)
		if !ok || err != nil {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, Entry{d, info.Size()})
	}
	return all, nil
}

func (s *Shelf) used() (n int64, err error) {
	all, err := s.List()
	for _, e := range all {
		n += e.Size
	}
	return n, err
}

// Remove takes an image off. It is no error if it is not there.
func (s *Shelf) Remove(d Digest) error { return durable.Remove(s.path(d)) }
