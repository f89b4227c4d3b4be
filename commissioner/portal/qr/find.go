package qr

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode/decoder"
	"github.com/makiuchi-d/gozxing/qrcode/detector"
)

// Limits on what one look tries: a picture full of finder patterns has as many
// triples as it has codes nobody can read.
const (
	maxCenters  = 512 // finder patterns noted
	bestCenters = 72  // of which so many are put together
	maxTriples  = 400 // possible codes that are tried
)

// What three finder patterns of one code have in common, seen aslant.
const (
	maxModuleRatio = 1.7 // between the largest and the smallest module
	maxDistortion  = 0.9 // 0 for two equal legs at a right angle
	minDimension   = 15  // modules along a side, estimated
	maxDimension   = 190
)

// read looks for codes: at the picture as it is, then with dark and light
// exchanged, then at half the size, and so on. A frame is good for what the
// first look shows, a photo for all of them.
func (g *gray) read(ctx context.Context, photo bool) []string {
	var texts []string
	for g = g.stretched(); ctx.Err() == nil; g = g.half() {
		bits, err := gozxing.NewHybridBinarizer(g).GetBlackMatrix()
		if err != nil {
			return texts
		}
		for range 2 {
			for _, text := range search(ctx, bits, photo) {
				if !slices.Contains(texts, text) && len(texts) < MaxCodes {
					texts = append(texts, text)
				}
			}
			if len(texts) > 0 && !photo {
				return texts
			}
			bits.FlipAll()
		}
		if max(g.Width, g.Height) < 2*smallSide || min(g.Width, g.Height) < 2 {
			return texts
		}
	}
	return texts
}

// search reads the codes in one black and white picture.
func search(ctx context.Context, bits *gozxing.BitMatrix, photo bool) (texts []string) {
	d := detector.NewDetector(bits)
	used := map[*detector.FinderPattern]bool{}
	for _, t := range triples(centers(ctx, bits, photo)) {
		if ctx.Err() != nil {
			break
		}
		if used[t.a] || used[t.b] || used[t.c] {
			continue
		}
		if text, ok := t.decode(d); ok {
			used[t.a], used[t.b], used[t.c] = true, true, true
			texts = append(texts, text)
		}
	}
	return texts
}

// centers finds what may be finder patterns: runs of dark and light pixels
// that are as 1:1:3:1:1, along, across and aslant. The best are first.
func centers(ctx context.Context, bits *gozxing.BitMatrix, photo bool) []*detector.FinderPattern {
	f := detector.NewFinderPatternFinder(bits, nil)
	height, width := bits.GetHeight(), bits.GetWidth()
	skip := detector.FinderPatternFinder_MIN_SKIP
	if !photo {
		skip = max(skip, 3*height/(4*detector.FinderPatternFinder_MAX_MODULES))
	}
	runs := make([]int, 5)
	for y := skip - 1; y < height && ctx.Err() == nil && len(f.GetPossibleCenters()) < maxCenters; y += skip {
		clear(runs)
		state := 0
		for x := range width {
			dark := bits.Get(x, y)
			if dark == (state%2 == 0) {
				runs[state]++
				continue
			}
			switch {
			case dark || state < 4: // the next run begins
				if state > 0 || runs[0] > 0 {
					state++
				}
				if state > 0 {
					runs[state]++
				}
			case detector.FinderPatternFinder_foundPatternCross(runs) && f.HandlePossibleCenter(runs, y, x):
				clear(runs)
				state = 0
			default:
				detector.FinderPatternFinder_ShiftCounts2(runs)
				state = 3
			}
		}
		if detector.FinderPatternFinder_foundPatternCross(runs) {
			f.HandlePossibleCenter(runs, y, width)
		}
	}
	found := f.GetPossibleCenters()
	slices.SortStableFunc(found, func(a, b *detector.FinderPattern) int { return cmp.Compare(b.GetCount(), a.GetCount()) })
	return found[:min(len(found), bestCenters)]
}

// triple is three finder patterns that may be one code's; its corner is b.
type triple struct {
	a, b, c *detector.FinderPattern
	rank    float64
}

// triples puts finder patterns together, the most likely first: a code that is
// seen straight, and small, because those of several codes make larger ones.
func triples(centers []*detector.FinderPattern) (out []triple) {
	for i, p := range centers {
		for j, q := range centers[:i] {
			for _, r := range centers[:j] {
				if t, ok := together(p, q, r); ok {
					out = append(out, t)
				}
			}
		}
	}
	slices.SortFunc(out, func(s, t triple) int { return cmp.Compare(s.rank, t.rank) })
	return out[:min(len(out), maxTriples)]
}

func together(p, q, r *detector.FinderPattern) (triple, bool) {
	sizes := []float64{p.GetEstimatedModuleSize(), q.GetEstimatedModuleSize(), r.GetEstimatedModuleSize()}
	if slices.Max(sizes) > maxModuleRatio*slices.Min(sizes) {
		return triple{}, false
	}
	x, y, z := gozxing.ResultPoint_OrderBestPatterns(p, q, r)
	t := triple{x.(*detector.FinderPattern), y.(*detector.FinderPattern), z.(*detector.FinderPattern), 0}
	leg1, leg2, across := gozxing.ResultPoint_Distance(x, y), gozxing.ResultPoint_Distance(y, z), gozxing.ResultPoint_Distance(x, z)
	square := across * across
	distortion := (math.Abs(square-2*leg1*leg1) + math.Abs(square-2*leg2*leg2)) / square
	dimension := (leg1+leg2)/2*3/(sizes[0]+sizes[1]+sizes[2]) + 7
	t.rank = across * (1 + 4*distortion)
	return t, distortion < maxDistortion && dimension > minDimension && dimension < maxDimension
}

// decode reads the code that the three may belong to.
func (t triple) decode(d *detector.Detector) (string, bool) {
	found, err := d.ProcessFinderPatternInfo(detector.NewFinderPatternInfo(t.a, t.b, t.c))
	if err != nil {
		return "", false
	}
	result, err := decoder.NewDecoder().Decode(found.GetBits(), nil)
	if err != nil {
		return "", false
	}
	return result.GetText(), result.GetText() != ""
}
