package app

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse/commissioner"
	"gatehouse/commissioner/enroll"
	"gatehouse/commissioner/ota"
	"gatehouse/fabric"
)

var (
	// A key that is written out, in a template, a module or here.
	usedKey = regexp.MustCompile(`\b(?:t|text|has) ?\(?"([a-z]+(?:\.[\w-]+)+)"`)
	// A key of a screen, by its name.
	ofScreens = []string{"title", "purpose"}
)

// sources are the files that texts are used in.
func sources(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, pattern := range []string{"pages/*.html", "assets/*.js", "*.go"} {
		names, _ := filepath.Glob(pattern)
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(name, "texts") {
				continue
			}
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = string(b)
		}
	}
	return all
}

// families are the keys whose ends are found at run time, and what these are.
// nil: whatever the catalogue has.
func families() map[string][]string {
	roles := []string{}
	for r := fabric.Guest; r <= fabric.Administrator; r++ {
		roles = append(roles, r.String())
	}
	kinds := []string{}
	for _, m := range measures {
		kinds = append(kinds, m.Kind)
	}
	verdicts := []string{}
	for v := fabric.Verdict(1); v <= fabric.RefuseDevice; v++ {
		verdicts = append(verdicts, v.String())
	}
	updates := []string{}
	for _, s := range []ota.State{ota.Announced, ota.Offered, ota.Downloading, ota.Downloaded, ota.Broken, ota.Applying, ota.Applied} {
		updates = append(updates, string(s))
	}
	return map[string][]string{
		"step": slices.Concat(commissioner.Steps(), enroll.Steps()), "role": roles, "measure": kinds, "decision": verdicts, "verdict": slices.Concat([]string{"default"}, verdicts), "js.update": updates,
		"approval": {"guest", "resident", "administrator"}, "network": {"wifi", "thread"}, "networks.id": {"wifi", "thread"}, "member": {"voter", "learner", "joining"}, "keys": {"file", "tpm2"},
		"health": {"ok", "away", "quarantined", "update", "joining"}, "health.what": {"away", "quarantined", "update", "joining"}, "stage": {"waiting", "first", "rest", "stopped"},
		"usual": {"unknown", "recalled", "outdated", "uncertified"}, "trust": {"apple", "android", "mac", "windows", "linux"}, "what": nil, "remedy": nil,
	}
}

// TestTexts holds that every text that is used is in the catalogue, and every
// one that is there is used.
func TestTexts(t *testing.T) {
	used := make(map[string]bool)
	for name, source := range sources(t) {
		for _, m := range usedKey.FindAllStringSubmatch(source, -1) {
			if _, ok := english[m[1]]; !ok {
				t.Errorf("%s uses %q, which is not in the catalogue", name, m[1])
			}
			used[m[1]] = true
			if family, _, _ := strings.Cut(m[1], "."); strings.HasSuffix(name, ".js") && !slices.Contains(moduleFamilies, family) {
				t.Errorf("%s uses %q, which modules are not given", name, m[1])
			}
		}
	}
	for _, s := range screens() {
		for _, end := range ofScreens {
			if s.name != "device" || end != "title" { // which is the device's name
				used[s.name+"."+end] = true
			}
		}
	}
	used["failed.title"] = true
	for family, ends := range families() {
		if ends == nil {
			for key := range english {
				used[key] = used[key] || strings.HasPrefix(key, family+".")
			}
		}
		for _, end := range ends {
			switch family {
			case "trust":
				for _, of := range []string{"", ".file", ".steps"} {
					used["trust."+end+of] = true
				}
			case "health.what":
				used["health."+end+".what"] = true
			default:
				used[family+"."+end] = true
			}
		}
	}
	for key := range used {
		if _, ok := english[key]; !ok {
			t.Errorf("there is no text %q", key)
		}
	}
	for key, text := range english {
		if !used[key] {
			t.Errorf("nobody uses %q", key)
		}
		if strings.TrimSpace(text) != text || text == "" {
			t.Errorf("%q is %q", key, text)
		}
	}
	if n := len(screenTexts) + len(entryTexts) + len(moduleTexts) + len(trailTexts); n != len(english) {
		t.Errorf("%d keys are in the catalogue twice", n-len(english))
	}
}

// TestRecords holds that the audit trail's records have words.
func TestRecords(t *testing.T) {
	names, err := fs.Glob(os.DirFS("../../../fabric"), "*.go")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	said := make(map[string]bool)
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join("../../../fabric", name))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		for _, m := range regexp.MustCompile(`What(?:: | = )"([a-z-]+)"`).FindAllStringSubmatch(string(b), -1) {
			said[m[1]] = true
			if _, ok := english["what."+m[1]]; !ok {
				t.Errorf("there are no words for the record %s", m[1])
			}
		}
	}
	for key := range trailTexts {
		if !said[strings.TrimPrefix(key, "what.")] {
			t.Errorf("there is no record %s", key)
		}
	}
}

// TestRemedies holds that nobody is sent from a phone to a shell.
func TestRemedies(t *testing.T) {
	b, err := os.ReadFile("../../failure.go")
	if err != nil {
		t.Fatal(err)
	}
	codes := []string{string(fabric.CodeStopped), string(fabric.CodeNoRollout)}
	for _, m := range regexp.MustCompile(`Code\w* += "([a-z-]+)"|Code\w+ +Code = "([a-z-]+)"`).FindAllStringSubmatch(string(b), -1) {
		codes = append(codes, m[1]+m[2])
	}
	if len(codes) < 40 {
		t.Fatalf("only %d codes were found", len(codes))
	}
	for _, code := range codes {
		f := commissioner.Fail(commissioner.Code(code), nil)
		if strings.Contains(f.Remedy, "gatehouse ") && remedy(f) == f.Remedy {
			t.Errorf("%s says: %s", code, f.Remedy)
		}
	}
}
