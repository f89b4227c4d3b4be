package tlv

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// JSON renders one element by its type: integers and floats as numbers (an
// infinite or undefined float as a string), octet strings as base64, structs
// and lists as objects keyed by tag number, arrays as arrays.
func (e Raw) JSON() (json.RawMessage, error) {
	if _, err := Check(e); err != nil {
		return nil, err
	}
	r := NewReader(e)
	r.Next()
	return appendJSON(nil, &r), nil
}

// appendJSON renders the current element; the input was checked before.
func appendJSON(b []byte, r *Reader) []byte {
	switch r.typ {
	case TypeInt:
		return strconv.AppendInt(b, int64(r.num), 10)
	case TypeUint:
		return strconv.AppendUint(b, r.num, 10)
	case TypeBool:
		return strconv.AppendBool(b, r.num == 1)
	case TypeFloat32, TypeFloat64:
		f, _ := r.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return strconv.AppendQuote(b, fmt.Sprint(f))
		}
		bits := 64
		if r.typ == TypeFloat32 {
			bits = 32
		}
		return strconv.AppendFloat(b, f, 'g', -1, bits)
	case TypeString:
		s, _ := json.Marshal(string(r.val))
		return append(b, s...)
	case TypeBytes:
		return strconv.AppendQuote(b, base64.StdEncoding.EncodeToString(r.val))
	case TypeArray, TypeStruct, TypeList:
		return appendMembers(b, r)
	}
	return append(b, "null"...)
}

func appendMembers(b []byte, r *Reader) []byte {
	keyed := r.typ != TypeArray
	open, end := byte('['), byte(']')
	if keyed {
		open, end = '{', '}'
	}
	b = append(b, open)
	r.Enter()
	for i := 0; r.Next(); i++ {
		if i > 0 {
			b = append(b, ',')
		}
		if keyed {
			b = append(strconv.AppendQuote(b, r.tag.String()), ':')
		}
		b = appendJSON(b, r)
	}
	r.Exit()
	return append(b, end)
}

// FromJSON encodes a JSON value as an anonymous element, without a schema.
// Numbers become the type they look like: unsigned, signed when negative,
// double when they have a fraction or an exponent. Object keys are tag
// numbers. A key, or the argument typ, may name the type where looks
// deceive, as the Matter SDK's JSON does: "3:INT", "3:UINT", "3:FLOAT",
// "3:DOUBLE", "3:BYTES" (base64), "3:STRING", "3:BOOL", "3:NULL",
// "3:STRUCT", "3:ARRAY-UINT".
func FromJSON(b []byte, typ string) (Raw, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("tlv: value is not JSON: %w", err)
	}
	if d.More() {
		return nil, errors.New("tlv: more than one JSON value")
	}
	var w Writer
	if err := putJSON(&w, Anonymous, v, typ, 0); err != nil {
		return nil, err
	}
	return Raw(w.Bytes()), nil
}

func putJSON(w *Writer, t Tag, v any, typ string, depth int) error {
	if depth == MaxDepth {
		return errors.New("tlv: JSON nested too deep")
	}
	kind, elem, _ := strings.Cut(typ, "-")
	wrong := func() error { return fmt.Errorf("tlv: JSON value %v is no %s", v, typ) }
	switch v := v.(type) {
	case nil:
		if kind != "" && kind != "NULL" {
			return wrong()
		}
		w.Null(t)
	case bool:
		if kind != "" && kind != "BOOL" {
			return wrong()
		}
		w.Bool(t, v)
	case string:
		return putString(w, t, v, kind, wrong)
	case json.Number:
		return putNumber(w, t, v.String(), kind, wrong)
	case []any:
		if kind != "" && kind != "ARRAY" {
			return wrong()
		}
		w.Array(t)
		for _, m := range v {
			if err := putJSON(w, Anonymous, m, elem, depth+1); err != nil {
				return err
			}
		}
		w.End()
	case map[string]any:
		if kind != "" && kind != "STRUCT" {
			return wrong()
		}
		return putObject(w, t, v, depth)
	}
	return nil
}

func putString(w *Writer, t Tag, s, kind string, wrong func() error) error {
	switch kind {
	case "", "STRING":
		w.Text(t, s)
	case "BYTES":
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return wrong()
		}
		w.Octets(t, raw)
	default:
		return wrong()
	}
	return nil
}

func putNumber(w *Writer, t Tag, s, kind string, wrong func() error) error {
	if kind == "" {
		switch {
		case strings.ContainsAny(s, ".eE"):
			kind = "DOUBLE"
		case strings.HasPrefix(s, "-"):
			kind = "INT"
		default:
			kind = "UINT"
		}
	}
	var err error
	switch kind {
	case "UINT":
		var n uint64
		n, err = strconv.ParseUint(s, 10, 64)
		w.Uint(t, n)
	case "INT":
		var n int64
		n, err = strconv.ParseInt(s, 10, 64)
		w.Int(t, n)
	case "FLOAT":
		var f float64
		f, err = strconv.ParseFloat(s, 32)
		w.Float32(t, float32(f))
	case "DOUBLE":
		var f float64
		f, err = strconv.ParseFloat(s, 64)
		w.Float64(t, f)
	default:
		return wrong()
	}
	if err != nil {
		return wrong()
	}
	return nil
}

func putObject(w *Writer, t Tag, m map[string]any, depth int) error {
	type member struct {
		tag uint8
		typ string
		val any
	}
	var members [256]*member // in the order of their tags
	for key, v := range m {
		num, typ, _ := strings.Cut(key, ":")
		n, err := strconv.ParseUint(num, 10, 8)
		if err != nil {
			return fmt.Errorf("tlv: JSON key %q is no tag number up to 255", key)
		}
		if members[n] != nil {
			return fmt.Errorf("tlv: JSON has tag %d twice", n)
		}
		members[n] = &member{uint8(n), typ, v}
	}
	w.Struct(t)
	for _, mem := range members {
		if mem == nil {
			continue
		}
		if err := putJSON(w, Context(mem.tag), mem.val, mem.typ, depth+1); err != nil {
			return err
		}
	}
	w.End()
	return nil
}
