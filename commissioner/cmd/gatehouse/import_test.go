package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"gatehouse/commissioner/inherit/inherittest"
)

// oldServer writes the storage of one of Home Assistant's servers, with two
// devices: oldserver python|matterjs DIR SECRETS. What must show up nowhere goes
// into the file SECRETS, COMPRESSED into a variable.
func oldServer(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		f := inherittest.New(t, args[0] == "python")
		f.Add(t, 1, "Desk lamp")
		n := f.Add(t, 2, "")
		n.Fabrics, n.Groups = 2, 1
		dir := ts.MkAbs(args[1])
		switch args[0] {
		case "python":
			f.WritePython(t, dir, f.Chip(t))
		case "matterjs":
			copy(f.IPK[:], "drawn for a home")
			inherittest.WriteLog(t, filepath.Join(dir, "server-2-134b"), f.Matterjs())
		}
		var secrets []string
		for _, s := range f.Secrets() {
			if whole := strings.Fields(s); len(whole) == 1 && whole[0] == s { // what is split would be found anywhere; other forms of it are there
				secrets = append(secrets, s)
			}
		}
		ts.Setenv("COMPRESSED", f.Compressed().String())
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(strings.Join(secrets, "\n")), 0o600))
	}
}
