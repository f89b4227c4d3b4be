package door

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
	"gatehouse/fabric/seal"
)

func readFull(r io.Reader, b []byte) (int, error) {
	n, err := io.ReadFull(r, b)
	if err != nil {
		err = fmt.Errorf("draw a secret: %w", err)
	}
	return n, err
}

// peopleKey is the list's secret as it was opened last. Like the identity
// protection key it stays in the memory of every gateway.
type peopleKey struct {
	of     string // as it is sealed
	secret seal.Secret
}

// Secret is the secret of the list of people.
func (d *Door) Secret(ctx context.Context) (seal.Secret, error) {
	s := d.Ledger.State()
	if s.People == nil {
		return seal.Secret{}, errors.New("the home has no list of people")
	}
	d.mu.Lock()
	key := d.key
	d.mu.Unlock()
	if key.of == string(s.People.Key) {
		return key.secret, nil
	}
	secret, err := d.Vault.OpenPeople(ctx, s)
	if err != nil {
		return seal.Secret{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.key = peopleKey{string(s.People.Key), secret}
	return secret, nil
}

// Begin begins the list of people, if the home has none: with a secret, and the
// certificate of the web page's authority, whose key follows from the secret.
func (d *Door) Begin(ctx context.Context) error {
	s, err := d.Ledger.Current(ctx)
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeCommit)
	}
	if s.People != nil {
		return nil
	}
	secret, err := seal.RandomSecret(d.Random)
	if err != nil {
		return err
	}
	defer secret.Erase()
	authority, err := d.Authority(secret, s)
	if err != nil {
		return err
	}
	sealed, number, err := d.Vault.SealPeople(ctx, s, secret)
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeIssue)
	}
	_, err = d.propose(ctx, fabric.Command{SetPeople: &fabric.SetPeople{Key: sealed, DataKey: number, Authority: authority, Of: s.Personal()}})
	return err
}

// Change gives a person another name or role; what is empty stays.
func (d *Door) Change(ctx context.Context, id, name string, role fabric.Role) (*fabric.Person, error) {
	s, err := d.Ledger.Current(ctx)
	if err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeCommit)
	}
	p := s.Person(id)
	if p == nil {
		return nil, commissioner.Fail(commissioner.Code(fabric.CodeNoPerson), nil)
	}
	changed := *p
	if role != 0 {
		changed.Role = role
	}
	if name != "" {
		if changed.Name, err = d.cleanName(s, id, name); err != nil {
			return nil, err
		}
	}
	next, err := d.propose(ctx, fabric.Command{SetPerson: &fabric.SetPerson{ID: id, Name: changed.Name, Role: changed.Role, Sealed: p.Sealed, Of: p.Sealed}})
	if err != nil {
		return nil, err
	}
	return next.Person(id), nil
}

// proof is what the trust state has sealed of a person.
type proof struct {
	Credentials []byte `cbor:"1,keyasint,omitempty"`
	// Invitation is the digest of a secret that lets its bearer set the
	// credentials, once, until Ends (Unix ms).
	Invitation []byte `cbor:"2,keyasint,omitempty"`
	Ends       int64  `cbor:"3,keyasint,omitempty"`
}

const purpose = "gatehouse person %s"

func (d *Door) close(ctx context.Context, id string, p *proof) ([]byte, error) {
	secret, err := d.Secret(ctx)
	if err != nil {
		return nil, err
	}
	b, err := cbor.Marshal(p)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	return seal.Suite(d.Ledger.State().SealSuite()).Secrets().Seal(d.Random, secret, fmt.Sprintf(purpose, id), b)
}

// open opens a person's proof. Erase the credentials.
func (d *Door) open(ctx context.Context, p *fabric.Person) (*proof, *login.Credentials, error) {
	secret, err := d.Secret(ctx)
	if err != nil {
		return nil, nil, err
	}
	opened, err := seal.Open(secret, fmt.Sprintf(purpose, p.ID), p.Sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("person %s: %w", p.ID, err)
	}
	defer opened.Erase()
	b := opened.Reveal()
	defer clear(b)
	var out proof
	if err := cbor.Unmarshal(b, &out); err != nil {
		return nil, nil, fmt.Errorf("person %s: %w", p.ID, err)
	}
	defer clear(out.Credentials)
	c := login.New()
	if len(out.Credentials) > 0 {
		if c, err = login.Decode(out.Credentials); err != nil {
			return nil, nil, err
		}
	}
	out.Credentials = nil
	return &out, c, nil
}

