package names

import (
	"strconv"
	"strings"

	"gatehouse/commissioner/matter/interaction"
)

// decode reads the lines of one section of the table, which is our own and
// well formed: a test reads all of it. It returns the structs.
func (c *Cluster) decode(lines string, shared map[string]*Struct) map[string]*Struct {
	structs := make(map[string]*Struct)
	responses := make(map[string]*Response)
	var into *Struct // takes the fields that follow
	find := func(name string) *Struct {
		if s := structs[name]; s != nil || shared[name] == nil {
			return s
		}
		return shared[name]
	}
	// A struct may be used before it stands there.
	for line := range strings.Lines(lines) {
		if name := strings.TrimSuffix(line, "\n"); name[0] == 's' {
			structs[name[1:]] = &Struct{Name: name[1:]}
		}
	}
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		what, line := line[0], line[1:]
		if what == 's' {
			into = structs[line]
			continue
		}
		number, rest, _ := strings.Cut(line, " ")
		n, _ := strconv.ParseUint(number, 10, 32)
		name, rest, _ := strings.Cut(rest, " ")
		switch what {
		case ' ':
			f := Field{Tag: uint8(n), Name: name}
			f.Type, f.Optional, _, _, _ = decodeType(rest, find)
			into.Fields = append(into.Fields, f)
		case 'a':
			a := Attribute{ID: interaction.AttributeID(n), Name: name}
			a.Type, _, a.Writable, a.Timed, a.Administer = decodeType(rest, find)
			c.Attributes[a.ID] = a
		case 'r':
			r := &Response{ID: interaction.CommandID(n), Struct: Struct{Name: name}}
			responses[name], into = r, &r.Struct
		case 'c':
			bare := strings.TrimRight(name, "@!")
			k := &Command{ID: interaction.CommandID(n), Struct: Struct{Name: bare}, Response: responses[rest],
				Timed: strings.Contains(name[len(bare):], "@"), Administer: strings.Contains(name[len(bare):], "!")}
			c.Commands = append(c.Commands, k)
			into = &k.Struct
		case 'e':
			e := &Event{ID: interaction.EventID(n), Struct: Struct{Name: name}}
			c.Events[e.ID], into = e, &e.Struct
		}
	}
	return structs
}

// decodeType reads a kind and its marks.
func decodeType(s string, find func(string) *Struct) (t Type, optional, writable, timed, administer bool) {
	name := strings.TrimRight(s, "*~?+@!")
	marks := s[len(name):]
	has := func(mark string) bool { return strings.Contains(marks, mark) }
	t = Type{Kind: Structed, List: has("*"), Nullable: has("~")}
	if len(name) == 1 {
		t.Kind = Kind(name[0])
	} else {
		t.Struct = find(name)
	}
	return t, has("?"), has("+"), has("@"), has("!")
}
