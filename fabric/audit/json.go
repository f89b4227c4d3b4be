package audit

import (
	"strconv"
	"unicode/utf8"
)

// Object is a JSON object as it is written. Its methods add a field: names are
// the caller's constants, and come in the order they are added.
//
// It is written by hand, since its octets are hashed on all gateways: they must
// not change with a release of the language.
type Object []byte

// Text adds a text, cut to MaxText.
func (o Object) Text(name, value string) Object { return appendText(o.field(name), value).close() }

// Number adds a number.
func (o Object) Number(name string, value int64) Object {
	return Object(strconv.AppendInt(o.field(name), value, 10)).close()
}

// Flag adds a truth value.
func (o Object) Flag(name string, value bool) Object {
	return Object(strconv.AppendBool(o.field(name), value)).close()
}

// Object adds an object.
func (o Object) Object(name string, value Object) Object {
	return append(o.field(name), value.or()...).close()
}

// Texts adds a list of texts.
func (o Object) Texts(name string, values []string) Object {
	b := append(o.field(name), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, v)
	}
	return append(b, ']').close()
}

// Objects adds a list of objects.
func (o Object) Objects(name string, values []Object) Object {
	b := append(o.field(name), '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v.or()...)
	}
	return append(b, ']').close()
}

func (o Object) or() Object {
	if len(o) == 0 {
		return Object("{}")
	}
	return o
}

// field begins a field: close ends it.
func (o Object) field(name string) Object {
	if len(o) <= len("{}") {
		o = Object("{")
	} else {
		o = append(o[:len(o)-1:len(o)-1], ',')
	}
	return append(append(append(o, '"'), name...), '"', ':')
}

func (o Object) close() Object { return append(o, '}') }

// appendText writes a text as JSON, in at most MaxText octets between its
// quotes. What a terminal would obey, or show where it is not, is written by its
// number.
func appendText[T ~[]byte](b T, text string) T {
	b = append(b, '"')
	for left := MaxText; len(text) > 0; {
		r, n := utf8.DecodeRuneInString(text)
		piece := text[:n]
		switch {
		case r == utf8.RuneError && n == 1:
			piece = string(utf8.RuneError)
		case r == '"' || r == '\\':
			piece = `\` + piece
		case r < 0x20 || r >= 0x7F && r < 0xA0 || r >= 0x2028 && r <= 0x202E || r >= 0x2066 && r <= 0x2069:
			piece = `\u` + strconv.FormatInt(int64(r)+1<<16, 16)[1:]
		}
		if left -= len(piece); left < 0 {
			break
		}
		b, text = append(b, piece...), text[n:]
	}
	return append(b, '"')
}
