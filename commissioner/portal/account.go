package portal

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"gatehouse/commissioner/portal/door"
	"gatehouse/commissioner/portal/qr"
	"gatehouse/fabric"
)

// Account is how somebody proves who they are, and where they are logged in.
type Account struct {
	Session
	door.Factors
	Passes []Pass `json:"passes"`
	// Button says that the gateway has one to confirm with.
	Button bool `json:"button"`
}

// self is who asks, as a person.
func (p *Portal) self(r *http.Request) (door.Who, *fabric.Person, error) {
	who := door.From(r.Context())
	person := p.C.Ledger.State().Person(who.Person)
	if person == nil {
		return who, nil, invalid(errors.New("the gateway's own socket is nobody's account"))
	}
	return who, person, nil
}

func (p *Portal) account(w http.ResponseWriter, r *http.Request) error {
	who, person, err := p.self(r)
	if err != nil {
		return err
	}
	factors, err := p.D.Factors(r.Context(), who.Person)
	if err != nil {
		return err
	}
	return reply(w, Account{p.sessionOf(who), factors, passes(person, who), p.C.Mode.Button})
}

// SetPassword replaces a person's password and ends their other sessions.
type SetPassword struct {
	Now  string `json:"now"`
	Next string `json:"next"`
}

func (p *Portal) setPassword(w http.ResponseWriter, r *http.Request) error {
	var req SetPassword
	who, _, err := p.self(r)
	if err == nil {
		err = decode(r, &req)
	}
	if err == nil {
		err = p.D.SetPassword(r.Context(), who, req.Now, req.Next, from(r))
	}
	if err != nil {
		return err
	}
	return reply(w, Done{true})
}

// Prove is what adding a second factor takes: one that is there already, or the
// password again as long as there is none.
type Prove struct {
	Password string `json:"password,omitempty"`
}

func (p *Portal) prove(r *http.Request) (door.Who, error) {
	var req Prove
	who, _, err := p.self(r)
	if err == nil {
		err = decode(r, &req)
	}
	if err != nil || who.Fresh {
		return who, err
	}
	has, err := p.D.HasSecondFactor(r.Context(), who.Person)
	if err == nil && has {
		err = who.May(personal, 0)
	} else if err == nil {
		err = p.D.CheckPassword(r.Context(), who, req.Password, from(r))
	}
	return who, err
}

// NewAuthenticator is an authenticator app that is being added. It is secret,
// and told once.
type NewAuthenticator struct {
	QR    string `json:"qr"`    // a picture, as data: of SVG
	Typed string `json:"typed"` // for who cannot scan
}

func (p *Portal) beginAuthenticator(w http.ResponseWriter, r *http.Request) error {
	who, err := p.prove(r)
	if err != nil {
		return err
	}
	e, err := p.D.BeginAuthenticator(who)
	if err != nil {
		return err
	}
	drawn, err := picture(e.URL(p.C.Ledger.State().Home.Name, who.Name), "code for your authenticator app")
	if err != nil {
		return err
	}
	return reply(w, NewAuthenticator{drawn, e.Typed()})
}

// picture is a QR code as data: of SVG. Who sees it sees the text.
func picture(text, title string) (string, error) {
	svg, err := qr.SVG(text, title)
	if err != nil {
		return "", err
	}
	return "data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte(svg)), nil
}

// Code is a one-time code.
type Code struct {
	Code string `json:"code"`
}

func (p *Portal) addAuthenticator(w http.ResponseWriter, r *http.Request) error {
	var req Code
	who, _, err := p.self(r)
	if err == nil {
		err = decode(r, &req)
	}
	if err == nil {
		// The secret was drawn for this session, after it was proved.
		err = p.D.AddAuthenticator(r.Context(), who, r.PathValue("name"), req.Code)
	}
	if err != nil {
		return err
	}
	p.D.Confirmed(who.Pass)
	return reply(w, Done{true})
}

func (p *Portal) removeAuthenticator(w http.ResponseWriter, r *http.Request) error {
	return p.changed(w, r, func(who door.Who) error { return p.D.RemoveAuthenticator(r.Context(), who, r.PathValue("name")) })
}

func (p *Portal) removePasskey(w http.ResponseWriter, r *http.Request) error {
	return p.changed(w, r, func(who door.Who) error { return p.D.RemovePasskey(r.Context(), who, r.PathValue("name")) })
}

// changed answers a change of one's own account.
func (p *Portal) changed(w http.ResponseWriter, r *http.Request, do func(door.Who) error) error {
	who, _, err := p.self(r)
	if err == nil {
		err = do(who)
	}
	if err != nil {
		return err
	}
	return reply(w, Done{true})
}

func (p *Portal) beginPasskey(w http.ResponseWriter, r *http.Request) error {
	who, err := p.prove(r)
	if err != nil {
		return err
	}
	question, err := p.D.AskNewPasskey(r.Context(), who)
	if err != nil {
		return err
	}
	return reply(w, json.RawMessage(question))
}

func (p *Portal) addPasskey(w http.ResponseWriter, r *http.Request) error {
	var req json.RawMessage
	if err := decode(r, &req); err != nil {
		return err
	}
	return p.changed(w, r, func(who door.Who) error {
		if err := p.D.AddPasskey(r.Context(), who, r.PathValue("name"), req); err != nil {
			return err
		}
		p.D.Confirmed(who.Pass)
		return nil
	})
}

// RecoveryCodes each let their person in once. They are told once.
type RecoveryCodes struct {
	Codes []string `json:"codes"`
}

func (p *Portal) newRecoveryCodes(w http.ResponseWriter, r *http.Request) error {
	who, _, err := p.self(r)
	if err != nil {
		return err
	}
	codes, err := p.D.NewRecoveryCodes(r.Context(), who)
	if err != nil {
		return err
	}
	return reply(w, RecoveryCodes{codes})
}

func (p *Portal) endOwnPass(w http.ResponseWriter, r *http.Request) error {
	return p.changed(w, r, func(who door.Who) error {
		return p.D.End(r.Context(), who.Person, []string{r.PathValue("id")}, "")
	})
}

func (p *Portal) endOtherPasses(w http.ResponseWriter, r *http.Request) error {
	return p.changed(w, r, func(who door.Who) error { return p.D.End(r.Context(), who.Person, nil, who.Pass) })
}

// TokenRequest asks for a token of a program. It holds until it is taken away,
// or for some days.
type TokenRequest struct {
	Name string `json:"name"`
	Role string `json:"role"`
	Days int    `json:"days,omitempty"`
}

// NewToken is a token. Its secret is told once.
type NewToken struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// maxTokenDays bounds how long a token lasts that ends at all.
const maxTokenDays = 3650

func (p *Portal) giveToken(w http.ResponseWriter, r *http.Request) error {
	who, _, err := p.self(r)
	if err != nil {
		return err
	}
	return p.token(w, r, who.Person)
}

func (p *Portal) giveTokenFor(w http.ResponseWriter, r *http.Request) error {
	return p.token(w, r, r.PathValue("id"))
}

func (p *Portal) token(w http.ResponseWriter, r *http.Request, person string) error {
	var req TokenRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	role, ok := fabric.ParseRole(req.Role)
	if !ok || req.Days < 0 || req.Days > maxTokenDays {
		return invalid(errors.New("a token has a role, and lasts for up to ten years or until it is taken away"))
	}
	o, err := p.D.GiveToken(r.Context(), person, req.Name, role, time.Duration(req.Days)*24*time.Hour)
	if err != nil {
		return err
	}
	return reply(w, NewToken{o.Pass.ID, o.Secret})
}
