package login

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// algorithms of signatures that a passkey may have.
var algorithms = webauthn.CredentialParametersRecommendedL3()

// formats of attestation that are looked at: browsers that are asked for none
// leave at most a signature of the passkey's own.
var formats = []string{string(protocol.AttestationFormatNone), string(protocol.AttestationFormatPacked)}

// AskToAdd is what the browser's navigator.credentials.create takes, as JSON
// (its publicKey by way of PublicKeyCredential.parseCreationOptionsFromJSON).
// purpose is given to Add again: the session's, so that no other can answer.
func (p *Passkeys) AskToAdd(who Person, c *Credentials, purpose string) ([]byte, error) {
	if who.Account == "" || len(who.Account) > maxHandle {
		return nil, fmt.Errorf("a passkey needs an account of 1 to %d octets", maxHandle)
	}
	if len(c.held().Passkeys) >= maxPasskeys {
		return nil, fail(CodePasskeysFull)
	}
	challenge, err := p.asked.ask(toAdd, purpose)
	if err != nil {
		return nil, err
	}
	u := user{who, c}
	options, _, err := p.party.BeginRegistration(u, webauthn.WithCredentialParameters(algorithms),
		webauthn.WithExclusions(webauthn.Credentials(u.WebAuthnCredentials()).CredentialDescriptors()),
		func(o *protocol.PublicKeyCredentialCreationOptions) error {
			o.Challenge, o.Timeout = challenge, int(challengeLife.Milliseconds())
			return nil
		})
	if err != nil {
		return nil, fmt.Errorf("ask for a new passkey: %w", err)
	}
	return json.Marshal(options)
}

// Add takes the browser's answer, as PublicKeyCredential's toJSON has it, and
// adds the passkey under a name. Store the credentials then.
func (p *Passkeys) Add(who Person, c *Credentials, name, purpose string, response []byte) error {
	name, err := room(name, c.Passkeys(), maxPasskeys, CodePasskeysFull)
	if err != nil {
		return err
	}
	if len(response) > maxResponse {
		return because(CodePasskeyRefused, "the answer is too long")
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return refused(err)
	}
	told := parsed.Response.CollectedClientData.Challenge
	nonce, expires, err := p.asked.asked(told, toAdd, purpose)
	if err != nil {
		return err
	}
	if !parsed.Response.AttestationObject.AuthData.Flags.HasUserVerified() {
		return fail(CodePasskeyUnverified)
	}
	if !slices.Contains(formats, parsed.Response.AttestationObject.Format) {
		return because(CodePasskeyRefused, "it tells more of its maker than it was asked for")
	}
	made, err := p.party.CreateCredential(user{who, c}, webauthn.SessionData{Challenge: told, UserID: []byte(who.Account),
		UserVerification: protocol.VerificationRequired, CredParams: algorithms}, parsed)
	if err != nil {
		return refused(err)
	}
	k := passkey{name, made.ID, made.PublicKey, made.Authenticator.AAGUID, made.Authenticator.SignCount,
		kept(made.Flags), nil, p.asked.now().Unix()}
	for _, t := range transports {
		if slices.Contains(made.Transport, t) {
			k.Transports = append(k.Transports, string(t))
		}
	}
	switch {
	case !k.sound():
		return because(CodePasskeyRefused, "its key is of no known size")
	case c.holds(k.ID) >= 0:
		return fail(CodePasskeyKnown)
	}
	if err := p.asked.spend(nonce, expires); err != nil {
		return err
	}
	c.held().Passkeys = append(c.held().Passkeys, k)
	return nil
}

// Ask is what the browser's navigator.credentials.get takes, as JSON. c are the
// credentials of who is asked for a second factor; nil asks whoever is there,
// who needs to type no name. purpose is given to Check again: the session's,
// and what is to be done where that matters.
func (p *Passkeys) Ask(c *Credentials, purpose string) ([]byte, error) {
	challenge, err := p.asked.ask(toProve, purpose)
	if err != nil {
		return nil, err
	}
	with := []webauthn.LoginOption{webauthn.WithChallenge(challenge), func(o *protocol.PublicKeyCredentialRequestOptions) error {
		o.Timeout = int(challengeLife.Milliseconds())
		return nil
	}}
	if c != nil {
		if len(c.held().Passkeys) == 0 {
			return nil, fail(CodePasskeyUnknown)
		}
		with = append(with, webauthn.WithAllowedCredentials(webauthn.Credentials(user{c: c}.WebAuthnCredentials()).CredentialDescriptors()))
	}
	options, _, err := p.party.BeginDiscoverableLogin(with...)
	if err != nil {
		return nil, fmt.Errorf("ask for a passkey: %w", err)
	}
	return json.Marshal(options)
}

// Answer is a browser's answer, which proves nothing until it is checked.
type Answer struct {
	parsed *protocol.ParsedCredentialAssertionData
}

// ReadAnswer reads the browser's answer to Ask, as PublicKeyCredential's toJSON
// has it.
func ReadAnswer(response []byte) (*Answer, error) {
	if len(response) > maxResponse {
		return nil, because(CodePasskeyRefused, "the answer is too long")
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return nil, refused(err)
	}
	return &Answer{parsed}, nil
}

// Account is whom the passkey says it is of: whose credentials to Check it with.
// A passkey that keeps no account says nothing; it serves as a second factor only.
func (a *Answer) Account() string { return string(a.parsed.Response.UserHandle) }

// Check says whether an answer proves that an account's person is there, who was
// verified by the passkey: it counts as two factors. If changed, store the
// credentials: the passkey counts its signatures, and one that counts backwards
// is a copy and refused.
func (p *Passkeys) Check(a *Answer, account string, c *Credentials, purpose string) (changed bool, err error) {
	told := a.parsed.Response.CollectedClientData.Challenge
	nonce, expires, err := p.asked.asked(told, toProve, purpose)
	if err != nil {
		return false, err
	}
	at := c.holds(a.parsed.RawID)
	if at < 0 {
		return false, fail(CodePasskeyUnknown)
	}
	if !a.parsed.Response.AuthenticatorData.Flags.HasUserVerified() {
		return false, fail(CodePasskeyUnverified)
	}
	seen, err := p.party.ValidateLogin(user{Person{Account: account}, c}, webauthn.SessionData{Challenge: told, UserID: []byte(account),
		UserVerification: protocol.VerificationRequired}, a.parsed)
	if unknown := (*protocol.ErrorUnknownCredential)(nil); errors.As(err, &unknown) {
		return false, fail(CodePasskeyUnknown)
	} else if err != nil {
		return false, refused(err)
	}
	if seen.Authenticator.CloneWarning {
		return false, fail(CodePasskeyCloned)
	}
	if err := p.asked.spend(nonce, expires); err != nil {
		return false, err
	}
	k := &c.held().Passkeys[at]
	changed = k.Count != seen.Authenticator.SignCount || k.Flags != kept(seen.Flags)
	k.Count, k.Flags = seen.Authenticator.SignCount, kept(seen.Flags)
	return changed, nil
}
