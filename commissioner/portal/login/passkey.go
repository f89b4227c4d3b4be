package login

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// Limits of the specification.
const (
	maxHandle       = 64   // octets of a user handle
	maxCredentialID = 1023 // octets
)

// Limits of ours.
const (
	maxPublicKey = 1 << 10  // octets of COSE; RSA of 4096 bits takes 530
	maxResponse  = 16 << 10 // octets of a browser's answer
	maxOrigins   = 16
)

// transports are the ways to a passkey that are kept, so that a browser need not
// offer all of them.
var transports = []protocol.AuthenticatorTransport{protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal}

// passkey is what is kept of one. Flags are those of its authenticator's last
// answer that changed anything.
type passkey struct {
	Name       string   `cbor:"1,keyasint"`
	ID         []byte   `cbor:"2,keyasint"`
	Key        []byte   `cbor:"3,keyasint"` // COSE
	Model      []byte   `cbor:"4,keyasint"` // AAGUID
	Count      uint32   `cbor:"5,keyasint"` // of signatures
	Flags      byte     `cbor:"6,keyasint"`
	Transports []string `cbor:"7,keyasint,omitempty"`
	Added      int64    `cbor:"8,keyasint"` // Unix seconds
}

// kept are the flags that say something of the passkey, not of one answer.
func kept(f webauthn.CredentialFlags) byte {
	return byte(f.ProtocolValue() & (protocol.FlagUserPresent | protocol.FlagUserVerified | protocol.FlagBackupEligible | protocol.FlagBackupState))
}

func (k passkey) item() Item { return Item{k.Name, time.Unix(k.Added, 0).UTC()} }

func (k passkey) sound() bool {
	for _, t := range k.Transports {
		if !slices.Contains(transports, protocol.AuthenticatorTransport(t)) {
			return false
		}
	}
	return len(k.ID) > 0 && len(k.ID) <= maxCredentialID && len(k.Key) > 0 && len(k.Key) <= maxPublicKey &&
		len(k.Model) == 16 && len(k.Transports) <= len(transports)
}

func (k passkey) credential() webauthn.Credential {
	c := webauthn.Credential{ID: k.ID, PublicKey: k.Key, Flags: webauthn.NewCredentialFlags(protocol.AuthenticatorFlags(k.Flags)),
		Authenticator: webauthn.Authenticator{AAGUID: k.Model, SignCount: k.Count}}
	for _, t := range k.Transports {
		c.Transport = append(c.Transport, protocol.AuthenticatorTransport(t))
	}
	return c
}

// Person is whom a passkey is for.
type Person struct {
	Account string // up to 64 octets that stay the same and say nothing about the person; the passkey keeps them
	Name    string // that the person logs in with
	Shown   string // name for people
}

// Site is where passkeys are used: at which name of the gateway.
type Site struct {
	Domain  string   // such as gatehouse.local; every passkey is bound to it
	Home    string   // name that the browser shows
	Origins []string // https://, name and port where it is not 443, of each page that may ask
}

// Passkeys adds and checks passkeys. It is safe for concurrent use, if its
// randomness is.
type Passkeys struct {
	party *webauthn.WebAuthn
	asked *challenges
}

// NewPasskeys makes Passkeys of a site. A failure of CodePasskeyAddress says that
// browsers allow none there.
func NewPasskeys(site Site, random io.Reader, now func() time.Time) (*Passkeys, error) {
	if err := site.check(); err != nil {
		return nil, err
	}
	party, err := webauthn.New(&webauthn.Config{
		RPID: site.Domain, RPDisplayName: site.Home, RPOrigins: site.Origins,
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:      protocol.ResidentKeyRequirementPreferred,
			UserVerification: protocol.VerificationRequired,
		},
		// Password managers answer more than they were asked. None of it is used.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, because(CodePasskeyAddress, err.Error())
	}
	asked, err := newChallenges(random, now)
	if err != nil {
		return nil, err
	}
	return &Passkeys{party, asked}, nil
}

func (s Site) check() error {
	if _, err := netip.ParseAddr(strings.Trim(s.Domain, "[]")); err == nil || s.Domain == "" {
		return fail(CodePasskeyAddress)
	}
	if err := protocol.ValidateRPID(s.Domain); err != nil {
		return because(CodePasskeyAddress, err.Error())
	}
	if len(s.Origins) == 0 || len(s.Origins) > maxOrigins {
		return because(CodePasskeyAddress, "no page may ask, or too many")
	}
	for _, origin := range s.Origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme != "https" || u.Path+u.RawQuery+u.Fragment != "" || u.User != nil ||
			u.Hostname() != s.Domain && !strings.HasSuffix(u.Hostname(), "."+s.Domain) {
			return because(CodePasskeyAddress, "a page is not at "+s.Domain)
		}
	}
	return nil
}

// user is a person as the library asks for one.
type user struct {
	Person
	c *Credentials
}

func (u user) WebAuthnID() []byte          { return []byte(u.Account) }
func (u user) WebAuthnName() string        { return u.Name }
func (u user) WebAuthnDisplayName() string { return u.Shown }
func (u user) WebAuthnCredentials() (all []webauthn.Credential) {
	for _, k := range u.c.held().Passkeys {
		all = append(all, k.credential())
	}
	return all
}

func (c *Credentials) holds(id []byte) int {
	return slices.IndexFunc(c.held().Passkeys, func(k passkey) bool { return bytes.Equal(k.ID, id) })
}

// refused is the failure of what the library found wrong. What it says for
// developers stays behind: it repeats challenges.
func refused(err error) error {
	if p := (*protocol.Error)(nil); errors.As(err, &p) && p.Details != "" {
		return because(CodePasskeyRefused, p.Details)
	}
	return because(CodePasskeyRefused, "the answer cannot be read")
}
