// Package logintest is a passkey in software, with the browser around it, for
// tests: it answers what the gateway asks, well or badly. It keeps nothing
// secret.
package logintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/fxamacker/cbor/v2"
)

// Flags of authenticator data (Web Authentication Level 3, section 6.1).
const (
	userPresent  = 0x01
	userVerified = 0x04
	attested     = 0x40
)

// Passkey is one passkey of ES256. Its fields are what it answers with: change
// them to make it lie.
type Passkey struct {
	Domain, Origin string // as the browser sees the page
	Account        string // user handle; empty: it keeps none
	ID             []byte
	Count          uint32 // of signatures; goes up by one before each; stays 0 if Synced
	Synced         bool
	Unverified     bool   // it asks for no finger and no PIN
	Absent         bool   // nobody touched it
	CrossOrigin    bool   // the page is within another one
	Format         string // of its attestation, instead of none
	Type           string // of the client data, instead of the right one

	key *ecdsa.PrivateKey
}

// New makes a passkey that behaves, for a page.
func New(domain, origin string) *Passkey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	id := make([]byte, 32)
	rand.Read(id)
	return &Passkey{Domain: domain, Origin: origin, ID: id, key: key}
}

type asked struct {
	PublicKey struct {
		Challenge string `json:"challenge"`
		User      struct {
			ID string `json:"id"`
		} `json:"user"`
		Allow []struct {
			ID string `json:"id"`
		} `json:"allowCredentials"`
	} `json:"publicKey"`
}

// Create answers the options for a new passkey.
func (p *Passkey) Create(options []byte) ([]byte, error) {
	var q asked
	if err := json.Unmarshal(options, &q); err != nil {
		return nil, err
	}
	account, err := base64.RawURLEncoding.DecodeString(q.PublicKey.User.ID)
	if err != nil {
		return nil, err
	}
	p.Account = string(account)
	public, err := p.key.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	cose, err := encode(map[int]any{1: 2, 3: -7, -1: 1, -2: public[1:33], -3: public[33:]})
	if err != nil {
		return nil, err
	}
	data := p.data(attested)
	data = append(data, make([]byte, 16)...) // a model that tells nothing
	data = binary.BigEndian.AppendUint16(data, uint16(len(p.ID)))
	data = append(append(data, p.ID...), cose...)
	format := "none"
	if p.Format != "" {
		format = p.Format
	}
	object, err := encode(map[string]any{"fmt": format, "attStmt": map[string]any{}, "authData": data})
	if err != nil {
		return nil, err
	}
	client, err := p.client("webauthn.create", q.PublicKey.Challenge)
	if err != nil {
		return nil, err
	}
	return p.answer(map[string]any{"clientDataJSON": text(client), "attestationObject": text(object), "transports": []string{"internal", "hybrid"}})
}

// Get answers the options for a proof.
func (p *Passkey) Get(options []byte) ([]byte, error) {
	var q asked
	if err := json.Unmarshal(options, &q); err != nil {
		return nil, err
	}
	mine := len(q.PublicKey.Allow) == 0
	for _, a := range q.PublicKey.Allow {
		mine = mine || a.ID == text(p.ID)
	}
	if !mine {
		return nil, fmt.Errorf("this passkey is not among those asked for")
	}
	client, err := p.client("webauthn.get", q.PublicKey.Challenge)
	if err != nil {
		return nil, err
	}
	if !p.Synced {
		p.Count++
	}
	data, hash := p.data(0), sha256.Sum256(client)
	digest := sha256.Sum256(append(append([]byte(nil), data...), hash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, p.key, digest[:])
	if err != nil {
		return nil, err
	}
	response := map[string]any{"clientDataJSON": text(client), "authenticatorData": text(data), "signature": text(signature)}
	if p.Account != "" {
		response["userHandle"] = text([]byte(p.Account))
	}
	return p.answer(response)
}

// data is the beginning of authenticator data.
func (p *Passkey) data(flags byte) []byte {
	if !p.Absent {
		flags |= userPresent
	}
	if !p.Unverified {
		flags |= userVerified
	}
	domain := sha256.Sum256([]byte(p.Domain))
	return binary.BigEndian.AppendUint32(append(domain[:], flags), p.Count)
}

func (p *Passkey) client(kind, challenge string) ([]byte, error) {
	if p.Type != "" {
		kind = p.Type
	}
	return json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": p.Origin, "crossOrigin": p.CrossOrigin})
}

func (p *Passkey) answer(response map[string]any) ([]byte, error) {
	return json.Marshal(map[string]any{"id": text(p.ID), "rawId": text(p.ID), "type": "public-key",
		"clientExtensionResults": map[string]any{"credProps": map[string]any{"rk": true}}, "response": response})
}

func text(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func encode(v any) ([]byte, error) {
	mode, err := cbor.CTAP2EncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(v)
}