// store changes what the trust state has of a person.
func (d *Door) store(ctx context.Context, p *fabric.Person, was []byte, first bool, invitation *proof, c *login.Credentials) (*fabric.Person, error) {
	next := proof{}
	if invitation != nil {
		next = *invitation
	}
	var err error
	if c != nil {
		if next.Credentials, err = c.Encode(); err != nil {
			return nil, err
		}
		defer clear(next.Credentials)
	}
	sealed, err := d.close(ctx, p.ID, &next)
	if err != nil {
		return nil, err
	}
	s, err := d.propose(ctx, fabric.Command{SetPerson: &fabric.SetPerson{ID: p.ID, Name: p.Name, Role: p.Role, Sealed: sealed, Of: was, First: first}})
	if err != nil {
		return nil, err
	}
	return s.Person(p.ID), nil
}

func (d *Door) propose(ctx context.Context, c fabric.Command) (*fabric.State, error) {
	s, err := d.Ledger.Propose(ctx, c)
	if err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeCommit)
	}
	return s, nil
}

// Named is the person of a name, whatever its letters' case; nil: nobody.
func Named(s *fabric.State, name string) *fabric.Person {
	if s.People == nil {
		return nil
	}
	name = strings.TrimSpace(name)
	for _, p := range s.People.Persons {
		if strings.EqualFold(p.Name, name) {
			return p
		}
	}
	return nil
}

// cleanName is a person's name as it is kept.
func (d *Door) cleanName(s *fabric.State, id, name string) (string, error) {
	name = strings.Join(strings.Fields(name), " ")
	switch other := Named(s, name); {
	case name == "" || len(name) > fabric.MaxText:
		return "", commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("a name has 1 to 256 octets"))
	case other != nil && other.ID != id:
		return "", &commissioner.Failure{Code: "name-taken", Message: fmt.Sprintf("somebody else is called %q", name), Remedy: "choose another name"}
	}
	return name, nil
}

// Invitation is what somebody is given to become one of the people.
type Invitation struct {
	Person *fabric.Person
	// Secret goes into the address that they open. It is told once.
	Secret string
	Ends   time.Time
}

// Invite adds a person who has no credentials yet, or invites one anew: who
// lost theirs. first adds somebody only if there is nobody.
func (d *Door) Invite(ctx context.Context, id, name string, role fabric.Role, first bool) (*Invitation, error) {
	s, err := d.Ledger.Current(ctx)
	if err != nil {
		return nil, commissioner.Explain(err, commissioner.CodeCommit)
	}
	if first {
		if waiting := d.notYetIn(ctx, s); waiting != nil { // the code was lost before it was scanned
			id, name, role, first = waiting.ID, waiting.Name, waiting.Role, false
		} else if s.People != nil && len(s.People.Persons) > 0 {
			return nil, &commissioner.Failure{Code: CodeInhabited, Message: "the home has an administrator already", Remedy: "who cannot log in any more is invited anew: gatehouse people invite NAME"}
		}
	}
	p, was := &fabric.Person{ID: id, Role: role}, []byte(nil)
	if existing := s.Person(id); existing != nil {
		p, was = existing, existing.Sealed
		if name == "" {
			name, role = existing.Name, existing.Role
		}
	} else if id != "" {
		return nil, commissioner.Fail(commissioner.Code(fabric.CodeNoPerson), nil)
	} else {
		b := make([]byte, 8)
		if _, err := readFull(d.Random, b); err != nil {
			return nil, err
		}
		p.ID = hex.EncodeToString(b)
	}
	changed := *p
	if changed.Name, err = d.cleanName(s, p.ID, name); err != nil {
		return nil, err
	}
	changed.Role = role
	secret, err := d.newSecret()
	if err != nil {
		return nil, err
	}
	digest, ends := sha256.Sum256([]byte(secret)), d.Now().Add(invitationLasts)
	stored, err := d.store(ctx, &changed, was, first, &proof{Invitation: digest[:], Ends: ends.UnixMilli()}, nil)
	if err != nil {
		return nil, err
	}
	if was != nil { // who had the lost credentials is out
		if _, err := d.propose(ctx, fabric.Command{EndPasses: &fabric.EndPasses{Person: p.ID}}); err != nil {
			return nil, err
		}
		d.passwords.Forget(accountName(p.Name))
	}
	return &Invitation{stored, stored.ID + "." + secret, ends}, nil
}

