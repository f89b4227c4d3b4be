package qr

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// codes are setup codes as devices have them: of one version, and a large one
// for several devices.
var codes = []string{"MT:Y.K9042C00KA0648G00", "MT:-24J0AFN00KA0648G00", "MT:W0GU2OTB00KA0648G00", "MT:Y3.13OTB00KA0648G00", "MT:00000CQM00KA0648G00", "MT:U9VJ0OMV172PX813210"}

const several = "MT:Y.K9042C00KA0648G00*-24J0AFN00KA0648G00*W0GU2OTB00KA0648G00*Y3.13OTB00KA0648G00"

// patient is a Reader for whom a loaded machine is no reason to give up.
func patient(n int) *Reader {
	r := NewReader(n)
	r.limit = time.Hour
	return r
}

// show writes a scene to a folder where somebody wants to see it.
func show(t *testing.T, s *scene) {
	if dir := os.Getenv("QR_SCENES"); dir != "" {
		name := filepath.Join(dir, filepath.Base(t.Name())+".png")
		if err := os.WriteFile(name, pngOf(t, s), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFrames(t *testing.T) {
	one := codes[:1]
	tests := []struct {
		name  string
		scene func() *scene
		want  []string
	}{
		{"straight", func() *scene { return newScene(1280, 720, 200).put(t, codes[0], 20, 235, square(600, 350, 300, 0)) }, one},
		{"small", func() *scene { return newScene(640, 480, 200).put(t, codes[0], 20, 235, square(200, 300, 110, 0)) }, one},
		{"smaller in a larger frame", func() *scene { return newScene(1280, 720, 200).put(t, codes[0], 20, 235, square(1100, 600, 110, 8)) }, one},
		{"fills the frame", func() *scene { return newScene(640, 480, 200).put(t, codes[0], 20, 235, square(320, 240, 478, 0)) }, one},
		{"turned by 30°", func() *scene { return newScene(640, 480, 200).put(t, codes[0], 20, 235, square(320, 240, 220, 30)) }, one},
		{"turned by 45°", func() *scene { return newScene(640, 480, 200).put(t, codes[0], 20, 235, square(320, 240, 220, 45)) }, one},
		{"upside down", func() *scene { return newScene(640, 480, 200).put(t, codes[0], 20, 235, square(320, 240, 220, 183)) }, one},
		{"inverted", func() *scene { return newScene(640, 480, 20).put(t, codes[0], 235, 20, square(320, 240, 220, 12)) }, one},
		{"blurred", func() *scene {
			return newScene(1280, 720, 200).put(t, codes[0], 20, 235, square(600, 350, 300, 5)).blur(3)
		}, one},
		{"low contrast", func() *scene {
			return newScene(640, 480, 130).put(t, codes[0], 118, 140, square(320, 240, 220, 12)).noise(2)
		}, one},
		{"noise", func() *scene {
			return newScene(640, 480, 160).put(t, codes[0], 50, 190, square(320, 240, 260, 12)).noise(20)
		}, one},
		{"half in the shade", func() *scene {
			return newScene(1280, 720, 230).put(t, codes[0], 20, 235, square(900, 350, 300, 12)).shade(.15)
		}, one},
		{"from the side", func() *scene {
			return newScene(1280, 720, 200).put(t, codes[0], 20, 235, [4]point{{400, 150}, {720, 220}, {720, 480}, {400, 560}})
		}, one},
		{"from below", func() *scene {
			return newScene(1280, 720, 200).put(t, codes[0], 20, 235, [4]point{{500, 200}, {760, 190}, {830, 520}, {430, 540}})
		}, one},
		{"among other things", func() *scene {
			return newScene(1280, 720, 200).clutter(120).put(t, codes[0], 20, 235, square(600, 350, 200, 17)).noise(5)
		}, one},
		{"dense", func() *scene {
			return newScene(1280, 720, 200).put(t, several, 20, 235, square(600, 350, 400, 7)).noise(4)
		}, []string{several}},
		{"six of them", func() *scene {
			s := newScene(1280, 720, 200)
			for i, c := range codes {
				s.put(t, c, 20, 235, square(220+float64(i%3)*400, 190+float64(i/3)*340, 220, float64(i*9)))
			}
			return s.noise(4)
		}, codes},
		{"six in a grid without room between", func() *scene {
			s := newScene(1280, 720, 200)
			for i, c := range codes {
				s.put(t, c, 20, 235, square(400+float64(i%3)*200, 200+float64(i/3)*200, 200, 0))
			}
			return s
		}, codes},
		{"near and far", func() *scene {
			return newScene(1280, 720, 200).put(t, codes[0], 20, 235, square(400, 350, 600, 3)).put(t, codes[1], 20, 235, square(1000, 550, 130, 3))
		}, codes[:2]},
		{"none", func() *scene { return newScene(1280, 720, 200).clutter(300).noise(9) }, nil},
	}
	r := patient(2)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.scene()
			show(t, s)
			for format, read := range map[string]func() ([]string, error){
				"luminance": func() ([]string, error) { return r.Luminance(t.Context(), s.Pix, s.Rect.Dx(), s.Rect.Dy()) },
				"JPEG":      func() ([]string, error) { return r.Picture(t.Context(), s.jpeg(t, 80)) },
			} {
				got, err := read()
				slices.Sort(got)
				if want := slices.Sorted(slices.Values(tt.want)); err != nil || !slices.Equal(got, want) {
					t.Errorf("%s: got %q, %v; want %q", format, got, err, want)
				}
			}
		})
	}
}

