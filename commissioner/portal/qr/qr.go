// Package qr reads the setup codes in a camera's pictures and draws QR codes
// for others to read (ISO/IEC 18004).
//
// It promises that no picture crashes the gateway, takes more than TimeLimit
// of a caller's time or more than about maxDecoded bytes at once: a picture is
// judged by its header before it is decoded, and only so many are looked at
// side by side. It never says what a text means: setup.Parse does. It keeps no
// picture and no text, and tells neither in an error: a setup code is a secret.
package qr

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Limits.
const (
	MaxOctets = 12 << 20        // of a JPEG or PNG
	MaxPixels = 16 << 20        // of any picture: a phone's 12 megapixels, and some
	MaxCodes  = 32              // texts of one picture
	TimeLimit = 5 * time.Second // to look at one picture

	maxDecoded = 64 << 20 // bytes of a picture while it is decoded
	framePixel = 1 << 20  // pixels; a larger picture is a photo and worth more time
	photoSide  = 2048     // pixels along a photo's longer side when it is looked at first
	smallSide  = 480      // pixels along the longer side under which nothing is made smaller
)

// Why a picture was not looked at. The text of each can be told to a person.
var (
	ErrBusy   = errors.New("too many pictures are being looked at just now")
	ErrFormat = errors.New("this is not a JPEG or PNG picture")
	ErrLarge  = errors.New("the picture is too large")
	ErrTime   = errors.New("the picture takes too long to look at")
)

// Reader reads codes for several callers at a time. Its methods may be called
// from several goroutines.
type Reader struct {
	slots chan struct{}
	limit time.Duration // TimeLimit, but in tests
}

// NewReader is a Reader that looks at n pictures at a time, 1 at least.
func NewReader(n int) *Reader { return &Reader{make(chan struct{}, max(1, n)), TimeLimit} }

// Picture tells the texts of the QR codes in a JPEG or PNG, each once; none is
// no error. Of a frame of a camera, up to a megapixel, it gives those found at
// the first look that finds any; a larger photo is looked at more closely. It
// fails with ErrBusy at once when too many pictures are looked at, with
// ErrFormat, ErrLarge or ErrTime, or when ctx ends.
func (r *Reader) Picture(ctx context.Context, data []byte) ([]string, error) {
	if len(data) > MaxOctets {
		return nil, fmt.Errorf("%w: %d octets, %d are possible", ErrLarge, len(data), MaxOctets)
	}
	return r.look(ctx, func(ctx context.Context) (*gray, bool, error) { return decode(ctx, data) })
}

// Luminance is Picture for a grey picture as it is: a byte for each pixel, row
// by row, 0 black. It neither changes nor keeps pix.
func (r *Reader) Luminance(ctx context.Context, pix []byte, width, height int) ([]string, error) {
	if err := fits(width, height, 1); err != nil {
		return nil, err
	}
	if len(pix) != width*height {
		return nil, fmt.Errorf("%w: %d bytes for %d×%d pixels", ErrFormat, len(pix), width, height)
	}
	g := reduce(func(y int, _ []byte) []byte { return pix[y*width:][:width] }, width, height)
	return r.look(ctx, func(context.Context) (*gray, bool, error) { return g, width*height > framePixel, nil })
}

type looked struct {
	texts []string
	err   error
}

// look reads what open yields, in a goroutine that may be left behind: the
// library has no way to be called off. It keeps its slot until it returns, so
// that pictures which hang end in ErrBusy and not in more and more of them.
func (r *Reader) look(ctx context.Context, open func(context.Context) (*gray, bool, error)) ([]string, error) {
	select {
	case r.slots <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.limit, ErrTime)
	defer cancel()
	result := make(chan looked, 1)
	go func() {
		l := guarded(ctx, open)
		<-r.slots // before anybody knows, who may have the next
		result <- l
	}()
	select {
	case l := <-result:
		if l.err == nil && len(l.texts) == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return l.texts, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// guarded makes a failure of the library's panics, whose texts might hold
// pixels.
func guarded(ctx context.Context, open func(context.Context) (*gray, bool, error)) (l looked) {
	defer func() {
		if recover() != nil {
			l = looked{err: fmt.Errorf("%w: it cannot be looked at", ErrFormat)}
		}
	}()
	g, photo, err := open(ctx)
	if err != nil {
		return looked{err: err}
	}
	return looked{texts: g.read(ctx, photo)}
}
