package shelf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"gatehouse/firmware/otaimage"
)

const room = 1 << 20

func image(t *testing.T, version uint32, size int) ([]byte, Digest) {
	t.Helper()
	var b bytes.Buffer
	payload := bytes.Repeat([]byte{byte(version), 1, 2, 3, 4, 5, 6}, size/7+1)[:size]
	if err := otaimage.Write(&b, otaimage.Header{VendorID: 0xFFF1, ProductID: 0x8000, Version: version, VersionString: "v"}, payload); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), sha256.Sum256(b.Bytes())
}

func open(t *testing.T) *Shelf {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "shelf"), room)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *Shelf, b []byte, d Digest) {
	t.Helper()
	if err := s.Put(bytes.NewReader(b), d, int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

func TestPutAndRead(t *testing.T) {
	s := open(t)
	b, d := image(t, 7, 3*blockSize+100)
	put(t, s, b, d)
	if err := s.Put(iotest.ErrReader(errors.New("read")), d, int64(len(b))); err != nil {
		t.Errorf("what is there is read again: %v", err)
	}
	i, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if i.Header.Version != 7 || i.Size() != int64(len(b)) {
		t.Errorf("version %d, %d octets", i.Header.Version, i.Size())
	}
	if err := iotest.TestReader(io.NewSectionReader(i, 0, i.Size()), b); err != nil {
		t.Error(err)
	}
	part := make([]byte, 1000)
	if n, err := i.ReadAt(part, 2*blockSize-500); n != 1000 || err != nil || !bytes.Equal(part, b[2*blockSize-500:][:1000]) {
		t.Errorf("over the border of a block: %d, %v", n, err)
	}
	if n, err := i.ReadAt(part, i.Size()-10); n != 10 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := i.ReadAt(part, i.Size()); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func TestNotTaken(t *testing.T) {
	b, d := image(t, 7, 1000)
	_, other := image(t, 8, 1000)
	size := int64(len(b))
	for name, c := range map[string]struct {
		r    io.Reader
		d    Digest
		size int64
		want string
	}{
		"another's digest": {bytes.NewReader(b), other, size, "its digest is"},
		"cut":              {bytes.NewReader(b[:size-1]), d, size, "ends early"},
		"longer":           {io.MultiReader(bytes.NewReader(b), strings.NewReader("x")), d, size, "goes on behind"},
		"shorter than due": {bytes.NewReader(b), d, size + 1, "are due"},
		"endless":          {io.MultiReader(bytes.NewReader(b), zeros{}), d, size, "goes on behind"},
		"no image":         {strings.NewReader(strings.Repeat("x", 100)), d, 100, "no Matter OTA image"},
		"too large":        {bytes.NewReader(b), d, room + 1, "no room"},
		"negative":         {bytes.NewReader(b), d, -1, "no room"},
		"the source fails": {io.MultiReader(bytes.NewReader(b[:100]), iotest.ErrReader(errors.New("unplugged"))), d, size, "unplugged"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			if err := s.Put(c.r, c.d, c.size); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if left, err := os.ReadDir(s.dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestFull(t *testing.T) {
	s := open(t)
	for v := range uint32(3) {
		b, d := image(t, v, room/3-200)
		put(t, s, b, d)
	}
	b, d := image(t, 9, 1000)
	if err := s.Put(bytes.NewReader(b), d, int64(len(b))); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v", err)
	}
	all, err := s.List()
	if err != nil || len(all) != 3 {
		t.Fatalf("%d on the shelf, %v", len(all), err)
	}
	if err := s.Remove(all[0].Digest); err != nil {
		t.Fatal(err)
	}
	put(t, s, b, d)
}

// TestDamaged changes an image on the disk before it is opened, and after.
func TestDamaged(t *testing.T) {
	s := open(t)
	b, d := image(t, 7, 3*blockSize)
	spoil := func(at int64) {
		f, err := os.OpenFile(s.path(d), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{^b[at]}, at); err != nil {
			t.Fatal(err)
		}
	}
	for _, at := range []int64{0, 30, blockSize, int64(len(b)) - 1} {
		put(t, s, b, d)
		spoil(at)
		if _, err := s.Open(d); !errors.Is(err, ErrDamaged) {
			t.Fatalf("octet %d: got %v", at, err)
		}
		if _, err := s.Open(d); !errors.Is(err, ErrAbsent) {
			t.Fatalf("octet %d: it is still there: %v", at, err)
		}
	}
	put(t, s, b, d)
	if err := os.Truncate(s.path(d), 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(d); !errors.Is(err, ErrDamaged) {
		t.Fatalf("cut: got %v", err)
	}
	put(t, s, b, d)
	i, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	spoil(2 * blockSize)
	p := make([]byte, 100)
	if _, err := i.ReadAt(p, blockSize); err != nil {
		t.Errorf("a whole block: %v", err)
	}
	if n, err := i.ReadAt(p, 2*blockSize+10); n != 0 || !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged block: %d octets, %v", n, err)
	}
	if n, err := i.ReadAt(p, 2*blockSize-50); n != 50 || !errors.Is(err, ErrDamaged) {
		t.Errorf("into a damaged block: %d octets, %v", n, err)
	}
}

func TestHalfDone(t *testing.T) {
	s := open(t)
	b, d := image(t, 7, 100)
	put(t, s, b, d)
	half := filepath.Join(s.dir, "new-123")
	if err := os.WriteFile(half, b[:50], 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(s.dir, room)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); err == nil {
		t.Error("half an image stays")
	}
	i, err := s.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	i.Close()
}

func TestParseDigest(t *testing.T) {
	_, d := image(t, 7, 100)
	if got, err := ParseDigest(d.String()); err != nil || got != d {
		t.Errorf("got %v, %v", got, err)
	}
	for _, s := range []string{"", "00", strings.Repeat("0", 63), strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		if _, err := ParseDigest(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}
