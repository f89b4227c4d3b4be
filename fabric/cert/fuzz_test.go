package cert

import (
	"bytes"
	"runtime/metrics"
	"testing"
)

// maxAlloc bounds what parsing may allocate, in octets.
const maxAlloc = 1 << 20

// limited fails the test if f allocates more than maxAlloc.
func limited(t *testing.T, f func()) {
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

// checkForms takes an accepted certificate through both forms and back.
func checkForms(t *testing.T, c *Certificate) {
	raw := c.TLV()
	again, err := Parse(raw)
	if err != nil || !bytes.Equal(again.TLV(), raw) {
		t.Fatalf("TLV %x comes back wrong: %v", raw, err)
	}
	der, err := c.DER()
	if err != nil { // longer than DER may be
		return
	}
	back, err := ParseDER(der)
	if err != nil || !bytes.Equal(back.TLV(), raw) {
		t.Fatalf("DER %x comes back wrong: %v", der, err)
	}
	_, _ = NewRoot(c)
}

func FuzzParse(f *testing.F) {
	c := newChain(f, nil)
	f.Add(c.rcac.TLV())
	f.Add(c.icac.TLV())
	f.Add(c.noc.TLV())
	f.Fuzz(func(t *testing.T, b []byte) {
		limited(t, func() {
			if c, err := Parse(b); err == nil {
				checkForms(t, c)
			}
		})
	})
}

func FuzzParseDER(f *testing.F) {
	c := newChain(f, func(c *chain) {
		c.noc.Subject[2] = Attribute{Type: CommonName, Text: "Lamp", Printable: true}
		c.icac.Order = append(c.icac.Order, ExtFuture)
		c.icac.Future = [][]byte{{0x30, 0x08, 0x06, 0x03, 0x55, 0x1D, 0x11, 0x04, 0x01, 0x00}}
	})
	for _, c := range []*Certificate{c.rcac, c.icac, c.noc} {
		der, err := c.DER()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		limited(t, func() {
			c, err := ParseDER(b)
			if err != nil {
				return
			}
			checkForms(t, c)
			if der, err := c.DER(); err != nil || !bytes.Equal(der, b) {
				t.Fatalf("not the DER it came from: %v", err)
			}
		})
	})
}

func FuzzRequest(f *testing.F) {
	der, err := NewRequest(nil, testKey(f, 7))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(der)
	f.Fuzz(func(t *testing.T, b []byte) {
		limited(t, func() {
			if k, err := ParseRequest(b); err == nil {
				if _, err := k.Key(); err != nil {
					t.Fatalf("accepted for a key off the curve: %v", err)
				}
			}
		})
	})
}

func FuzzSignature(f *testing.F) {
	f.Add(newChain(f, nil).noc.Signature.DER())
	f.Add([]byte{0x30, 6, 2, 1, 0, 2, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := ParseSignature(b); err == nil && !bytes.Equal(s.DER(), b) {
			t.Fatalf("%x comes back as %x", b, s.DER())
		}
	})
}
