package login

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Limits of ours. A code is as hard to guess as a key of 80 bits, so that one
// hash is enough to keep it.
const (
	recoveryCodes    = 10
	recoveryCodeSize = 10 // octets
)

// recoveryText has no letters that look like others (Crockford's base 32).
var recoveryText = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// readAlike takes what is misread for what was printed.
var readAlike = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "", " ", "")

// recovery is what is kept of the codes that were not used yet.
type recovery struct {
	Salt   []byte   `cbor:"1,keyasint,omitempty"`
	Hashes [][]byte `cbor:"2,keyasint,omitempty"`
}

func (r recovery) sound() bool {
	for _, h := range r.Hashes {
		if len(h) != sha256.Size {
			return false
		}
	}
	return len(r.Hashes) <= recoveryCodes && (len(r.Salt) == saltSize || len(r.Salt)+len(r.Hashes) == 0)
}

func (r *recovery) erase() {
	clear(r.Salt)
	for _, h := range r.Hashes {
		clear(h)
	}
}

func (r *recovery) hash(code []byte) []byte {
	h := sha256.New()
	h.Write(r.Salt)
	h.Write(code)
	return h.Sum(nil)
}

// NewRecoveryCodes makes codes that each let their person in once, in place of
// any there were. Show them, and keep them nowhere.
func (c *Credentials) NewRecoveryCodes(random io.Reader) ([]string, error) {
	drawn := make([]byte, saltSize+recoveryCodes*recoveryCodeSize)
	defer clear(drawn)
	if _, err := io.ReadFull(random, drawn); err != nil {
		return nil, fmt.Errorf("draw recovery codes: %w", err)
	}
	made := recovery{Salt: slices.Clone(drawn[:saltSize])}
	var codes []string
	for code := range slices.Chunk(drawn[saltSize:], recoveryCodeSize) {
		made.Hashes = append(made.Hashes, made.hash(code))
		codes = append(codes, grouped(recoveryText.EncodeToString(code), 4, "-"))
	}
	c.held().Recovery.erase()
	c.held().Recovery = made
	return codes, nil
}

// RecoveryCodes is how many were not used yet.
func (c *Credentials) RecoveryCodes() int { return len(c.held().Recovery.Hashes) }

// UseRecoveryCode takes a code: it is right once. Store the credentials before
// anybody is let in, on the condition that nobody has changed them meanwhile:
// else it is right twice.
func (c *Credentials) UseRecoveryCode(code string) error {
	if len(code) > 4*recoveryCodeSize {
		return fail(CodeCodeWrong)
	}
	text := readAlike.Replace(strings.ToUpper(code))
	octets, err := recoveryText.DecodeString(text)
	if err != nil || len(text) != recoveryText.EncodedLen(recoveryCodeSize) { // the decoder drops bits left over
		return fail(CodeCodeWrong)
	}
	hash, found := c.held().Recovery.hash(octets), -1
	for i, h := range c.held().Recovery.Hashes {
		if subtle.ConstantTimeCompare(h, hash) == 1 {
			found = i
		}
	}
	if found < 0 {
		return fail(CodeCodeWrong)
	}
	c.held().Recovery.Hashes = slices.Delete(c.held().Recovery.Hashes, found, found+1)
	return nil
}
