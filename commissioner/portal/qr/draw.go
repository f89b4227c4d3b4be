package qr

import (
	"fmt"
	"html"
	"strings"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
)

// quietZone is how many light modules are around a code (ISO/IEC 18004, 6.3.8).
const quietZone = 4

// encode makes the modules of a code with the least correction: what it is
// shown on is clean.
func encode(text string) (dark func(x, y int) bool, size int, err error) {
	code, err := qr.Encode(text, qr.L, qr.Auto)
	if err != nil {
		return nil, 0, fmt.Errorf("draw a QR code of %d characters: it holds no more than 2953", len(text))
	}
	return modules(code), code.Bounds().Dx(), nil
}

func modules(code barcode.Barcode) func(x, y int) bool {
	b := code.Bounds()
	return func(x, y int) bool {
		if x < b.Min.X || y < b.Min.Y || x >= b.Max.X || y >= b.Max.Y {
			return false
		}
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	}
}

// SVG draws a QR code, dark on white with its quiet zone whatever is around
// it, one unit to a module and as large as its place. A screen reader says the
// title. It has neither style nor script, so that it may be put inline where
// neither is allowed. text is 1 to 2953 bytes; who must not see it must not
// see the picture.
func SVG(text, title string) (string, error) {
	dark, size, err := encode(text)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	side := size + 2*quietZone
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %[1]d" role="img" shape-rendering="crispEdges">`, side)
	fmt.Fprintf(&s, `<title>%s</title><path fill="#fff" d="M0 0h%dv%[2]dH0z"/><path fill="#000" d="`, html.EscapeString(title), side)
	for y := range size {
		for x := 0; x < size; x++ {
			run := 0
			for dark(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&s, "M%d %dh%dv1h-%[3]dz", x+quietZone, y+quietZone, run)
				x += run
			}
		}
	}
	s.WriteString(`"/></svg>`)
	return s.String(), nil
}

// Terminal draws a QR code in characters, two modules to each, light ones
// bright: for a terminal with a dark background. Its last line is ended.
func Terminal(text string) (string, error) {
	dark, size, err := encode(text)
	if err != nil {
		return "", err
	}
	const quiet = quietZone / 2 // the terminal has a margin of its own
	glyphs := map[[2]bool]rune{{false, false}: '█', {false, true}: '▀', {true, false}: '▄', {true, true}: ' '}
	var s strings.Builder
	for y := -quiet; y < size+quiet; y += 2 {
		for x := -quiet; x < size+quiet; x++ {
			s.WriteRune(glyphs[[2]bool{dark(x, y), dark(x, y+1)}])
		}
		s.WriteByte('\n')
	}
	return s.String(), nil
}
