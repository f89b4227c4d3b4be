package door

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

var (
	cheap    = login.Cost{Memory: 8 << 10, Passes: 1, Lanes: 1}
	here     = netip.MustParseAddr("192.0.2.7")
	password = "correct horse battery"
)

// home is a trust state in memory, with a vault that seals under one key.
type home struct {
	mu    sync.Mutex
	state *fabric.State
	key   seal.Secret
	now   time.Time
	opens int
}

func (h *home) State() *fabric.State {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.state
}

func (h *home) Current(context.Context) (*fabric.State, error) { return h.State(), nil }

func (h *home) Propose(_ context.Context, c fabric.Command) (*fabric.State, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.Version, c.Time = c.Needs(), h.now.UnixMilli()
	next, err := fabric.Apply(h.state, h.state.Index+1, &c)
	h.state = next
	return next, err
}

func (h *home) OpenPeople(_ context.Context, s *fabric.State) (seal.Secret, error) {
	h.opens++
	return seal.Open(h.key, "people", s.People.Key)
}

func (h *home) SealPeople(_ context.Context, s *fabric.State, secret seal.Secret) ([]byte, uint32, error) {
	b, err := seal.FirstSuite.Secrets().Seal(rand.Reader, h.key, "people", secret.Reveal())
	return b, s.DataKey(), err
}

func newHome(t *testing.T) (*home, *Door) {
	t.Helper()
	key, err := seal.RandomSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	h := &home{state: &fabric.State{}, key: key, now: time.UnixMilli(1_800_000_000_000)}
	_, err = h.Propose(t.Context(), fabric.Command{Found: &fabric.Found{
		Home:       fabric.Home{Name: "villa", FabricID: 1, Root: []byte("root"), GatewayCAT: cert.NewCAT(1, 1)},
		Generation: fabric.Generation{Number: 1, ICAC: []byte("icac"), Key: []byte("sealed")},
		Gateway:    fabric.Gateway{Node: 0xA1, Name: "hall", NOC: []byte("noc"), Version: fabric.Version}}})
	if err != nil {
		t.Fatal(err)
	}
	d := h.door()
	if err := d.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return h, d
}

// door is another gateway's of the same home.
func (h *home) door() *Door {
	return New(Config{Ledger: h, Vault: h, Cost: cheap, Site: login.Site{Domain: "gatehouse.local", Home: "villa", Origins: []string{"https://gatehouse.local"}},
		Authority: func(seal.Secret, *fabric.State) ([]byte, error) { return []byte("der"), nil }, Now: func() time.Time { return h.now }, Random: rand.Reader, Log: slog.New(slog.DiscardHandler)})
}

// code is the code of a failure.
func code(err error) commissioner.Code {
	var f *commissioner.Failure
	if errors.As(err, &f) {
		return f.Code
	}
	if err != nil {
		return commissioner.Code(err.Error())
	}
	return ""
}

