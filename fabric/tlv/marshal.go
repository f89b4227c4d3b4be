package tlv

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// Marshaler writes itself under a tag.
type Marshaler interface {
	MarshalTLV(w *Writer, t Tag) error
}

// Unmarshaler reads itself from the Reader's current element. It may leave a
// container unread.
type Unmarshaler interface {
	UnmarshalTLV(r *Reader) error
}

// Null is a value that Matter calls nullable: null, or a T. (A field that may
// be absent is a pointer, or has the option omitempty.)
type Null[T any] struct {
	Valid bool // false: null
	Value T
}

// Some is a nullable that is not null.
func Some[T any](v T) Null[T] { return Null[T]{true, v} }

// MarshalTLV writes the value or a null.
func (n Null[T]) MarshalTLV(w *Writer, t Tag) error {
	if !n.Valid {
		w.Null(t)
		return nil
	}
	return Encode(w, t, &n.Value)
}

// UnmarshalTLV reads a value or a null.
func (n *Null[T]) UnmarshalTLV(r *Reader) error {
	if n.Valid = r.Type() != TypeNull; !n.Valid {
		return nil
	}
	return Decode(r, &n.Value)
}

// Marshal encodes v as one anonymous element. Structs are written member by
// member, as their field tags say:
//
//	Field T `tlv:"3"`           context tag 3
//	Field T `tlv:"3,list"`      the container is a TLV list, not a struct or array
//	Field T `tlv:"3,omitempty"` left out when zero, may be absent when read
//	Field *T `tlv:"3"`          left out when nil, may be absent when read
//
// A field without a tlv tag is an error of the type. Slices are arrays, but
// []byte and [n]byte are octet strings. A slice of enumerations is an array,
// also where each of them is kept in a byte. A struct with a blank field tagged
// `tlv:",list"` is itself always a list.
func Marshal(v any) ([]byte, error) { return Append(nil, v) }

// Append is Marshal behind b.
func Append(b []byte, v any) ([]byte, error) {
	w := NewWriter(b)
	err := Encode(&w, Anonymous, v)
	return w.Bytes(), err
}

// Encode writes v under the tag t, as Marshal does.
func Encode(w *Writer, t Tag, v any) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer && !rv.IsNil() {
		rv = rv.Elem()
	}
	if !rv.IsValid() {
		w.Null(t)
		return nil
	}
	p, err := planOf(rv.Type())
	if err != nil {
		return err
	}
	return p.encode(w, t, rv)
}

// Unmarshal decodes b, exactly one element, into the value v points to.
// Members of a struct that have no field are passed over: later revisions of
// Matter add them. A member that comes twice, one of the wrong type or size,
// and a required one that is absent are errors.
func Unmarshal(b []byte, v any) error {
	if _, err := Check(b); err != nil {
		return err
	}
	r := NewReader(b)
	r.Next()
	return Decode(&r, v)
}

// Decode decodes the current element into the value v points to.
func Decode(r *Reader, v any) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return fmt.Errorf("tlv: decode into a %T, not a pointer", v)
	}
	p, err := planOf(rv.Type().Elem())
	if err != nil {
		return err
	}
	return p.decode(r, rv.Elem())
}

// plan is how one Go type is written and read; it is made once per type.
type plan struct {
	encode func(*Writer, Tag, reflect.Value) error
	decode func(*Reader, reflect.Value) error
	err    error
}

var plans sync.Map // reflect.Type → *plan

func planOf(t reflect.Type) (*plan, error) {
	if p, ok := plans.Load(t); ok {
		return p.(*plan), p.(*plan).err
	}
	p := makePlan(t, false)
	plans.Store(t, p)
	return p, p.err
}

type field struct {
	index    int
	tag      uint8
	optional bool // pointer: nil when absent
	omit     bool // omitempty
	name     string
	plan     *plan
}

// parseField reads a struct field's tlv tag.
func parseField(sf reflect.StructField) (f field, list bool, err error) {
	spec, ok := sf.Tag.Lookup("tlv")
	if !ok {
		return f, false, fmt.Errorf("tlv: field %s has no tlv tag", sf.Name)
	}
	num, opts, _ := strings.Cut(spec, ",")
	for opt := range strings.SplitSeq(opts, ",") {
		switch opt {
		case "list":
			list = true
		case "omitempty":
			f.omit = true
		case "":
		default:
			return f, false, fmt.Errorf("tlv: field %s: unknown option %q", sf.Name, opt)
		}
	}
	if sf.Name == "_" {
		return f, list, nil
	}
	n, err := strconv.ParseUint(num, 10, 8)
	if err != nil {
		return f, false, fmt.Errorf("tlv: field %s: tag %q is no number up to 255", sf.Name, num)
	}
	f.tag, f.name = uint8(n), sf.Name
	f.optional = sf.Type.Kind() == reflect.Pointer
	return f, list, nil
}
