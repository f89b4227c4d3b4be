package fabric

import (
	"maps"
	"slices"

	"gatehouse/fabric/audit"
)

// decidedOfPeople is decided of what is about who may use the home.
func (c *Command) decidedOfPeople(before, after *State, r audit.Record) []audit.Record {
	var o audit.Object
	switch {
	case c.SetPeople != nil:
		o = o.Text("authority", hash(after.People.Authority))
	case c.SetPerson != nil:
		was, is := before.Person(c.SetPerson.ID), after.Person(c.SetPerson.ID)
		o = o.Text("person", is.ID).Text("role", is.Role.String())
		switch {
		case was == nil:
			r.What = "person-added"
		case was.Name != is.Name:
			o = o.Text("former", was.Name)
		}
		if was != nil {
			o = o.Text("former_role", was.Role.String()).Flag("proof", string(was.Sealed) != string(is.Sealed))
		}
	case c.RemovePerson != nil:
		was := before.Person(c.RemovePerson.ID)
		r.Name = was.Name
		o = o.Text("person", was.ID).Text("role", was.Role.String())
	case c.AddPass != nil:
		p, pass := after.Person(c.AddPass.Person), c.AddPass.Pass
		r.Name = p.Name
		o = o.Text("person", p.ID).Text("pass", pass.short()).Text("to", pass.Name).Flag("token", pass.Token).Text("role", pass.Role.String()).Number("expires", pass.Expires)
	case c.EndPasses != nil:
		was, is := before.Person(c.EndPasses.Person), after.Person(c.EndPasses.Person)
		var ended []string
		for _, id := range slices.Sorted(maps.Keys(was.Passes)) {
			if is.Passes[id] == nil {
				ended = append(ended, was.Passes[id].short())
			}
		}
		if len(ended) == 0 {
			return nil
		}
		r.Name = was.Name
		o = o.Text("person", was.ID).Texts("passes", ended)
	case c.SetApproval != nil:
		if before.People.Approve == after.People.Approve {
			return nil
		}
		o = o.Text("role", after.People.Approve.String())
	}
	r.Details = o
	return []audit.Record{r}
}

// passShown is as much of a pass's id as tells it from others.
const passShown = 12

func (p *Pass) short() string { return p.ID[:min(len(p.ID), passShown)] }
