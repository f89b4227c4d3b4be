package hass

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"

	"gatehouse/commissioner/matter/datamodel/names"
	"gatehouse/fabric/tlv"
)

// fabricIndexTag is the tag of the fabric's index in whatever belongs to one.
const fabricIndexTag = 254

// appendValue renders an attribute's value: structs keyed by tag, octets in
// base64, what JSON has no number for as null. It takes no schema. A value
// that is not well formed is null.
func appendValue(b []byte, v tlv.Raw) []byte {
	start, r := len(b), tlv.NewReader(v)
	if r.Next() {
		b = appendTagged(b, &r)
	}
	if len(b) == start || r.Err() != nil {
		b = append(b[:start], "null"...)
	}
	return b
}

func appendTagged(b []byte, r *tlv.Reader) []byte {
	switch r.Type() {
	case tlv.TypeStruct:
		return appendMembers(b, r, '{', '}', func(b []byte) []byte {
			b = strconv.AppendUint(append(b, '"'), uint64(r.Tag().Number), 10)
			return appendTagged(append(b, '"', ':'), r)
		})
	case tlv.TypeArray, tlv.TypeList:
		return appendMembers(b, r, '[', ']', func(b []byte) []byte { return appendTagged(b, r) })
	}
	return appendScalar(b, r)
}

// appendMembers renders the members of the current container.
func appendMembers(b []byte, r *tlv.Reader, open, end byte, one func([]byte) []byte) []byte {
	b = append(b, open)
	if r.Enter() != nil {
		return b
	}
	for i := 0; r.Next(); i++ {
		if i > 0 {
			b = append(b, ',')
		}
		b = one(b)
	}
	r.Exit()
	return append(b, end)
}

func appendScalar(b []byte, r *tlv.Reader) []byte {
	switch r.Type() {
	case tlv.TypeInt:
		n, _ := r.Int()
		return strconv.AppendInt(b, n, 10)
	case tlv.TypeUint:
		n, _ := r.Uint()
		return strconv.AppendUint(b, n, 10)
	case tlv.TypeBool:
		v, _ := r.Bool()
		return strconv.AppendBool(b, v)
	case tlv.TypeFloat32, tlv.TypeFloat64:
		f, _ := r.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			break
		}
		bits := 64
		if r.Type() == tlv.TypeFloat32 {
			bits = 32
		}
		return strconv.AppendFloat(b, f, 'g', -1, bits)
	case tlv.TypeString:
		s, _ := r.Text()
		return appendString(b, s)
	case tlv.TypeBytes:
		v, _ := r.Bytes()
		b = base64.StdEncoding.AppendEncode(append(b, '"'), v)
		return append(b, '"')
	}
	return append(b, "null"...)
}

func appendString(b []byte, s string) []byte {
	text, _ := json.Marshal(s)
	return append(b, text...)
}

// appendNamed renders the fields of a response or an event: structs keyed by
// name, in the SDK's spelling and, where that differs, in matter.js's too. A
// field that s does not know goes by its tag.
func appendNamed(b []byte, v tlv.Raw, s *names.Struct) []byte {
	start, r := len(b), tlv.NewReader(v)
	if r.Next() && r.Type() == tlv.TypeStruct {
		b = appendFields(b, &r, s)
	}
	if len(b) == start || r.Err() != nil {
		b = append(b[:start], "null"...)
	}
	return b
}

func appendFields(b []byte, r *tlv.Reader, s *names.Struct) []byte {
	return appendMembers(b, r, '{', '}', func(b []byte) []byte {
		tag := r.Tag().Number
		f, ok := s.Tagged(tag)
		switch {
		case !ok && tag == fabricIndexTag:
			f.Name = "fabricIndex"
		case !ok:
			f.Name = strconv.FormatUint(uint64(tag), 10)
		}
		b = append(appendString(b, f.Name), ':')
		from := len(b)
		b = appendTyped(b, r, f.Type)
		if camel := f.Camel(); camel != f.Name {
			value := b[from:]
			b = append(appendString(append(b, ','), camel), ':')
			b = append(b, value...)
		}
		return b
	})
}

func appendTyped(b []byte, r *tlv.Reader, t names.Type) []byte {
	switch {
	case t.List && r.Type() == tlv.TypeArray:
		return appendMembers(b, r, '[', ']', func(b []byte) []byte { return appendTyped(b, r, t.Element()) })
	case t.Struct != nil && r.Type() == tlv.TypeStruct:
		return appendFields(b, r, t.Struct)
	}
	return appendTagged(b, r)
}
