package shelf

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"gatehouse/firmware/otaimage"
)

// blockSize is how many octets are read, and checked, at once.
const blockSize = 64 << 10

// Image is one that was opened: of the right digest then, and held to it since.
type Image struct {
	Header *otaimage.Header
	digest Digest
	file   *os.File
	size   int64
	sums   []Digest // of the blocks

	mu    sync.Mutex
	last  int64 // block that is in memory; -1: none
	block []byte
}

// Open is an image that was checked from beginning to end. One that is damaged
// is taken off the shelf. Close it.
func (s *Shelf) Open(d Digest) (*Image, error) {
	f, err := os.Open(s.path(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrAbsent
	}
	if err != nil {
		return nil, err
	}
	i := &Image{digest: d, file: f, last: -1}
	if err := i.check(); err != nil {
		f.Close()
		if errors.Is(err, ErrDamaged) {
			err = errors.Join(err, s.Remove(d))
		}
		return nil, err
	}
	return i, nil
}

// check reads the whole file, and notes the digest of each block.
func (i *Image) check() (err error) {
	if i.Header, err = otaimage.ReadHeader(i.file); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if _, err := i.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	whole, block := sha256.New(), make([]byte, blockSize)
	for {
		n, err := io.ReadFull(i.file, block)
		if n > 0 {
			whole.Write(block[:n])
			i.sums, i.size = append(i.sums, sha256.Sum256(block[:n])), i.size+int64(n)
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read the image: %w", err)
		}
		if i.size > otaimage.MaxSize {
			return fmt.Errorf("%w: it is too long", ErrDamaged)
		}
	}
	if Digest(whole.Sum(nil)) != i.digest {
		return fmt.Errorf("%w: its digest is %x, and %v is due", ErrDamaged, whole.Sum(nil), i.digest)
	}
	return nil
}

// Size is the file's length in octets.
func (i *Image) Size() int64 { return i.size }

// Close ends the use of the image, also if it is taken off meanwhile.
func (i *Image) Close() error { return i.file.Close() }

// ReadAt reads octets that were checked just now.
func (i *Image) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read before the image's beginning")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for n < len(p) {
		if off >= i.size {
			return n, io.EOF
		}
		if err := i.load(off / blockSize); err != nil {
			return n, err
		}
		got := copy(p[n:], i.block[off%blockSize:])
		n, off = n+got, off+int64(got)
	}
	return n, nil
}

func (i *Image) load(block int64) error {
	if block == i.last {
		return nil
	}
	if i.block == nil {
		i.block = make([]byte, blockSize)
	}
	i.last = -1
	i.block = i.block[:min(blockSize, i.size-block*blockSize)]
	if _, err := i.file.ReadAt(i.block, block*blockSize); err != nil && err != io.EOF {
		return fmt.Errorf("read the image: %w", err)
	}
	if sha256.Sum256(i.block) != i.sums[block] {
		return fmt.Errorf("%w since it was opened", ErrDamaged)
	}
	i.last = block
	return nil
}
