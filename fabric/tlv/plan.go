package tlv

import (
	"fmt"
	"reflect"
)

var (
	marshalerType   = reflect.TypeFor[Marshaler]()
	unmarshalerType = reflect.TypeFor[Unmarshaler]()
	rawType         = reflect.TypeFor[Raw]()
	byteType        = reflect.TypeFor[byte]()
)

// makePlan makes the plan of t; asList makes its container a TLV list.
func makePlan(t reflect.Type, asList bool) *plan {
	switch {
	case t == rawType:
		return &plan{encode: encodeRaw, decode: decodeRaw}
	case t.Implements(marshalerType) && reflect.PointerTo(t).Implements(unmarshalerType):
		return &plan{encode: encodeMarshaler, decode: decodeUnmarshaler}
	}
	switch t.Kind() {
	case reflect.Bool:
		return &plan{
			encode: func(w *Writer, t Tag, v reflect.Value) error { w.Bool(t, v.Bool()); return nil },
			decode: func(r *Reader, v reflect.Value) error { b, err := r.Bool(); v.SetBool(b); return err },
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &plan{
			encode: func(w *Writer, t Tag, v reflect.Value) error { w.Int(t, v.Int()); return nil },
			decode: decodeInt,
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return &plan{
			encode: func(w *Writer, t Tag, v reflect.Value) error { w.Uint(t, v.Uint()); return nil },
			decode: decodeUint,
		}
	case reflect.Float32:
		return &plan{
			encode: func(w *Writer, t Tag, v reflect.Value) error { w.Float32(t, float32(v.Float())); return nil },
			decode: func(r *Reader, v reflect.Value) error { f, err := r.Float(); v.SetFloat(f); return err },
		}
	case reflect.Float64:
		return &plan{
			encode: func(w *Writer, t Tag, v reflect.Value) error { w.Float64(t, v.Float()); return nil },
			decode: func(r *Reader, v reflect.Value) error { f, err := r.Float(); v.SetFloat(f); return err },
		}
	case reflect.String:
		return &plan{
			encode: func(w *Writer, t Tag, v reflect.Value) error { w.Text(t, v.String()); return nil },
			decode: func(r *Reader, v reflect.Value) error { s, err := r.Text(); v.SetString(s); return err },
		}
	case reflect.Slice:
		if t.Elem() == byteType { // no enumeration of an octet each: that is an array
			return &plan{encode: encodeBytes, decode: decodeBytes}
		}
		return slicePlan(t, asList)
	case reflect.Array:
		if t.Elem() == byteType {
			return &plan{encode: encodeBytes, decode: decodeByteArray}
		}
	case reflect.Pointer:
		return pointerPlan(t, asList)
	case reflect.Struct:
		return structPlan(t, asList)
	}
	return &plan{err: fmt.Errorf("tlv: no encoding for %v", t)}
}

func encodeRaw(w *Writer, t Tag, v reflect.Value) error { w.Raw(t, Raw(v.Bytes())); return nil }

func decodeRaw(r *Reader, v reflect.Value) error {
	raw, err := r.Raw()
	v.SetBytes(append([]byte(nil), raw...))
	return err
}

func encodeMarshaler(w *Writer, t Tag, v reflect.Value) error {
	return v.Interface().(Marshaler).MarshalTLV(w, t)
}

func decodeUnmarshaler(r *Reader, v reflect.Value) error {
	return v.Addr().Interface().(Unmarshaler).UnmarshalTLV(r)
}

func decodeInt(r *Reader, v reflect.Value) error {
	n, err := r.Int()
	if err == nil && v.OverflowInt(n) {
		return fmt.Errorf("tlv: octet %d: %d overflows %v", r.start, n, v.Type())
	}
	v.SetInt(n)
	return err
}

func decodeUint(r *Reader, v reflect.Value) error {
	n, err := r.Uint()
	if err == nil && v.OverflowUint(n) {
		return fmt.Errorf("tlv: octet %d: %d overflows %v", r.start, n, v.Type())
	}
	v.SetUint(n)
	return err
}

func encodeBytes(w *Writer, t Tag, v reflect.Value) error {
	if v.Kind() == reflect.Array && !v.CanAddr() {
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		v = c
	}
	w.Octets(t, v.Bytes())
	return nil
}

func decodeBytes(r *Reader, v reflect.Value) error {
	b, err := r.Bytes()
	if err == nil {
		v.SetBytes(append(make([]byte, 0, len(b)), b...))
	}
	return err
}

func decodeByteArray(r *Reader, v reflect.Value) error {
	b, err := r.Bytes()
	if err == nil && len(b) != v.Len() {
		return fmt.Errorf("tlv: octet %d: %d octets where %d belong", r.start, len(b), v.Len())
	}
	reflect.Copy(v, reflect.ValueOf(b))
	return err
}

func pointerPlan(t reflect.Type, asList bool) *plan {
	inner := makePlan(t.Elem(), asList)
	return &plan{
		err: inner.err,
		encode: func(w *Writer, t Tag, v reflect.Value) error {
			if v.IsNil() {
				w.Null(t)
				return nil
			}
			return inner.encode(w, t, v.Elem())
		},
		decode: func(r *Reader, v reflect.Value) error {
			v.Set(reflect.New(t.Elem()))
			return inner.decode(r, v.Elem())
		},
	}
}

func slicePlan(t reflect.Type, asList bool) *plan {
	inner := makePlan(t.Elem(), false)
	typ, start := containerOf(TypeArray, asList)
	return &plan{
		err: inner.err,
		encode: func(w *Writer, t Tag, v reflect.Value) error {
			start(w, t)
			for i := range v.Len() {
				if err := inner.encode(w, Anonymous, v.Index(i)); err != nil {
					return err
				}
			}
			w.End()
			return nil
		},
		decode: func(r *Reader, v reflect.Value) error {
			if r.Type() != typ {
				return r.mismatch(typ.String())
			}
			if err := r.Enter(); err != nil {
				return err
			}
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
			for r.Next() {
				// Every member takes at least one octet of input, so the
				// input's length bounds the growth.
				v.Grow(1)
				v.SetLen(v.Len() + 1)
				last := v.Index(v.Len() - 1)
				last.SetZero()
				if err := inner.decode(r, last); err != nil {
					return err
				}
			}
			return r.Exit()
		},
	}
}

func containerOf(typ Type, asList bool) (Type, func(*Writer, Tag)) {
	switch {
	case asList:
		return TypeList, (*Writer).List
	case typ == TypeArray:
		return TypeArray, (*Writer).Array
	}
	return TypeStruct, (*Writer).Struct
}

func structPlan(t reflect.Type, asList bool) *plan {
	var fields []field
	for i := range t.NumField() {
		sf := t.Field(i)
		f, list, err := parseField(sf)
		if err != nil {
			return &plan{err: fmt.Errorf("%v of %v", err, t)}
		}
		if sf.Name == "_" {
			asList = asList || list
			continue
		}
		f.index = i
		if f.plan = makePlan(sf.Type, list); f.plan.err != nil {
			return f.plan
		}
		fields = append(fields, f)
	}
	if len(fields) > 64 {
		return &plan{err: fmt.Errorf("tlv: %v has more than 64 fields", t)}
	}
	typ, start := containerOf(TypeStruct, asList)
	return &plan{
		encode: func(w *Writer, t Tag, v reflect.Value) error {
			start(w, t)
			for i := range fields {
				f := &fields[i]
				fv := v.Field(f.index)
				if f.optional && fv.IsNil() || f.omit && empty(fv) {
					continue
				}
				if err := f.plan.encode(w, Context(f.tag), fv); err != nil {
					return err
				}
			}
			w.End()
			return nil
		},
		decode: func(r *Reader, v reflect.Value) error {
			if r.Type() != typ {
				return r.mismatch(typ.String())
			}
			return decodeStruct(r, v, fields)
		},
	}
}

// empty is the test of omitempty: zero, or a slice of no members.
func empty(v reflect.Value) bool {
	return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0
}

func decodeStruct(r *Reader, v reflect.Value, fields []field) error {
	if err := r.Enter(); err != nil {
		return err
	}
	var seen uint64
	for r.Next() {
		if r.tag.Form != FormContext {
			continue
		}
		for i := range fields {
			f := &fields[i]
			if uint32(f.tag) != r.tag.Number {
				continue
			}
			if seen&(1<<i) != 0 {
				return fmt.Errorf("tlv: octet %d: tag %d of %v comes twice", r.start, f.tag, v.Type())
			}
			seen |= 1 << i
			if err := f.plan.decode(r, v.Field(f.index)); err != nil {
				return fmt.Errorf("%v.%s: %w", v.Type(), f.name, err)
			}
			break
		}
	}
	if err := r.Exit(); err != nil {
		return err
	}
	for i := range fields {
		if f := &fields[i]; seen&(1<<i) == 0 && !f.optional && !f.omit {
			return fmt.Errorf("tlv: %v.%s (tag %d) is absent", v.Type(), f.name, f.tag)
		}
	}
	return nil
}
