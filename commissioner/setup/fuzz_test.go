package setup

import (
	"runtime/metrics"
	"testing"

	"gatehouse/fabric/tlv"

	"github.com/google/go-cmp/cmp"
)

// maxAlloc bounds what parsing may allocate, in octets.
const maxAlloc = 1 << 20

// bounded fails the test if f allocates more than maxAlloc.
func bounded(t *testing.T, f func()) {
	t.Helper()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(allocated)
	before := allocated[0].Value.Uint64()
	f()
	metrics.Read(allocated)
	if n := allocated[0].Value.Uint64() - before; n > maxAlloc {
		t.Errorf("%d octets allocated", n)
	}
}

// checkStable holds what every accepted code promises: it validates, and
// encoding it again yields the same payloads and then the same code.
func checkStable(t *testing.T, payloads []Payload) {
	t.Helper()
	if len(payloads) == 0 {
		t.Fatal("neither payloads nor an error")
	}
	for _, p := range payloads {
		if err := p.Validate(); err != nil {
			t.Fatalf("an accepted payload is not valid: %v", err)
		}
		encode := p.QR
		if p.Discriminator.IsShort() {
			encode = p.Manual
		}
		code, err := encode()
		if err != nil {
			if e, ok := err.(*Error); ok && e.Code == CodeTooLong { // read liberally, written strictly
				continue
			}
			t.Fatalf("an accepted payload does not encode: %v", err)
		}
		back, err := Parse(code)
		if err != nil || len(back) != 1 {
			t.Fatalf("%d payloads come back: %v", len(back), err)
		}
		if diff := cmp.Diff(p, back[0], same); diff != "" {
			t.Fatalf("comes back changed (-before +after):\n%s", diff)
		}
	}
}

func FuzzQR(f *testing.F) {
	f.Add("Y.K9042C00KA0648G00")
	f.Add("M5L90MP500K64J00000*M5L90U.D010K4J00000")
	f.Add("M5L90MP500W-GT68D20")
	f.Add(coded(func(w *tlv.Writer) {
		w.Struct(tlv.Anonymous)
		w.Text(tlv.Context(0), "1")
		w.Uint(tlv.Context(0x80), 7)
		w.End()
	})[len(qrPrefix):])
	f.Fuzz(func(t *testing.T, text string) {
		bounded(t, func() {
			if payloads, err := Parse(qrPrefix + text); err == nil {
				checkStable(t, payloads)
			}
		})
	})
}

func FuzzManual(f *testing.F) {
	f.Add("34970112332")
	f.Add("3532-533-5079")
	f.Add(checked("64129507530000100001"))
	f.Fuzz(func(t *testing.T, code string) {
		bounded(t, func() {
			if payloads, err := Parse(code); err == nil {
				checkStable(t, payloads)
			}
		})
	})
}

func FuzzNFC(f *testing.F) {
	f.Add(record(ndefBegin|ndefEnd|ndefKnown, "U", "\x00"+tagText))
	f.Add(append(record(ndefBegin|ndefKnown, "T", "\x02enLamp"), record(ndefEnd|ndefKnown, "U", "\x00"+tagText)...))
	f.Fuzz(func(t *testing.T, message []byte) {
		bounded(t, func() {
			if payloads, err := ParseNFC(message); err == nil {
				checkStable(t, payloads)
			}
		})
	})
}
