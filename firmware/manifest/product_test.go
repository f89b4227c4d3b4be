package manifest

import (
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

const sum = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

func release(fields string) string {
	return `{"version":1,"vendor":65521,"product":0,"releases":[{"version":9,"name":"9","sha256":"` + sum + `","size":1` + fields + `}]}`
}

func TestParseProduct(t *testing.T) {
	many := func(what string, n int) string {
		all := make([]string, n)
		for i := range all {
			all[i] = strings.ReplaceAll(what, "#", fmt.Sprint(i))
		}
		return strings.Join(all, ",")
	}
	for _, c := range []struct {
		name, document string
		code           Code
	}{
		{"the least", `{"version":1,"vendor":1,"product":0}`, ""},
		{"all", release(`,"applies":{"min":1,"max":8},"hardware":{"min":1,"max":1},"notes":"https://example.com/"`), ""},
		{"a field of tomorrow", `{"version":1,"vendor":1,"product":0,"tomorrow":[{"x":1.5}]}`, ""},
		{"most bad ranges", `{"version":1,"vendor":1,"product":0,"bad":[` + many(`{"from":#,"to":#,"reason":"r"}`, MaxBad) + `]}`, ""},
		{"too many bad ranges", `{"version":1,"vendor":1,"product":0,"bad":[` + many(`{"from":#,"to":#,"reason":"r"}`, MaxBad+1) + `]}`, Malformed},
		{"too many releases", `{"version":1,"vendor":1,"product":0,"releases":[` + many(`{"version":#,"name":"r","sha256":"`+sum+`","size":1}`, MaxReleases+1) + `]}`, Malformed},
		{"newer", `{"version":2,"vendor":"x"}`, Newer},
		{"no version", `{"vendor":1,"product":0}`, Malformed},
		{"no vendor", `{"version":1,"product":0}`, Malformed},
		{"vendor of 17 bits", `{"version":1,"vendor":65536,"product":0}`, Malformed},
		{"a negative number", `{"version":1,"vendor":1,"product":-1}`, Malformed},
		{"a fraction", `{"version":1,"vendor":1,"product":0,"minimum":1.5}`, Malformed},
		{"an exponent", `{"version":1,"vendor":1,"product":0,"minimum":1e3}`, Malformed},
		{"null", `{"version":1,"vendor":1,"product":0,"minimum":null}`, Malformed},
		{"a name twice", `{"version":1,"vendor":1,"product":0,"minimum":5,"minimum":0}`, Malformed},
		{"a name in capitals", `{"version":1,"vendor":1,"product":0,"Minimum":5}`, Malformed},
		{"a name that Go folds", `{"version":1,"vendor":1,"product":0,"releaſes":[]}`, Malformed},
		{"a name twice, escaped", `{"version":1,"vendor":1,"product":0,"minimum":5,"\u006dinimum":0}`, Malformed},
		{"something behind", `{"version":1,"vendor":1,"product":0} {}`, Malformed},
		{"not UTF-8", "{\"version\":1,\"vendor\":1,\"product\":0,\"x\":\"\xff\"}", Malformed},
		{"too deep", `{"version":1,"vendor":1,"product":0,"x":` + strings.Repeat("[", 9) + strings.Repeat("]", 9) + `}`, Malformed},
		{"cut off", `{"version":1,"vendor":1`, Malformed},
		{"nothing", ``, Malformed},
		{"an array", `[]`, Malformed},
		{"too long", `{"version":1,"vendor":1,"product":0}` + strings.Repeat(" ", MaxDocument), Endless},
		{"a range backwards", `{"version":1,"vendor":1,"product":0,"bad":[{"from":2,"to":1,"reason":"r"}]}`, Malformed},
		{"no reason", `{"version":1,"vendor":1,"product":0,"bad":[{"from":1,"to":1}]}`, Malformed},
		{"a reason with a line break", `{"version":1,"vendor":1,"product":0,"bad":[{"from":1,"to":1,"reason":"a\nb"}]}`, Malformed},
		{"a version twice", strings.Replace(release(""), "}]", `},{"version":9,"name":"9","sha256":"`+sum+`","size":1}]`, 1), Malformed},
		{"applies to itself", release(`,"applies":{"min":1,"max":9}`), Malformed},
		{"applies backwards", release(`,"applies":{"min":3,"max":2}`), Malformed},
		{"hardware backwards", release(`,"hardware":{"min":3,"max":2}`), Malformed},
		{"a digest in capitals", strings.Replace(release(""), "9f86", "9F86", 1), Malformed},
		{"a short digest", strings.Replace(release(""), "9f86", "", 1), Malformed},
		{"a long digest", strings.Replace(release(""), "9f86", "9f8600", 1), Malformed},
		{"no octets", strings.Replace(release(""), `"size":1`, `"size":0`, 1), Malformed},
		{"too many octets", strings.Replace(release(""), `"size":1`, fmt.Sprintf(`"size":%d`, MaxImage+1), 1), Malformed},
		{"a long name", strings.Replace(release(""), `"name":"9"`, `"name":"`+strings.Repeat("9", MaxName+1)+`"`, 1), Malformed},
		{"notes that run", release(`,"notes":"javascript:alert(1)"`), Malformed},
		{"notes without TLS", release(`,"notes":"http://example.com/"`), Malformed},
		{"long notes", release(`,"notes":"https://example.com/` + strings.Repeat("a", MaxNotes) + `"`), Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := ParseProduct([]byte(c.document)); CodeOf(err) != c.code || (err == nil) != (c.code == "") {
				t.Errorf("%v, want %q", err, c.code)
			}
		})
	}
}

func FuzzParseProduct(f *testing.F) {
	f.Add([]byte(release(`,"applies":{"min":1,"max":8},"hardware":{"min":1,"max":1},"notes":"https://example.com/"`)))
	f.Add([]byte(`{"version":1,"vendor":1,"product":0,"minimum":4294967295,"bad":[{"from":0,"to":0,"reason":"\u00e4"}]}`))
	f.Add([]byte(`{"version":2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		p, err := ParseProduct(data)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+uint64(len(data))*256 {
			t.Errorf("%d octets for a document of %d", n, len(data))
		}
		if err != nil {
			if CodeOf(err) == "" {
				t.Errorf("no code: %v", err)
			}
			return
		}
		again, err := p.Marshal()
		if err != nil {
			// White space and escapes are written otherwise: it may not fit any more.
			if len(data) > MaxDocument/8 {
				return
			}
			t.Fatal(err)
		}
		q, err := ParseProduct(again)
		if err != nil || !reflect.DeepEqual(normal(p), normal(q)) {
			t.Errorf("%+v became %+v, %v", p, q, err)
		}
	})
}

// normal makes empty and missing lists the same.
func normal(p *Product) Product {
	n := *p
	if len(n.Bad) == 0 {
		n.Bad = nil
	}
	if len(n.Releases) == 0 {
		n.Releases = nil
	}
	return n
}
