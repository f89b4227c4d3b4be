package qr

import (
	"github.com/makiuchi-d/gozxing"
)

// lowContrast is the range of brightness, of 256, that is made wider: the
// library takes a block with a range of 24 for empty.
const lowContrast = 128

// gray is a picture as gozxing takes it.
type gray struct {
	gozxing.LuminanceSourceBase
	pix []byte
}

func newGray(width, height int) *gray {
	return &gray{gozxing.LuminanceSourceBase{Width: width, Height: height}, make([]byte, width*height)}
}

// GetRow implements gozxing.LuminanceSource.
func (g *gray) GetRow(y int, row []byte) ([]byte, error) {
	return append(row[:0], g.pix[y*g.Width:][:g.Width]...), nil
}

// GetMatrix implements gozxing.LuminanceSource.
func (g *gray) GetMatrix() []byte { return g.pix }

// Invert implements gozxing.LuminanceSource.
func (g *gray) Invert() gozxing.LuminanceSource { return gozxing.LuminanceSourceInvert(g) }

func (g *gray) String() string { return "a picture" }

// reduce makes a picture that is no larger than photoSide out of rows: each of
// its pixels is the mean of a square of theirs.
func reduce(row func(y int, b []byte) []byte, width, height int) *gray {
	n := (max(width, height) + photoSide - 1) / photoSide
	g := newGray(max(1, width/n), max(1, height/n))
	b, sums := make([]byte, width), make([]int, g.Width)
	deep := min(n, height)
	for y := range g.Height {
		clear(sums)
		for i := range deep {
			src := row(y*n+i, b)
			if n == 1 {
				copy(g.pix[y*g.Width:], src)
				break
			}
			for x := range min(width, g.Width*n) {
				sums[x/n] += int(src[x])
			}
		}
		for x, sum := range sums {
			if n > 1 {
				g.pix[y*g.Width+x] = byte(sum / (deep * min(n, width)))
			}
		}
	}
	return g
}

// half is the picture at half its size.
func (g *gray) half() *gray {
	h := newGray(g.Width/2, g.Height/2)
	for y := range h.Height {
		a, b := g.pix[2*y*g.Width:][:2*h.Width], g.pix[(2*y+1)*g.Width:][:2*h.Width]
		out := h.pix[y*h.Width:][:h.Width]
		for x := range out {
			out[x] = byte((int(a[2*x]) + int(a[2*x+1]) + int(b[2*x]) + int(b[2*x+1])) / 4)
		}
	}
	return h
}

// stretched is the picture with its contrast made wider where it is low: all
// but the darkest and the brightest hundredth of the pixels lie in a narrow
// range.
func (g *gray) stretched() *gray {
	var histogram [256]int
	for _, p := range g.pix {
		histogram[p]++
	}
	low, high := 0, 255
	for n := histogram[low]; n <= len(g.pix)/100 && low < 255; n += histogram[low] {
		low++
	}
	for n := histogram[high]; n <= len(g.pix)/100 && high > 0; n += histogram[high] {
		high--
	}
	if low >= high || high-low >= lowContrast {
		return g
	}
	var curve [256]byte
	for i := range curve {
		curve[i] = byte(255 * min(max(i-low, 0), high-low) / (high - low))
	}
	out := newGray(g.Width, g.Height)
	for i, p := range g.pix {
		out.pix[i] = curve[p]
	}
	return out
}
