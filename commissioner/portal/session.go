package portal

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/door"
	"gatehouse/fabric"
)

// LoginRequest lets somebody in by name and password. Code is a one-time code,
// or a recovery code, and counts as second factor.
type LoginRequest struct {
	Name     string `json:"name"`
	Password string `json:"password"`
	Code     string `json:"code,omitempty"`
}

// Session is who is logged in, and what they may do.
type Session struct {
	Person     string     `json:"person,omitempty"` // id; empty: over the gateway's own socket
	Name       string     `json:"name"`
	Role       string     `json:"role"`
	May        []string   `json:"may"` // what acts take: look, operate, …
	Pass       string     `json:"pass,omitempty"`
	Token      bool       `json:"token"`
	FreshUntil *time.Time `json:"fresh_until,omitempty"` // until when the second factor counts
}

func (p *Portal) sessionOf(who door.Who) Session {
	s := Session{Person: who.Person, Name: who.Name, Role: min(who.Role, who.Limit).String(), Pass: who.Pass, Token: who.Kind == door.Token, May: []string{}}
	if who.Kind == door.Local || who.Kind == door.Gateway {
		s.Role = fabric.Administrator.String()
	}
	for n := door.Look; n <= door.Administer; n++ {
		if who.May(door.Act{Need: n}, p.approves()) == nil {
			s.May = append(s.May, n.String())
		}
	}
	if until := p.D.FreshUntil(who.Pass); !until.IsZero() {
		until = until.UTC()
		s.FreshUntil = &until
	}
	return s
}

// from is the address that a request comes from.
func from(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// opened answers who has just come in, and gives their browser the cookie.
func (p *Portal) opened(w http.ResponseWriter, r *http.Request, o *door.Opened) error {
	if old := door.From(r.Context()); old.Kind == door.Session { // of this browser
		if err := p.D.End(r.Context(), old.Person, []string{old.Pass}, ""); err != nil {
			p.Log.Info("a session was not ended", "err", err)
		}
	}
	http.SetCookie(w, &http.Cookie{Name: door.Cookie, Value: o.Secret, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Expires: time.UnixMilli(o.Pass.Expires)})
	return reply(w, p.sessionOf(door.Who{Kind: door.Session, Person: o.Person.ID, Name: o.Person.Name, Role: o.Person.Role, Pass: o.Pass.ID, Limit: o.Pass.Role}))
}

// browsers and systems are how they call themselves, and what people call them.
// The first that fits counts: most claim to be others, too.
var (
	browsers = [][2]string{{"Home Assistant", "Home Assistant"}, {"Edg", "Edge"}, {"OPR/", "Opera"}, {"SamsungBrowser", "Samsung Internet"}, {"Firefox", "Firefox"}, {"FxiOS", "Firefox"},
		{"CriOS", "Chrome"}, {"Chrome", "Chrome"}, {"Safari", "Safari"}}
	systems = [][2]string{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Macintosh", "Mac"}, {"Windows", "Windows"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"}}
)

// browser is what people call the browser that they use, as far as it tells.
func browser(r *http.Request) string {
	named := func(table [][2]string) string {
		for _, entry := range table {
			if strings.Contains(r.UserAgent(), entry[0]) {
				return entry[1]
			}
		}
		return ""
	}
	program, system := named(browsers), named(systems)
	if program == "" || system == "" {
		return r.UserAgent()
	}
	return program + " on " + system
}

func (p *Portal) login(w http.ResponseWriter, r *http.Request) error {
	var req LoginRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	o, err := p.D.Login(r.Context(), req.Name, req.Password, req.Code, from(r), browser(r))
	if p.counted(err); err != nil {
		return err
	}
	return p.opened(w, r, o)
}

// counted counts a login.
func (p *Portal) counted(err error) {
	result := "in"
	if err != nil {
		result = string(commissioner.Explain(err, commissioner.CodeInternal).Code)
	}
	p.counts.logins.WithLabelValues(result).Inc()
}

func (p *Portal) askPasskeyLogin(w http.ResponseWriter, r *http.Request) error {
	question, err := p.D.AskPasskey(r.Context(), door.Who{})
	if err != nil {
		return err
	}
	return reply(w, json.RawMessage(question))
}

func (p *Portal) loginPasskey(w http.ResponseWriter, r *http.Request) error {
	var req json.RawMessage
	if err := decode(r, &req); err != nil {
		return err
	}
	o, err := p.D.LoginPasskey(r.Context(), req, from(r), browser(r))
	if p.counted(err); err != nil {
		return err
	}
	return p.opened(w, r, o)
}

