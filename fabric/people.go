package fabric

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
)

// PeopleVersion is the first that knows people.
const PeopleVersion = 6

// Limits of ours.
const (
	MaxPeople    = 64
	MaxPasses    = 32 // of one person
	MaxHooks     = 16
	maxHook      = 4 << 10  // octets of where notices go, sealed
	maxPersonal  = 40 << 10 // octets of what proves that somebody is who they say, sealed
	maxAuthority = 4 << 10  // octets of the web page's certificate authority
	maxID        = 64       // octets of a person's or pass's id
)

// Role is what somebody may do; which acts those are the portal says.
type Role uint8

const (
	Guest Role = iota + 1
	Resident
	Auditor
	Administrator
)

var roles = [...]string{"none", "guest", "resident", "auditor", "administrator"}

func (r Role) String() string { return roles[min(int(r), len(roles)-1)] }

// Valid reports whether there is such a role.
func (r Role) Valid() bool { return r >= Guest && r <= Administrator }

// ParseRole is the role of a name.
func ParseRole(name string) (Role, bool) {
	i := slices.Index(roles[:], name)
	return Role(max(i, 0)), i > 0
}

// People are those who may use the home, and what its web page rests on.
type People struct {
	// Key is the secret that persons' proofs are sealed with, and that the web
	// page's authority signs by; itself sealed as the home's other secrets.
	Key       []byte             `cbor:"0,keyasint"`
	Authority []byte             `cbor:"1,keyasint"` // certificate of the web page's authority, DER
	Persons   map[string]*Person `cbor:"2,keyasint"` // by id
	// Approve is the role that may let devices in beside administrators; 0: none.
	Approve Role `cbor:"3,keyasint,omitempty"`
	// Exposed says that a gateway was evicted, or lost, which could open the key.
	Exposed bool `cbor:"4,keyasint,omitempty"`
	// Hooks are programs that are told what happens, by name.
	Hooks map[string]*Hook `cbor:"5,keyasint,omitempty"`
}

// Hook is a program that is told what happens.
type Hook struct {
	Name   string `cbor:"0,keyasint"`
	Sealed []byte `cbor:"1,keyasint"` // where it is, and by what it knows us
	Since  int64  `cbor:"2,keyasint"` // Unix ms
}

// Person is one of them.
type Person struct {
	ID     string           `cbor:"0,keyasint"`
	Name   string           `cbor:"1,keyasint"` // by which they log in; no other has it
	Role   Role             `cbor:"2,keyasint"`
	Sealed []byte           `cbor:"3,keyasint"` // what proves that they are who they say
	Since  int64            `cbor:"4,keyasint"` // Unix ms
	Passes map[string]*Pass `cbor:"5,keyasint,omitempty"`
}

// Pass lets its bearer in as a person: a browser's session, or a token of a
// program. Its secret is nowhere: the id is a digest of it.
type Pass struct {
	ID      string `cbor:"0,keyasint"`
	Name    string `cbor:"1,keyasint"` // of the browser or program
	Token   bool   `cbor:"2,keyasint,omitempty"`
	Role    Role   `cbor:"3,keyasint"` // that it gives at most
	Since   int64  `cbor:"4,keyasint"` // Unix ms
	Expires int64  `cbor:"5,keyasint"` // Unix ms; 0: never
}

// SetPeople begins the list of people, or gives it another key and authority;
// then Sealed is everybody's proof under the new key.
type SetPeople struct {
	Key       []byte            `cbor:"0,keyasint"`
	DataKey   uint32            `cbor:"1,keyasint"`
	Authority []byte            `cbor:"2,keyasint"`
	Sealed    map[string][]byte `cbor:"3,keyasint"`
	Of        []byte            `cbor:"4,keyasint"` // State.Personal of the State whose these are
	Hooks     map[string][]byte `cbor:"5,keyasint,omitempty"`
}

// SetHook adds a hook, or changes where it is.
type SetHook struct {
	Name   string `cbor:"0,keyasint"`
	Sealed []byte `cbor:"1,keyasint"`
}

// RemoveHook tells a program no longer.
type RemoveHook struct {
	Name string `cbor:"0,keyasint"`
}

