package signkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"gatehouse/cluster/tpm"
)

// Limits of ours.
const (
	MaxFile   = 16 << 10 // octets of a key file
	maxPublic = 128      // octets of a public key in DER; one on P-256 has 91
	format    = 1
)

var (
	errDamaged = errors.New("this is no signing key, or it is damaged")
	errHalves  = errors.New("the private key is not that of the public key beside it: the file was changed")
)

// File is what a key file tells without being opened.
type File struct {
	public  crypto.PublicKey
	locked  string // armored age file with the seed of an Ed25519 key; empty: in a TPM
	primary []byte // the TPM's, see tpm.TPM.Primary
	object  *tpm.Object
}

// contents is a key file, in JSON.
type contents struct {
	Format  int         `json:"gatehouse_signing_key"`
	Public  []byte      `json:"public"` // PKIX, DER
	Locked  string      `json:"ed25519,omitempty"`
	Primary []byte      `json:"tpm2_primary,omitempty"`
	Object  *tpm.Object `json:"ecdsa_p256_tpm2,omitempty"`
}

// Public is the public half.
func (k *File) Public() crypto.PublicKey { return k.public }

// InTPM reports whether the key is in a TPM, and needs no passphrase.
func (k *File) InTPM() bool { return k.object != nil }

func (k *File) encode() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.public)
	if err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(contents{format, der, k.locked, k.primary, k.object}, "", " ")
	return append(data, '\n'), err
}

// Parse reads a key file.
func Parse(data []byte) (*File, error) {
	if len(data) > MaxFile {
		return nil, errDamaged
	}
	var c contents
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(&c)
	if c.Format > format {
		return nil, errors.New("the key was made by a later release")
	}
	if _, end := d.Token(); err != nil || end != io.EOF || c.Format != format { // err might quote it
		return nil, errDamaged
	}
	public, err := parseDER(c.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	_, file := public.(ed25519.PublicKey)
	inFile := c.Locked != "" && c.Primary == nil && c.Object == nil
	inTPM := c.Locked == "" && len(c.Primary) > 0 && c.Object != nil
	if file && !inFile || !file && !inTPM {
		return nil, errDamaged
	}
	return &File{public, c.Locked, c.Primary, c.Object}, nil
}

func parseDER(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxPublic {
		return nil, errors.New("the public key is too long")
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errors.New("there is no public key")
	}
	switch p := public.(type) {
	case ed25519.PublicKey:
		return p, nil
	case *ecdsa.PublicKey:
		if p.Curve == elliptic.P256() {
			return p, nil
		}
	}
	return nil, errors.New("a public key is of Ed25519, or of ECDSA on P-256")
}

// FormatPublic writes a public key as one word: the base64 of what PEM files
// have (PKIX, DER).
func FormatPublic(public crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	return base64.StdEncoding.EncodeToString(der), err
}

// ParsePublic is the inverse of FormatPublic. White space around is passed over.
func ParsePublic(text string) (crypto.PublicKey, error) {
	der, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if err != nil || len(text) > MaxFile {
		return nil, errors.New("this is no public key")
	}
	public, err := parseDER(der)
	if err != nil {
		return nil, fmt.Errorf("this is no public key: %w", err)
	}
	return public, nil
}
