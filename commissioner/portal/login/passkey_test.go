package login_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
	"gatehouse/commissioner/portal/login/logintest"
)

const (
	domain  = "gatehouse.local"
	origin  = "https://gatehouse.local:8443"
	purpose = "session 1"
)

var anna = login.Person{Account: "01HANNA", Name: "anna", Shown: "Anna"}

// clock is one that tests set.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

// code is the code of a Failure.
func code(err error) commissioner.Code {
	var f *commissioner.Failure
	if errors.As(err, &f) {
		if f.Message == "" || f.Remedy == "" {
			return "failure without words"
		}
		return f.Code
	}
	if err != nil {
		return commissioner.Code("no failure: " + err.Error())
	}
	return ""
}

func newPasskeys(t *testing.T, c *clock) *login.Passkeys {
	t.Helper()
	p, err := login.NewPasskeys(login.Site{Domain: domain, Home: "Lindenhof", Origins: []string{origin}}, rand.Reader, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// added are credentials with one passkey.
func added(t *testing.T, p *login.Passkeys) (*login.Credentials, *logintest.Passkey) {
	t.Helper()
	c, k := login.New(), logintest.New(domain, origin)
	if err := add(p, c, k, "phone", purpose); err != nil {
		t.Fatal(err)
	}
	return c, k
}

func add(p *login.Passkeys, c *login.Credentials, k *logintest.Passkey, name, purpose string) error {
	options, err := p.AskToAdd(anna, c, purpose)
	if err != nil {
		return err
	}
	response, err := k.Create(options)
	if err != nil {
		return err
	}
	return p.Add(anna, c, name, purpose, response)
}

func prove(p *login.Passkeys, c *login.Credentials, k *logintest.Passkey) (bool, error) {
	options, err := p.Ask(c, purpose)
	if err != nil {
		return false, err
	}
	response, err := k.Get(options)
	if err != nil {
		return false, err
	}
	return check(p, c, response, purpose)
}

func check(p *login.Passkeys, c *login.Credentials, response []byte, purpose string) (bool, error) {
	a, err := login.ReadAnswer(response)
	if err != nil {
		return false, err
	}
	return p.Check(a, anna.Account, c, purpose)
}

func TestPasskeyProves(t *testing.T) {
	p := newPasskeys(t, newClock())
	c, k := added(t, p)
	if got := c.Passkeys(); len(got) != 1 || got[0].Name != "phone" || got[0].Added.IsZero() {
		t.Fatalf("passkeys %v", got)
	}
	stored, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if c, err = login.Decode(stored); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if changed, err := prove(p, c, k); err != nil || !changed {
			t.Fatalf("changed %v, %v", changed, err)
		}
	}
	options, err := p.Ask(nil, purpose) // whoever it is
	if err != nil {
		t.Fatal(err)
	}
	response, err := k.Get(options)
	if err != nil {
		t.Fatal(err)
	}
	a, err := login.ReadAnswer(response)
	if err != nil || a.Account() != anna.Account {
		t.Fatalf("account %q, %v", a.Account(), err)
	}
	if _, err := p.Check(a, a.Account(), c, purpose); err != nil {
		t.Fatal(err)
	}
}

func TestPasskeyWithoutCounterChangesNothing(t *testing.T) {
	p := newPasskeys(t, newClock())
	c, k := added(t, p)
	k.Synced = true
	for range 2 {
		if changed, err := prove(p, c, k); err != nil || changed {
			t.Fatalf("changed %v, %v", changed, err)
		}
	}
}

func TestPasskeyThatKeepsNoAccountIsSecondFactor(t *testing.T) {
	p := newPasskeys(t, newClock())
	c, k := added(t, p)
	k.Account = ""
	if _, err := prove(p, c, k); err != nil {
		t.Fatal(err)
	}
}

func TestPasskeyOptions(t *testing.T) {
	p := newPasskeys(t, newClock())
	c, _ := added(t, p)
	create, err := p.AskToAdd(anna, c, purpose)
	if err != nil {
		t.Fatal(err)
	}
	get, err := p.Ask(c, purpose)
	if err != nil {
		t.Fatal(err)
	}
	for options, wants := range map[string][]string{
		string(create): {`"userVerification":"required"`, `"residentKey":"preferred"`, `"attestation":"none"`, `"id":"gatehouse.local"`, `"excludeCredentials":[{`, `"timeout":300000`},
		string(get):    {`"userVerification":"required"`, `"rpId":"gatehouse.local"`, `"allowCredentials":[{`, `"timeout":300000`, `"transports":["hybrid","internal"]`},
	} {
		for _, want := range wants {
			if !strings.Contains(options, want) {
				t.Errorf("no %s in %s", want, options)
			}
		}
	}
}

func TestPasskeyNotAdded(t *testing.T) {
	for name, test := range map[string]struct {
		lie  func(*logintest.Passkey)
		want commissioner.Code
	}{
		"origin":       {func(k *logintest.Passkey) { k.Origin = "https://gatehouse.local.example.com:8443" }, login.CodePasskeyRefused},
		"other port":   {func(k *logintest.Passkey) { k.Origin = "https://gatehouse.local" }, login.CodePasskeyRefused},
		"domain":       {func(k *logintest.Passkey) { k.Domain = "local" }, login.CodePasskeyRefused},
		"unverified":   {func(k *logintest.Passkey) { k.Unverified = true }, login.CodePasskeyUnverified},
		"absent":       {func(k *logintest.Passkey) { k.Absent = true }, login.CodePasskeyRefused},
		"cross origin": {func(k *logintest.Passkey) { k.CrossOrigin = true }, login.CodePasskeyRefused},
		"type":         {func(k *logintest.Passkey) { k.Type = "webauthn.get" }, login.CodePasskeyRefused},
		"format":       {func(k *logintest.Passkey) { k.Format = "tpm" }, login.CodePasskeyRefused},
		"false packed": {func(k *logintest.Passkey) { k.Format = "packed" }, login.CodePasskeyRefused},
	} {
		t.Run(name, func(t *testing.T) {
			p, c, k := newPasskeys(t, newClock()), login.New(), logintest.New(domain, origin)
			test.lie(k)
			if got := code(add(p, c, k, "phone", purpose)); got != test.want {
				t.Errorf("code %q, want %q", got, test.want)
			}
			if len(c.Passkeys()) != 0 {
				t.Error("it was added nevertheless")
			}
		})
	}
}

// What other kinds of attestation hold is not even looked at.
func TestPasskeyAttestationIsNotRead(t *testing.T) {
	p, k := newPasskeys(t, newClock()), logintest.New(domain, origin)
	k.Format = "fido-u2f"
	if err := add(p, login.New(), k, "phone", purpose); err == nil || !strings.Contains(err.Error(), "than it was asked for") {
		t.Errorf("%v", err)
	}
}

func TestPasskeyAddedOnce(t *testing.T) {
	now := newClock()
	p := newPasskeys(t, now)
	c, k := added(t, p)
	if got := code(add(p, c, k, "again", purpose)); got != login.CodePasskeyKnown {
		t.Errorf("the same passkey: %q", got)
	}
	if got := code(add(p, c, logintest.New(domain, origin), " phone ", purpose)); got != login.CodeNameTaken {
		t.Errorf("the same name: %q", got)
	}
	if got := code(add(p, c, logintest.New(domain, origin), "a\nb", purpose)); got != login.CodeNameInvalid {
		t.Errorf("a name of two lines: %q", got)
	}
	for i := 2; i <= 16; i++ {
		if err := add(p, c, logintest.New(domain, origin), fmt.Sprint(i), purpose); err != nil {
			t.Fatal(err)
		}
	}
	if got := code(add(p, c, logintest.New(domain, origin), "17", purpose)); got != login.CodePasskeysFull {
		t.Errorf("one too many: %q", got)
	}
	if err := c.RemovePasskey("phone"); err != nil {
		t.Fatal(err)
	}
	if got := code(c.RemovePasskey("phone")); got != login.CodeNoSuch {
		t.Errorf("removed twice: %q", got)
	}
	if _, err := prove(p, c, k); err == nil {
		t.Error("a removed passkey proves")
	}
}

func TestPasskeyRefused(t *testing.T) {
	for name, test := range map[string]struct {
		lie  func(*logintest.Passkey)
		want commissioner.Code
	}{
		"origin":          {func(k *logintest.Passkey) { k.Origin = "https://example.com" }, login.CodePasskeyRefused},
		"plain http":      {func(k *logintest.Passkey) { k.Origin = "http://gatehouse.local:8443" }, login.CodePasskeyRefused},
		"domain":          {func(k *logintest.Passkey) { k.Domain = "example.com" }, login.CodePasskeyRefused},
		"unverified":      {func(k *logintest.Passkey) { k.Unverified = true }, login.CodePasskeyUnverified},
		"absent":          {func(k *logintest.Passkey) { k.Absent = true }, login.CodePasskeyRefused},
		"cross origin":    {func(k *logintest.Passkey) { k.CrossOrigin = true }, login.CodePasskeyRefused},
		"type":            {func(k *logintest.Passkey) { k.Type = "webauthn.create" }, login.CodePasskeyRefused},
		"counter back":    {func(k *logintest.Passkey) { k.Count -= 2 }, login.CodePasskeyCloned},
		"counter same":    {func(k *logintest.Passkey) { k.Count-- }, login.CodePasskeyCloned},
		"counter gone":    {func(k *logintest.Passkey) { k.Count, k.Synced = 0, true }, login.CodePasskeyCloned},
		"account":         {func(k *logintest.Passkey) { k.Account = "01HBERT" }, login.CodePasskeyRefused},
		"another passkey": {func(k *logintest.Passkey) { k.ID = append([]byte{1}, k.ID...) }, login.CodePasskeyUnknown},
		"another key": {func(k *logintest.Passkey) {
			other := logintest.New(k.Domain, k.Origin)
			other.ID, other.Account, other.Count = k.ID, k.Account, k.Count
			*k = *other
		}, login.CodePasskeyRefused},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPasskeys(t, newClock())
			c, k := added(t, p)
			for range 5 {
				if _, err := prove(p, c, k); err != nil {
					t.Fatal(err)
				}
			}
			before, _ := c.Encode()
			test.lie(k)
			options, err := p.Ask(nil, purpose)
			if err != nil {
				t.Fatal(err)
			}
			response, err := k.Get(options)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := check(p, c, response, purpose); code(err) != test.want {
				t.Errorf("code %q (%v), want %q", code(err), err, test.want)
			}
			if after, _ := c.Encode(); !bytes.Equal(before, after) {
				t.Error("a refused answer changed the credentials")
			}
		})
	}
}