// TestPhoto reads a photo of 12 megapixels, with the codes at several sizes.
func TestPhoto(t *testing.T) {
	s := newScene(4000, 3000, 190)
	for i, c := range codes {
		side := []float64{260, 400, 700, 1100, 330, 500}[i]
		s.put(t, c, 30, 225, square(700+float64(i%3)*1250, 750+float64(i/3)*1500, side, float64(i*13)))
	}
	s.noise(8)
	show(t, s)
	got, err := patient(1).Picture(t.Context(), s.jpeg(t, 85))
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(codes)); err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// TestColours reads codes in pictures of every kind that a PNG can be.
func TestColours(t *testing.T) {
	s := newScene(320, 240, 255).put(t, codes[0], 0, 255, square(160, 120, 200, 0))
	clear := image.NewNRGBA(s.Rect) // dark on nothing, as a drawing is
	deep := image.NewNRGBA64(s.Rect)
	colours := image.NewRGBA(s.Rect)
	palette := image.NewPaletted(s.Rect, color.Palette{color.NRGBA{0, 0, 90, 255}, color.NRGBA{255, 255, 180, 255}, color.NRGBA{}})
	for y := range s.Rect.Dy() {
		for x := range s.Rect.Dx() {
			shade := s.GrayAt(x, y).Y
			clear.Set(x, y, color.NRGBA{A: 255 - shade})
			deep.Set(x, y, color.Gray{shade})
			colours.Set(x, y, color.RGBA{shade, shade/2 + 60, 20, 255})
			palette.SetColorIndex(x, y, shade>>7)
		}
	}
	for i, img := range []image.Image{clear, deep, colours, palette} {
		if got, err := patient(1).Picture(t.Context(), pngOf(t, img)); err != nil || !slices.Equal(got, codes[:1]) {
			t.Errorf("picture %d: got %q, %v", i, got, err)
		}
	}
}

func TestLimits(t *testing.T) {
	r := NewReader(1)
	frame := newScene(64, 48, 200)
	bomb := pngOf(t, frame)
	copy(bomb[16:], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // 65536×65536, says the header
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	large := frame.jpeg(t, 80)
	i := slices.Index(large, 0xc0) // the frame header, behind 0xff
	copy(large[i+4:], []byte{0xff, 0xff, 0xff, 0xff})
	progressive := frame.jpeg(t, 80)
	i = slices.Index(progressive, 0xc0)
	progressive[i] = 0xc2
	copy(progressive[i+4:], []byte{0x0b, 0xb8, 0x0f, 0xa0}) // 4000×3000 pixels
	tests := []struct {
		name string
		read func() ([]string, error)
		want error
	}{
		{"nothing", func() ([]string, error) { return r.Picture(t.Context(), nil) }, ErrFormat},
		{"text", func() ([]string, error) { return r.Picture(t.Context(), []byte("GIF89a")) }, ErrFormat},
		{"half a JPEG", func() ([]string, error) { j := frame.jpeg(t, 80); return r.Picture(t.Context(), j[:len(j)/2]) }, ErrFormat},
		{"half a PNG", func() ([]string, error) { return r.Picture(t.Context(), pngOf(t, frame)[:60]) }, ErrFormat},
		{"too many octets", func() ([]string, error) { return r.Picture(t.Context(), make([]byte, MaxOctets+1)) }, ErrLarge},
		{"too many pixels, as a PNG", func() ([]string, error) { return r.Picture(t.Context(), bomb) }, ErrLarge},
		{"too many pixels, as a JPEG", func() ([]string, error) { return r.Picture(t.Context(), large) }, ErrLarge},
		{"too many to be progressive", func() ([]string, error) { return r.Picture(t.Context(), progressive) }, ErrLarge},
		{"no pixels", func() ([]string, error) { return r.Luminance(t.Context(), nil, 0, 0) }, ErrFormat},
		{"fewer than it says", func() ([]string, error) { return r.Luminance(t.Context(), make([]byte, 10), 4, 3) }, ErrFormat},
		{"an overflow", func() ([]string, error) { return r.Luminance(t.Context(), make([]byte, 10), 1<<32, 1<<32) }, ErrLarge},
		{"one row", func() ([]string, error) { return r.Luminance(t.Context(), make([]byte, 1<<20), 1<<20, 1) }, nil},
		{"one column", func() ([]string, error) { return r.Luminance(t.Context(), make([]byte, 5000), 1, 5000) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tt.read(); !errors.Is(err, tt.want) || got != nil {
				t.Errorf("got %q, %v; want %v", got, err, tt.want)
			}
		})
	}
}

// TestBusy refuses at once what is more than a Reader's share, also while a
// picture hangs whose caller has been told that its time is over.
func TestBusy(t *testing.T) {
	r := NewReader(1)
	hangs, over := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		r.look(ctx, func(context.Context) (*gray, bool, error) { close(hangs); <-over; panic("a broken picture") })
		close(over)
	}()
	<-hangs
	if _, err := r.Luminance(t.Context(), make([]byte, 64), 8, 8); err != ErrBusy {
		t.Errorf("beside another: %v", err)
	}
	cancel()
	<-over // its caller is gone, which lets it end too
	for end := time.Now().Add(10 * time.Second); len(r.slots) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("its slot is not free")
		}
	}
	if _, err := r.look(t.Context(), func(context.Context) (*gray, bool, error) { panic("a broken picture") }); !errors.Is(err, ErrFormat) {
		t.Errorf("a panic: %v", err)
	}
	if _, err := r.Luminance(t.Context(), make([]byte, 64), 8, 8); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestFullOfPatterns looks at a picture that is nothing but finder patterns:
