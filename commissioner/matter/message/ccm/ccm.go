// Package ccm is AES in counter mode with CBC-MAC (NIST SP 800-38C, RFC
// 3610), for nonces of 7 to 13 octets and tags of 4 to 16: the authenticated
// encryption of Matter messages (Matter Core 3.6).
//
// It promises constant-time tag comparison and, once made, no allocation when
// the destination has room. It never returns unauthenticated plaintext.
package ccm

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"sync"
)

const blockSize = 16

// maxAAD is the longest additional data with a two-octet length. Matter's is
// a message header of at most 24 octets and its extensions.
const maxAAD = 0xFEFF

// ErrOpen says that a message was not sealed with this key, nonce and
// additional data, or was changed on the way.
var ErrOpen = errors.New("ccm: message authentication failed")

type ccm struct {
	block cipher.Block
	nonce int
	tag   int
	pool  sync.Pool // *state
}

// state is the working memory of one call. It lives on the heap since a
// cipher.Block's arguments escape.
type state struct{ mac, ctr, key [blockSize]byte }

// New is CCM over a block cipher of 16 octets, commonly AES-128.
func New(block cipher.Block, nonceSize, tagSize int) (cipher.AEAD, error) {
	switch {
	case block.BlockSize() != blockSize:
		return nil, errors.New("ccm: block size is not 16")
	case nonceSize < 7 || nonceSize > 13:
		return nil, errors.New("ccm: nonce size is not 7 to 13")
	case tagSize < 4 || tagSize > 16 || tagSize%2 != 0:
		return nil, errors.New("ccm: tag size is not an even 4 to 16")
	}
	c := &ccm{block: block, nonce: nonceSize, tag: tagSize}
	c.pool.New = func() any { return new(state) }
	return c, nil
}

func (c *ccm) NonceSize() int { return c.nonce }
func (c *ccm) Overhead() int  { return c.tag }

// maxLength is the longest plaintext whose length fits the field that the
// nonce leaves in the first block.
func (c *ccm) maxLength() int {
	octets := 15 - c.nonce
	if octets >= 4 {
		return 1<<31 - 1
	}
	return 1<<(8*octets) - 1
}

// Seal appends the encrypted plaintext and its tag to dst. dst and plaintext
// may be the same memory: plaintext[:0].
func (c *ccm) Seal(dst, nonce, plaintext, aad []byte) []byte {
	if len(nonce) != c.nonce || len(plaintext) > c.maxLength() || len(aad) > maxAAD {
		panic("ccm: nonce, plaintext or additional data of a wrong length")
	}
	s := c.pool.Get().(*state)
	defer c.pool.Put(s)
	c.authenticate(s, nonce, plaintext, aad)
	dst, out := grow(dst, len(plaintext)+c.tag)
	c.crypt(s, nonce, out, plaintext)
	subtle.XORBytes(out[len(plaintext):], s.mac[:c.tag], s.key[:c.tag])
	return dst
}

// Open appends the plaintext of ciphertext to dst, or returns ErrOpen. dst
// may be ciphertext[:0].
func (c *ccm) Open(dst, nonce, ciphertext, aad []byte) ([]byte, error) {
	if len(nonce) != c.nonce || len(aad) > maxAAD {
		panic("ccm: nonce or additional data of a wrong length")
	}
	n := len(ciphertext) - c.tag
	if n < 0 || n > c.maxLength() {
		return nil, ErrOpen
	}
	s := c.pool.Get().(*state)
	defer c.pool.Put(s)
	var tag [blockSize]byte
	copy(tag[:], ciphertext[n:])
	dst, out := grow(dst, n)
	c.crypt(s, nonce, out, ciphertext[:n])
	s0 := s.key
	c.authenticate(s, nonce, out, aad)
	subtle.XORBytes(s.mac[:], s.mac[:], s0[:])
	if subtle.ConstantTimeCompare(s.mac[:c.tag], tag[:c.tag]) != 1 {
		clear(out)
		return nil, ErrOpen
	}
	return dst, nil
}

func grow(dst []byte, n int) (whole, tail []byte) {
	if total := len(dst) + n; cap(dst) >= total {
		whole = dst[:total]
	} else {
		whole = make([]byte, total)
		copy(whole, dst)
	}
	return whole, whole[len(dst):]
}

// authenticate leaves the CBC-MAC of everything in s.mac.
func (c *ccm) authenticate(s *state, nonce, plaintext, aad []byte) {
	s.mac = [blockSize]byte{}
	s.mac[0] = byte((c.tag-2)/2)<<3 | byte(14-c.nonce)
	if len(aad) > 0 {
		s.mac[0] |= 0x40
	}
	var length [8]byte
	binary.BigEndian.PutUint64(length[:], uint64(len(plaintext)))
	copy(s.mac[1:], nonce)
	copy(s.mac[1+c.nonce:], length[8-(15-c.nonce):])
	c.block.Encrypt(s.mac[:], s.mac[:])
	if len(aad) > 0 {
		s.mac[0] ^= byte(len(aad) >> 8)
		s.mac[1] ^= byte(len(aad))
		n := subtle.XORBytes(s.mac[2:], s.mac[2:], aad)
		c.block.Encrypt(s.mac[:], s.mac[:])
		c.mac(s, aad[n:])
	}
	c.mac(s, plaintext)
}

func (c *ccm) mac(s *state, b []byte) {
	for len(b) >= blockSize {
		xorBlock(s.mac[:], s.mac[:], b)
		c.block.Encrypt(s.mac[:], s.mac[:])
		b = b[blockSize:]
	}
	if len(b) > 0 {
		subtle.XORBytes(s.mac[:], s.mac[:], b)
		c.block.Encrypt(s.mac[:], s.mac[:])
	}
}

// xorBlock is the hot part of both passes; subtle.XORBytes costs more than
// the cipher on 16 octets.
func xorBlock(dst, a, b []byte) {
	le := binary.LittleEndian
	le.PutUint64(dst, le.Uint64(a)^le.Uint64(b))
	le.PutUint64(dst[8:], le.Uint64(a[8:])^le.Uint64(b[8:]))
}

// crypt encrypts or decrypts in into out and leaves the tag's key stream in
// s.key.
func (c *ccm) crypt(s *state, nonce, out, in []byte) {
	s.ctr = [blockSize]byte{byte(14 - c.nonce)}
	copy(s.ctr[1:], nonce)
	for len(in) > 0 {
		for i := blockSize - 1; ; i-- { // the length was checked: no wrap
			if s.ctr[i]++; s.ctr[i] != 0 {
				break
			}
		}
		c.block.Encrypt(s.key[:], s.ctr[:])
		if len(in) >= blockSize {
			xorBlock(out, in, s.key[:])
			in, out = in[blockSize:], out[blockSize:]
			continue
		}
		n := subtle.XORBytes(out, in, s.key[:])
		in, out = in[n:], out[n:]
	}
	clear(s.ctr[1+c.nonce:])
	c.block.Encrypt(s.key[:], s.ctr[:])
}
