package hass

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"gatehouse/commissioner/matter/datamodel/names"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/tlv"
)

func marshal(t testing.TB, v any) tlv.Raw {
	t.Helper()
	b, err := tlv.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type pair struct {
	A uint64            `tlv:"0"`
	B tlv.Null[[]byte]  `tlv:"1"`
	C []string          `tlv:"10"`
	F uint8             `tlv:"254"`
	D *tlv.Null[[]bool] `tlv:"2"`
}

func TestAppendValue(t *testing.T) {
	for want, v := range map[string]any{
		"true": true, "0": uint8(0), "-1": int64(-1), "18446744073709551615": uint64(math.MaxUint64), "-9223372036854775808": int64(math.MinInt64), `"a\"\u003c\u2028ü"`: "a\"<\u2028ü",
		`"AAH+/w=="`: []byte{0, 1, 0xfe, 0xff}, `""`: []byte{}, "1.5": 1.5, "0.1": float32(0.1), "1e+300": 1e300, "null": math.NaN(), `[1,2]`: []uint16{1, 2}, `[]`: []uint16{},
		`{"0":1,"1":null,"10":["x"],"254":3}`: pair{A: 1, C: []string{"x"}, F: 3}, `[{"0":0,"1":"/w==","10":[],"254":0}]`: []pair{{B: tlv.Some([]byte{255}), C: []string{}}},
	} {
		got := appendValue([]byte("x"), marshal(t, v))
		if string(got) != "x"+want || !json.Valid(got[1:]) {
			t.Errorf("%v is rendered %s", v, got)
		}
	}
	for _, bad := range []string{"", "\x16", "\x15\x24", "\xff", "\x04", "\x16\x04\x01"} {
		if got := appendValue(nil, tlv.Raw(bad)); string(got) != "null" {
			t.Errorf("%x is rendered %s", bad, got)
		}
	}
	if got := appendValue(nil, marshal(t, math.Inf(1))); string(got) != "null" {
		t.Errorf("infinity is rendered %s", got)
	}
}

func TestAppendNamed(t *testing.T) {
	response := &names.Of(257).Command("GetUser").Response.Struct
	v := marshal(t, struct {
		Index       uint16 `tlv:"0"`
		ID          uint32 `tlv:"2"`
		Credentials []pair `tlv:"6"`
		Unknown     bool   `tlv:"99"`
		Fabric      uint8  `tlv:"254"`
	}{1, 7, []pair{{A: 1, C: []string{}}}, true, 2})
	const want = `{"userIndex":1,"userUniqueID":7,"userUniqueId":7,"credentials":[{"credentialType":1,"credentialIndex":null,"10":[],"fabricIndex":0}],"99":true,"fabricIndex":2}`
	if got := appendNamed(nil, v, response); string(got) != want {
		t.Errorf("rendered %s", got)
	}
	if got := appendNamed(nil, tlv.Raw("\x15\x24"), response); string(got) != "null" {
		t.Errorf("rendered %s", got)
	}
	if got := appendNamed(nil, marshal(t, 1), response); string(got) != "null" {
		t.Errorf("a number is rendered %s", got)
	}
}

// decodeJSON is JSON as a command's arguments are decoded.
func decodeJSON(text string) (v any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// attributeType is the type of an attribute.
func attributeType(c interaction.ClusterID, a interaction.AttributeID) names.Type {
	x, _ := names.Of(c).Attribute(a)
	return x.Type
}

func TestEncodeValue(t *testing.T) {
	entries := attributeType(31, 0)
	for _, test := range []struct {
		typ  names.Type
		text string
		want string // rendered again; empty: refused
	}{
		{attributeType(6, 0x4001), `65535`, `65535`},
		{attributeType(6, 0x4001), `-1`, ``},
		{attributeType(6, 0x4001), `1.5`, ``},
		{attributeType(6, 0x4001), `"1"`, ``},
		{attributeType(6, 0x4003), `null`, `null`},
		{attributeType(513, 16), `-10`, `-10`},
		{attributeType(513, 16), `10`, `10`},
		{attributeType(40, 5), `"den"`, `"den"`},
		{attributeType(40, 5), `5`, ``},
		{attributeType(65, 0), `[{"0":"room","1":"den"}]`, `[{"0":"room","1":"den"}]`},
		{attributeType(65, 0), `[{"label":"room","value":"den"}]`, `[{"0":"room","1":"den"}]`},
		{attributeType(65, 0), `[{"value":"den","Label":"room","2":null,"note":null}]`, `[{"0":"room","1":"den"}]`},
		{attributeType(65, 0), `[{"note":"den"}]`, ``},
		{attributeType(65, 0), `[{"7":"den"}]`, ``},
		{attributeType(65, 0), `{"0":"room"}`, ``},
		{attributeType(65, 0), `["room"]`, ``},
		{entries, `[{"1":5,"2":2,"3":[18446744073709551615],"4":null,"254":1}]`, `[{"1":5,"2":2,"3":[18446744073709551615],"4":null}]`},
		{entries, `[{"privilege":5,"auth_mode":2,"subjects":null,"targets":[{"cluster":6,"endpoint":null,"device_type":null}],"fabricIndex":1}]`, `[{"1":5,"2":2,"3":null,"4":[{"0":6,"1":null,"2":null}]}]`},
		{entries, `[{"3":[18446744073709551616]}]`, ``},
		{attributeType(62, 4), `["AAE="]`, `["AAE="]`},
		{attributeType(62, 4), `["AAE"]`, ``},
		{attributeType(62, 4), `["?"]`, ``},
		{names.Type{Kind: names.Float}, `1`, `1`},
		{names.Type{Kind: names.Double}, `1e-3`, `0.001`},
		{names.Type{Kind: names.Bool}, `1`, ``},
		{names.Type{Kind: names.Bool}, `true`, `true`},
	} {
		v, err := decodeJSON(test.text)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := encodeValue(v, test.typ)
		if got := string(appendValue(nil, raw)); (err == nil) != (test.want != "") || err == nil && got != test.want {
			t.Errorf("%s becomes %s, %v", test.text, got, err)
		}
		if e, ok := err.(*Error); err != nil && (!ok || e.Code != InvalidArguments) {
			t.Errorf("%s: %v", test.text, err)
		}
	}
	deep, _ := decodeJSON(strings.Repeat("[", 100) + strings.Repeat("]", 100))
	if _, err := encodeGuess(deep); err == nil {
		t.Error("a hundred lists in one another are written")
	}
}

func TestEncodeFields(t *testing.T) {
	credential := &names.Of(257).Command("SetCredential").Struct
	v, _ := decodeJSON(`{"operationType":0,"credential":{"credentialType":1,"credentialIndex":1},"credentialData":"MTIzNA==","userIndex":null,"userStatus":null,"userType":null}`)
	raw, err := encodeFields(v, credential)
	if got := string(appendValue(nil, raw)); err != nil || got != `{"0":0,"1":{"0":1,"1":1},"2":"MTIzNA==","3":null,"4":null,"5":null}` {
		t.Errorf("%s %v", got, err)
	}
	lock := &names.Of(257).Command("LockDoor").Struct
	for text, want := range map[string]string{
		`{}`: `{}`, `null`: `{}`, `{"PINCode":null}`: `{}`, `{"PINCode":"MTIzNA=="}`: `{"0":"MTIzNA=="}`, `{"pinCode":"MTIzNA==","PINCode":"MTIzNA=="}`: `{"0":"MTIzNA=="}`,
		`{"pin_code":"MTIzNA=="}`: `{"0":"MTIzNA=="}`, `{"PIN":"MTIzNA=="}`: ``, `[]`: ``, `7`: ``,
	} {
		v, _ := decodeJSON(text)
		raw, err := encodeFields(v, lock)
		if got := string(appendValue(nil, raw)); (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%s becomes %s, %v", text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), "MTIz") {
			t.Errorf("an error has a secret in it: %v", err)
		}
	}
}

func TestPattern(t *testing.T) {
	n := &Node{Attributes: []Attribute{{Path: Path{0, 40, 1}}, {Path: Path{0, 29, 1}}, {Path: Path{1, 6, 0}}}}
	for text, want := range map[string]int{ // how many paths it becomes; -1: refused
		"1/6/0": 1, "*/6/0": 1, "1/*/0": 1, "0/*/1": 2, "*/*/*": 1, "0/*/65533": 1, "1/*/7": 0, "a/b/c": 1, "//": 1, "1/6": -1, "1/6/0/1": -1, "": -1, "65536/6/0": -1, "1/4294967296/0": -1, "-1/6/0": 1,
	} {
		p, err := parsePattern(text)
		if (err == nil) != (want >= 0) {
			t.Errorf("%q: %v", text, err)
		} else if got := p.expand(n); err == nil && len(got) != want {
			t.Errorf("%q becomes %v", text, got)
		}
	}
}

func TestBridge(t *testing.T) {
	n := &Node{ID: 1, Attributes: []Attribute{{Path: Path{3, 29, 0}, Value: marshal(t, []struct {
		Type     uint32 `tlv:"0"`
		Revision uint16 `tlv:"1"`
	}{{19, 1}, {14, 1}})}}}
	if got := appendNode(nil, n); !bytes.Contains(got, []byte(`"is_bridge":true`)) {
		t.Errorf("%s", got)
	}
}

// FuzzPayload turns JSON into TLV, and that into JSON that stays as it is.
func FuzzPayload(f *testing.F) {
	f.Add(uint32(31), uint32(0), `[{"1":5,"2":2,"3":[1],"4":null}]`)
	f.Add(uint32(65), uint32(0), `[{"label":"a","value":"b"}]`)
	f.Add(uint32(40), uint32(5), `"x"`)
	f.Add(uint32(0x12344321), uint32(0), `{"0":[1,-1,1.5,"x",null,true,{"1":2}]}`)
	f.Fuzz(func(t *testing.T, c, a uint32, text string) {
		v, err := decodeJSON(text)
		if err != nil {
			return
		}
		var raw tlv.Raw
		typ, known := names.Type{}, false
		if cluster := names.Of(interaction.ClusterID(c)); cluster != nil {
			var x names.Attribute
			x, known = cluster.Attribute(interaction.AttributeID(a))
			typ = x.Type
			for _, k := range cluster.Commands {
				encodeFields(v, &k.Struct)
			}
		}
		encode := func(v any) (tlv.Raw, error) {
			if known {
				return encodeValue(v, typ)
			}
			return encodeGuess(v)
		}
		if raw, err = encode(v); err != nil {
			return
		}
		if _, err := tlv.Check(raw); err != nil {
			t.Fatalf("%s becomes %x: %v", text, []byte(raw), err)
		}
		shown := appendValue(nil, raw)
		again, err := decodeJSON(string(shown))
		if err != nil {
			t.Fatalf("%s is rendered %s: %v", text, shown, err)
		}
		raw2, err := encode(again)
		if err != nil || known && !reflect.DeepEqual(raw, raw2) {
			t.Fatalf("%s becomes %x, then %x: %v", text, []byte(raw), []byte(raw2), err)
		}
	})
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"1/6/0", "*/*/*", "0/40/*", "1/2", "99999999999/1/1", "a/b/c"} {
		f.Add(s)
	}
	n := &Node{Attributes: []Attribute{{Path: Path{0, 40, 1}}}}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePattern(s)
		if err != nil {
			return
		}
		p.expand(n)
		if x, ok := p.path(); ok {
			if again, err := parsePattern(x.String()); err != nil || !again.matches(x) || !p.matches(x) {
				t.Errorf("%q is %v", s, x)
			}
		}
	})
}

