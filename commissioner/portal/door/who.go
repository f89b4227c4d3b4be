package door

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"gatehouse/fabric"
)

// Kind is how somebody came in.
type Kind uint8

const (
	// Local is whoever has the gateway's unix socket: its owner, who may do
	// everything.
	Local Kind = iota + 1
	// Gateway is another one of the home. What it asks for somebody, it has
	// checked.
	Gateway
	// Session is a person with a browser.
	Session
	// Token is a program that a person gave a token.
	Token
)

// Who is somebody who came in.
type Who struct {
	Kind   Kind
	Person string // id; empty for Local and Gateway
	Name   string
	Role   fabric.Role
	Pass   string      // id
	Limit  fabric.Role // of the pass
	Fresh  bool        // they have shown a second factor just now
}

// Known reports whether it is anybody at all.
func (w Who) Known() bool { return w.Kind != 0 }

type key struct{}

// With has a context know who asks.
func With(ctx context.Context, w Who) context.Context { return context.WithValue(ctx, key{}, w) }

// From is who asks; the zero Who is a stranger.
func From(ctx context.Context) Who {
	w, _ := ctx.Value(key{}).(Who)
	return w
}

// Cookie is the name of the one that holds a session's secret. Its prefix has
// browsers take it over HTTPS only, and send it to this very host.
const Cookie = "__Host-gatehouse"

// secretSize is what a pass's secret has, in octets.
const secretSize = 32

// passID is what is known of a secret.
func passID(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func (d *Door) newSecret() (string, error) {
	b := make([]byte, secretSize)
	if _, err := readFull(d.Random, b); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

// Visitor is who makes a request from the network: by its session's cookie, or
// by a token, as a bearer's or as the password of Basic authentication, which
// is what fits into the address that Home Assistant is given.
func (d *Door) Visitor(r *http.Request) Who {
	if scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok {
		secret := value
		if strings.EqualFold(scheme, "basic") {
			_, secret, _ = r.BasicAuth()
		} else if !strings.EqualFold(scheme, "bearer") {
			return Who{}
		}
		return d.bearer(secret, true)
	}
	if c, err := r.Cookie(Cookie); err == nil {
		return d.bearer(c.Value, false)
	}
	return Who{}
}

// bearer is whose pass a secret is. A session's is no token, and the other way
// round: a cookie is sent by whatever page makes a browser do so.
func (d *Door) bearer(secret string, token bool) Who {
	if len(secret) != base64.RawURLEncoding.EncodedLen(secretSize) {
		return Who{}
	}
	p, pass := d.Ledger.State().Bearer(passID(secret), d.Now().UnixMilli())
	if p == nil || pass.Token != token {
		return Who{}
	}
	w := Who{Kind: Session, Person: p.ID, Name: p.Name, Role: p.Role, Pass: pass.ID, Limit: pass.Role, Fresh: !d.FreshUntil(pass.ID).IsZero()}
	if token {
		w.Kind, w.Fresh = Token, false
	}
	return w
}