// InvitationRequest shows an invitation, or accepts it with a password, and with
// another name where one is given.
type InvitationRequest struct {
	Invitation string `json:"invitation"`
	Name       string `json:"name,omitempty"`
	Password   string `json:"password,omitempty"`
}

// Invited is who an invitation is for.
type Invited struct {
	Home string `json:"home"`
	Name string `json:"name"`
	Role string `json:"role"`
}

func (p *Portal) invited(w http.ResponseWriter, r *http.Request) error {
	var req InvitationRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	person, err := p.D.Invited(r.Context(), req.Invitation)
	if err != nil {
		return err
	}
	return reply(w, Invited{p.C.Ledger.State().Home.Name, person.Name, person.Role.String()})
}

func (p *Portal) accept(w http.ResponseWriter, r *http.Request) error {
	var req InvitationRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	o, err := p.D.Accept(r.Context(), req.Invitation, req.Name, req.Password, browser(r))
	if err != nil {
		return err
	}
	return p.opened(w, r, o)
}

func (p *Portal) session(w http.ResponseWriter, r *http.Request) error {
	return reply(w, p.sessionOf(door.From(r.Context())))
}

// Done is the answer to what has nothing to say.
type Done struct {
	Done bool `json:"done"`
}

func (p *Portal) logout(w http.ResponseWriter, r *http.Request) error {
	who := door.From(r.Context())
	if err := p.D.End(r.Context(), who.Person, []string{who.Pass}, ""); err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{Name: door.Cookie, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode, MaxAge: -1})
	return reply(w, Done{true})
}

// ConfirmRequest is a second factor: one of a code, a passkey's answer, or a
// press of the gateway's button that is waited for.
type ConfirmRequest struct {
	Code    string          `json:"code,omitempty"`
	Passkey json.RawMessage `json:"passkey,omitempty"`
	Button  bool            `json:"button,omitempty"`
}

// buttonPatience is how long a press of the button is waited for.
const buttonPatience = time.Minute

func (p *Portal) confirm(w http.ResponseWriter, r *http.Request) error {
	var req ConfirmRequest
	who := door.From(r.Context())
	if err := decode(r, &req); err != nil {
		return err
	}
	var err error
	switch {
	case req.Code != "":
		err = p.D.ConfirmCode(r.Context(), who, req.Code, from(r))
	case len(req.Passkey) > 0:
		err = p.D.ConfirmPasskey(r.Context(), who, req.Passkey)
	case req.Button:
		unhurried(w)
		err = p.awaitPress(r, who)
	default:
		err = invalid(errors.New("no second factor is given"))
	}
	if err != nil {
		return err
	}
	return reply(w, p.sessionOf(who))
}

// awaitPress waits for a press of the button by whoever stands before the
// gateway.
func (p *Portal) awaitPress(r *http.Request, who door.Who) error {
	pressed, stop := p.C.Mode.Presses()
	defer stop()
	select {
	case <-pressed:
		p.D.Confirmed(who.Pass)
		return nil
	case <-time.After(buttonPatience):
		return &commissioner.Failure{Code: "button-not-pressed", Message: "nobody pressed the gateway's button", Remedy: "press it within a minute, or confirm in another way"}
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func (p *Portal) askPasskey(w http.ResponseWriter, r *http.Request) error {
	who := door.From(r.Context())
	question, err := p.D.AskPasskey(r.Context(), who)
	if err != nil {
		return err
	}
	return reply(w, json.RawMessage(question))
}

// Pass is a session, or a token of a program.
type Pass struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Token   bool       `json:"token"`
	Role    string     `json:"role"`
	Since   time.Time  `json:"since"`
	Expires *time.Time `json:"expires,omitempty"`
	This    bool       `json:"this"` // that the request was made with
}

func passes(person *fabric.Person, who door.Who) []Pass {
	list := []Pass{}
	for _, pass := range person.Passes {
		v := Pass{ID: pass.ID, Name: pass.Name, Token: pass.Token, Role: pass.Role.String(), Since: time.UnixMilli(pass.Since).UTC(), This: pass.ID == who.Pass}
		if pass.Expires != 0 {
			at := time.UnixMilli(pass.Expires).UTC()
			v.Expires = &at
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Pass) int { return b.Since.Compare(a.Since) })
	return list
}