// FuzzValue renders whatever a device may send.
func FuzzValue(f *testing.F) {
	f.Add([]byte("\x15\x24\x00\x01\x18"), uint32(257))
	f.Add([]byte("\x16\x04\x01\x18"), uint32(62))
	f.Fuzz(func(t *testing.T, b []byte, c uint32) {
		if got := appendValue(nil, b); !json.Valid(got) || len(got) > 100*len(b)+100 {
			t.Fatalf("%x is rendered %s", b, got)
		}
		if cluster := names.Of(interaction.ClusterID(c)); cluster != nil {
			for _, k := range cluster.Commands {
				if k.Response != nil {
					if got := appendNamed(nil, b, &k.Response.Struct); !json.Valid(got) {
						t.Fatalf("%x is rendered %s", b, got)
					}
				}
			}
		}
	})
}

func FuzzDump(f *testing.F) {
	f.Add(`{"data":{"node":{"node_id":1,"attributes":{"0/40/1":"x","1/6/0":[{"0":1}]}}}}`)
	f.Add(`{"data":{"server":{"nodes":{"1":{"attributes":{}},"2":{}}}}}`)
	f.Add(`{"data":{"nodes":[{"attributes":null}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		dump, err := parseDump(text)
		if err != nil {
			return
		}
		var tests testNodes
		ids, err := tests.add(dump, noonInside)
		if err != nil {
			return
		}
		for _, id := range ids {
			if b := tests.get(id).append(nil); !json.Valid(b) {
				t.Fatalf("%s becomes %s", text, b)
			}
		}
	})
}
