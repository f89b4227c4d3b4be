package thread

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
)

// Specification constants (Thread 1.4, 8.4.1.2.2).
const (
	pskcRounds    = 16384
	pskcSalt      = "Thread"
	minPassphrase = 6
	maxPassphrase = 255
)

// DerivePSKc is the PSKc of a network for a commissioning passphrase of 6 to
// 255 bytes: PBKDF2 over AES-CMAC-PRF-128, some milliseconds of work.
func DerivePSKc(passphrase, name string, extendedPANID uint64) (Key, error) {
	switch {
	case len(passphrase) < minPassphrase || len(passphrase) > maxPassphrase:
		return Key{}, fmt.Errorf("a commissioning passphrase has %d to %d bytes, this one %d", minPassphrase, maxPassphrase, len(passphrase))
	case len(name) > MaxName:
		return Key{}, fmt.Errorf("a Thread network's name has at most %d bytes, this one %d", MaxName, len(name))
	}
	salt := binary.BigEndian.AppendUint64([]byte(pskcSalt), extendedPANID)
	salt = append(salt, name...)
	salt = append(salt, 0, 0, 0, 1) // the first block, which is all of the key

	// The function's key has 16 bytes: another passphrase is hashed to it.
	key := [aes.BlockSize]byte{}
	if len(passphrase) == len(key) {
		copy(key[:], passphrase)
	} else {
		key = newCMAC(key).sum([]byte(passphrase))
	}
	mac := newCMAC(key)
	block := mac.sum(salt)
	sum := block
	for range pskcRounds - 1 {
		block = mac.sum(block[:])
		subtle.XORBytes(sum[:], sum[:], block[:])
	}
	return NewKey(sum), nil
}

// cmac is AES-CMAC (RFC 4493): a block cipher and the two keys that mark the
// end of a message.
type cmac struct {
	block        cipher.Block
	whole, short [aes.BlockSize]byte
}

func newCMAC(key [aes.BlockSize]byte) *cmac {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key's length is right
	}
	c := &cmac{block: block}
	block.Encrypt(c.whole[:], c.whole[:])
	double(&c.whole)
	c.short = c.whole
	double(&c.short)
	return c
}

// double multiplies by x in GF(2^128).
func double(b *[aes.BlockSize]byte) {
	carry := b[0] >> 7
	for i := range len(b) - 1 {
		b[i] = b[i]<<1 | b[i+1]>>7
	}
	b[len(b)-1] = b[len(b)-1]<<1 ^ carry*0x87
}

func (c *cmac) sum(message []byte) (state [aes.BlockSize]byte) {
	for len(message) > len(state) {
		subtle.XORBytes(state[:], state[:], message[:len(state)])
		c.block.Encrypt(state[:], state[:])
		message = message[len(state):]
	}
	end := c.whole
	if len(message) < len(state) {
		end = c.short
		state[len(message)] ^= 0x80
	}
	subtle.XORBytes(state[:], state[:], message)
	subtle.XORBytes(state[:], state[:], end[:])
	c.block.Encrypt(state[:], state[:])
	return state
}
