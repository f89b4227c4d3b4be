package login

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/commissioner"
)

// Limits of ours, for one person.
const (
	maxPasskeys       = 16
	maxAuthenticators = 4
	maxName           = 64       // runes
	maxEncoded        = 64 << 10 // octets of stored credentials; usual ones take less than 2 KiB
)

// version is the first octet of stored credentials.
const version = 1

const redacted = "[credentials]"

// Credentials are the proofs of one person. They cannot be printed. They are
// not safe for use by several goroutines at a time.
type Credentials struct {
	// A closure: of a field that is not exported fmt prints what a pointer
	// points to where the verb does not fit, but of a function only the address.
	held func() *record
}

// record is how Credentials are stored: after the version, as deterministic
// CBOR. Keys that were released stay as they are.
type record struct {
	Password *passwordHash `cbor:"1,keyasint,omitempty"`
	TOTP     []totpSecret  `cbor:"2,keyasint,omitempty"`
	Passkeys []passkey     `cbor:"3,keyasint,omitempty"`
	Recovery recovery      `cbor:"4,keyasint,omitzero"`
}

// Item is one of several proofs of a kind, for a list.
type Item struct {
	Name  string    `json:"name"`
	Added time.Time `json:"added"`
}

var encoder, decoder = codec()

func codec() (cbor.EncMode, cbor.DecMode) {
	e, err := cbor.CoreDetEncOptions().EncMode()
	d, err2 := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxArrayElements:  16,
		MaxMapPairs:       16,
		MaxNestedLevels:   8,
	}.DecMode()
	if err := errors.Join(err, err2); err != nil {
		panic(err)
	}
	return e, d
}

// New is credentials that prove nothing yet.
func New() *Credentials {
	r := new(record)
	return &Credentials{func() *record { return r }}
}

// Encode is the credentials for storing. They are secret: seal them, and clear
// them afterwards.
func (c *Credentials) Encode() ([]byte, error) {
	b, err := encoder.Marshal(c.held())
	if err != nil {
		return nil, errors.New("login: the credentials cannot be encoded") // err might say more
	}
	defer clear(b)
	return append([]byte{version}, b...), nil
}

// Decode is the inverse of Encode, and takes nothing that Encode does not make.
// It keeps no part of b.
func Decode(b []byte) (*Credentials, error) {
	switch {
	case len(b) == 0 || b[0] == 0 || len(b) > maxEncoded:
		return nil, fail(CodeUnreadable)
	case b[0] > version:
		return nil, fail(CodeNewer)
	}
	c := New()
	if decoder.Unmarshal(b[1:], c.held()) != nil || !c.held().sound() {
		c.Erase()
		return nil, fail(CodeUnreadable)
	}
	again, err := c.Encode()
	defer clear(again)
	if err != nil || !bytes.Equal(b, again) {
		c.Erase()
		return nil, fail(CodeUnreadable)
	}
	return c, nil
}

// sound says whether a record holds what this package writes.
func (r *record) sound() bool {
	return (r.Password == nil || r.Password.sound()) && r.Recovery.sound() &&
		len(r.TOTP) <= maxAuthenticators && soundAll(r.TOTP) && len(r.Passkeys) <= maxPasskeys && soundAll(r.Passkeys)
}

func soundAll[T interface {
	sound() bool
	item() Item
}](all []T) bool {
	names := map[string]bool{}
	for _, one := range all {
		name := one.item().Name
		if cleaned, err := cleanName(name); err != nil || cleaned != name || names[name] || !one.sound() {
			return false
		}
		names[name] = true
	}
	return true
}

// Erase overwrites the credentials, which prove nothing afterwards.
func (c *Credentials) Erase() {
	if c == nil {
		return
	}
	if p := c.held().Password; p != nil {
		clear(p.Salt)
		clear(p.Hash)
	}
	for _, s := range c.held().TOTP {
		clear(s.Secret)
	}
	c.held().Recovery.erase()
	*c.held() = record{}
}

// SecondFactor says whether there is a proof beside the password: an
// authenticator app or a passkey.
func (c *Credentials) SecondFactor() bool { return len(c.held().TOTP)+len(c.held().Passkeys) > 0 }

// HasPassword says whether a password was set.
func (c *Credentials) HasPassword() bool { return c.held().Password != nil }

// Authenticators lists the authenticator apps.
func (c *Credentials) Authenticators() []Item { return items(c.held().TOTP) }

// Passkeys lists the passkeys.
func (c *Credentials) Passkeys() []Item { return items(c.held().Passkeys) }

func items[T interface{ item() Item }](all []T) []Item {
	list := make([]Item, 0, len(all))
	for _, one := range all {
		list = append(list, one.item())
	}
	return list
}

// RemoveAuthenticator forgets an authenticator app.
func (c *Credentials) RemoveAuthenticator(name string) error {
	i := slices.IndexFunc(c.held().TOTP, func(s totpSecret) bool { return s.Name == name })
	if i < 0 {
		return fail(CodeNoSuch)
	}
	clear(c.held().TOTP[i].Secret)
	c.held().TOTP = slices.Delete(c.held().TOTP, i, i+1)
	return nil
}

// RemovePasskey forgets a passkey.
func (c *Credentials) RemovePasskey(name string) error {
	i := slices.IndexFunc(c.held().Passkeys, func(k passkey) bool { return k.Name == name })
	if i < 0 {
		return fail(CodeNoSuch)
	}
	c.held().Passkeys = slices.Delete(c.held().Passkeys, i, i+1)
	return nil
}

// cleanName is a person's name for one of several proofs.
func cleanName(name string) (string, error) {
	name = strings.TrimSpace(name)
	unprintable := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsFunc(name, unprintable) {
		return "", fail(CodeNameInvalid)
	}
	return name, nil
}

// room is the name under which one more of a kind may be added.
func room(name string, there []Item, most int, full commissioner.Code) (string, error) {
	name, err := cleanName(name)
	switch {
	case err != nil:
		return "", err
	case len(there) >= most:
		return "", fail(full)
	case slices.ContainsFunc(there, func(i Item) bool { return i.Name == name }):
		return "", fail(CodeNameTaken)
	}
	return name, nil
}

func (Credentials) String() string               { return redacted }
func (Credentials) GoString() string             { return redacted }
func (Credentials) Format(f fmt.State, _ rune)   { io.WriteString(f, redacted) }
func (Credentials) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (Credentials) LogValue() slog.Value         { return slog.StringValue(redacted) }
