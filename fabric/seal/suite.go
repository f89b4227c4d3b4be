package seal

import (
	"crypto/cipher"
	"crypto/hpke"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// Algorithm is the first octet of every blob. A number is never used again
// for something else.
type Algorithm uint8

const (
	// AES256GCM is AES-256 in GCM with a random nonce of 12 octets: a data
	// key seals a handful of secrets, far from where random nonces collide.
	AES256GCM Algorithm = 0x01
	// XChaCha20Poly1305 has a random nonce of 24 octets (draft-irtf-cfrg-xchacha).
	XChaCha20Poly1305 Algorithm = 0x02
	// HybridHPKE is HPKE (RFC 9180) with the hybrid KEM of ML-KEM-768 and
	// X25519, HKDF-SHA256 and AES-256-GCM: what is copied today stays closed
	// when quantum computers come.
	HybridHPKE Algorithm = 0x41
	// HybridHPKE1024 is HPKE with the hybrid KEM of ML-KEM-1024 and P-384,
	// HKDF-SHA384 and ChaCha20-Poly1305.
	HybridHPKE1024 Algorithm = 0x42
)

func (a Algorithm) String() string {
	switch a {
	case AES256GCM:
		return "aes-256-gcm"
	case XChaCha20Poly1305:
		return "xchacha20-poly1305"
	case HybridHPKE:
		return "hpke-mlkem768-x25519"
	case HybridHPKE1024:
		return "hpke-mlkem1024-p384"
	}
	return fmt.Sprintf("algorithm %#02x", uint8(a))
}

// Suite is a pair of algorithms that a home seals with. A number is never used
// again for something else; a greater one is newer.
type Suite uint8

const (
	// FirstSuite is what homes begin with.
	FirstSuite Suite = 1
	// NewestSuite does not need the processor's AES instructions, without
	// which AES is neither fast nor free of timing leaks: boards before the
	// Raspberry Pi 5 have none.
	NewestSuite Suite = 2
)

var suites = map[Suite]struct{ secrets, envelopes Algorithm }{
	FirstSuite:  {AES256GCM, HybridHPKE},
	NewestSuite: {XChaCha20Poly1305, HybridHPKE1024},
}

// Secrets is what the suite seals secrets with, under a data key.
func (s Suite) Secrets() Algorithm { return suites[s].secrets }

// Envelopes is what the suite closes data keys with, to sealing keys.
func (s Suite) Envelopes() Algorithm { return suites[s].envelopes }

// aead is the algorithm's cipher under a data key.
func (a Algorithm) aead(key Secret) (cipher.AEAD, error) {
	raw := key.Reveal()
	defer clear(raw)
	if len(raw) != KeySize {
		return nil, errors.New("seal: no data key")
	}
	switch a {
	case AES256GCM:
		return gcm(raw)
	case XChaCha20Poly1305:
		return chacha20poly1305.NewX(raw)
	}
	return nil, a.unknown()
}

// hpke is the algorithm's parts.
func (a Algorithm) hpke() (hpke.KEM, hpke.KDF, hpke.AEAD, error) {
	switch a {
	case HybridHPKE:
		return hpke.MLKEM768X25519(), hpke.HKDFSHA256(), hpke.AES256GCM(), nil
	case HybridHPKE1024:
		return hpke.MLKEM1024P384(), hpke.HKDFSHA384(), hpke.ChaCha20Poly1305(), nil
	}
	return nil, nil, nil, a.unknown()
}

func (a Algorithm) unknown() error {
	return fmt.Errorf("seal: %v is not one that this release opens", a)
}

// Keys of HybridHPKE, which was there first, do not name their algorithm: they
// are told by their lengths, in octets. All others begin with it.
const (
	firstPublicSize  = 1216
	firstPrivateSize = 32
)

// tag is a key's octets with its algorithm.
func (a Algorithm) tag(key []byte) []byte {
	if a == HybridHPKE {
		return key
	}
	return append([]byte{byte(a)}, key...)
}

// untag is the inverse of tag. first is the length of a key of HybridHPKE.
func untag(key []byte, first int) (Algorithm, []byte) {
	switch len(key) {
	case first:
		return HybridHPKE, key
	case 0:
		return 0, nil
	}
	return Algorithm(key[0]), key[1:]
}