// notYetIn is the home's first administrator, invited and not come yet; nil:
// somebody has.
func (d *Door) notYetIn(ctx context.Context, s *fabric.State) *fabric.Person {
	if s.People == nil || len(s.People.Persons) != 1 {
		return nil
	}
	for _, p := range s.People.Persons {
		of, c, err := d.open(ctx, p)
		if err != nil {
			return nil
		}
		defer c.Erase()
		if len(of.Invitation) > 0 && !c.HasPassword() && len(c.Passkeys()) == 0 {
			return p
		}
	}
	return nil
}

// CodeInhabited refuses a first administrator where there is one.
const CodeInhabited commissioner.Code = "administrator-exists"

// CodeInvitation refuses an invitation, whatever is wrong with it.
const CodeInvitation commissioner.Code = "invitation-invalid"

var errInvitation = &commissioner.Failure{Code: CodeInvitation, Message: "this invitation is not, or no longer, good", Remedy: "ask for another one: it holds for a day, and once"}

// Invited is who an invitation is for.
func (d *Door) Invited(ctx context.Context, invitation string) (*fabric.Person, error) {
	id, secret, _ := strings.Cut(invitation, ".")
	p := d.Ledger.State().Person(id)
	if p == nil { // this gateway may not have heard of them yet
		if s, err := d.Ledger.Current(ctx); err == nil {
			p = s.Person(id)
		}
	}
	if p == nil {
		return nil, errInvitation
	}
	of, c, err := d.open(ctx, p)
	if err != nil {
		return nil, err
	}
	c.Erase()
	digest := sha256.Sum256([]byte(secret))
	if len(of.Invitation) == 0 || subtle.ConstantTimeCompare(of.Invitation, digest[:]) != 1 || d.Now().UnixMilli() >= of.Ends {
		return nil, errInvitation
	}
	return p, nil
}

// Accept sets a password by an invitation, which is used up, and begins a
// session, whose second factor is the invitation.
func (d *Door) Accept(ctx context.Context, invitation, name, password, label string) (*Opened, error) {
	p, err := d.Invited(ctx, invitation)
	if err != nil {
		return nil, err
	}
	changed := *p
	if name != "" {
		if changed.Name, err = d.cleanName(d.Ledger.State(), p.ID, name); err != nil {
			return nil, err
		}
	}
	c := login.New()
	defer c.Erase()
	if err := d.hasher.Set(ctx, c, password, changed.Name, d.Ledger.State().Home.Name); err != nil {
		return nil, err
	}
	stored, err := d.store(ctx, &changed, p.Sealed, false, nil, c)
	if err != nil {
		return nil, err
	}
	opened, err := d.begin(ctx, stored, label)
	if err == nil {
		d.Confirmed(opened.Pass.ID)
	}
	return opened, err
}

const hookPurpose = "gatehouse hook %s"

// SealHook seals where a program is told what happens.
func (d *Door) SealHook(ctx context.Context, name string, plain []byte) ([]byte, error) {
	secret, err := d.Secret(ctx)
	if err != nil {
		return nil, err
	}
	return seal.Suite(d.Ledger.State().SealSuite()).Secrets().Seal(d.Random, secret, fmt.Sprintf(hookPurpose, name), plain)
}

// OpenHook opens it. Erase it.
func (d *Door) OpenHook(ctx context.Context, h *fabric.Hook) (seal.Secret, error) {
	secret, err := d.Secret(ctx)
	if err != nil {
		return seal.Secret{}, err
	}
	return seal.Open(secret, fmt.Sprintf(hookPurpose, h.Name), h.Sealed)
}