// it has more triples than anybody can try.
func TestFullOfPatterns(t *testing.T) {
	s := newScene(1280, 720, 255)
	for y := range 720 {
		for x := range 1280 {
			u, v := x/2%9, y/2%9
			ring := max(abs(u-3), abs(v-3))
			if u < 7 && v < 7 && ring != 2 {
				s.Pix[y*s.Stride+x] = 0
			}
		}
	}
	show(t, s)
	began := time.Now()
	got, err := patient(1).Luminance(t.Context(), s.Pix, 1280, 720)
	if err != nil || got != nil { // if it took as long as it could, it would not end
		t.Errorf("got %q, %v", got, err)
	}
	t.Logf("took %v", time.Since(began))
}

func abs(n int) int { return max(n, -n) }

func TestDraw(t *testing.T) {
	svg, err := SVG(codes[0], `a "lamp" <script>`)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(svg))
	if text, err := rasterise(svg); err != nil {
		t.Error(err)
	} else if got, err := patient(1).Luminance(t.Context(), text.Pix, text.Rect.Dx(), text.Rect.Dy()); err != nil || !slices.Equal(got, codes[:1]) {
		t.Errorf("the SVG reads %q, %v", got, err)
	}
	characters, err := Terminal(codes[0])
	if err != nil {
		t.Fatal(err)
	}
	drawn := newScene(320, 320, 0)
	x, y := 20, 20
	for _, c := range characters {
		if c == '\n' {
			x, y = 20, y+16
			continue
		}
		for i := range 16 * 8 {
			if c == '█' || c == '▀' && i/8 < 8 || c == '▄' && i/8 >= 8 {
				drawn.Pix[(y+i/8)*320+x+i%8] = 255
			}
		}
		x += 8
	}
	if got, err := patient(1).Luminance(t.Context(), drawn.Pix, 320, 320); err != nil || !slices.Equal(got, codes[:1]) {
		t.Errorf("the terminal reads %q, %v", got, err)
	}
	long := string(make([]byte, 3000))
	if _, err := SVG(long, ""); err == nil {
		t.Error("a text too long was drawn")
	}
}

func BenchmarkFrames(b *testing.B) {
	for _, size := range []image.Point{{640, 480}, {1280, 720}} {
		for name, s := range map[string]*scene{
			"code":  newScene(size.X, size.Y, 200).clutter(60).put(b, codes[0], 20, 235, square(float64(size.X)/2, float64(size.Y)/2, 200, 12)).noise(5),
			"none":  newScene(size.X, size.Y, 200).clutter(60).noise(5),
			"noise": newScene(size.X, size.Y, 128).noise(80),
		} {
			data := s.jpeg(b, 80)
			b.Run(name+"/"+strconv.Itoa(size.X)+"/jpeg", func(b *testing.B) {
				b.ReportAllocs()
				r := NewReader(1)
				for b.Loop() {
					if _, err := r.Picture(context.Background(), data); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkPhoto(b *testing.B) {
	data := newScene(4000, 3000, 190).clutter(60).put(b, codes[0], 30, 225, square(2000, 1400, 800, 12)).noise(8).jpeg(b, 85)
	b.ReportAllocs()
	r := NewReader(1)
	for b.Loop() {
		if got, err := r.Picture(context.Background(), data); err != nil || len(got) != 1 {
			b.Fatal(got, err)
		}
	}
}
