package qr

import (
	"encoding/xml"
	"fmt"
	"image"
	"testing"
)

// FuzzPicture looks at anything that calls itself a picture.
func FuzzPicture(f *testing.F) {
	s := newScene(96, 80, 200).put(f, codes[0], 20, 235, square(48, 40, 76, 0))
	f.Add(s.jpeg(f, 70))
	f.Add(pngOf(f, s))
	f.Add([]byte(jpegMagic))
	f.Add([]byte(pngMagic))
	r := NewReader(1)
	f.Fuzz(func(t *testing.T, data []byte) {
		if texts, err := r.Picture(t.Context(), data); err != nil && texts != nil || len(texts) > MaxCodes {
			t.Errorf("%q, %v", texts, err)
		}
		for len(r.slots) > 0 { // a picture whose time was over
		}
	})
}

// FuzzPixels looks at pixels as they come: what breaks the reader is not the
// decoding.
func FuzzPixels(f *testing.F) {
	s := newScene(60, 60, 200).put(f, codes[0], 20, 235, square(30, 30, 60, 0))
	f.Add(s.Pix, uint16(60))
	f.Add([]byte{0}, uint16(1))
	f.Fuzz(func(t *testing.T, pix []byte, width uint16) {
		if width == 0 || len(pix)/int(width) == 0 {
			return
		}
		w := int(width)
		g := reduce(func(y int, _ []byte) []byte { return pix[y*w:][:w] }, w, len(pix)/w)
		g.read(t.Context(), true)
	})
}

// rasterise draws what SVG makes, four pixels to a unit.
func rasterise(svg string) (*image.Gray, error) {
	var doc struct {
		ViewBox string `xml:"viewBox,attr"`
		Title   string `xml:"title"`
		Paths   []struct {
			Fill string `xml:"fill,attr"`
			D    string `xml:"d,attr"`
		} `xml:"path"`
	}
	if err := xml.Unmarshal([]byte(svg), &doc); err != nil {
		return nil, err
	}
	if doc.Title != `a "lamp" <script>` || len(doc.Paths) != 2 || doc.Paths[0].Fill != "#fff" {
		return nil, fmt.Errorf("it is %+v", doc)
	}
	var side int
	if _, err := fmt.Sscanf(doc.ViewBox, "0 0 %d", &side); err != nil {
		return nil, err
	}
	img := newScene(4*side, 4*side, 255).Gray
	d := doc.Paths[1].D
	for len(d) > 0 {
		var x, y, run, back int
		if _, err := fmt.Sscanf(d, "M%d %dh%dv1h-%dz", &x, &y, &run, &back); err != nil || run != back {
			return nil, fmt.Errorf("%.40q: %w", d, err)
		}
		for i := range 16 * run {
			img.Pix[(4*y+i/(4*run))*img.Stride+4*x+i%(4*run)] = 0
		}
		d = d[len(fmt.Sprintf("M%d %dh%dv1h-%dz", x, y, run, run)):]
	}
	return img, nil
}