func TestPasskeyChallenges(t *testing.T) {
	now := newClock()
	p := newPasskeys(t, now)
	c, k := added(t, p)
	ask := func() []byte {
		options, err := p.Ask(c, purpose)
		if err != nil {
			t.Fatal(err)
		}
		response, err := k.Get(options)
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	response := ask()
	if _, err := check(p, c, response, "session 2"); code(err) != login.CodePasskeyExpired {
		t.Errorf("answered for another purpose: %v", err)
	}
	if _, err := check(newPasskeys(t, now), c, response, purpose); code(err) != login.CodePasskeyExpired {
		t.Errorf("answered to another gateway: %v", err)
	}
	if _, err := check(p, c, response, purpose); err != nil {
		t.Fatal(err)
	}
	fresh, err := login.Decode(encoded(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := check(p, fresh, response, purpose); code(err) != login.CodePasskeyCloned {
		t.Errorf("replayed: %v", err)
	}
	c, k = added(t, p)
	k.Synced = true
	response = ask()
	for i, want := range []commissioner.Code{"", login.CodePasskeyUsed} { // of one that does not count, too
		if _, err := check(p, c, response, purpose); code(err) != want {
			t.Errorf("answer %d: %v", i, err)
		}
	}
	response = ask()
	now.t = now.t.Add(5 * time.Minute)
	if _, err := check(p, c, response, purpose); code(err) != login.CodePasskeyExpired {
		t.Errorf("answered too late: %v", err)
	}
	create, err := p.AskToAdd(anna, c, purpose)
	if err != nil {
		t.Fatal(err)
	}
	if response, err = k.Get(create); err != nil {
		t.Fatal(err)
	}
	if _, err := check(p, c, response, purpose); code(err) != login.CodePasskeyExpired {
		t.Errorf("the question for a new passkey answered as a proof: %v", err)
	}
}

func TestPasskeyAnswerCountsOnceAtATime(t *testing.T) {
	p := newPasskeys(t, newClock())
	c, k := added(t, p)
	k.Synced = true
	options, _ := p.Ask(c, purpose)
	response, err := k.Get(options)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	right := 0
	for range 16 {
		mine, err := login.Decode(encoded(t, c))
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if _, err := check(p, mine, response, purpose); err == nil {
				mu.Lock()
				right++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if right != 1 {
		t.Errorf("one answer was right %d times", right)
	}
}

func TestPasskeySites(t *testing.T) {
	for _, test := range []struct {
		domain string
		origin string
		good   bool
	}{
		{"gatehouse.local", "https://gatehouse.local", true},
		{"gatehouse.local", "https://kitchen.gatehouse.local:8443", true},
		{"home.example.org", "https://home.example.org", true},
		{"192.168.1.10", "https://192.168.1.10", false},
		{"[fe80::1]", "https://[fe80::1]", false},
		{"fe80::1", "https://[fe80::1]", false},
		{"", "https://gatehouse.local", false},
		{"gatehouse.local:8443", "https://gatehouse.local:8443", false},
		{"https://gatehouse.local", "https://gatehouse.local", false},
		{"gatehouse.local", "http://gatehouse.local", false},
		{"gatehouse.local", "https://notgatehouse.local", false},
		{"gatehouse.local", "https://gatehouse.local.example.com", false},
		{"gatehouse.local", "https://gatehouse.local/x", false},
		{"gatehouse.local", "https://192.168.1.10", false},
		{"gatehouse.local", "", false},
	} {
		_, err := login.NewPasskeys(login.Site{Domain: test.domain, Home: "Lindenhof", Origins: []string{test.origin}}, rand.Reader, time.Now)
		if want := map[bool]commissioner.Code{false: login.CodePasskeyAddress}[test.good]; code(err) != want {
			t.Errorf("%s at %s: %v", test.domain, test.origin, err)
		}
	}
}

func FuzzPasskeyAnswers(f *testing.F) {
	now := newClock()
	p, err := login.NewPasskeys(login.Site{Domain: domain, Home: "Lindenhof", Origins: []string{origin}}, rand.Reader, now.now)
	if err != nil {
		f.Fatal(err)
	}
	c, k := login.New(), logintest.New(domain, origin)
	options, _ := p.AskToAdd(anna, c, purpose)
	response, _ := k.Create(options)
	f.Add(response)
	if err := p.Add(anna, c, "phone", purpose, response); err != nil {
		f.Fatal(err)
	}
	options, _ = p.Ask(c, purpose)
	response, _ = k.Get(options)
	f.Add(response)
	f.Add([]byte(`{"id":"AA","rawId":"AA","type":"public-key","response":{}}`))
	stored, _ := c.Encode()
	f.Fuzz(func(t *testing.T, response []byte) {
		mine, err := login.Decode(stored)
		if err != nil {
			t.Fatal(err)
		}
		bound := testing.AllocsPerRun(1, func() {
			if err := p.Add(anna, mine, "other", purpose, response); err != nil && code(err) == "" {
				t.Errorf("not a failure: %v", err)
			}
			check(p, mine, response, purpose)
		})
		if bound > 20_000 {
			t.Errorf("%v allocations", bound)
		}
		if _, err := login.Decode(encoded(t, mine)); err != nil {
			t.Error("credentials that cannot be stored")
		}
	})
}

func encoded(t *testing.T, c *login.Credentials) []byte {
	t.Helper()
	b, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}
