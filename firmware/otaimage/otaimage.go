// Package otaimage reads and writes files of Matter OTA software images: a
// header that says what the payload is for, and the payload with its digest
// (Matter Core 11.21.2.4).
//
// It promises that a file it accepts is whole: sizes, header and payload agree
// to the octet. It says nothing of who made the file: that is what manifests
// are for.
package otaimage

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"gatehouse/fabric/tlv"
)

// Constants of the specification.
const (
	fileIdentifier = 0x1BEEF11E
	fixedSize      = 16 // octets before the header: identifier, size of the file, size of the header
	maxVersionText = 64
	maxURL         = 256
)

// Limits of ours.
const (
	// MaxSize is the longest file, in octets. The largest that are known are
	// of some ten MiB.
	MaxSize   = 256 << 20
	maxHeader = 1024 // octets, as the Matter SDK has it
)

// Header is what an image says of itself.
type Header struct {
	VendorID      uint16 `tlv:"0"` // 0: of more than one vendor
	ProductID     uint16 `tlv:"1"` // 0: for more than one product
	Version       uint32 `tlv:"2"` // what the device reports once it runs this
	VersionString string `tlv:"3"` // 1 to 64 octets
	PayloadSize   uint64 `tlv:"4"` // octets
	// MinApplicable and MaxApplicable bound the versions that may be replaced.
	MinApplicable *uint32 `tlv:"5"`
	MaxApplicable *uint32 `tlv:"6"`
	ReleaseNotes  string  `tlv:"7,omitempty"` // URL, at most 256 octets
	DigestType    Digest  `tlv:"8"`
	Digest        []byte  `tlv:"9"` // of the payload
}

// For reports whether the image is for a product.
func (h *Header) For(vendor, product uint16) bool {
	return (h.VendorID == vendor || h.VendorID == 0) && (h.ProductID == product || h.ProductID == 0)
}

// Updates reports whether the image may replace a version.
func (h *Header) Updates(version uint32) bool {
	return version < h.Version && (h.MinApplicable == nil || *h.MinApplicable <= version) && (h.MaxApplicable == nil || version <= *h.MaxApplicable)
}

// Digest is an algorithm of IANA's Named Information registry.
type Digest uint8

// SHA256 is the one that the specification recommends.
const SHA256 Digest = 1

// digests are the algorithms, and to how many octets they are cut.
var digests = map[Digest]struct {
	new  func() hash.Hash
	size int
}{
	SHA256: {sha256.New, 32}, 2: {sha256.New, 16}, 3: {sha256.New, 15}, 4: {sha256.New, 12}, 5: {sha256.New, 8}, 6: {sha256.New, 4},
	7: {sha512.New384, 48}, 8: {sha512.New, 64},
	9: {func() hash.Hash { return sha3.New224() }, 28}, 10: {func() hash.Hash { return sha3.New256() }, 32},
	11: {func() hash.Hash { return sha3.New384() }, 48}, 12: {func() hash.Hash { return sha3.New512() }, 64},
}

var (
	// ErrNotImage says that a file is none of Matter's.
	ErrNotImage = errors.New("this is no Matter OTA image")
	// ErrTruncated says that a file ends early.
	ErrTruncated = errors.New("the image ends early")
	// ErrDigest says that the payload is not what the header promises.
	ErrDigest = errors.New("the image's payload is damaged: its digest is wrong")
)

// Verify reads a file to its end and checks that it is whole.
func Verify(r io.Reader) (*Header, error) {
	h, err := ReadHeader(r)
	if err != nil {
		return nil, err
	}
	d := digests[h.DigestType]
	sum := d.new()
	switch n, err := io.Copy(sum, io.LimitReader(r, int64(h.PayloadSize))); {
	case err != nil:
		return nil, fmt.Errorf("read the image: %w", err)
	case n < int64(h.PayloadSize):
		return nil, fmt.Errorf("%w: %d of %d octets of its payload are there", ErrTruncated, n, h.PayloadSize)
	}
	switch n, err := io.ReadFull(r, make([]byte, 1)); {
	case n > 0:
		return nil, errors.New("the image goes on behind its payload")
	case err != io.EOF:
		return nil, fmt.Errorf("read the image: %w", err)
	}
	if !bytes.Equal(sum.Sum(nil)[:d.size], h.Digest) {
		return nil, ErrDigest
	}
	return h, nil
}

// ReadHeader reads up to the payload.
func ReadHeader(r io.Reader) (*Header, error) {
	var fixed [fixedSize]byte
	if err := read(r, fixed[:]); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(fixed[:]) != fileIdentifier {
		return nil, ErrNotImage
	}
	total, size := binary.LittleEndian.Uint64(fixed[4:]), binary.LittleEndian.Uint32(fixed[12:])
	if total > MaxSize {
		return nil, fmt.Errorf("the image is of %d octets, and %d are the limit", total, MaxSize)
	}
	if size > maxHeader {
		return nil, fmt.Errorf("the image's header is of %d octets, and %d are the limit", size, maxHeader)
	}
	b := make([]byte, size)
	if err := read(r, b); err != nil {
		return nil, err
	}
	h := new(Header)
	if err := tlv.Unmarshal(b, h); err != nil {
		return nil, fmt.Errorf("the image's header: %w", err)
	}
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("the image's header: %w", err)
	}
	if h.PayloadSize > MaxSize || total != fixedSize+uint64(size)+h.PayloadSize {
		return nil, fmt.Errorf("the image's sizes do not agree: a file of %d octets with a header of %d and a payload of %d", total, size, h.PayloadSize)
	}
	return h, nil
}

func read(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w, in its header", ErrTruncated)
	}
	return err
}

func (h *Header) check() error {
	switch d, ok := digests[h.DigestType]; {
	case len(h.VersionString) == 0 || len(h.VersionString) > maxVersionText:
		return fmt.Errorf("its version string has %d octets, and 1 to %d are allowed", len(h.VersionString), maxVersionText)
	case len(h.ReleaseNotes) > maxURL || h.ReleaseNotes != "" && !strings.HasPrefix(h.ReleaseNotes, "https://"):
		return errors.New("its release notes are not at an https address of at most 256 octets")
	case h.MinApplicable != nil && h.MaxApplicable != nil && *h.MinApplicable > *h.MaxApplicable:
		return errors.New("it is for no version at all")
	case !ok:
		return fmt.Errorf("its digest is of type %d, which is unknown", h.DigestType)
	case len(h.Digest) != d.size:
		return fmt.Errorf("its digest has %d octets, and %d are due", len(h.Digest), d.size)
	}
	return nil
}

// Write writes an image. The payload's size and SHA-256 digest are filled in.
func Write(w io.Writer, h Header, payload []byte) error {
	sum := sha256.Sum256(payload)
	h.PayloadSize, h.DigestType, h.Digest = uint64(len(payload)), SHA256, sum[:]
	if err := h.check(); err != nil {
		return err
	}
	header, err := tlv.Marshal(h)
	if err != nil {
		return err
	}
	total := fixedSize + len(header) + len(payload)
	if total > MaxSize {
		return fmt.Errorf("the image is of %d octets, and %d are the limit", total, MaxSize)
	}
	b := binary.LittleEndian.AppendUint32(nil, fileIdentifier)
	b = binary.LittleEndian.AppendUint64(b, uint64(total))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(header)))
	for _, part := range [][]byte{b, header, payload} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
