package door_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/door/doortest"
	"gatehouse/commissioner/portal/login"
	"gatehouse/fabric"
)

var here = netip.MustParseAddr("192.0.2.7")

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

// by is who makes a request with a cookie.
func by(d *door.Door, secret string) door.Who {
	r := httptest.NewRequest("GET", "https://gatehouse.local/", nil)
	r.AddCookie(&http.Cookie{Name: door.Cookie, Value: secret})
	return d.Visitor(r)
}

func TestFirst(t *testing.T) {
	h, d := doortest.New(t)
	i, err := d.Invite(t.Context(), "", "Administrator", fabric.Administrator, true)
	if err != nil {
		t.Fatal(err)
	}
	lost := i
	if i, err = d.Invite(t.Context(), "", "Administrator", fabric.Administrator, true); err != nil || i.Person.ID != lost.Person.ID {
		t.Fatalf("the code was lost: %v", err)
	}
	if _, err := d.Invited(t.Context(), lost.Secret); code(err) != door.CodeInvitation {
		t.Errorf("a code that was replaced: %v", err)
	}
	if p, err := d.Invited(t.Context(), i.Secret); err != nil || p.Name != "Administrator" {
		t.Errorf("%+v, %v", p, err)
	}
	id, _, _ := strings.Cut(i.Secret, ".")
	for what, bad := range map[string]string{"nothing": "", "an id alone": id, "another secret": id + ".x", "nobody's": "x." + i.Secret} {
		if _, err := d.Accept(t.Context(), bad, "", doortest.Password, ""); code(err) != door.CodeInvitation {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.Accept(t.Context(), i.Secret, "Anna", "short", ""); code(err) != login.CodePasswordShort {
		t.Errorf("a short password: %v", err)
	}
	o, err := h.Door().Accept(t.Context(), i.Secret, " Anna  B ", doortest.Password, "phone") // on another gateway
	if err != nil {
		t.Fatal(err)
	}
	if o.Person.Name != "Anna B" || o.Person.Role != fabric.Administrator || o.Pass.Token {
		t.Errorf("%+v %+v", o.Person, o.Pass)
	}
	if w := by(d, o.Secret); w.Name != "Anna B" || w.Kind != door.Session || w.Fresh {
		t.Errorf("%+v", w)
	}
	if _, err := d.Accept(t.Context(), i.Secret, "", doortest.Password, ""); code(err) != door.CodeInvitation {
		t.Errorf("used twice: %v", err)
	}
	if _, err := d.Invite(t.Context(), "", "Mallory", fabric.Administrator, true); code(err) != door.CodeInhabited {
		t.Errorf("a second first: %v", err)
	}
	again, err := d.Invite(t.Context(), o.Person.ID, "", 0, false)
	if err != nil {
		t.Fatal(err)
	}
	if w := by(d, o.Secret); w.Known() {
		t.Error("who is invited anew keeps their session")
	}
	h.Pass(24 * time.Hour)
	if _, err := d.Accept(t.Context(), again.Secret, "", doortest.Password, ""); code(err) != door.CodeInvitation {
		t.Errorf("too late: %v", err)
	}
}

func TestLogin(t *testing.T) {
	h, d := doortest.New(t)
	first := doortest.Add(t, d, "Anna", fabric.Administrator)
	if !by(d, first.Secret).Fresh {
		t.Error("an invitation is a second factor")
	}
	h.Pass(5 * time.Minute)
	if by(d, first.Secret).Fresh {
		t.Error("a second factor counts for ever")
	}
	o, err := d.Login(t.Context(), " anna", doortest.Password, "", here, "browser")
	if err != nil {
		t.Fatal(err)
	}
	if w := by(d, o.Secret); w.Name != "Anna" || w.Fresh || w.Role != fabric.Administrator {
		t.Errorf("%+v", w)
	}
	for what, try := range map[string][2]string{"wrong password": {"Anna", "wrong horse battery"}, "nobody": {"Bert", doortest.Password}} {
		if _, err := d.Login(t.Context(), try[0], try[1], "", here, ""); code(err) != login.CodeWrong {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.Login(t.Context(), "Anna", doortest.Password, "000000", here, ""); code(err) != login.CodeCodeWrong {
		t.Errorf("a wrong code: %v", err)
	}
	if err := d.End(t.Context(), o.Person.ID, []string{o.Pass.ID}, ""); err != nil {
		t.Fatal(err)
	}
	if by(d, o.Secret).Known() || !by(d, first.Secret).Known() {
		t.Error("another session was ended, or none")
	}
	h.Pass(30 * 24 * time.Hour)
	if by(d, first.Secret).Known() {
		t.Error("a session outlives its end")
	}
}

// TestNobodyIsLockedOut: strangers who try a name for long keep its bearer out
// neither of the browser that they have, nor of the place where they log in.
func TestNobodyIsLockedOut(t *testing.T) {
	h, d := doortest.New(t)
	o := doortest.Add(t, d, "Anna", fabric.Administrator)
	if _, err := d.Login(t.Context(), "Anna", doortest.Password, "", here, ""); err != nil {
		t.Fatal(err)
	}
	held := 0
	for range 200 {
		h.Pass(time.Second)
		if _, err := d.Login(t.Context(), "anna", "wrong horse battery", "", netip.MustParseAddr("198.51.100.7"), ""); code(err) == login.CodeWait {
			held++
		}
	}
	if held < 180 {
		t.Errorf("strangers were held up %d times of 200", held)
	}
	if _, err := d.Login(t.Context(), "Anna", doortest.Password, "", here, ""); err != nil || !by(d, o.Secret).Known() {
		t.Errorf("Anna is locked out: %v", err)
	}
}

// TestSecretsAreNowhere: neither a pass's secret nor an invitation's is in the
// trust state, nor what somebody proves who they are by.
func TestSecretsAreNowhere(t *testing.T) {
	h, d := doortest.New(t)
	o := doortest.Add(t, d, "Anna", fabric.Administrator)
	i, err := d.Invite(t.Context(), "", "Bert", fabric.Guest, false)
	if err != nil {
		t.Fatal(err)
	}
	_, secret, _ := strings.Cut(i.Secret, ".")
	for _, p := range h.State().People.Persons {
		for what, hidden := range map[string]string{"invitation": secret, "session": o.Secret, "password": doortest.Password, "hash": "argon2"} {
			if strings.Contains(string(p.Sealed), hidden) || p.Passes[hidden] != nil {
				t.Errorf("the trust state has the %s", what)
			}
		}
	}
}

func TestPassKinds(t *testing.T) {
	_, d := doortest.New(t)
	o := doortest.Add(t, d, "Anna", fabric.Administrator)
	token, err := d.GiveToken(t.Context(), o.Person.ID, "Home Assistant", fabric.Resident, 0)
	if err != nil {
		t.Fatal(err)
	}
	request := func(set func(*http.Request)) door.Who {
		r := httptest.NewRequest("GET", "https://gatehouse.local/", nil)
		set(r)
		return d.Visitor(r)
	}
	for what, c := range map[string]struct {
		set  func(*http.Request)
		want door.Kind
	}{
		"nothing":                   {func(*http.Request) {}, 0},
		"session":                   {func(r *http.Request) { r.AddCookie(&http.Cookie{Name: door.Cookie, Value: o.Secret}) }, door.Session},
		"token as a cookie":         {func(r *http.Request) { r.AddCookie(&http.Cookie{Name: door.Cookie, Value: token.Secret}) }, 0},
		"bearer":                    {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Secret) }, door.Token},
		"session as bearer":         {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+o.Secret) }, 0},
		"basic":                     {func(r *http.Request) { r.SetBasicAuth("anybody", token.Secret) }, door.Token},
		"password as basic":         {func(r *http.Request) { r.SetBasicAuth("Anna", doortest.Password) }, 0},
		"id as bearer":              {func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token.Pass.ID) }, 0},
		"scheme of somebody else's": {func(r *http.Request) { r.Header.Set("Authorization", "Digest "+token.Secret) }, 0},
		"wrong token beside a session": {func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer x")
			r.AddCookie(&http.Cookie{Name: door.Cookie, Value: o.Secret})
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
	person := func(r fabric.Role) door.Who { return door.Who{Kind: door.Session, Person: "p", Role: r, Limit: r} }
	fresh := func(w door.Who) door.Who { w.Fresh = true; return w }
	token := func(of, limit fabric.Role) door.Who {
		return door.Who{Kind: door.Token, Person: "p", Role: of, Limit: limit}
	}
	critical, delegable := door.Act{door.Administer, true, false}, door.Act{door.Approve, true, true}
	for _, c := range []struct {
		what    string
		who     door.Who
		act     door.Act
		approve fabric.Role
		want    commissioner.Code
	}{
		{"a stranger logs in", door.Who{}, door.Act{Need: door.Nothing}, 0, ""},
		{"a stranger looks", door.Who{}, door.Act{Need: door.Look}, 0, door.CodeLogin},
		{"a stranger with a factor", door.Who{Fresh: true}, door.Act{Need: door.Known}, 0, door.CodeLogin},
		{"a guest looks", person(fabric.Guest), door.Act{Need: door.Look}, 0, ""},
		{"a guest arranges", person(fabric.Guest), door.Act{Need: door.Arrange}, 0, door.CodeRole},
		{"an auditor switches", person(fabric.Auditor), door.Act{Need: door.Operate}, 0, door.CodeRole},
		{"an auditor reviews", person(fabric.Auditor), door.Act{Need: door.Review}, 0, ""},
		{"a resident reviews", person(fabric.Resident), door.Act{Need: door.Review}, 0, door.CodeRole},
		{"a resident approves", person(fabric.Resident), door.Act{Need: door.Approve}, 0, door.CodeRole},
		{"a resident approves by policy", person(fabric.Resident), door.Act{Need: door.Approve}, fabric.Resident, ""},
		{"a guest approves by residents' policy", person(fabric.Guest), door.Act{Need: door.Approve}, fabric.Resident, door.CodeRole},
		{"a resident approves by guests' policy", person(fabric.Resident), door.Act{Need: door.Approve}, fabric.Guest, ""},
		{"an auditor approves by guests' policy", person(fabric.Auditor), door.Act{Need: door.Approve}, fabric.Guest, door.CodeRole},
		{"an administrator pairs", person(fabric.Administrator), delegable, 0, door.CodeSecondFactor},
		{"an administrator pairs with a factor", fresh(person(fabric.Administrator)), delegable, 0, ""},
		{"a resident evicts with a factor", fresh(person(fabric.Resident)), critical, 0, door.CodeRole},
		{"an administrator evicts", person(fabric.Administrator), critical, 0, door.CodeSecondFactor},
		{"a program pairs", token(fabric.Administrator, fabric.Administrator), delegable, 0, ""},
		{"a program of little pairs", token(fabric.Administrator, fabric.Resident), delegable, 0, door.CodeRole},
		{"a program of a resident pairs", token(fabric.Resident, fabric.Administrator), delegable, 0, door.CodeRole},
		{"a program evicts", token(fabric.Administrator, fabric.Administrator), critical, 0, door.CodeRole},
		{"a program opens the mode", token(fabric.Administrator, fabric.Administrator), door.Act{Need: door.Own}, 0, door.CodeRole},
		{"the socket evicts", door.Who{Kind: door.Local}, critical, 0, ""},
		{"a gateway feeds", door.Who{Kind: door.Gateway}, door.Act{Need: door.Own}, 0, ""},
	} {
		if got := code(c.who.May(c.act, c.approve)); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestPasswordChange(t *testing.T) {
	h, d := doortest.New(t)
	o := doortest.Add(t, d, "Anna", fabric.Administrator)
	other, err := d.Login(t.Context(), "Anna", doortest.Password, "", here, "")
	if err != nil {
		t.Fatal(err)
	}
	w := by(d, o.Secret)
	if err := d.SetPassword(t.Context(), w, "wrong", "another fine phrase", here); code(err) != login.CodeWrong {
		t.Errorf("%v", err)
	}
	if err := d.SetPassword(t.Context(), w, doortest.Password, "another fine phrase", here); err != nil {
		t.Fatal(err)
	}
	if by(d, other.Secret).Known() || !by(d, o.Secret).Known() {
		t.Error("other sessions end, this one stays")
	}
	if _, err := h.Door().Login(t.Context(), "Anna", "another fine phrase", "", here, ""); err != nil {
		t.Error(err)
	}
	if _, err := d.Login(t.Context(), "Anna", doortest.Password, "", here, ""); code(err) != login.CodeWrong {
		t.Errorf("the former password: %v", err)
	}
}

func TestNames(t *testing.T) {
	_, d := doortest.New(t)
	doortest.Add(t, d, "Anna", fabric.Administrator)
	if _, err := d.Invite(t.Context(), "", " ANNA ", fabric.Guest, false); code(err) != "name-taken" {
		t.Errorf("%v", err)
	}
	if _, err := d.Invite(t.Context(), "", "  ", fabric.Guest, false); code(err) != commissioner.CodeInvalidArgument {
		t.Errorf("%v", err)
	}
	if _, err := d.Invite(t.Context(), "nobody", "", 0, false); code(err) != commissioner.Code(fabric.CodeNoPerson) {
		t.Errorf("%v", err)
	}
	bert := doortest.Add(t, d, "Bert", fabric.Guest)
	if _, err := d.Change(t.Context(), bert.Person.ID, "anna", 0); code(err) != "name-taken" {
		t.Errorf("%v", err)
	}
	p, err := d.Change(t.Context(), bert.Person.ID, "Bertie", fabric.Resident)
	if err != nil || p.Name != "Bertie" || p.Role != fabric.Resident {
		t.Errorf("%+v, %v", p, err)
	}
	if w := by(d, bert.Secret); w.Role != fabric.Resident || w.Limit != fabric.Guest {
		t.Errorf("a session of before has what it had at most: %+v", w)
	}
}

// TestSecretIsOpenedOnce: a thousand logins do not ask another gateway's help a
// thousand times.
func TestSecretIsOpenedOnce(t *testing.T) {
	h, d := doortest.New(t)
	doortest.Add(t, d, "Anna", fabric.Administrator)
	if h.Opens != 1 {
		t.Errorf("opened %d times", h.Opens)
	}
}