// SetPerson adds a person, or changes one.
type SetPerson struct {
	ID     string `cbor:"0,keyasint"`
	Name   string `cbor:"1,keyasint"`
	Role   Role   `cbor:"2,keyasint"`
	Sealed []byte `cbor:"3,keyasint"`
	// Of is what Sealed was before; empty for somebody new.
	Of []byte `cbor:"4,keyasint"`
	// First adds somebody only if there is nobody.
	First bool `cbor:"5,keyasint"`
}

// RemovePerson takes a person and all their passes away.
type RemovePerson struct {
	ID string `cbor:"0,keyasint"`
}

// AddPass gives a person a pass.
type AddPass struct {
	Person string `cbor:"0,keyasint"`
	Pass   Pass   `cbor:"1,keyasint"`
	// Of is the person's proof that it rests on: what was changed meanwhile
	// lets nobody in.
	Of []byte `cbor:"2,keyasint"`
}

// EndPasses takes passes of a person away: those of the ids, or all but one.
type EndPasses struct {
	Person string   `cbor:"0,keyasint"`
	IDs    []string `cbor:"1,keyasint"`
	Except string   `cbor:"2,keyasint"` // where there are no IDs; empty: none
}

// SetApproval says who may let devices in beside administrators.
type SetApproval struct {
	Role Role `cbor:"0,keyasint"` // 0: nobody
}

// Person is somebody by id, or nil.
func (s *State) Person(id string) *Person {
	if s.People == nil {
		return nil
	}
	return s.People.Persons[id]
}

// Bearer is whose pass of an id is; nil, nil if it is nobody's or is over.
func (s *State) Bearer(id string, now int64) (*Person, *Pass) {
	if s.People == nil {
		return nil, nil
	}
	for _, p := range s.People.Persons {
		if pass := p.Passes[id]; pass != nil {
			if pass.over(now) {
				return nil, nil
			}
			return p, pass
		}
	}
	return nil, nil
}

func (p *Pass) over(now int64) bool { return p.Expires != 0 && p.Expires <= now }

// Personal names all that is sealed with People's key: SHA-256 over it.
func (s *State) Personal() []byte {
	h := sha256.New()
	if s.People != nil {
		for _, id := range slices.Sorted(maps.Keys(s.People.Persons)) {
			sum := sha256.Sum256(append([]byte(id+"\n"), s.People.Persons[id].Sealed...))
			h.Write(sum[:])
		}
		for _, name := range slices.Sorted(maps.Keys(s.People.Hooks)) {
			sum := sha256.Sum256(append([]byte("hook "+name+"\n"), s.People.Hooks[name].Sealed...))
			h.Write(sum[:])
		}
	}
	return h.Sum(nil)
}

// administrators are how many there are but one.
func (p *People) administrators(but string) (n int) {
	for id, person := range p.Persons {
		if id != but && person.Role == Administrator {
			n++
		}
	}
	return n
}

// people is a copy of the list that may be changed.
func (s *State) people() (*People, error) {
	if s.People == nil {
		return nil, refuse(CodeNoPerson, "the home has no list of people yet")
	}
	changed := *s.People
	changed.Persons = maps.Clone(changed.Persons)
	return &changed, nil
}

// person is a copy of the list and one of its persons.
func (s *State) person(id string) (*People, *Person, error) {
	all, err := s.people()
	if err != nil {
		return nil, nil, err
	}
	p := all.Persons[id]
	if p == nil {
		return nil, nil, refuse(CodeNoPerson, "there is no such person")
	}
	changed := *p
	changed.Passes = maps.Clone(changed.Passes)
	all.Persons[id] = &changed
	return all, &changed, nil
}

