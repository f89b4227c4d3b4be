package tlv

import (
	"bytes"
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// encodings are the samples of Matter Core, appendix A.12.
var encodings = []struct {
	name, hex, json string
	write           func(*Writer)
}{
	{"false", "08", "false", func(w *Writer) { w.Bool(Anonymous, false) }},
	{"true", "09", "true", func(w *Writer) { w.Bool(Anonymous, true) }},
	{"42", "00 2a", "42", func(w *Writer) { w.Int(Anonymous, 42) }},
	{"-17", "00 ef", "-17", func(w *Writer) { w.Int(Anonymous, -17) }},
	{"42U", "04 2a", "42", func(w *Writer) { w.Uint(Anonymous, 42) }},
	{"-170000", "02 f0 67 fd ff", "-170000", func(w *Writer) { w.Int(Anonymous, -170000) }},
	{"40000000000", "03 00 90 2f 50 09 00 00 00", "40000000000", func(w *Writer) { w.Int(Anonymous, 40000000000) }},
	{"hello", "0c 06 48 65 6c 6c 6f 21", `"Hello!"`, func(w *Writer) { w.Text(Anonymous, "Hello!") }},
	{"tschüs", "0c 07 54 73 63 68 c3 bc 73", `"Tschüs"`, func(w *Writer) { w.Text(Anonymous, "Tschüs") }},
	{"bytes", "10 05 00 01 02 03 04", `"AAECAwQ="`, func(w *Writer) { w.Octets(Anonymous, []byte{0, 1, 2, 3, 4}) }},
	{"null", "14", "null", func(w *Writer) { w.Null(Anonymous) }},
	{"float 17.9", "0a 33 33 8f 41", "17.9", func(w *Writer) { w.Float32(Anonymous, 17.9) }},
	{"double 17.9", "0b 66 66 66 66 66 e6 31 40", "17.9", func(w *Writer) { w.Float64(Anonymous, 17.9) }},
	{"infinity", "0a 00 00 80 7f", `"+Inf"`, func(w *Writer) { w.Float32(Anonymous, float32(math.Inf(1))) }},
	{"empty struct", "15 18", "{}", func(w *Writer) { w.Struct(Anonymous); w.End() }},
	{"empty array", "16 18", "[]", func(w *Writer) { w.Array(Anonymous); w.End() }},
	{"empty list", "17 18", "{}", func(w *Writer) { w.List(Anonymous); w.End() }},
	{"struct", "15 20 00 2a 20 01 ef 18", `{"0":42,"1":-17}`, func(w *Writer) {
		w.Struct(Anonymous)
		w.Int(Context(0), 42)
		w.Int(Context(1), -17)
		w.End()
	}},
	{"array", "16 00 00 00 01 00 02 00 03 00 04 18", "[0,1,2,3,4]", func(w *Writer) {
		w.Array(Anonymous)
		for i := range 5 {
			w.Int(Anonymous, int64(i))
		}
		w.End()
	}},
	{"context tag", "24 01 2a", "42", func(w *Writer) { w.Uint(Context(1), 42) }},
	{"common tag", "44 01 00 2a", "42", func(w *Writer) { w.Uint(Tag{Form: FormCommon2, Number: 1}, 42) }},
	{"wide common tag", "64 a0 86 01 00 2a", "42", func(w *Writer) { w.Uint(Tag{Form: FormCommon2, Number: 100000}, 42) }},
	{"full tag", "c4 f1 ff ed de 01 00 2a", "42", func(w *Writer) { w.Uint(Full(0xfff1, 0xdeed, 1), 42) }},
	{"wide full tag", "e4 f1 ff ed de ed fe 55 aa 2a", "42", func(w *Writer) { w.Uint(Full(0xfff1, 0xdeed, 0xaa55feed), 42) }},
}

func TestEncodings(t *testing.T) {
	for _, c := range encodings {
		want := unhex(t, c.hex)
		var w Writer
		c.write(&w)
		if !bytes.Equal(w.Bytes(), want) {
			t.Errorf("%s: wrote %x, want %x", c.name, w.Bytes(), want)
		}
		if _, err := Check(want); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		j, err := Raw(want).JSON()
		if err != nil || string(j) != c.json {
			t.Errorf("%s: JSON %s (%v), want %s", c.name, j, err, c.json)
		}
		for n := range want {
			if _, err := Check(want[:n]); err == nil {
				t.Errorf("%s: accepted when cut to %d octets", c.name, n)
			}
		}
		if _, err := Check(append(want, 0x08)); err == nil {
			t.Errorf("%s: accepted with an octet behind it", c.name)
		}
	}
}

func TestMalformed(t *testing.T) {
	for name, in := range map[string]string{
		"reserved type":          "19",
		"stray end":              "18",
		"tagged end":             "15 38 00 18",
		"anonymous in struct":    "15 04 01 18",
		"tagged in array":        "16 24 00 01 18",
		"length over the end":    "10 05 00",
		"64-bit length":          "13 ff ff ff ff ff ff ff ff",
		"length of minus one":    "13 fe ff ff ff ff ff ff 7f 00",
		"not UTF-8":              "0c 01 ff",
		"nested too deep":        strings.Repeat("16", MaxDepth+1) + strings.Repeat("18", MaxDepth+1),
		"unclosed behind member": "15 24 00 01",
	} {
		if _, err := Check(unhex(t, in)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	deepest := strings.Repeat("16", MaxDepth) + strings.Repeat("18", MaxDepth)
	if _, err := Check(unhex(t, deepest)); err != nil {
		t.Errorf("depth %d: %v", MaxDepth, err)
	}
}

func TestReaderSkipsAndExits(t *testing.T) {
	// { 0: [1, [2]], 1: {5: 6}, 2: 7 } then 8
	r := NewReader(unhex(t, "15 3600 0401 16 0402 18 18 3501 2405 06 18 2402 07 18 0408"))
	if !r.Next() || r.Enter() != nil || !r.Next() || !r.Next() || !r.Tag().IsContext(1) {
		t.Fatalf("did not pass over member 0: %v", r.Err())
	}
	if err := r.Enter(); err != nil {
		t.Fatal(err)
	}
	if err := r.Exit(); err != nil {
		t.Fatal(err)
	}
	if !r.Next() || !r.Tag().IsContext(2) {
		t.Fatal("no member 2 behind an unread member 1")
	}
	if err := r.Exit(); err != nil {
		t.Fatal(err)
	}
	if !r.Next() {
		t.Fatal("no element behind the struct")
	}
	if n, err := r.Uint(); n != 8 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if r.Next() || r.Err() != nil {
		t.Fatalf("more behind the end: %v", r.Err())
	}
}

func TestRewind(t *testing.T) {
	var w Writer
	w.Array(Anonymous)
	w.Uint(Anonymous, 1)
	m := w.Mark()
	w.Struct(Anonymous)
	w.Uint(Context(0), 1)
	w.Rewind(m)
	w.End()
	if want := unhex(t, "16 0401 18"); !bytes.Equal(w.Bytes(), want) {
		t.Errorf("got %x, want %x", w.Bytes(), want)
	}
}
