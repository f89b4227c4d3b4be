package qr

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"testing"

	barcode "github.com/boombuler/barcode/qr"
)

// scene is what a camera sees: codes on a wall. All that is random comes from
// its seed.
type scene struct {
	*image.Gray
	rand *rand.Rand
}

type point struct{ x, y float64 }

func newScene(width, height int, shade uint8) *scene {
	s := &scene{image.NewGray(image.Rect(0, 0, width, height)), rand.New(rand.NewPCG(1, 2))}
	for i := range s.Pix {
		s.Pix[i] = shade
	}
	return s
}

// clutter puts things on the wall that are no codes.
func (s *scene) clutter(n int) *scene {
	for range n {
		x, y := s.rand.IntN(s.Rect.Dx()), s.rand.IntN(s.Rect.Dy())
		w, h, c := 4+s.rand.IntN(s.Rect.Dx()/6), 4+s.rand.IntN(s.Rect.Dy()/6), uint8(s.rand.IntN(256))
		for yy := y; yy < min(y+h, s.Rect.Dy()); yy++ {
			for xx := x; xx < min(x+w, s.Rect.Dx()); xx++ {
				s.Pix[yy*s.Stride+xx] = c
			}
		}
	}
	return s
}

// put shows a code, its quiet zone included, with its corners at four points,
// from the upper left one clockwise, in two shades.
func (s *scene) put(t testing.TB, text string, dark, light uint8, corners [4]point) *scene {
	t.Helper()
	code, err := barcode.Encode(text, barcode.M, barcode.Auto)
	if err != nil {
		t.Fatal(err)
	}
	isDark := modules(code)
	side := float64(code.Bounds().Dx() + 2*quietZone)
	inverse := squareTo(corners).inverse()
	const fine = 3 // samples along each side of a pixel
	low, high := corners[0], corners[0]
	for _, c := range corners {
		low, high = point{min(low.x, c.x), min(low.y, c.y)}, point{max(high.x, c.x), max(high.y, c.y)}
	}
	for y := max(0, int(low.y)); y < min(s.Rect.Dy(), int(high.y)+1); y++ {
		for x := max(0, int(low.x)); x < min(s.Rect.Dx(), int(high.x)+1); x++ {
			sum, hit := 0, 0
			for i := range fine * fine {
				u, v := inverse.apply(float64(x)+(float64(i%fine)+.5)/fine, float64(y)+(float64(i/fine)+.5)/fine)
				if u < 0 || v < 0 || u >= 1 || v >= 1 {
					continue
				}
				hit++
				if isDark(int(u*side)-quietZone, int(v*side)-quietZone) {
					sum += int(dark)
				} else {
					sum += int(light)
				}
			}
			if hit > 0 {
				p := &s.Pix[y*s.Stride+x]
				*p = uint8((sum + int(*p)*(fine*fine-hit)) / (fine * fine))
			}
		}
	}
	return s
}

// square are the corners of a square with a side around a centre, turned.
func square(cx, cy, side, degrees float64) (c [4]point) {
	sin, cos := math.Sincos(degrees * math.Pi / 180)
	for i, d := range []point{{-1, -1}, {1, -1}, {1, 1}, {-1, 1}} {
		x, y := d.x*side/2, d.y*side/2
		c[i] = point{cx + x*cos - y*sin, cy + x*sin + y*cos}
	}
	return c
}

func (s *scene) noise(sigma float64) *scene {
	var drawn [4099]int
	for i := range drawn {
		drawn[i] = int(math.Round(s.rand.NormFloat64() * sigma))
	}
	at := 0
	for i, p := range s.Pix {
		if i%997 == 0 {
			at = s.rand.IntN(len(drawn) - 997)
		}
		s.Pix[i] = uint8(min(max(int(p)+drawn[at+i%997], 0), 255))
	}
	return s
}

// blur takes the mean over 2r+1 pixels, along and across, twice.
func (s *scene) blur(r int) *scene {
	w, h := s.Rect.Dx(), s.Rect.Dy()
	for pass := range 4 {
		out := make([]uint8, len(s.Pix))
		for y := range h {
			for x := range w {
				sum, n := 0, 0
				for d := -r; d <= r; d++ {
					xx, yy := x+d*(pass%2), y+d*(1-pass%2)
					if xx >= 0 && yy >= 0 && xx < w && yy < h {
						sum, n = sum+int(s.Pix[yy*s.Stride+xx]), n+1
					}
				}
				out[y*s.Stride+x] = uint8(sum / n)
			}
		}
		s.Pix = out
	}
	return s
}

// shade makes the picture darker from left to right, down to a share.
func (s *scene) shade(to float64) *scene {
	for y := range s.Rect.Dy() {
		for x := range s.Rect.Dx() {
			p := &s.Pix[y*s.Stride+x]
			*p = uint8(float64(*p) * (1 - (1-to)*float64(x)/float64(s.Rect.Dx())))
		}
	}
	return s
}

func (s *scene) jpeg(t testing.TB, quality int) []byte {
	t.Helper()
	// As a camera's: in colour.
	c := image.NewYCbCr(s.Rect, image.YCbCrSubsampleRatio420)
	copy(c.Y, s.Pix)
	for i := range c.Cb {
		c.Cb[i], c.Cr[i] = 120, 135
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, c, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// plane is a projection of a plane onto another.
type plane [9]float64

func (m plane) apply(x, y float64) (float64, float64) {
	w := m[6]*x + m[7]*y + m[8]
	return (m[0]*x + m[1]*y + m[2]) / w, (m[3]*x + m[4]*y + m[5]) / w
}

// squareTo projects the unit square onto four points.
func squareTo(p [4]point) plane {
	sx, sy := p[0].x-p[1].x+p[2].x-p[3].x, p[0].y-p[1].y+p[2].y-p[3].y
	dx1, dx2, dy1, dy2 := p[1].x-p[2].x, p[3].x-p[2].x, p[1].y-p[2].y, p[3].y-p[2].y
	det := dx1*dy2 - dx2*dy1
	g, h := (sx*dy2-dx2*sy)/det, (dx1*sy-sx*dy1)/det
	return plane{p[1].x - p[0].x + g*p[1].x, p[3].x - p[0].x + h*p[3].x, p[0].x,
		p[1].y - p[0].y + g*p[1].y, p[3].y - p[0].y + h*p[3].y, p[0].y, g, h, 1}
}

func (m plane) inverse() plane {
	return plane{m[4]*m[8] - m[5]*m[7], m[2]*m[7] - m[1]*m[8], m[1]*m[5] - m[2]*m[4],
		m[5]*m[6] - m[3]*m[8], m[0]*m[8] - m[2]*m[6], m[2]*m[3] - m[0]*m[5],
		m[3]*m[7] - m[4]*m[6], m[1]*m[6] - m[0]*m[7], m[0]*m[4] - m[1]*m[3]}
}
