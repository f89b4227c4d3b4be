package qr

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
)

// Specification constants: how a JPEG (ITU-T T.81, annex B) and a PNG (ISO/IEC
// 15948, clause 11) begin.
const (
	jpegMagic = "\xff\xd8\xff"
	pngMagic  = "\x89PNG\r\n\x1a\n"

	markerSOF0, markerSOF1 = 0xc0, 0xc1 // baseline and extended sequential
	pngInterlace           = 28         // where IHDR says so
)

// What a pixel takes while it is decoded, in bytes.
const (
	jpegPixel        = 3  // one byte for each component
	jpegInkPixel     = 12 // four, and what is made of them
	progressivePixel = 20 // and a coefficient of four bytes for each
)

// chunk is how many bytes of a picture are decoded between two looks at the
// clock. A progressive JPEG has a pass over all its pixels in a dozen of them.
const chunk = 256

// decode decodes a JPEG or PNG and makes it as small as it is looked at. It
// says whether the picture is a photo.
func decode(ctx context.Context, data []byte) (*gray, bool, error) {
	decoder, header, pixel := jpeg.Decode, jpeg.DecodeConfig, jpegCost
	switch {
	case bytes.HasPrefix(data, []byte(jpegMagic)):
	case bytes.HasPrefix(data, []byte(pngMagic)):
		decoder, header, pixel = png.Decode, png.DecodeConfig, pngCost
	default:
		return nil, false, ErrFormat
	}
	cfg, err := header(bytes.NewReader(data))
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := fits(cfg.Width, cfg.Height, pixel(data, cfg.ColorModel)); err != nil {
		return nil, false, err
	}
	img, err := decoder(&paced{ctx, bytes.NewReader(data)})
	switch {
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case err != nil:
		return nil, false, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return reduce(rows(img), cfg.Width, cfg.Height), cfg.Width*cfg.Height > framePixel, nil
}

// fits says whether a picture may be decoded whose pixels take so much each.
func fits(width, height, pixel int) error {
	if width <= 0 || height <= 0 {
		return fmt.Errorf("%w: it is empty", ErrFormat)
	}
	if width > MaxPixels || height > MaxPixels || width*height > MaxPixels || width*height*pixel > maxDecoded {
		return fmt.Errorf("%w: %d×%d pixels", ErrLarge, width, height)
	}
	return nil
}

// paced reads a few bytes at a time until ctx ends.
type paced struct {
	ctx context.Context
	r   io.Reader
}

func (p *paced) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b[:min(len(b), chunk)])
}

// jpegCost is what a pixel takes. Where the header is not as it is usually
// written, the decoder may see another than we do: then it is dear.
func jpegCost(data []byte, model color.Model) int {
	for data = data[2:]; len(data) >= 4 && data[0] == 0xff; {
		marker, size := data[1], 2+int(data[2])<<8+int(data[3])
		switch {
		case (marker == markerSOF0 || marker == markerSOF1) && model == color.CMYKModel:
			return jpegInkPixel
		case marker == markerSOF0 || marker == markerSOF1:
			return jpegPixel
		case marker < 0xc0 || marker == 0xc2 || marker >= 0xd0 && marker < 0xdb || size > len(data):
			return progressivePixel
		}
		data = data[size:]
	}
	return progressivePixel
}

func pngCost(data []byte, model color.Model) int {
	pixel := 4
	switch model {
	case color.RGBA64Model, color.NRGBA64Model:
		pixel = 8
	case color.GrayModel:
		pixel = 1
	case color.Gray16Model:
		pixel = 2
	default:
		if _, ok := model.(color.Palette); ok {
			pixel = 1
		}
	}
	if len(data) > pngInterlace && data[pngInterlace] != 0 {
		pixel *= 2
	}
	return pixel
}

// rows yields a picture's luminance row by row, in b where it must be computed.
func rows(img image.Image) func(y int, b []byte) []byte {
	r := img.Bounds()
	switch img := img.(type) {
	case *image.YCbCr: // nothing is to be computed
		return func(y int, _ []byte) []byte { return img.Y[y*img.YStride:][:r.Dx()] }
	case *image.Gray:
		return func(y int, _ []byte) []byte { return img.Pix[y*img.Stride:][:r.Dx()] }
	case *image.NRGBA:
		return func(y int, b []byte) []byte {
			for x, p := range chunks4(img.Pix[y*img.Stride:], r.Dx()) {
				a := int(p[3])
				b[x] = byte((luma(int(p[0]), int(p[1]), int(p[2]))*a + 255*(255-a)) / 255)
			}
			return b
		}
	case *image.RGBA: // an opaque PNG
		return func(y int, b []byte) []byte {
			for x, p := range chunks4(img.Pix[y*img.Stride:], r.Dx()) {
				b[x] = byte(luma(int(p[0]), int(p[1]), int(p[2])) + 255 - int(p[3]))
			}
			return b
		}
	}
	return func(y int, b []byte) []byte {
		for x := range b {
			cr, cg, cb, a := img.At(r.Min.X+x, r.Min.Y+y).RGBA()
			b[x] = byte((luma(int(cr), int(cg), int(cb)) + 0xffff - int(a)) >> 8)
		}
		return b
	}
}

func chunks4(pix []byte, n int) func(func(int, []byte) bool) {
	return func(yield func(int, []byte) bool) {
		for x := range n {
			if !yield(x, pix[4*x:4*x+4]) {
				return
			}
		}
	}
}

// luma is how bright a colour is (ITU-R BT.601). What shines through is white.
func luma(r, g, b int) int { return (299*r + 587*g + 114*b) / 1000 }
