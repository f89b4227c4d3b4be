package login

import (
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"runtime"

	"golang.org/x/crypto/argon2"
)

// Limits of ours.
const (
	computing = 2  // password hashes at a time
	waiting   = 16 // that wait their turn; more are refused at once

	saltSize = 16
	hashSize = 32

	// What stored credentials may ask for: who alters them must not be able
	// to take all memory.
	maxMemory = 64 << 10 // KiB
	maxPasses = 16
	maxLanes  = 4
)

// Cost is what one password hash takes.
type Cost struct {
	Memory uint32 // KiB
	Passes uint32
	Lanes  uint8 // threads
}

// StandardCost is one of the settings of Argon2id that OWASP's password storage
// cheat sheet lists as equally strong: the one with which two at a time stay
// below 32 MiB. It takes 30 ms of one core of a server of 2023; a Raspberry Pi 3
// is some ten times slower, by its memory's speed (not measured).
var StandardCost = Cost{Memory: 12 << 10, Passes: 3, Lanes: 1}

// passwordHash is Argon2id's, with what it was made with.
type passwordHash struct {
	Memory uint32 `cbor:"1,keyasint"`
	Passes uint32 `cbor:"2,keyasint"`
	Lanes  uint8  `cbor:"3,keyasint"`
	Salt   []byte `cbor:"4,keyasint"`
	Hash   []byte `cbor:"5,keyasint"`
}

func (p *passwordHash) cost() Cost { return Cost{p.Memory, p.Passes, p.Lanes} }

func (p *passwordHash) sound() bool {
	return p.Memory > 0 && p.Memory <= maxMemory && p.Passes > 0 && p.Passes <= maxPasses &&
		p.Lanes > 0 && p.Lanes <= maxLanes && len(p.Salt) == saltSize && len(p.Hash) == hashSize
}

// Hasher sets and checks passwords, a few at a time. It is safe for concurrent
// use, if its randomness is.
type Hasher struct {
	cost   Cost
	random io.Reader
	places chan struct{} // who computes or waits
	turns  chan struct{} // who computes
	derive func(password, salt []byte, c Cost) []byte
}

// NewHasher makes a Hasher. cost is StandardCost, but in tests.
func NewHasher(cost Cost, random io.Reader) *Hasher {
	return &Hasher{cost, random, make(chan struct{}, computing+waiting), make(chan struct{}, computing), derive}
}

func derive(password, salt []byte, c Cost) []byte {
	// What it takes is garbage afterwards, and cannot be given to the next one:
	// left to itself it piles up to three times as much while strangers flood
	// the login.
	defer runtime.GC()
	return argon2.IDKey(password, salt, c.Passes, c.Memory, c.Lanes, hashSize)
}

// hash waits for its turn. It is refused at once if too many wait already.
func (h *Hasher) hash(ctx context.Context, password, salt []byte, c Cost) ([]byte, error) {
	select {
	case h.places <- struct{}{}:
		defer func() { <-h.places }()
	default:
		return nil, fail(CodeBusy)
	}
	select {
	case h.turns <- struct{}{}:
		defer func() { <-h.turns }()
	case <-ctx.Done():
		return nil, fmt.Errorf("wait to check a password: %w", ctx.Err())
	}
	return h.derive(password, salt, c), nil
}

// Set sets a password, if Acceptable has nothing against it.
func (h *Hasher) Set(ctx context.Context, c *Credentials, password string, names ...string) error {
	if err := Acceptable(password, names...); err != nil {
		return err
	}
	text, err := normal(password)
	if err != nil {
		return err
	}
	defer clear(text)
	salt := make([]byte, saltSize)
	if _, err := io.ReadFull(h.random, salt); err != nil {
		return fmt.Errorf("draw a salt: %w", err)
	}
	hash, err := h.hash(ctx, text, salt, h.cost)
	if err != nil {
		return err
	}
	c.held().Password = &passwordHash{h.cost.Memory, h.cost.Passes, h.cost.Lanes, salt, hash}
	return nil
}

// Check says whether a password is that of the credentials: nil, or a failure
// of CodeWrong, CodeBusy or the context. It takes as long where c is nil, that
// is for a name which nobody has, or has no password. stale says that the
// password was hashed at another cost than today's: Set it again.
func (h *Hasher) Check(ctx context.Context, c *Credentials, password string) (stale bool, err error) {
	text, err := normal(password)
	if err != nil {
		return false, fail(CodeWrong) // nobody has it; what was typed alone decides that
	}
	defer clear(text)
	stored, real := &passwordHash{h.cost.Memory, h.cost.Passes, h.cost.Lanes, make([]byte, saltSize), make([]byte, hashSize)}, 0
	if c != nil && c.held().Password != nil {
		stored, real = c.held().Password, 1
	}
	hash, err := h.hash(ctx, text, stored.Salt, stored.cost())
	if err != nil {
		return false, err
	}
	defer clear(hash)
	if subtle.ConstantTimeCompare(hash, stored.Hash)&real != 1 {
		return false, fail(CodeWrong)
	}
	return stored.cost() != h.cost, nil
}
