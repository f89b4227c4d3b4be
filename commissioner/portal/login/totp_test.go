package login_test

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
	"gatehouse/commissioner/portal/login/logintest"
)

func newKey() *logintest.Passkey { return logintest.New(domain, origin) }

// shown is what an app with a secret shows.
func shown(t testing.TB, secret string, at time.Time) string {
	t.Helper()
	c, err := totp.GenerateCode(strings.ReplaceAll(secret, " ", ""), at)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// enrolled adds an app, and returns its secret.
func enrolled(t testing.TB, c *login.Credentials, name string, now *clock) string {
	t.Helper()
	e, err := login.NewEnrolment(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Erase()
	secret := e.Typed()
	if err := c.AddAuthenticator(e, name, shown(t, secret, now.t), "anna", new(login.MemorySteps), now.t); err != nil {
		t.Fatal(err)
	}
	return secret
}

func TestCodes(t *testing.T) {
	now := newClock()
	c := login.New()
	secret := enrolled(t, c, "app", now)
	for _, test := range []struct {
		name  string
		shift time.Duration
		want  commissioner.Code
	}{
		{"now", 0, ""},
		{"late", -30 * time.Second, ""},
		{"early", 30 * time.Second, ""},
		{"too late", -60 * time.Second, login.CodeCodeWrong},
		{"too early", 60 * time.Second, login.CodeCodeWrong},
	} {
		if err := c.CheckCode(shown(t, secret, now.t.Add(test.shift)), "anna", new(login.MemorySteps), now.t); code(err) != test.want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	right := shown(t, secret, now.t)
	for _, wrong := range []string{"", "12345", right + "0", right[:5], "abcdef", "-" + right[1:], "٠١٢٣٤٥", strings.Repeat("1", 1<<16)} {
		if err := c.CheckCode(wrong, "anna", new(login.MemorySteps), now.t); code(err) != login.CodeCodeWrong {
			t.Errorf("%.20q: %v", wrong, err)
		}
	}
	if err := c.CheckCode(right[:3]+" "+right[3:]+"\n", "anna", new(login.MemorySteps), now.t); err != nil {
		t.Errorf("as the app groups it: %v", err)
	}
	if err := login.New().CheckCode(right, "anna", new(login.MemorySteps), now.t); code(err) != login.CodeCodeWrong {
		t.Errorf("without any app: %v", err)
	}
}

func TestCodeIsRightOnce(t *testing.T) {
	now, steps := newClock(), new(login.MemorySteps)
	c := login.New()
	one, other := enrolled(t, c, "one", now), enrolled(t, c, "other", now)
	check := func(secret, account string, shift time.Duration, want commissioner.Code) {
		t.Helper()
		if err := c.CheckCode(shown(t, secret, now.t.Add(shift)), account, steps, now.t); code(err) != want {
			t.Errorf("%v later: %v, want %q", shift, err, want)
		}
	}
	check(one, "anna", 0, "")
	check(one, "anna", 0, login.CodeCodeUsed)
	check(one, "anna", -30*time.Second, login.CodeCodeUsed) // nor one that was shown before it
	check(one, "bert", 0, "")
	check(other, "anna", 0, "")
	check(one, "anna", 30*time.Second, "")
	for range 100 { // a used one stays used for as long as it would be accepted
		now.t = now.t.Add(30 * time.Second)
		check(one, "anna", 0, login.CodeCodeUsed)
		check(one, "anna", 30*time.Second, "")
		check(other, "bert", 30*time.Second, "")
	}
}

// brokenSteps cannot remember.
type brokenSteps struct{}

func (brokenSteps) Take(string, int64) (bool, error) { return false, errors.New("disk full") }

func TestCodeThatCannotBeTakenIsNotRight(t *testing.T) {
	now := newClock()
	c := login.New()
	secret := enrolled(t, c, "app", now)
	if err := c.CheckCode(shown(t, secret, now.t), "anna", brokenSteps{}, now.t); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("%v", err)
	}
}

func TestAuthenticatorIsAdded(t *testing.T) {
	now, steps := newClock(), new(login.MemorySteps)
	c := login.New()
	e, err := login.NewEnrolment(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := e.Typed()
	add := func(name, shownCode string) commissioner.Code {
		return code(c.AddAuthenticator(e, name, shownCode, "anna", steps, now.t))
	}
	if got := add("app", "000000"); got != login.CodeCodeWrong || c.SecondFactor() {
		t.Errorf("with a wrong code: %q", got)
	}
	if got := add("", shown(t, secret, now.t)); got != login.CodeNameInvalid {
		t.Errorf("without a name: %q", got)
	}
	if got := add("app", shown(t, secret, now.t)); got != "" {
		t.Fatal(got)
	}
	if err := c.CheckCode(shown(t, secret, now.t), "anna", steps, now.t); code(err) != login.CodeCodeUsed {
		t.Errorf("the code that confirmed it: %v", err)
	}
	e.Erase()
	if err := c.CheckCode(shown(t, secret, now.t.Add(30*time.Second)), "anna", steps, now.t); err != nil {
		t.Errorf("after the enrolment was erased: %v", err)
	}
	if got := add("app", "000000"); got != login.CodeNameTaken {
		t.Errorf("the name again: %q", got)
	}
	for _, name := range []string{"2", "3", "4"} {
		enrolled(t, c, name, now)
	}
	if got := add("5", "000000"); got != login.CodeCodesFull {
		t.Errorf("one too many: %q", got)
	}
	if err := c.RemoveAuthenticator("app"); err != nil || len(c.Authenticators()) != 3 {
		t.Error(err)
	}
	if err := c.RemoveAuthenticator("app"); code(err) != login.CodeNoSuch {
		t.Errorf("removed twice: %v", err)
	}
}

func TestEnrolmentURL(t *testing.T) {
	e, err := login.NewEnrolment(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := e.URL("Linden:hof & Söhne+", "anna:x")
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Linden hof & Söhne+:anna x" || q.Get("issuer") != "Linden hof & Söhne+" ||
		q.Get("digits") != "6" || q.Get("period") != "30" || q.Get("algorithm") != "SHA1" {
		t.Errorf("%s", text)
	}
	if strings.Contains(u.RawQuery, "+") {
		t.Errorf("apps would show the plus of %s", u.RawQuery)
	}
	if q.Get("secret") != strings.ReplaceAll(e.Typed(), " ", "") {
		t.Error("typed, the secret is another one")
	}
	if b, err := base32.StdEncoding.DecodeString(q.Get("secret")); err != nil || len(b) != 20 {
		t.Errorf("secret of %d octets, %v", len(b), err)
	}
}

func TestRecoveryCodes(t *testing.T) {
	c := login.New()
	if err := c.UseRecoveryCode("0000-0000-0000-0000"); code(err) != login.CodeCodeWrong {
		t.Errorf("without any: %v", err)
	}
	codes, err := c.NewRecoveryCodes(rand.Reader)
	if err != nil || len(codes) != 10 || c.RecoveryCodes() != 10 {
		t.Fatal(codes, err)
	}
	for _, wrong := range []string{"", "x", codes[0][1:], codes[0] + "0", strings.Repeat("0", 1<<16), "0000-0000-0000-0000", codes[0][:15] + "-" + codes[1][15:]} {
		if err := c.UseRecoveryCode(wrong); code(err) != login.CodeCodeWrong {
			t.Errorf("%.30q: %v", wrong, err)
		}
	}
	misread := strings.NewReplacer("0", "o", "1", "l", "-", " ").Replace(strings.ToLower(codes[3]))
	if err := c.UseRecoveryCode(misread); err != nil || c.RecoveryCodes() != 9 {
		t.Errorf("as somebody reads it: %v", err)
	}
	if err := c.UseRecoveryCode(codes[3]); code(err) != login.CodeCodeWrong {
		t.Errorf("a second time: %v", err)
	}
	if c, err = login.Decode(encoded(t, c)); err != nil {
		t.Fatal(err)
	}
	if err := c.UseRecoveryCode(codes[9]); err != nil || c.RecoveryCodes() != 8 {
		t.Error(err)
	}
	if _, err := c.NewRecoveryCodes(rand.Reader); err != nil || c.RecoveryCodes() != 10 {
		t.Error(err)
	}
	if err := c.UseRecoveryCode(codes[0]); code(err) != login.CodeCodeWrong {
		t.Errorf("one of those before: %v", err)
	}
	if codes, err = c.NewRecoveryCodes(rand.Reader); err != nil {
		t.Fatal(err)
	}
	for _, one := range codes {
		if err := c.UseRecoveryCode(one); err != nil {
			t.Error(err)
		}
	}
	if _, err := login.Decode(encoded(t, c)); err != nil {
		t.Errorf("after the last one: %v", err)
	}
}
