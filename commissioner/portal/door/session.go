package door

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
)

// Opened is a session that has begun.
type Opened struct {
	Person *fabric.Person
	Pass   *fabric.Pass
	Secret string // of the cookie
}

// accountName is what wrong attempts of a name are counted under.
func accountName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// Login lets somebody in by their password, and a code where code is not empty;
// then the session's second factor is fresh.
func (d *Door) Login(ctx context.Context, name, password, code string, from netip.Addr, label string) (*Opened, error) {
	a, none := (*account)(nil), (*login.Credentials)(nil)
	if p := Named(d.Ledger.State(), name); p != nil {
		var err error
		if a, err = d.account(ctx, p.ID); err != nil {
			return nil, err
		}
		defer a.Erase()
		none = a.Credentials
	}
	if err := d.checkPassword(ctx, accountName(name), none, password, from); err != nil {
		return nil, err
	}
	if code != "" {
		if err := d.checkCode(ctx, a, code, from); err != nil {
			return nil, err
		}
	}
	opened, err := d.begin(ctx, a.person, label)
	if err != nil {
		return nil, err
	}
	d.passwords.Know(accountName(name), from)
	if code != "" {
		d.Confirmed(opened.Pass.ID)
	}
	return opened, nil
}

// checkPassword takes as long, and is refused as often, for credentials that are
// nobody's: nil.
func (d *Door) checkPassword(ctx context.Context, account string, c *login.Credentials, password string, from netip.Addr) error {
	attempt, err := d.passwords.Try(account, from)
	if err != nil {
		return err
	}
	_, err = d.hasher.Check(ctx, c, password)
	if f := (*commissioner.Failure)(nil); err == nil || !errors.As(err, &f) || f.Code != login.CodeWrong {
		attempt.TakeBack() // it was right, or nothing was tried
	}
	return err
}

// begin gives a person a session. It is always a new one: a secret that was
// there before the proof lets nobody in.
func (d *Door) begin(ctx context.Context, p *fabric.Person, label string) (*Opened, error) {
	return d.give(ctx, p, fabric.Pass{Name: cutLabel(label), Role: p.Role, Expires: d.Now().Add(sessionLasts).UnixMilli()})
}

func (d *Door) give(ctx context.Context, p *fabric.Person, pass fabric.Pass) (*Opened, error) {
	secret, err := d.newSecret()
	if err != nil {
		return nil, err
	}
	pass.ID = passID(secret)
	s, err := d.propose(ctx, fabric.Command{AddPass: &fabric.AddPass{Person: p.ID, Pass: pass, Of: p.Sealed}})
	if err != nil {
		return nil, err
	}
	p = s.Person(p.ID)
	return &Opened{p, p.Passes[pass.ID], secret}, nil
}

// maxLabel bounds what a browser or program is called, in octets.
const maxLabel = 80

func cutLabel(label string) string {
	label = strings.ToValidUTF8(label, "")
	for len(label) > maxLabel {
		_, size := utf8.DecodeLastRuneInString(label)
		label = label[:len(label)-size]
	}
	return label
}

// GiveToken gives a program a token of a role, for a person. It holds until it
// is taken away, or for as long as lasts says.
func (d *Door) GiveToken(ctx context.Context, person, name string, role fabric.Role, lasts time.Duration) (*Opened, error) {
	p := d.Ledger.State().Person(person)
	switch {
	case p == nil:
		return nil, commissioner.Fail(commissioner.Code(fabric.CodeNoPerson), nil)
	case strings.TrimSpace(name) == "" || !role.Valid():
		return nil, commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("a token has a name and a role"))
	}
	pass := fabric.Pass{Name: cutLabel(strings.TrimSpace(name)), Token: true, Role: role}
	if lasts > 0 {
		pass.Expires = d.Now().Add(lasts).UnixMilli()
	}
	return d.give(ctx, p, pass)
}

// End takes passes of a person away: those of the ids, or all sessions but one.
func (d *Door) End(ctx context.Context, person string, ids []string, except string) error {
	_, err := d.propose(ctx, fabric.Command{EndPasses: &fabric.EndPasses{Person: person, IDs: ids, Except: except}})
	return err
}
