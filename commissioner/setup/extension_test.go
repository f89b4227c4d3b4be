package setup

import (
	"testing"

	"gatehouse/fabric/tlv"

	"github.com/google/go-cmp/cmp"
)

// coded is the QR code of a device whose extension is written by fill.
func coded(fill func(*tlv.Writer)) string {
	var w tlv.Writer
	fill(&w)
	return qrPrefix + encode38(append(bits(0, 20202021), w.Bytes()...))
}

func TestExtension(t *testing.T) {
	var vendor tlv.Writer
	vendor.Struct(tlv.Context(0x81))
	vendor.Bool(tlv.Context(1), true)
	vendor.End()
	number := []byte{0x25, 0x82, 12, 0} // two octets where one would do: kept as it is
	salt := make([]byte, 16)
	code := coded(func(w *tlv.Writer) {
		w.Struct(tlv.Anonymous)
		w.Text(tlv.Context(0), "123456789")
		w.Uint(tlv.Context(1), 1000)
		w.Octets(tlv.Context(2), salt)
		w.Uint(tlv.Context(3), 4)
		w.Uint(tlv.Context(4), 900)
		w.Raw(tlv.Context(0x81), vendor.Bytes())
		w.Raw(tlv.Context(0x82), number)
		w.End()
	})
	want := Extension{SerialNumber: "123456789", Iterations: 1000, Salt: salt, NumberOfDevices: 4, Timeout: 900,
		Other: []Element{{0x81, vendor.Bytes()}, {0x82, number}}}
	p := one(t, code)
	if diff := cmp.Diff(want, p.Extension); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if back, err := p.QR(); err != nil || back != code {
		t.Errorf("encodes as %s, %v; want %s", back, err, code)
	}
}

func TestExtensionNumericSerial(t *testing.T) {
	p := one(t, coded(func(w *tlv.Writer) {
		w.Struct(tlv.Anonymous)
		w.Uint(tlv.Context(0), 123456789)
		w.End()
	}))
	if p.Extension.SerialNumber != "123456789" {
		t.Errorf("serial number %q", p.Extension.SerialNumber)
	}
}

func TestMalformedExtension(t *testing.T) {
	member := func(fill func(*tlv.Writer)) func(*tlv.Writer) {
		return func(w *tlv.Writer) { w.Struct(tlv.Anonymous); fill(w); w.End() }
	}
	for name, fill := range map[string]func(*tlv.Writer){
		"not a struct":      func(w *tlv.Writer) { w.Uint(tlv.Anonymous, 1) },
		"a tagged struct":   func(w *tlv.Writer) { w.Struct(tlv.Context(1)); w.End() },
		"not ended":         func(w *tlv.Writer) { w.Struct(tlv.Anonymous) },
		"two structs":       func(w *tlv.Writer) { w.Struct(tlv.Anonymous); w.End(); w.Struct(tlv.Anonymous); w.End() },
		"full tag":          member(func(w *tlv.Writer) { w.Uint(tlv.Full(1, 1, 1), 1) }),
		"a tag twice":       member(func(w *tlv.Writer) { w.Text(tlv.Context(0), "a"); w.Text(tlv.Context(0), "b") }),
		"serial of bytes":   member(func(w *tlv.Writer) { w.Octets(tlv.Context(0), []byte{1}) }),
		"too few rounds":    member(func(w *tlv.Writer) { w.Uint(tlv.Context(1), 999) }),
		"too many rounds":   member(func(w *tlv.Writer) { w.Uint(tlv.Context(1), 100001) }),
		"a short salt":      member(func(w *tlv.Writer) { w.Octets(tlv.Context(2), make([]byte, 15)) }),
		"a long salt":       member(func(w *tlv.Writer) { w.Octets(tlv.Context(2), make([]byte, 33)) }),
		"no devices":        member(func(w *tlv.Writer) { w.Uint(tlv.Context(3), 0) }),
		"too many devices":  member(func(w *tlv.Writer) { w.Uint(tlv.Context(3), 256) }),
		"an endless window": member(func(w *tlv.Writer) { w.Uint(tlv.Context(4), 65536) }),
	} {
		_, err := Parse(coded(fill))
		wantCode(t, name, err, CodeExtension)
	}
}
