package portal

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"gatehouse/commissioner/portal/door"
	"gatehouse/fabric"
)

// Person is somebody who may use the home.
type Person struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Role   string    `json:"role"`
	Since  time.Time `json:"since"`
	Passes []Pass    `json:"passes"`
}

// People are the home's, by name.
type People struct {
	People []Person `json:"people"`
	// Exposed says that a gateway which is gone knew what they log in by.
	Exposed bool `json:"exposed"`
}

func (p *Portal) people(w http.ResponseWriter, r *http.Request) error {
	list, s := People{People: []Person{}}, p.C.Ledger.State()
	if s.People != nil {
		list.Exposed = s.People.Exposed
		for _, person := range s.People.Persons {
			list.People = append(list.People, viewPerson(person, door.From(r.Context())))
		}
	}
	slices.SortFunc(list.People, func(a, b Person) int { return cmp.Compare(a.Name, b.Name) })
	return reply(w, list)
}

func viewPerson(person *fabric.Person, who door.Who) Person {
	return Person{person.ID, person.Name, person.Role.String(), time.UnixMilli(person.Since).UTC(), passes(person, who)}
}

// PersonRequest invites somebody, or changes what they are called and may do.
type PersonRequest struct {
	Name string `json:"name,omitempty"`
	Role string `json:"role,omitempty"`
	// First invites the home's first administrator, if there is nobody yet.
	First bool `json:"first,omitempty"`
}

// Invitation is what somebody is given to come in for the first time, or anew.
// Its address is told once.
type Invitation struct {
	Person Person    `json:"person"`
	Secret string    `json:"secret"`
	Ends   time.Time `json:"ends"`
	// Addresses are where it can be opened, the home's name first.
	Addresses []string `json:"addresses"`
	// Fingerprint is of the certificate of the authority of these addresses,
	// SHA-256.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Link is what is scanned: the first address with the invitation, which stays
	// in the browser; and a picture of it, as data: of SVG. Empty: no page.
	Link    string `json:"link,omitempty"`
	Picture string `json:"picture,omitempty"`
}

func (p *Portal) invite(w http.ResponseWriter, r *http.Request) error {
	var req PersonRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	role, ok := fabric.ParseRole(req.Role)
	if !ok {
		return invalid(errors.New("there is no such role"))
	}
	if err := p.D.Begin(r.Context()); err != nil {
		return err
	}
	return p.invitation(w, r, "", req.Name, role, req.First)
}

func (p *Portal) inviteAgain(w http.ResponseWriter, r *http.Request) error {
	return p.invitation(w, r, r.PathValue("id"), "", 0, false)
}

func (p *Portal) invitation(w http.ResponseWriter, r *http.Request, id, name string, role fabric.Role, first bool) error {
	i, err := p.D.Invite(r.Context(), id, name, role, first)
	if err != nil {
		return err
	}
	out := Invitation{Person: viewPerson(i.Person, door.From(r.Context())), Secret: i.Secret, Ends: i.Ends.UTC(), Addresses: []string{}}
	if p.Web != nil {
		out.Addresses, out.Fingerprint = p.Web.Addresses(), p.Web.Fingerprint()
	}
	if len(out.Addresses) > 0 {
		out.Link = out.Addresses[0] + "/welcome#" + i.Secret
		if out.Picture, err = picture(out.Link, "invitation"); err != nil {
			return err
		}
	}
	return reply(w, out)
}

func (p *Portal) changePerson(w http.ResponseWriter, r *http.Request) error {
	var req PersonRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	role := fabric.Role(0)
	if req.Role != "" {
		var ok bool
		if role, ok = fabric.ParseRole(req.Role); !ok {
			return invalid(errors.New("there is no such role"))
		}
	}
	person, err := p.D.Change(r.Context(), r.PathValue("id"), req.Name, role)
	if err != nil {
		return err
	}
	return reply(w, viewPerson(person, door.From(r.Context())))
}

func (p *Portal) removePerson(w http.ResponseWriter, r *http.Request) error {
	if _, err := p.propose(r, fabric.Command{RemovePerson: &fabric.RemovePerson{ID: r.PathValue("id")}}); err != nil {
		return err
	}
	return reply(w, Done{true})
}

func (p *Portal) endPass(w http.ResponseWriter, r *http.Request) error {
	if err := p.D.End(r.Context(), r.PathValue("id"), []string{r.PathValue("pass")}, ""); err != nil {
		return err
	}
	return reply(w, Done{true})
}

// Approval is who may let devices in: administrators, and those of the role, if
// there is one, and of roles that may do more.
type Approval struct {
	Role string `json:"role"` // guest, resident or administrator
}

func (p *Portal) approval(w http.ResponseWriter, r *http.Request) error {
	role := p.approves()
	if role == 0 {
		role = fabric.Administrator
	}
	return reply(w, Approval{role.String()})
}

func (p *Portal) setApproval(w http.ResponseWriter, r *http.Request) error {
	var req Approval
	if err := decode(r, &req); err != nil {
		return err
	}
	role, ok := fabric.ParseRole(req.Role)
	if !ok || role == fabric.Auditor {
		return invalid(errors.New("guests, residents or administrators let devices in"))
	}
	if role == fabric.Administrator {
		role = 0
	}
	if _, err := p.propose(r, fabric.Command{SetApproval: &fabric.SetApproval{Role: role}}); err != nil {
		return err
	}
	return p.approval(w, r)
}
