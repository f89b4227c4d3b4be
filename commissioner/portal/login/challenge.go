package login

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// Limits of ours.
const (
	challengeLife = 5 * time.Minute // to find the security key
	maxSpent      = 4096            // answers that were right within that time

	nonceSize     = 16
	challengeSize = nonceSize + 8 + sha256.Size
)

// Kinds of challenges: an answer to one is none to the other.
const (
	toAdd   = "add"
	toProve = "prove"
)

// challenges are questions that this gateway asked: each proves itself, so that
// nothing is kept of those that are never answered, however many there are. What
// is kept is which were answered well.
type challenges struct {
	key    []byte
	random io.Reader
	now    func() time.Time

	mu    sync.Mutex
	spent map[[nonceSize]byte]time.Time // until it expires by itself
}

func newChallenges(random io.Reader, now func() time.Time) (*challenges, error) {
	key := make([]byte, sha256.Size)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("draw a key for passkeys' challenges: %w", err)
	}
	return &challenges{key: key, random: random, now: now, spent: map[[nonceSize]byte]time.Time{}}, nil
}

// ask makes a challenge: a nonce, when it expires, and what proves both for a
// kind and a purpose.
func (c *challenges) ask(kind, purpose string) ([]byte, error) {
	b := make([]byte, nonceSize, challengeSize)
	if _, err := io.ReadFull(c.random, b); err != nil {
		return nil, fmt.Errorf("draw a passkey's challenge: %w", err)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(c.now().Add(challengeLife).Unix()))
	return append(b, c.proof(b, kind, purpose)...), nil
}

func (c *challenges) proof(of []byte, kind, purpose string) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write(of)
	fmt.Fprintf(h, "%s\x00%s", kind, purpose) // a kind holds no zero
	return h.Sum(nil)
}

// asked says whether a challenge was asked here, for this, and not too long ago.
func (c *challenges) asked(text, kind, purpose string) ([nonceSize]byte, time.Time, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) != challengeSize {
		return [nonceSize]byte{}, time.Time{}, fail(CodePasskeyExpired)
	}
	told := b[:nonceSize+8]
	expires := time.Unix(int64(binary.BigEndian.Uint64(told[nonceSize:])), 0)
	if !hmac.Equal(b[len(told):], c.proof(told, kind, purpose)) || !c.now().Before(expires) {
		return [nonceSize]byte{}, time.Time{}, fail(CodePasskeyExpired)
	}
	return [nonceSize]byte(b), expires, nil
}

// spend takes a challenge that was answered well; it can be once.
func (c *challenges) spend(nonce [nonceSize]byte, expires time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.spent[nonce]; ok {
		return fail(CodePasskeyUsed)
	}
	if len(c.spent) >= maxSpent {
		for other, end := range c.spent {
			if !c.now().Before(end) {
				delete(c.spent, other)
			}
		}
		if len(c.spent) >= maxSpent {
			return fail(CodeBusy)
		}
	}
	c.spent[nonce] = expires
	return nil
}
