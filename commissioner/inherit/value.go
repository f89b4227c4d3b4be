package inherit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode"

	"gatehouse/fabric"
)

// Errors of this file tell nothing of what was read: it may be a key.
var (
	errJSON   = errors.New("not JSON")
	errGzip   = errors.New("not compressed as it should be")
	errFormat = errors.New("not what it should be")
)

// decode reads one JSON value. Numbers stay as they are written: ids have 64
// bits.
func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(v) != nil {
		return errJSON
	}
	if _, err := d.Token(); err != io.EOF {
		return errJSON
	}
	return nil
}

// readAll reads at most maxFile octets, decompressed where the name says so.
func readAll(r io.Reader, name string) ([]byte, error) {
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(io.LimitReader(r, maxFile))
		if err != nil {
			return nil, problem(CodeDamaged, errGzip)
		}
		r = z
	}
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	switch {
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, problem(CodeDamaged, errGzip)
	case err != nil:
		return nil, problem(CodeUnreadable, err)
	case len(b) > maxFile:
		return nil, problem(CodeTooLarge, nil)
	}
	return b, nil
}

// special is how matter.js writes what JSON has no form for: a string that is
// an object.
type special struct {
	Kind  string `json:"__object__"`
	Value any    `json:"__value__"`
}

func specialOf(v any) (s special, ok bool) {
	t, ok := v.(string)
	if !ok || !strings.HasPrefix(t, `{"__object__":"`) {
		return s, false
	}
	return s, decode([]byte(t), &s) == nil
}

// number is an unsigned number, of JSON or as matter.js writes large ones.
func number(v any) (uint64, bool) {
	if s, ok := specialOf(v); ok {
		if v = s.Value; s.Kind == "BigInt" {
			if t, ok := v.(string); ok {
				v = json.Number(t)
			}
		} else if t, ok := v.(string); ok { // an id, of releases before
			v = json.Number(t)
		}
	}
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(n.String(), 10, 64)
	return u, err == nil
}

// small is a number that must be below a limit; 0 if there is none such.
func small(v any, limit uint64) uint64 {
	if n, ok := number(v); ok && n < limit {
		return n
	}
	return 0
}

// text is a string, bounded and fit for a terminal; empty if there is none.
func text(v any) string {
	t, ok := v.(string)
	if _, is := specialOf(v); !ok || is {
		return ""
	}
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(t, ""))
	return fabric.Cut(printable)
}

func list(v any) []any            { l, _ := v.([]any); return l }
func object(v any) map[string]any { o, _ := v.(map[string]any); return o }

// hexOctets are octets as matter.js writes them.
func hexOctets(v any) ([]byte, bool) {
	s, ok := specialOf(v)
	if !ok || s.Kind != "Uint8Array" {
		return nil, false
	}
	t, ok := s.Value.(string)
	if !ok {
		return nil, false
	}
	b, err := hex.DecodeString(t)
	return b, err == nil
}

// base64Octets are octets as python-matter-server writes them.
func base64Octets(v any) ([]byte, bool) {
	t, ok := v.(string)
	if !ok {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(t)
	return b, err == nil
}
