package hass

import (
	"encoding/base64"
	"encoding/json"
	"strconv"

	"gatehouse/commissioner/matter/datamodel/names"
	"gatehouse/fabric/tlv"
)

// encodeValue makes an attribute's value of JSON. Structs may be keyed by tag
// or by name.
func encodeValue(v any, t names.Type) (tlv.Raw, error) {
	var w tlv.Writer
	if err := putTyped(&w, tlv.Anonymous, v, t, "the value"); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}

// encodeFields makes a command's fields of a JSON object, keyed by name in any
// spelling. nil is none.
func encodeFields(v any, s *names.Struct) (tlv.Raw, error) {
	fields, ok := v.(map[string]any)
	if !ok && v != nil {
		return nil, fail(InvalidArguments, "the payload of %s is no object", s.Name)
	}
	var w tlv.Writer
	if err := putStruct(&w, tlv.Anonymous, fields, s); err != nil {
		return nil, err
	}
	return w.Bytes(), nil
}

// encodeGuess makes a value of JSON whose type nobody knows: numbers become
// what they look like, strings text, objects structs keyed by tag.
func encodeGuess(v any) (tlv.Raw, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	raw, err := tlv.FromJSON(text, "")
	if err != nil {
		return nil, fail(InvalidArguments, "%v", err)
	}
	return raw, nil
}

// putTyped writes one value, which where names in an error. It goes no deeper
// than types do, which is not deep.
func putTyped(w *tlv.Writer, tag tlv.Tag, v any, t names.Type, where string) error {
	if v == nil {
		w.Null(tag)
		return nil
	}
	if t.List {
		list, ok := v.([]any)
		if !ok {
			return fail(InvalidArguments, "%s is no list", where)
		}
		w.Array(tag)
		for _, one := range list {
			if err := putTyped(w, tlv.Anonymous, one, t.Element(), where); err != nil {
				return err
			}
		}
		w.End()
		return nil
	}
	if t.Kind == names.Structed {
		fields, ok := v.(map[string]any)
		if !ok {
			return fail(InvalidArguments, "%s is no object", where)
		}
		return putStruct(w, tag, fields, t.Struct)
	}
	if !putScalar(w, tag, v, t.Kind) {
		return fail(InvalidArguments, "%s is no %s", where, kinds[t.Kind])
	}
	return nil
}

var kinds = map[names.Kind]string{
	names.Unsigned: "number from 0 to 2^64-1", names.Signed: "number of 64 bits with a sign", names.Bool: "boolean", names.Text: "string",
	names.Octets: "octets in base64", names.Float: "number", names.Double: "number",
}

func putScalar(w *tlv.Writer, tag tlv.Tag, v any, kind names.Kind) bool {
	var err error
	switch v := v.(type) {
	case bool:
		w.Bool(tag, v)
		return kind == names.Bool
	case string:
		switch kind {
		case names.Text:
			w.Text(tag, v)
		case names.Octets:
			var raw []byte
			raw, err = base64.StdEncoding.DecodeString(v)
			w.Octets(tag, raw)
		default:
			return false
		}
	case json.Number:
		switch kind {
		case names.Unsigned:
			var n uint64
			n, err = strconv.ParseUint(v.String(), 10, 64)
			w.Uint(tag, n)
		case names.Signed:
			var n int64
			n, err = strconv.ParseInt(v.String(), 10, 64)
			w.Int(tag, n)
		case names.Float:
			var f float64
			f, err = strconv.ParseFloat(v.String(), 32)
			w.Float32(tag, float32(f))
		case names.Double:
			var f float64
			f, err = strconv.ParseFloat(v.String(), 64)
			w.Float64(tag, f)
		default:
			return false
		}
	default:
		return false
	}
	return err == nil
}

// putStruct writes the fields that are there, in the order of the definition.
// A field that may be absent but not null is absent if it is null, and so is
// one of which nobody knows: clients send null for what they leave out. The
// fabric's index is the device's to fill in.
func putStruct(w *tlv.Writer, tag tlv.Tag, fields map[string]any, s *names.Struct) error {
	given := make(map[string]any, len(fields))
	for name, v := range fields {
		f, ok := field(s, name)
		switch {
		case ok && f.Tag == fabricIndexTag:
		case ok:
			if _, twice := given[f.Name]; !twice || name == f.Name {
				given[f.Name] = v
			}
		case v != nil && name != strconv.Itoa(fabricIndexTag) && names.Plain(name) != "fabricindex":
			return fail(InvalidArguments, "%s has no field %q", s.Name, name)
		}
	}
	w.Struct(tag)
	for _, f := range s.Fields {
		v, ok := given[f.Name]
		if !ok || v == nil && f.Optional && !f.Nullable {
			continue
		}
		if err := putTyped(w, tlv.Context(f.Tag), v, f.Type, s.Name+"."+f.Name); err != nil {
			return err
		}
	}
	w.End()
	return nil
}

// field is a struct's field by its tag in decimal, or by its name.
func field(s *names.Struct, key string) (names.Field, bool) {
	if tag, err := strconv.ParseUint(key, 10, 32); err == nil {
		return s.Tagged(uint32(tag))
	}
	return s.Named(key)
}
