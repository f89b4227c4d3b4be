package app

import (
	"errors"
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/fabric"
)

// moduleFamilies are the texts that modules are given, by the first part of
// their keys.
var moduleFamilies = []string{"app", "js", "step", "remedy", "role", "measure"}

// text is one of the catalogue's, with its {names} replaced: pairs are names and
// values.
func text(key string, pairs ...any) string {
	s, ok := english[key]
	if !ok {
		return key // a test finds it
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		s = strings.ReplaceAll(s, "{"+fmt.Sprint(pairs[i])+"}", fmt.Sprint(pairs[i+1]))
	}
	return s
}

// maybe is a text of a family that need not have one: then the name itself.
func maybe(family, name string) string {
	if s, ok := english[family+"."+name]; ok {
		return s
	}
	return name
}

// funcs are what templates use.
func (a *App) funcs() template.FuncMap {
	return template.FuncMap{
		"t":      text,
		"maybe":  maybe,
		"asset":  a.assets.path,
		"remedy": remedy,
		"dict":   dict,
		"lines":  func(s string) []string { return strings.Split(s, "\n") },
		"roles":  func() []string { return roles(fabric.Administrator) },
		"below":  func(role string) []string { r, _ := fabric.ParseRole(role); return roles(r) },
		"approvers": func() []string {
			return []string{fabric.Administrator.String(), fabric.Resident.String(), fabric.Guest.String()}
		},
		"since":      func(t *time.Time) time.Time { return *t },
		"iso":        func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"short":      func(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04") + " UTC" },
		"hex4":       func(n uint16) string { return fmt.Sprintf("%04X", n) },
		"pathescape": url.PathEscape,
		"module":     func(name string) bool { _, ok := a.assets.files[name+".js"]; return ok },
	}
}

// remedy is what to do about a failure, in the app where that is another way
// than at a shell.
func remedy(f *commissioner.Failure) string {
	if s, ok := english["remedy."+string(f.Code)]; ok {
		return s
	}
	return f.Remedy
}

// dict is several values for a part of a page: names and values.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("a name without a value")
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m, nil
}

// roles are those that a token of somebody's may have: theirs, and those that may
// do less.
func roles(most fabric.Role) (names []string) {
	for r := fabric.Guest; r <= most; r++ {
		names = append(names, r.String())
	}
	if most == fabric.Auditor { // who reads operates nothing
		return names[len(names)-1:]
	}
	return names
}
