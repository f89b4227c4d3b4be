// Package checkin is the message by which a device that sleeps says that it is
// awake, to somebody who has no session with it any more (Matter Core 4.22 and
// 9.15.1): under a key that both were given before, over nothing else that
// could be trusted.
//
// It promises that a Table finds whose message it is at the cost of one look-up
// for every message that could be next, and that all others together cost no
// more than a share of a core, however many come. It says that somebody with
// the key wrote the message, once: not who brought it, nor when.
package checkin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"

	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/message/ccm"
)

// Opcode of the message, in the secure channel protocol. It is sent on no
// session, and not acknowledged.
const Opcode = 0x50

// Specification constants (4.22.3.1).
const (
	nonceSize   = 13
	counterSize = 4
	minSize     = nonceSize + counterSize + message.TagSize
)

// maxData is a limit of ours on what comes with the counter: two octets as of
// Matter 1.4.
const maxData = 64

// ErrForeign says that a message was not written with the key.
var ErrForeign = errors.New("checkin: nobody known wrote it")

// Message is what a device says.
type Message struct {
	Counter uint32
	// Data is the application's: two octets, little-endian, of the active mode
	// threshold in ms.
	Data []byte
}

// Cipher writes and reads messages under one key. It may be used by several
// goroutines.
type Cipher struct {
	key  message.Key
	aead cipher.AEAD
}

// New is the Cipher of a key.
func New(key message.Key) (*Cipher, error) {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := ccm.New(block, nonceSize, message.TagSize)
	return &Cipher{key, aead}, err
}

// nonce follows from the counter, so that a receiver knows what comes next.
func (c *Cipher) nonce(counter uint32) (n [nonceSize]byte) {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write(binary.LittleEndian.AppendUint32(nil, counter))
	copy(n[:], mac.Sum(nil))
	return n
}

// Seal is the message's octets. A counter is used once.
func (c *Cipher) Seal(m Message) []byte {
	nonce := c.nonce(m.Counter)
	plain := append(binary.LittleEndian.AppendUint32(nil, m.Counter), m.Data...)
	return c.aead.Seal(nonce[:], nonce[:], plain, nil)
}

// Open reads a message; ErrForeign if it is not one of this key's.
func (c *Cipher) Open(b []byte) (m Message, err error) {
	if !sized(b) {
		return m, ErrForeign
	}
	plain, err := c.aead.Open(nil, b[:nonceSize], b[nonceSize:], nil)
	if err != nil {
		return m, ErrForeign
	}
	m.Counter, m.Data = binary.LittleEndian.Uint32(plain), plain[counterSize:]
	if nonce := c.nonce(m.Counter); subtle.ConstantTimeCompare(nonce[:], b[:nonceSize]) != 1 {
		return Message{}, ErrForeign
	}
	return m, nil
}

// sized reports whether a message may be of this length.
func sized(b []byte) bool { return len(b) >= minSize && len(b) <= minSize+maxData }
