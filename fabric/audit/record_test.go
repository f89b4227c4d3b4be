package audit

import (
	"encoding/json"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRecord holds records to their octets for ever.
func TestRecord(t *testing.T) {
	for _, test := range []struct {
		record Record
		want   string
	}{
		{Record{What: "trail-begun"}, `{"index":0,"time":0,"entry":0,"what":"trail-begun"}`},
		{Record{Index: 7, Time: 1790000000000, Entry: 30, What: "device-judged", By: 1, Device: 7, Gateway: 1, Zone: "attic", Name: `a "lamp"`, Refused: "command-invalid", Skipped: 3,
			Details: Object(nil).Text("verdict", "quarantine").Number("version", 2).Flag("attested", true).Texts("list", []string{"a", "b\\"}).
				Objects("reasons", []Object{Object(nil).Text("code", "x"), nil}).Object("update", Object(nil).Number("size", -1)).Object("none", nil)},
			`{"index":7,"time":1790000000000,"entry":30,"what":"device-judged","by":"0000000000000001","device":"0000000000000007","gateway":"0000000000000001",` +
				`"zone":"attic","name":"a \"lamp\"","refused":"command-invalid","skipped":3,"details":{"verdict":"quarantine","version":2,"attested":true,"list":["a","b\\"],` +
				`"reasons":[{"code":"x"},{}],"update":{"size":-1},"none":{}}}`},
		{Record{What: "x", Name: "\x1b[2J\u009b\u202ea\xff\x00<&>\u2028é𝄞\x7f"},
			`{"index":0,"time":0,"entry":0,"what":"x","name":"\u001b[2J\u009b\u202ea` + "\uFFFD" + `\u0000<&>\u2028é𝄞\u007f"}`},
	} {
		got := test.record.Append(nil)
		if string(got) != test.want {
			t.Errorf("%s\nnot %s", got, test.want)
		}
		back, err := Parse(got)
		if err != nil {
			t.Fatal(err)
		}
		if string(back.Append(nil)) != test.want {
			t.Errorf("read and written again: %s", back.Append(nil))
		}
	}
}

// TestTextsAreBounded holds that no text makes a record long, whatever is in it.
func TestTextsAreBounded(t *testing.T) {
	for _, text := range []string{strings.Repeat("a", 10_000), strings.Repeat("\x00", 10_000), strings.Repeat("\xff", 10_000), strings.Repeat("𝄞", 10_000), strings.Repeat(`"`, 257)} {
		b := appendText([]byte(nil), text)
		var back string
		if err := json.Unmarshal(b, &back); err != nil || len(b) > MaxText+2 || len(b) < MaxText-4 {
			t.Errorf("%d octets of %q: %v", len(b), text[:4], err)
		}
	}
}

func TestBadRecords(t *testing.T) {
	for what, line := range map[string]string{
		"two lines": "{\"index\":0}\n{}", "no JSON": "index", "cut off": `{"index":0`, "two objects": `{}{}`, "not UTF-8": "{\"name\":\"\xff\"}",
		"too long": `{"name":"` + strings.Repeat("a", MaxRecord) + `"}`, "a node id that is none": `{"device":"7"}`, "node 0": `{"by":"0000000000000000"}`,
		"a negative index": `{"index":-1}`, "a list": `[]`, "a number for a text": `{"what":1}`,
	} {
		if r, err := Parse([]byte(line)); err == nil {
			t.Errorf("%s: %+v", what, r)
		}
	}
	if r, err := Parse([]byte(`{"index":1,"what":"x","later":{"a":1}}`)); err != nil || r.Index != 1 {
		t.Errorf("a field of a later release: %+v, %v", r, err)
	}
}

// bounded fails if do allocates more than a multiple of its input.
func bounded(t *testing.T, input []byte, do func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20+100*uint64(len(input)) {
		t.Errorf("%d octets allocated for %d", used, len(input))
	}
}

func FuzzRecord(f *testing.F) {
	for _, r := range []Record{{What: "trail-begun"}, {Index: 1, What: "x", By: 1, Device: 2, Gateway: 3, Zone: "z", Name: "\x1b", Refused: "c", Skipped: 1,
		Details: Object(nil).Text("a", "b").Objects("l", []Object{nil})}} {
		f.Add(r.Append(nil))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		var r *Record
		var err error
		bounded(t, line, func() { r, err = Parse(line) })
		if err != nil {
			return
		}
		once := r.Append(nil)
		again, err := Parse(once)
		if len(once) > MaxRecord { // its texts were not escaped
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		for _, text := range []*string{&r.What, &r.Zone, &r.Name, &r.Refused} { // cut, when it is written
			var cut string
			if err := json.Unmarshal(appendText([]byte(nil), *text), &cut); err != nil {
				t.Fatal(err)
			}
			*text = cut
		}
		if d := cmp.Diff(r, again); d != "" {
			t.Error(d)
		}
	})
}
