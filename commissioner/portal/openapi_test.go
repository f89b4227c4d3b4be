package portal

import (
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write openapi.json")

// TestOpenAPI holds openapi.json against the code: the routes, who may, and the
// types of requests and answers.
func TestOpenAPI(t *testing.T) {
	got, err := json.MarshalIndent(describe(new(Portal).routes()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("the API is another than openapi.json says; if that is meant, run this test with -update:\n%s", d)
	}
	for _, r := range new(Portal).routes() {
		if r.what == "" || r.out == nil || r.h == nil {
			t.Errorf("%s does not say what it does or answers", r.pattern)
		}
	}
}
