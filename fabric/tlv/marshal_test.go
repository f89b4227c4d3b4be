package tlv

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type path struct {
	_        struct{} `tlv:",list"`
	Endpoint *uint16  `tlv:"2"`
	Cluster  *uint32  `tlv:"3"`
}

type sample struct {
	Paths  []path       `tlv:"0"`
	Random [4]byte      `tlv:"1"`
	Name   string       `tlv:"2,omitempty"`
	Delta  int16        `tlv:"3"`
	Limit  Null[uint16] `tlv:"4"`
	Data   Raw          `tlv:"5,omitempty"`
	Flags  []uint8      `tlv:"6,omitempty"`
	Inner  *inner       `tlv:"7"`
	Order  []uint32     `tlv:"8,list,omitempty"`
	Half   float32      `tlv:"9"`
	On     bool         `tlv:"10"`
}

type inner struct {
	Value uint64 `tlv:"254"`
}

func ptr[T any](v T) *T { return &v }

func fullSample() sample {
	return sample{
		Paths:  []path{{Endpoint: ptr(uint16(1)), Cluster: ptr(uint32(0x10006))}, {}},
		Random: [4]byte{1, 2, 3, 4},
		Name:   "lamp",
		Delta:  -300,
		Limit:  Some(uint16(9)),
		Data:   Raw{0x15, 0x24, 0x00, 0x01, 0x18},
		Flags:  []byte{7},
		Inner:  &inner{1 << 40},
		Order:  []uint32{1, 2},
		Half:   0.5,
		On:     true,
	}
}

func TestMarshalRoundTrip(t *testing.T) {
	for _, in := range []sample{fullSample(), {Paths: []path{}}} {
		b, err := Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out sample
		if err := Unmarshal(b, &out); err != nil {
			t.Fatalf("%x: %v", b, err)
		}
		if len(in.Data) > 0 {
			in.Data[0] = out.Data[0] // the tag is that of the member
			out.Data = append(Raw{out.Data[0]}, out.Data[2:]...)
		}
		if d := cmp.Diff(in, out, cmp.AllowUnexported(path{})); d != "" {
			t.Error(d)
		}
	}
}

// TestOctets holds that only bytes are octet strings, not what is kept in one.
func TestOctets(t *testing.T) {
	type level uint8
	type both struct {
		Bytes  []byte  `tlv:"0"`
		Fixed  [2]byte `tlv:"1"`
		Levels []level `tlv:"2"`
	}
	in := both{[]byte{1, 2}, [2]byte{3, 4}, []level{5, 6}}
	b, err := Marshal(in)
	if want := unhex(t, "15 3000 02 0102 3001 02 0304 3602 0405 0406 18 18"); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%x, %v; want %x", b, err, want)
	}
	var out both
	if err := Unmarshal(b, &out); err != nil || !cmp.Equal(in, out) {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := Marshal([2]level{5, 6}); err == nil {
		t.Error("an array of one's own bytes has an encoding")
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	type one struct {
		A uint8 `tlv:"0"`
	}
	for name, in := range map[string]string{
		"absent":         "15 18",
		"twice":          "15 2400 01 2400 01 18",
		"overflow":       "15 2500 0001 18",
		"negative":       "15 2000 ff 18",
		"wrong type":     "15 2800 18",
		"list for array": "17 2400 01 18",
		"trailing":       "15 2400 01 18 14",
	} {
		var v one
		if err := Unmarshal(unhex(t, in), &v); err == nil {
			t.Errorf("%s: accepted as %+v", name, v)
		}
	}
	var v one
	if err := Unmarshal(unhex(t, "15 2400 01 2463 05 3564 18 18"), &v); err != nil || v.A != 1 {
		t.Errorf("unknown members: %v", err)
	}
}

func TestUnmarshalCopies(t *testing.T) {
	type one struct {
		A []byte `tlv:"0"`
		B Raw    `tlv:"1"`
	}
	in := unhex(t, "15 3000 01 05 2401 06 18")
	var v one
	if err := Unmarshal(in, &v); err != nil {
		t.Fatal(err)
	}
	clear(in)
	if v.A[0] != 5 || v.B[2] != 6 {
		t.Error("decoded values alias the input")
	}
}

func TestTypeErrors(t *testing.T) {
	for _, v := range []any{struct{ A int }{}, struct {
		A chan int `tlv:"0"`
	}{}, struct {
		A int `tlv:"256"`
	}{}, struct {
		A int `tlv:"1,maybe"`
	}{}} {
		if _, err := Marshal(v); err == nil {
			t.Errorf("%T: marshalled", v)
		}
	}
}

func TestFromJSON(t *testing.T) {
	for _, c := range []struct{ json, typ, hex string }{
		{"5", "", "0405"},
		{"5", "INT", "0005"},
		{"-5", "", "00fb"},
		{"1.5", "FLOAT", "0a0000c03f"},
		{`"AAE="`, "BYTES", "10020001"},
		{`"AAE="`, "", "0c0441414 53d"},
		{`{"1":2,"0:INT":1}`, "", "15 2000 01 2401 02 18"},
		{`[1,2]`, "ARRAY-INT", "16 0001 0002 18"},
		{`{"0:ARRAY-INT":[1],"1":null,"2":true}`, "", "15 3600 0001 18 3401 2902 18"},
	} {
		got, err := FromJSON([]byte(c.json), c.typ)
		if err != nil || !bytes.Equal(got, unhex(t, c.hex)) {
			t.Errorf("%s %s: %x, %v; want %s", c.json, c.typ, got, err, c.hex)
		}
	}
	for _, c := range [][2]string{{"{", ""}, {"1 2", ""}, {"-1", "UINT"}, {`"x"`, "BYTES"}, {`{"a":1}`, ""},
		{`{"300":1}`, ""}, {`{"1":1,"1:INT":2}`, ""}, {"18446744073709551616", ""}, {"true", "UINT"}, {"null", "BOOL"}, {"[]", "STRUCT"}} {
		if got, err := FromJSON([]byte(c[0]), c[1]); err == nil {
			t.Errorf("%s %s: accepted as %x", c[0], c[1], got)
		}
	}
}