func (s *State) setPeople(c *SetPeople) error {
	switch {
	case len(c.Key) == 0 || len(c.Key) > MaxBlob || len(c.Authority) == 0 || len(c.Authority) > maxAuthority:
		return refuse(CodeInvalid, "the people's key or the web page's authority is missing or too long")
	case s.DataKey() != c.DataKey:
		return refuse(CodeSealing, "the key is sealed with one that is no longer in use")
	case !bytes.Equal(c.Of, s.Personal()):
		return refuse(CodeSealing, "the people have changed meanwhile")
	}
	next := &People{Key: c.Key, Authority: c.Authority, Persons: map[string]*Person{}}
	if s.People != nil {
		next.Approve = s.People.Approve
		for id, p := range s.People.Persons {
			changed := *p
			changed.Sealed = c.Sealed[id]
			if len(changed.Sealed) == 0 || len(changed.Sealed) > maxPersonal {
				return refuse(CodeInvalid, "somebody's proof is missing or too long")
			}
			next.Persons[id] = &changed
		}
		for name, hook := range s.People.Hooks {
			changed := *hook
			changed.Sealed = c.Hooks[name]
			if len(changed.Sealed) == 0 || len(changed.Sealed) > maxHook {
				return refuse(CodeInvalid, "a hook's address is missing or too long")
			}
			next.putHook(&changed)
		}
	}
	s.People = next
	return nil
}

func (s *State) setPerson(c *SetPerson) error {
	all, err := s.people()
	if err != nil {
		return err
	}
	was := all.Persons[c.ID]
	next := &Person{ID: c.ID, Since: s.Time}
	if was != nil {
		*next = *was
	}
	switch {
	case c.ID == "" || len(c.ID) > maxID || c.Name == "" || len(c.Name) > MaxText || !c.Role.Valid() || len(c.Sealed) == 0 || len(c.Sealed) > maxPersonal:
		return refuse(CodeInvalid, "a person has an id, a name, a role and something that proves who they are")
	case c.First && len(all.Persons) > 0:
		return refuse(CodeExists, "the home has an administrator already")
	case was == nil && len(all.Persons) >= MaxPeople:
		return refuse(CodeFull, fmt.Sprintf("the home has %d people", len(all.Persons)))
	case was != nil && !bytes.Equal(was.Sealed, c.Of) || was == nil && len(c.Of) != 0:
		return refuse(CodeChanged, "somebody has changed this person meanwhile")
	case c.Role != Administrator && all.administrators(c.ID) == 0:
		return refuse(CodeLastAdministrator, "the home would have no administrator")
	}
	for id, p := range all.Persons {
		if id != c.ID && p.Name == c.Name {
			return refuse(CodeExists, fmt.Sprintf("somebody else is called %q", c.Name))
		}
	}
	next.Name, next.Role, next.Sealed = c.Name, c.Role, c.Sealed
	all.Persons[c.ID] = next
	s.People = all
	return nil
}

func (s *State) removePerson(c *RemovePerson) error {
	all, p, err := s.person(c.ID)
	switch {
	case err != nil:
		return err
	case p.Role == Administrator && all.administrators(c.ID) == 0:
		return refuse(CodeLastAdministrator, "the home would have no administrator")
	}
	delete(all.Persons, c.ID)
	s.People = all
	return nil
}

func (s *State) addPass(c *AddPass) error {
	all, p, err := s.person(c.Person)
	pass := c.Pass
	switch {
	case err != nil:
		return err
	case pass.ID == "" || len(pass.ID) > maxID || len(pass.Name) > MaxText || !pass.Role.Valid() || pass.over(s.Time):
		return refuse(CodeInvalid, "a pass has an id, a role and an end to come")
	case !bytes.Equal(c.Of, p.Sealed):
		return refuse(CodeChanged, "somebody has changed this person meanwhile")
	}
	for _, other := range all.Persons {
		if other.Passes[pass.ID] != nil {
			return refuse(CodeUsed, "the pass was given before")
		}
	}
	maps.DeleteFunc(p.Passes, func(_ string, old *Pass) bool { return old.over(s.Time) })
	if len(p.Passes) >= MaxPasses && !p.dropOldest() {
		return refuse(CodeFull, fmt.Sprintf("there are %d tokens", len(p.Passes)))
	}
	pass.Since = s.Time
	if p.Passes == nil {
		p.Passes = map[string]*Pass{}
	}
	p.Passes[pass.ID] = &pass
	s.People = all
	return nil
}

// dropOldest takes the oldest session away; there may be none.
func (p *Person) dropOldest() bool {
	oldest := ""
	for _, id := range slices.Sorted(maps.Keys(p.Passes)) {
		if pass := p.Passes[id]; !pass.Token && (oldest == "" || pass.Since < p.Passes[oldest].Since) {
			oldest = id
		}
	}
	delete(p.Passes, oldest)
	return oldest != ""
}

