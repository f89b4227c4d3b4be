package door

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
)

// maxEnrolments bounds the authenticator apps that are being added at a time.
const (
	maxEnrolments   = 100
	enrolmentLasts  = 10 * time.Minute
	purposeLogin    = "login"
	purposeConfirm  = "confirm "
	purposeRegister = "register "
)

// account is a person whose credentials are looked at or changed.
type account struct {
	*login.Credentials
	person *fabric.Person
	of     *proof
}

// account opens a person's. Erase it.
func (d *Door) account(ctx context.Context, id string) (*account, error) {
	p := d.Ledger.State().Person(id)
	if p == nil {
		return nil, commissioner.Fail(commissioner.Code(fabric.CodeNoPerson), nil)
	}
	of, c, err := d.open(ctx, p)
	if err != nil {
		return nil, err
	}
	return &account{c, p, of}, nil
}

// keep stores what was changed of it, unless somebody else changed it meanwhile.
func (d *Door) keep(ctx context.Context, a *account) (err error) {
	a.person, err = d.store(ctx, a.person, a.person.Sealed, false, &proof{Invitation: a.of.Invitation, Ends: a.of.Ends}, a.Credentials)
	return err
}

// Factors are what a person can prove themselves by.
type Factors struct {
	Password       bool         `json:"password"`
	Authenticators []login.Item `json:"authenticators"`
	Passkeys       []login.Item `json:"passkeys"`
	RecoveryCodes  int          `json:"recovery_codes"` // not used yet
}

// Factors are those of a person.
func (d *Door) Factors(ctx context.Context, id string) (f Factors, err error) {
	a, err := d.account(ctx, id)
	if err != nil {
		return f, err
	}
	defer a.Erase()
	return Factors{a.HasPassword(), append([]login.Item{}, a.Authenticators()...), append([]login.Item{}, a.Passkeys()...), a.RecoveryCodes()}, nil
}

// checkCode checks a one-time code, or a recovery code, which is used up.
func (d *Door) checkCode(ctx context.Context, a *account, code string, from netip.Addr) error {
	attempt, err := d.codes.Try(a.person.ID, from)
	if err != nil {
		return err
	}
	err = a.CheckCode(code, a.person.ID, d.steps, d.Now())
	if err != nil && len(code) > totpDigits && a.UseRecoveryCode(code) == nil {
		if err = d.keep(ctx, a); err != nil { // somebody else may have used it at the same moment
			return err
		}
	}
	if err != nil {
		return err
	}
	attempt.TakeBack()
	return nil
}

// totpDigits is how long a one-time code is; recovery codes are longer.
const totpDigits = 6

// ConfirmCode confirms a session by a one-time code or a recovery code.
func (d *Door) ConfirmCode(ctx context.Context, w Who, code string, from netip.Addr) error {
	a, err := d.account(ctx, w.Person)
	if err != nil {
		return err
	}
	defer a.Erase()
	if err := d.checkCode(ctx, a, code, from); err != nil {
		return err
	}
	d.Confirmed(w.Pass)
	return nil
}

// AskPasskey is what a browser asks a passkey with: of a session's person, to
// confirm it, or of whoever is there, to log in.
func (d *Door) AskPasskey(ctx context.Context, w Who) ([]byte, error) {
	if d.passkeys == nil {
		return nil, d.noPasskeys
	}
	if !w.Known() {
		return d.passkeys.Ask(nil, purposeLogin)
	}
	a, err := d.account(ctx, w.Person)
	if err != nil {
		return nil, err
	}
	defer a.Erase()
	return d.passkeys.Ask(a.Credentials, purposeConfirm+w.Pass)
}

// ConfirmPasskey confirms a session by a passkey's answer.
func (d *Door) ConfirmPasskey(ctx context.Context, w Who, response []byte) error {
	if _, err := d.answered(ctx, response, w.Person, purposeConfirm+w.Pass); err != nil {
		return err
	}
	d.Confirmed(w.Pass)
	return nil
}

// LoginPasskey lets somebody in by a passkey's answer, which is two factors.
func (d *Door) LoginPasskey(ctx context.Context, response []byte, from netip.Addr, label string) (*Opened, error) {
	p, err := d.answered(ctx, response, "", purposeLogin)
	if err != nil {
		return nil, err
	}
	opened, err := d.begin(ctx, p, label)
	if err != nil {
		return nil, err
	}
	d.passwords.Know(accountName(p.Name), from)
	d.Confirmed(opened.Pass.ID)
	return opened, nil
}

// answered checks a passkey's answer: of a person, or of whom it says.
func (d *Door) answered(ctx context.Context, response []byte, person, purpose string) (*fabric.Person, error) {
	if d.passkeys == nil {
		return nil, d.noPasskeys
	}
	answer, err := login.ReadAnswer(response)
	if err != nil {
		return nil, err
	}
	if person == "" {
		person = answer.Account()
	}
	a, err := d.account(ctx, person)
	if f := (*commissioner.Failure)(nil); errors.As(err, &f) && f.Code == commissioner.Code(fabric.CodeNoPerson) {
		return nil, &commissioner.Failure{Code: login.CodePasskeyUnknown, Message: "this passkey is not known here", Remedy: "log in another way, then add it"}
	} else if err != nil {
		return nil, err
	}
	defer a.Erase()
	changed, err := d.passkeys.Check(answer, person, a.Credentials, purpose)
	if err != nil {
		return nil, err
	}
	if changed {
		if err := d.keep(ctx, a); err != nil {
			return nil, err
		}
	}
	return a.person, nil
}

