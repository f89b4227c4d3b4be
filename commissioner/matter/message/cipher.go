package message

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"log/slog"

	"gatehouse/commissioner/matter/message/ccm"
)

// KeySize is the length of every session key, in octets.
const KeySize = 16

const nonceSize = 13

// ErrAuth says that a message was not sealed under the key it was opened with.
var ErrAuth = errors.New("message: authentication failed")

// Key is a session key. It does not print.
type Key [KeySize]byte

func (Key) String() string               { return "[key]" }
func (Key) GoString() string             { return "[key]" }
func (Key) LogValue() slog.Value         { return slog.StringValue("[key]") }
func (Key) MarshalText() ([]byte, error) { return nil, errors.New("message: a key is not marshalled") }

// Cipher protects the messages of one direction of a session. It may be used
// by several goroutines.
type Cipher struct {
	aead    cipher.AEAD
	privacy cipher.AEAD // its tag is discarded: counter mode alone
}

// NewCipher is the Cipher of a key.
func NewCipher(key Key) (*Cipher, error) {
	aead, err := newCCM(key[:])
	if err != nil {
		return nil, err
	}
	private, err := hkdf.Key(sha256.New, key[:], nil, "PrivacyKey", KeySize)
	if err != nil {
		return nil, err
	}
	privacy, err := newCCM(private)
	clear(private)
	return &Cipher{aead, privacy}, err
}

func newCCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return ccm.New(block, nonceSize, TagSize)
}

func nonce(security byte, counter uint32, source uint64) (n [nonceSize]byte) {
	n[0] = security
	binary.LittleEndian.PutUint32(n[1:], counter)
	binary.LittleEndian.PutUint64(n[5:], source)
	return n
}

// Seal appends the whole protected message to dst: h in the clear, p
// encrypted. source is the sender's node id on a CASE session, 0 on a PASE
// session; a header without source leaves it to the receiver to know. A
// counter must never be sealed twice under one key.
func (c *Cipher) Seal(dst []byte, h *Header, p *Payload, source uint64) []byte {
	start := len(dst)
	dst = h.Append(dst)
	body := len(dst)
	dst = p.Append(dst)
	n := nonce(dst[start+3], h.Counter, source)
	return c.aead.Seal(dst[:body], n[:], dst[body:], dst[start:body])
}

// Open decrypts the message b in place. source is the peer's node id, used
// where the header has none.
func (c *Cipher) Open(b []byte, source uint64) (h Header, p Payload, err error) {
	_, _, private, err := ParseSession(b)
	if err != nil {
		return h, p, err
	}
	if private {
		if err := c.reveal(b); err != nil {
			return h, p, err
		}
	}
	h, rest, err := ParseHeader(b)
	if err != nil {
		return h, p, err
	}
	if h.HasSource {
		source = h.Source
	}
	n := nonce(b[3], h.Counter, source)
	plain, err := c.aead.Open(rest[:0], n[:], rest, b[:h.size])
	if err != nil {
		return h, p, ErrAuth
	}
	p, err = ParsePayload(plain)
	return h, p, err
}

// reveal undoes the privacy obfuscation of the header fields behind the
// security flags (Matter Core 4.9.3). What it reveals is authenticated later.
func (c *Cipher) reveal(b []byte) error {
	end := minHeaderSize
	if b[0]&flagSource != 0 {
		end += 8
	}
	switch b[0] & flagDestMask {
	case destNode:
		end += 8
	case destGroup:
		end += 2
	}
	if len(b) < end+TagSize {
		return errShort
	}
	var n [nonceSize]byte
	binary.BigEndian.PutUint16(n[:], binary.LittleEndian.Uint16(b[1:]))
	copy(n[2:], b[len(b)-TagSize+5:])
	var buf [maxHeader + TagSize]byte
	copy(b[4:end], c.privacy.Seal(buf[:0], n[:], b[4:end], nil))
	return nil
}