func (s *State) endPasses(c *EndPasses) error {
	all, p, err := s.person(c.Person)
	if err != nil {
		return err
	}
	maps.DeleteFunc(p.Passes, func(id string, pass *Pass) bool {
		if len(c.IDs) > 0 {
			return slices.Contains(c.IDs, id)
		}
		return !pass.Token && id != c.Except
	})
	if len(p.Passes) == 0 {
		p.Passes = nil // as a snapshot brings it back
	}
	s.People = all
	return nil
}

func (s *State) setApproval(c *SetApproval) error {
	all, err := s.people()
	switch {
	case err != nil:
		return err
	case c.Role > Resident:
		return refuse(CodeInvalid, "beside administrators, residents or guests may let devices in")
	}
	all.Approve = c.Role
	s.People = all
	return nil
}

// putHook changes the list, which is one of its own.
func (p *People) putHook(h *Hook) {
	if p.Hooks = maps.Clone(p.Hooks); p.Hooks == nil {
		p.Hooks = map[string]*Hook{}
	}
	p.Hooks[h.Name] = h
}

func (s *State) setHook(c *SetHook) error {
	all, err := s.people()
	switch {
	case err != nil:
		return err
	case c.Name == "" || len(c.Name) > MaxText || len(c.Sealed) == 0 || len(c.Sealed) > maxHook:
		return refuse(CodeInvalid, "a hook has a name and an address")
	case all.Hooks[c.Name] == nil && len(all.Hooks) >= MaxHooks:
		return refuse(CodeFull, fmt.Sprintf("the home has %d hooks", len(all.Hooks)))
	}
	all.putHook(&Hook{c.Name, c.Sealed, s.Time})
	s.People = all
	return nil
}

func (s *State) removeHook(c *RemoveHook) error {
	all, err := s.people()
	switch {
	case err != nil:
		return err
	case all.Hooks[c.Name] == nil:
		return refuse(CodeNoHook, fmt.Sprintf("there is no hook %q", c.Name))
	}
	all.Hooks = maps.Clone(all.Hooks)
	delete(all.Hooks, c.Name)
	if len(all.Hooks) == 0 {
		all.Hooks = nil // as a snapshot brings it back
	}
	s.People = all
	return nil
}

// exposePeople notes that a gateway which is gone could open the people's key.
func (s *State) exposePeople() {
	if s.People != nil {
		exposed := *s.People
		exposed.Exposed = true
		s.People = &exposed
	}
}

// withoutSessions is the list as a backup has it: who was logged in may be
// somebody else by the time it is restored. Tokens of programs stay.
func (p *People) withoutSessions() *People {
	if p == nil {
		return nil
	}
	kept := *p
	kept.Persons = make(map[string]*Person, len(p.Persons))
	for id, person := range p.Persons {
		changed := *person
		changed.Passes = maps.Clone(person.Passes)
		maps.DeleteFunc(changed.Passes, func(_ string, pass *Pass) bool { return !pass.Token })
		if len(changed.Passes) == 0 {
			changed.Passes = nil // as a snapshot brings it back
		}
		kept.Persons[id] = &changed
	}
	return &kept
}

// peopled reports whether something in it came with the list of people.
func (s *State) peopled() bool {
	return s != nil && (s.People != nil || len(s.which(func(d *Device) bool { return d != nil && d.Room != "" })) > 0)
}

// flaw is what keeps it from being People, else empty.
func (p *People) flaw() string {
	if p == nil {
		return ""
	}
	if len(p.Key) == 0 || len(p.Authority) == 0 || len(p.Persons) > MaxPeople || p.Persons == nil {
		return "the list of people is not in order"
	}
	for name, hook := range p.Hooks {
		if hook == nil || hook.Name != name || len(p.Hooks) > MaxHooks {
			return "a hook is not in order"
		}
	}
	for id, person := range p.Persons {
		if person == nil || person.ID != id || !person.Role.Valid() || len(person.Passes) > MaxPasses {
			return "a person is not in order"
		}
		for id, pass := range person.Passes {
			if pass == nil || pass.ID != id || !pass.Role.Valid() {
				return "a person's pass is not in order"
			}
		}
	}
	return ""
}
