package tlv

import (
	"bytes"
	"testing"
)

func FuzzCheck(f *testing.F) {
	for _, c := range encodings {
		f.Add(unhex(f, c.hex))
	}
	s, _ := Marshal(fullSample())
	f.Add(s)
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := testing.AllocsPerRun(1, func() { Check(b) }); n > 1 { // the error
			t.Fatalf("%v allocations", n)
		}
		if _, err := Check(b); err != nil {
			return
		}
		j, err := Raw(b).JSON()
		if err != nil {
			t.Fatal(err)
		}
		if len(j) > 64*len(b)+16 {
			t.Fatalf("%d octets of JSON from %d", len(j), len(b))
		}
		// What was accepted stays the same under its own tag, re-encoded.
		r := NewReader(b)
		r.Next()
		var w Writer
		rewrite(&w, &r)
		if _, err := Check(w.Bytes()); err != nil {
			t.Fatalf("%x rewritten as %x: %v", b, w.Bytes(), err)
		}
		j2, err := Raw(w.Bytes()).JSON()
		if err != nil || !bytes.Equal(j, j2) {
			t.Fatalf("%s became %s (%v)", j, j2, err)
		}
		if len(w.Bytes()) > len(b) {
			t.Fatalf("%x grew to %x", b, w.Bytes())
		}
	})
}

// rewrite writes the current element in its shortest form.
func rewrite(w *Writer, r *Reader) {
	switch t := r.Tag(); r.Type() {
	case TypeInt:
		n, _ := r.Int()
		w.Int(t, n)
	case TypeUint:
		n, _ := r.Uint()
		w.Uint(t, n)
	case TypeBool:
		v, _ := r.Bool()
		w.Bool(t, v)
	case TypeString:
		s, _ := r.Text()
		w.Text(t, s)
	case TypeBytes:
		b, _ := r.Bytes()
		w.Octets(t, b)
	case TypeStruct, TypeArray, TypeList:
		map[Type]func(*Writer, Tag){TypeStruct: (*Writer).Struct, TypeArray: (*Writer).Array, TypeList: (*Writer).List}[r.Type()](w, t)
		r.Enter()
		for r.Next() {
			rewrite(w, r)
		}
		r.Exit()
		w.End()
	default:
		raw, _ := r.Raw()
		w.Raw(t, raw)
	}
}

func FuzzUnmarshal(f *testing.F) {
	s, _ := Marshal(fullSample())
	f.Add(s)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v, again sample
		if Unmarshal(b, &v) != nil {
			return
		}
		one, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := Unmarshal(one, &again); err != nil {
			t.Fatal(err)
		}
		two, _ := Marshal(again)
		if !bytes.Equal(one, two) {
			t.Fatalf("%x became %x", one, two)
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	f.Add([]byte(`{"0:INT":1,"1":[true,null,"x",1.5e3]}`), "")
	f.Add([]byte(`[1,2]`), "ARRAY-UINT")
	f.Fuzz(func(t *testing.T, b []byte, typ string) {
		if e, err := FromJSON(b, typ); err == nil {
			if _, err := Check(e); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	s, _ := Marshal(fullSample())
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		Check(s)
	}
}

func BenchmarkMarshal(b *testing.B) {
	v := fullSample()
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		Append(buf, &v)
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	s, _ := Marshal(fullSample())
	b.ReportAllocs()
	for b.Loop() {
		var v sample
		Unmarshal(s, &v)
	}
}
