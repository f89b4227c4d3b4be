package door_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/door/doortest"
	"gatehouse/commissioner/portal/login"
	"gatehouse/commissioner/portal/login/logintest"
	"gatehouse/fabric"
)

// stale is a session whose second factor no longer counts.
func stale(t *testing.T, h *doortest.Home, d *door.Door, name string) door.Who {
	t.Helper()
	o := doortest.Add(t, d, name, fabric.Administrator)
	h.Pass(5 * time.Minute)
	w := by(d, o.Secret)
	if w.Fresh || !w.Known() {
		t.Fatalf("%+v", w)
	}
	return w
}

// shown is what an authenticator app shows.
func shown(t *testing.T, e *login.Enrolment, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(strings.ReplaceAll(e.Typed(), " ", ""), at)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

func TestAuthenticators(t *testing.T) {
	h, d := doortest.New(t)
	w := stale(t, h, d, "Anna")
	if err := d.AddAuthenticator(t.Context(), w, "phone", "123456"); code(err) != commissioner.CodeInvalidArgument {
		t.Errorf("before it was begun: %v", err)
	}
	e, err := d.BeginAuthenticator(w)
	if err != nil {
		t.Fatal(err)
	}
	other := w
	other.Pass = "another session's"
	if err := d.AddAuthenticator(t.Context(), other, "phone", shown(t, e, h.Now())); code(err) != commissioner.CodeInvalidArgument {
		t.Errorf("by another session: %v", err)
	}
	h.Pass(10 * time.Minute)
	if err := d.AddAuthenticator(t.Context(), w, "phone", shown(t, e, h.Now())); code(err) != commissioner.CodeInvalidArgument {
		t.Errorf("too late: %v", err)
	}
	if e, err = d.BeginAuthenticator(w); err != nil {
		t.Fatal(err)
	}
	if err := d.AddAuthenticator(t.Context(), w, "phone", shown(t, e, h.Now())); err != nil {
		t.Fatal(err)
	}
	if f, err := d.Factors(t.Context(), w.Person); err != nil || len(f.Authenticators) != 1 || f.Authenticators[0].Name != "phone" || !f.Password {
		t.Errorf("%+v, %v", f, err)
	}
	h.Pass(time.Minute)
	if err := d.ConfirmCode(t.Context(), w, "000000", here); code(err) != login.CodeCodeWrong || !d.FreshUntil(w.Pass).IsZero() {
		t.Errorf("a wrong code: %v", err)
	}
}

func TestCodesConfirm(t *testing.T) {
	h, d := doortest.New(t)
	w := stale(t, h, d, "Anna")
	e, err := d.BeginAuthenticator(w)
	if err != nil {
		t.Fatal(err)
	}
	app := strings.ReplaceAll(e.Typed(), " ", "") // adding erases it
	at := func() string {
		t.Helper()
		code, err := totp.GenerateCode(app, h.Now())
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	if err := d.AddAuthenticator(t.Context(), w, "phone", at()); err != nil {
		t.Fatal(err)
	}
	h.Pass(time.Minute)
	if err := d.ConfirmCode(t.Context(), w, at(), here); err != nil || d.FreshUntil(w.Pass).IsZero() {
		t.Errorf("a right code: %v", err)
	}
	if err := d.ConfirmCode(t.Context(), w, at(), here); code(err) != login.CodeCodeUsed {
		t.Errorf("used again: %v", err)
	}
	h.Pass(time.Minute)
	o, err := d.Login(t.Context(), "Anna", doortest.Password, at(), here, "")
	if err != nil || !by(d, o.Secret).Fresh {
		t.Errorf("a login with a code: %v", err)
	}
	codes, err := d.NewRecoveryCodes(t.Context(), w)
	if err != nil || len(codes) == 0 {
		t.Fatal(err)
	}
	h.Pass(5 * time.Minute)
	if err := d.ConfirmCode(t.Context(), w, codes[0], here); err != nil || d.FreshUntil(w.Pass).IsZero() {
		t.Errorf("a recovery code: %v", err)
	}
	if err := h.Door().ConfirmCode(t.Context(), w, codes[0], here); code(err) != login.CodeCodeWrong {
		t.Errorf("the code again, on another gateway: %v", err)
	}
	for range 10 {
		if err = d.ConfirmCode(t.Context(), w, "000000", here); code(err) == login.CodeWait {
			break
		}
	}
	if code(err) != login.CodeWait {
		t.Errorf("codes can be guessed for ever: %v", err)
	}
}

func TestPasskeys(t *testing.T) {
	h, d := doortest.New(t)
	w := stale(t, h, d, "Anna")
	key := logintest.New("gatehouse.local", "https://gatehouse.local")
	ask := func(options []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := key.Get(options)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	options, err := d.AskNewPasskey(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	made, err := key.Create(options)
	if err != nil {
		t.Fatal(err)
	}
	other := w
	other.Pass = "another session's"
	if err := d.AddPasskey(t.Context(), other, "phone", made); code(err) == "" {
		t.Error("another session adds what this one asked for")
	}
	if err := d.AddPasskey(t.Context(), w, "phone", made); err != nil {
		t.Fatal(err)
	}
	forOther := ask(d.AskPasskey(t.Context(), other))
	if err := d.ConfirmPasskey(t.Context(), w, forOther); code(err) == "" || !d.FreshUntil(w.Pass).IsZero() {
		t.Errorf("another session's answer: %v", err)
	}
	answer := ask(d.AskPasskey(t.Context(), w))
	if err := d.ConfirmPasskey(t.Context(), w, answer); err != nil || d.FreshUntil(w.Pass).IsZero() {
		t.Errorf("%v", err)
	}
	if err := d.ConfirmPasskey(t.Context(), w, answer); code(err) == "" {
		t.Error("an answer counts twice")
	}
	o, err := d.LoginPasskey(t.Context(), ask(d.AskPasskey(t.Context(), door.Who{})), here, "")
	if err != nil || o.Person.Name != "Anna" || !by(d, o.Secret).Fresh {
		t.Errorf("%+v, %v", o, err)
	}
	bert := doortest.Add(t, d, "Bert", fabric.Guest)
	if err := d.ConfirmPasskey(t.Context(), by(d, bert.Secret), ask(d.AskPasskey(t.Context(), w))); code(err) == "" {
		t.Error("Anna's passkey confirms Bert")
	}
	if err := d.RemovePasskey(t.Context(), w, "phone"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.LoginPasskey(t.Context(), ask(d.AskPasskey(t.Context(), door.Who{})), here, ""); code(err) == "" {
		t.Error("a passkey that was removed")
	}
	plain := door.New(door.Config{Ledger: h, Vault: h, Cost: doortest.Cheap, Site: login.Site{Domain: "192.0.2.1"}, Now: d.Now, Random: d.Random})
	if _, err := plain.AskPasskey(t.Context(), w); code(err) != login.CodePasskeyAddress {
		t.Errorf("at a number: %v", err)
	}
}
