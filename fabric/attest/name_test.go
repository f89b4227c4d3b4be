package attest

import (
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// pair is an attribute to make a name of.
type pair struct {
	oid  string
	kind asn1.Tag
	text string
}

func name(pairs ...pair) Name {
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, p := range pairs {
			b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddBytes([]byte(p.oid))
					b.AddASN1(p.kind, func(b *cryptobyte.Builder) { b.AddBytes([]byte(p.text)) })
				})
			})
		}
	})
	return b.BytesOrPanic()
}

func cn(text string) pair { return pair{oidCommonName, asn1.UTF8String, text} }

// TestIDsInNames follows the examples of the specification and the SDK's
// TestVIDPID_StringExtraction.
func TestIDsInNames(t *testing.T) {
	vid := func(s string) pair { return pair{oidVendorID, asn1.UTF8String, s} }
	pid := func(s string) pair { return pair{oidProductID, asn1.UTF8String, s} }
	id := func(v uint16) ID { return ID{v, true} }
	for _, c := range []struct {
		name            Name
		vendor, product ID
		ok              bool
	}{
		{name(vid("FFF1")), id(0xFFF1), ID{}, true},
		{name(vid("0000"), pid("D90F")), id(0), id(0xD90F), true},
		{name(vid("12eF")), ID{}, ID{}, false},
		{name(pid("12345")), ID{}, ID{}, false},
		{name(vid("AB5")), ID{}, ID{}, false},
		{name(vid("10FH")), ID{}, ID{}, false},
		{name(vid("0x12")), ID{}, ID{}, false},
		{name(vid("+FF1")), ID{}, ID{}, false},
		{name(vid("")), ID{}, ID{}, false},
		{name(vid("FFF1"), vid("FFF1")), ID{}, ID{}, false},
		{name(pid("8000"), pid("8000")), ID{}, ID{}, false},
		{name(cn("Mvid:FFF1")), id(0xFFF1), ID{}, true},
		{name(cn("Mpid:C20A")), ID{}, id(0xC20A), true},
		{name(cn("ACME Matter Devel DAC 5CDA9899 Mvid:FFF1 Mpid:00B1")), id(0xFFF1), id(0xB1), true},
		{name(cn("Mpid:00B1,ACME Matter Devel DAC 5CDA9899,Mvid:FFF1")), id(0xFFF1), id(0xB1), true},
		{name(cn("Mvid:FFF1ACME Matter Devel DAC 5CDAMpid:00B19899")), id(0xFFF1), id(0xB1), true},
		{name(cn("MpidMvid:FFF10 Matter Test Mpid:FE67")), id(0xFFF1), id(0xFE67), true},
		{name(cn("Mpid:Mvid:FFF1 Mpid:12cd Matter Test Mpid:FE67")), id(0xFFF1), id(0xFE67), true},
		{name(cn("ACME Mvid:FF1 Mpid:00B1")), ID{}, ID{}, false},
		{name(cn("ACME Mvid:fff1 Mpid:00B1")), ID{}, ID{}, false},
		{name(cn("ACME Mvid:FFF1 Mpid:B1")), ID{}, ID{}, false},
		{name(cn("ACME Mpid: Mvid:FFF1")), ID{}, ID{}, false},
		{name(cn("Mpid:987Mvid:FFF10x")), ID{}, ID{}, false},
		{name(cn("Matter Devel Mpid:Mvid:Fff1")), ID{}, ID{}, false},
		{name(cn("a lamp")), ID{}, ID{}, true},
		{name(cn(strings.Repeat("x", maxCommonName) + "Mvid:FFF1")), ID{}, ID{}, true},
		{name(cn("Mvid:FFF1"), cn("Mvid:FFF2 Mpid:8000")), id(0xFFF1), ID{}, true},
		{name(cn("Mvid:FFF1 Mpid:8000"), vid("FFF2")), id(0xFFF2), ID{}, true},
		{name(vid("FFF2"), cn("Mvid:fff1")), ID{}, ID{}, false},
		{Name{0x30, 5, 0}, ID{}, ID{}, false},
		{nil, ID{}, ID{}, false},
	} {
		vendor, product, err := c.name.ids()
		if (err == nil) != c.ok || vendor != c.vendor || product != c.product {
			t.Errorf("%q: %v, %v, %v", c.name, vendor, product, err)
		}
	}
}

func TestNamesAreEqual(t *testing.T) {
	printable := func(s string) pair { return pair{oidCommonName, asn1.PrintableString, s} }
	for _, c := range []struct {
		a, b Name
		want bool
	}{
		{name(cn("Acme PAA")), name(cn("Acme PAA")), true},
		{name(cn("Acme PAA")), name(printable("ACME  paa ")), true},
		{name(cn("Acme PAA")), name(cn("Acme PAI")), false},
		{name(cn("Acme PAA")), name(cn("Acme PAA"), cn("x")), false},
		{name(cn("Acme PAA")), name(pair{oidVendorID, asn1.UTF8String, "Acme PAA"}), false},
		{name(cn("a"), cn("b")), name(cn("b"), cn("a")), false},
		{name(pair{oidCommonName, asn1.OCTET_STRING, "A"}), name(pair{oidCommonName, asn1.OCTET_STRING, "a"}), false},
		{name(cn("x")), Name{0x30}, false},
		{Name{0x31, 0}, name(cn("x")), false},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%q and %q: %v", c.a, c.b, got)
		}
	}
}