// AskNewPasskey is what a browser makes a passkey with.
func (d *Door) AskNewPasskey(ctx context.Context, w Who) ([]byte, error) {
	if d.passkeys == nil {
		return nil, d.noPasskeys
	}
	a, err := d.account(ctx, w.Person)
	if err != nil {
		return nil, err
	}
	defer a.Erase()
	return d.passkeys.AskToAdd(login.Person{Account: w.Person, Name: w.Name}, a.Credentials, purposeRegister+w.Pass)
}

// AddPasskey adds the passkey that a browser made.
func (d *Door) AddPasskey(ctx context.Context, w Who, name string, response []byte) error {
	if d.passkeys == nil {
		return d.noPasskeys
	}
	return d.change(ctx, w.Person, func(a *account) error {
		return d.passkeys.Add(login.Person{Account: w.Person, Name: w.Name}, a.Credentials, name, purposeRegister+w.Pass, response)
	})
}

// change changes a person's credentials.
func (d *Door) change(ctx context.Context, id string, do func(*account) error) error {
	a, err := d.account(ctx, id)
	if err != nil {
		return err
	}
	defer a.Erase()
	if err := do(a); err != nil {
		return err
	}
	return d.keep(ctx, a)
}

// enrolment is an authenticator app that is being added by a session.
type enrolment struct {
	*login.Enrolment
	until time.Time
}

// BeginAuthenticator draws the secret of another authenticator app. Only one is
// being added by a session at a time.
func (d *Door) BeginAuthenticator(w Who) (e *login.Enrolment, err error) {
	e, err = login.NewEnrolment(d.Random)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Now()
	for pass, old := range d.enrolments {
		if !old.until.After(now) || pass == w.Pass {
			old.Erase()
			delete(d.enrolments, pass)
		}
	}
	if len(d.enrolments) >= maxEnrolments {
		return nil, &commissioner.Failure{Code: login.CodeBusy, Message: "too many authenticator apps are being added at this moment", Remedy: "try again in ten minutes"}
	}
	d.enrolments[w.Pass] = enrolment{e, now.Add(enrolmentLasts)}
	return e, nil
}

// AddAuthenticator adds the app, once it shows a right code.
func (d *Door) AddAuthenticator(ctx context.Context, w Who, name, code string) error {
	d.mu.Lock()
	e, ok := d.enrolments[w.Pass]
	d.mu.Unlock()
	if !ok || !e.until.After(d.Now()) {
		return commissioner.Fail(commissioner.CodeInvalidArgument, errors.New("no authenticator app is being added: begin again"))
	}
	err := d.change(ctx, w.Person, func(a *account) error {
		return a.AddAuthenticator(e.Enrolment, name, code, w.Person, d.steps, d.Now())
	})
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.enrolments, w.Pass)
		e.Erase()
	}
	return err
}

// RemoveAuthenticator takes an authenticator app away.
func (d *Door) RemoveAuthenticator(ctx context.Context, w Who, name string) error {
	return d.change(ctx, w.Person, func(a *account) error { return a.RemoveAuthenticator(name) })
}

// RemovePasskey takes a passkey away.
func (d *Door) RemovePasskey(ctx context.Context, w Who, name string) error {
	return d.change(ctx, w.Person, func(a *account) error { return a.RemovePasskey(name) })
}

// NewRecoveryCodes gives a person other recovery codes, told once.
func (d *Door) NewRecoveryCodes(ctx context.Context, w Who) (codes []string, err error) {
	err = d.change(ctx, w.Person, func(a *account) (err error) {
		codes, err = a.NewRecoveryCodes(d.Random)
		return err
	})
	return codes, err
}

// SetPassword replaces a person's password, and ends their other sessions.
func (d *Door) SetPassword(ctx context.Context, w Who, now, next string, from netip.Addr) error {
	a, err := d.account(ctx, w.Person)
	if err != nil {
		return err
	}
	defer a.Erase()
	if err := d.checkPassword(ctx, accountName(w.Name), a.Credentials, now, from); err != nil {
		return err
	}
	if err := d.hasher.Set(ctx, a.Credentials, next, a.person.Name, d.Ledger.State().Home.Name); err != nil {
		return err
	}
	if err := d.keep(ctx, a); err != nil {
		return err
	}
	return d.End(ctx, w.Person, nil, w.Pass)
}

// HasSecondFactor reports whether a person has one to confirm with.
func (d *Door) HasSecondFactor(ctx context.Context, id string) (bool, error) {
	a, err := d.account(ctx, id)
	if err != nil {
		return false, err
	}
	defer a.Erase()
	return a.SecondFactor(), nil
}

// CheckPassword checks a person's own password again: it is enough to add the
// first second factor, as long as there is none to ask for.
func (d *Door) CheckPassword(ctx context.Context, w Who, password string, from netip.Addr) error {
	a, err := d.account(ctx, w.Person)
	if err != nil {
		return err
	}
	defer a.Erase()
	return d.checkPassword(ctx, accountName(w.Name), a.Credentials, password, from)
}