// add has somebody come in by an invitation.
func add(t *testing.T, d *Door, name string, role fabric.Role) *Opened {
	t.Helper()
	i, err := d.Invite(t.Context(), "", name, role, false)
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.Accept(t.Context(), i.Secret, "", password, "test")
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// by is who makes a request with a cookie.
func (d *Door) by(secret string) Who {
	r := httptest.NewRequest("GET", "https://gatehouse.local/", nil)
	r.AddCookie(&http.Cookie{Name: Cookie, Value: secret})
	return d.Visitor(r)
}

func TestFirst(t *testing.T) {
	h, d := newHome(t)
	i, err := d.Invite(t.Context(), "", "Administrator", fabric.Administrator, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Invite(t.Context(), "", "Mallory", fabric.Administrator, true); code(err) != commissioner.Code(fabric.CodeExists) {
		t.Errorf("a second first: %v", err)
	}
	if p, err := d.Invited(t.Context(), i.Secret); err != nil || p.Name != "Administrator" {
		t.Errorf("%+v, %v", p, err)
	}
	id, _, _ := strings.Cut(i.Secret, ".")
	for what, bad := range map[string]string{"nothing": "", "an id alone": id, "another secret": id + ".x", "nobody's": "x." + i.Secret} {
		if _, err := d.Accept(t.Context(), bad, "", password, ""); code(err) != CodeInvitation {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.Accept(t.Context(), i.Secret, "Anna", "short", ""); code(err) != login.CodePasswordShort {
		t.Errorf("a short password: %v", err)
	}
	o, err := h.door().Accept(t.Context(), i.Secret, " Anna  B ", password, "phone") // on another gateway
	if err != nil {
		t.Fatal(err)
	}
	if o.Person.Name != "Anna B" || o.Person.Role != fabric.Administrator || o.Pass.Token {
		t.Errorf("%+v %+v", o.Person, o.Pass)
	}
	if w := d.by(o.Secret); w.Name != "Anna B" || w.Kind != Session || w.Fresh {
		t.Errorf("%+v", w)
	}
	if _, err := d.Accept(t.Context(), i.Secret, "", password, ""); code(err) != CodeInvitation {
		t.Errorf("used twice: %v", err)
	}
	again, err := d.Invite(t.Context(), o.Person.ID, "", 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if w := d.by(o.Secret); w.Known() {
		t.Error("who is invited anew keeps their session")
	}
	h.now = h.now.Add(invitationLasts)
	if _, err := d.Accept(t.Context(), again.Secret, "", password, ""); code(err) != CodeInvitation {
		t.Errorf("too late: %v", err)
	}
}

func TestLogin(t *testing.T) {
	h, d := newHome(t)
	first := add(t, d, "Anna", fabric.Administrator)
	if !d.by(first.Secret).Fresh {
		t.Error("an invitation is a second factor")
	}
	h.now = h.now.Add(freshFor)
	if d.by(first.Secret).Fresh {
		t.Error("a second factor counts for ever")
	}
	o, err := d.Login(t.Context(), " anna", password, "", here, "browser")
	if err != nil {
		t.Fatal(err)
	}
	if w := d.by(o.Secret); w.Name != "Anna" || w.Fresh || w.Role != fabric.Administrator {
		t.Errorf("%+v", w)
	}
	for what, try := range map[string][2]string{"wrong password": {"Anna", "wrong horse battery"}, "nobody": {"Bert", password}} {
		if _, err := d.Login(t.Context(), try[0], try[1], "", here, ""); code(err) != login.CodeWrong {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.Login(t.Context(), "Anna", password, "000000", here, ""); code(err) != login.CodeCodeWrong {
		t.Errorf("a wrong code: %v", err)
	}
	if err := d.End(t.Context(), o.Person.ID, []string{o.Pass.ID}, ""); err != nil {
		t.Fatal(err)
	}
	if d.by(o.Secret).Known() || !d.by(first.Secret).Known() {
		t.Error("another session was ended, or none")
	}
	h.now = h.now.Add(sessionLasts)
	if d.by(first.Secret).Known() {
		t.Error("a session outlives its end")
	}
}

// TestSecretsAreNowhere: neither a pass's secret nor an invitation's is in the
// trust state, nor what somebody proves who they are by.
func TestSecretsAreNowhere(t *testing.T) {
	h, d := newHome(t)
	o := add(t, d, "Anna", fabric.Administrator)
	i, err := d.Invite(t.Context(), "", "Bert", fabric.Guest, false)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(i.Secret, ".")
	for _, p := range h.state.People.Persons {
		for what, hidden := range map[string]string{"invitation": secret, "session": o.Secret, "password": password, "hash": "argon2"} {
			if strings.Contains(string(p.Sealed), hidden) || p.Passes[hidden] != nil {
				t.Errorf("the trust state has the %s", what)
			}
		}
	}
}

func TestPassKinds(t *testing.T) {
	_, d := newHome(t)
	o := add(t, d, "Anna", fabric.Administrator)
	token, err := d.GiveToken(t.Context(), o.Person.ID, "Home Assistant", fabric.Resident, 0)
	if err != nil {
		t.Fatal(err)
	}
	request := func(set func(*http.Request)) Who {
		r := httptest.NewRequest("GET", "https://gatehouse.local/", nil)
		set(r)
		return d.Visitor(r)
	}
	for what, c := range map[string]struct {
		set  func(*http.Request)
		want Kind
	}{
		"nothing":                   {func(*http.Request) {}, 0},
		"session":                   {func(r *http.Request) { r.AddCookie(&http.Cookie{Name: Cookie, Value: o.Secret}) }, Session},
		"token as a cookie":         {func(r *http.Request) { r.AddCookie(&http.Cookie{Name: Cookie, Value: token.Secret}) }, 0},
		"bearer":                    {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Secret) }, Token},
		"session as bearer":         {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+o.Secret) }, 0},
		"basic":                     {func(r *http.Request) { r.SetBasicAuth("anybody", token.Secret) }, Token},
		"password as basic":         {func(r *http.Request) { r.SetBasicAuth("Anna", password) }, 0},
		"id as bearer":              {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Pass.ID) }, 0},
		"scheme of somebody else's": {func(r *http.Request) { r.Header.Set("Authorization", "Digest "+token.Secret) }, 0},
		"wrong token beside a session": {func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer x")
			r.AddCookie(&http.Cookie{Name: Cookie, Value: o.Secret})
		}, 0},
	} {
		if w := request(c.set); w.Kind != c.want {
			t.Errorf("%s: %+v", what, w)
		}
	}
	w := request(func(r *http.Request) { r.SetBasicAuth("x", token.Secret) })
	if w.Limit != fabric.Resident || w.Role != fabric.Administrator || w.Fresh {
		t.Errorf("%+v", w)
	}
	for _, bad := range []struct {
		name string
		role fabric.Role
	}{{"", fabric.Guest}, {"x", 0}, {"x", 9}} {
		if _, err := d.GiveToken(t.Context(), o.Person.ID, bad.name, bad.role, 0); code(err) != commissioner.CodeInvalidArgument {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestMay has who may do what, and with which proof.
func TestMay(t *testing.T) {
	person := func(r fabric.Role) Who { return Who{Kind: Session, Person: "p", Role: r, Limit: r} }
	fresh := func(w Who) Who { w.Fresh = true; return w }
	token := func(of, limit fabric.Role) Who { return Who{Kind: Token, Person: "p", Role: of, Limit: limit} }
	critical, delegable := Act{Administer, true, false}, Act{Approve, true, true}
	for _, c := range []struct {
		what    string
		who     Who
		act     Act
		approve fabric.Role
		want    commissioner.Code
	}{
		{"a stranger logs in", Who{}, Act{Need: Nothing}, 0, ""},
		{"a stranger looks", Who{}, Act{Need: Look}, 0, CodeLogin},
		{"a stranger with a factor", Who{Fresh: true}, Act{Need: Known}, 0, CodeLogin},
		{"a guest looks", person(fabric.Guest), Act{Need: Look}, 0, ""},
		{"a guest arranges", person(fabric.Guest), Act{Need: Arrange}, 0, CodeRole},
		{"an auditor switches", person(fabric.Auditor), Act{Need: Operate}, 0, CodeRole},
		{"an auditor reviews", person(fabric.Auditor), Act{Need: Review}, 0, ""},
		{"a resident reviews", person(fabric.Resident), Act{Need: Review}, 0, CodeRole},
		{"a resident approves", person(fabric.Resident), Act{Need: Approve}, 0, CodeRole},
		{"a resident approves by policy", person(fabric.Resident), Act{Need: Approve}, fabric.Resident, ""},
		{"a guest approves by residents' policy", person(fabric.Guest), Act{Need: Approve}, fabric.Resident, CodeRole},
		{"a resident approves by guests' policy", person(fabric.Resident), Act{Need: Approve}, fabric.Guest, ""},
		{"an auditor approves by guests' policy", person(fabric.Auditor), Act{Need: Approve}, fabric.Guest, CodeRole},
		{"an administrator pairs", person(fabric.Administrator), delegable, 0, CodeSecondFactor},
		{"an administrator pairs with a factor", fresh(person(fabric.Administrator)), delegable, 0, ""},
		{"a resident evicts with a factor", fresh(person(fabric.Resident)), critical, 0, CodeRole},
		{"an administrator evicts", person(fabric.Administrator), critical, 0, CodeSecondFactor},
		{"a program pairs", token(fabric.Administrator, fabric.Administrator), delegable, 0, ""},
		{"a program of little pairs", token(fabric.Administrator, fabric.Resident), delegable, 0, CodeRole},
		{"a program of a resident pairs", token(fabric.Resident, fabric.Administrator), delegable, 0, CodeRole},
		{"a program evicts", token(fabric.Administrator, fabric.Administrator), critical, 0, CodeRole},
		{"a program opens the mode", token(fabric.Administrator, fabric.Administrator), Act{Need: Own}, 0, CodeRole},
		{"the socket evicts", Who{Kind: Local}, critical, 0, ""},
		{"a gateway feeds", Who{Kind: Gateway}, Act{Need: Own}, 0, ""},
	} {
		if got := code(c.who.May(c.act, c.approve)); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestPasswordChange(t *testing.T) {
	h, d := newHome(t)
	o := add(t, d, "Anna", fabric.Administrator)
	other, err := d.Login(t.Context(), "Anna", password, "", here, "")
	if err != nil {
		t.Fatal(err)
	}
	w := d.by(o.Secret)
	if err := d.SetPassword(t.Context(), w, "wrong", "another fine phrase", here); code(err) != login.CodeWrong {
		t.Errorf("%v", err)
	}
	if err := d.SetPassword(t.Context(), w, password, "another fine phrase", here); err != nil {
		t.Fatal(err)
	}
	if d.by(other.Secret).Known() || !d.by(o.Secret).Known() {
		t.Error("other sessions end, this one stays")
	}
	if _, err := h.door().Login(t.Context(), "Anna", "another fine phrase", "", here, ""); err != nil {
		t.Error(err)
	}
	if _, err := d.Login(t.Context(), "Anna", password, "", here, ""); code(err) != login.CodeWrong {
		t.Errorf("the former password: %v", err)
	}
}

func TestNames(t *testing.T) {
	_, d := newHome(t)
	add(t, d, "Anna", fabric.Administrator)
	if _, err := d.Invite(t.Context(), "", " ANNA ", fabric.Guest, false); code(err) != "name-taken" {
		t.Errorf("%v", err)
	}
	if _, err := d.Invite(t.Context(), "", "  ", fabric.Guest, false); code(err) != commissioner.CodeInvalidArgument {
		t.Errorf("%v", err)
	}
	if _, err := d.Invite(t.Context(), "nobody", "", 0, false); code(err) != commissioner.Code(fabric.CodeNoPerson) {
		t.Errorf("%v", err)
	}
	bert := add(t, d, "Bert", fabric.Guest)
	if _, err := d.Change(t.Context(), bert.Person.ID, "anna", 0); code(err) != "name-taken" {
		t.Errorf("%v", err)
	}
	p, err := d.Change(t.Context(), bert.Person.ID, "Bertie", fabric.Resident)
	if err != nil || p.Name != "Bertie" || p.Role != fabric.Resident {
		t.Errorf("%+v, %v", p, err)
	}
	if w := d.by(bert.Secret); w.Role != fabric.Resident || w.Limit != fabric.Guest {
		t.Errorf("a session of before has what it had at most: %+v", w)
	}
}

// TestSecretIsOpenedOnce: a thousand logins do not ask another gateway's help a
// thousand times.
func TestSecretIsOpenedOnce(t *testing.T) {
	h, d := newHome(t)
	add(t, d, "Anna", fabric.Administrator)
	if h.opens != 1 {
		t.Errorf("opened %d times", h.opens)
	}
}
