package audit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"gatehouse/fabric/cert"
)

// MaxNote bounds a signed checkpoint, in octets.
const MaxNote = 16 << 10

// Origin names the trail of a home in checkpoints, and the keys that sign them
// (c2sp.org/tlog-checkpoint): which gateway's a key is its id says.
func Origin(home cert.FabricID) string { return "gatehouse/" + home.String() }

// Checkpoint names a tree.
type Checkpoint struct {
	Origin string
	Size   uint64
	Root   Hash
}

// text is three lines: origin, size, root in base64.
func (c Checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// parseCheckpoint takes what text writes and nothing else.
func parseCheckpoint(text string) (c Checkpoint, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] == "" {
		return c, errors.New("a checkpoint has three lines: its origin, its size and its root")
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err == nil && len(root) != len(c.Root) {
		err = fmt.Errorf("a root of %d octets", len(root))
	}
	if err == nil {
		c.Origin, c.Root = lines[0], Hash(root)
		c.Size, err = strconv.ParseUint(lines[1], 10, 64)
	}
	if err == nil && (c.text() != text || c.Size > MaxSize) {
		err = errors.New("it is not written the one way there is")
	}
	if err != nil {
		return Checkpoint{}, fmt.Errorf("a checkpoint that makes no sense: %w", err)
	}
	return c, nil
}

// Sign is the checkpoint as a note, signed with a gateway's operational key.
func (c Checkpoint) Sign(key crypto.Signer) ([]byte, error) {
	public, ok := key.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("a key of type %T signs no checkpoint", key.Public())
	}
	v, err := newVerifier(c.Origin, public)
	if err != nil {
		return nil, err
	}
	return note.Sign(&note.Note{Text: c.text()}, &signer{v, key})
}

// ErrSignature says that nobody of those who are known signed a checkpoint.
var ErrSignature = errors.New("no gateway that is known signed this checkpoint")

// Open reads a checkpoint that one of the keys signed, and says which did, by
// their places in keys. Signatures of others are left aside.
func Open(signed []byte, origin string, keys []cert.PublicKey) (c Checkpoint, by []int, err error) {
	if len(signed) > MaxNote {
		return c, nil, fmt.Errorf("a checkpoint of %d octets, at most %d", len(signed), MaxNote)
	}
	var known verifiers
	for i, k := range keys {
		public, err := k.Key()
		if err != nil {
			continue // a key that is none signs nothing
		}
		v, err := newVerifier(origin, public)
		if err != nil {
			return c, nil, err
		}
		v.place = i
		known = append(known, v)
	}
	n, err := note.Open(signed, known)
	if unverified := (*note.UnverifiedNoteError)(nil); errors.As(err, &unverified) {
		return c, nil, ErrSignature
	} else if err != nil {
		return c, nil, fmt.Errorf("a checkpoint that makes no sense: %w", err)
	}
	if c, err = parseCheckpoint(n.Text); err != nil {
		return c, nil, err
	}
	if c.Origin != origin {
		return c, nil, fmt.Errorf("the checkpoint is of %q, not of %q", c.Origin, origin)
	}
	for _, s := range n.Sigs {
		// Base64 of most lengths leaves bits over, which the note's reader lets be anything.
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return Checkpoint{}, nil, fmt.Errorf("a checkpoint that makes no sense: %w", err)
		}
		for _, v := range known {
			if v.hash == s.Hash {
				by = append(by, v.place)
			}
		}
	}
	return c, by, nil
}

// verifier is a note.Verifier of ECDSA signatures on P-256 over SHA-256, in
// ASN.1. The key's id is the beginning of SHA-256 over its SubjectPublicKeyInfo
// (c2sp.org/signed-note, signature type 2).
type verifier struct {
	name  string
	hash  uint32
	key   *ecdsa.PublicKey
	place int
}

func newVerifier(name string, key *ecdsa.PublicKey) (*verifier, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(spki)
	return &verifier{name: name, hash: binary.BigEndian.Uint32(sum[:]), key: key}, nil
}

func (v *verifier) Name() string    { return v.name }
func (v *verifier) KeyHash() uint32 { return v.hash }
func (v *verifier) Verify(msg, sig []byte) bool {
	digest := sha256.Sum256(msg)
	return ecdsa.VerifyASN1(v.key, digest[:], sig)
}

// verifiers are a note.Verifiers: two gateways' ids may be the same by chance.
type verifiers []*verifier

func (all verifiers) Verifier(name string, hash uint32) (note.Verifier, error) {
	var of either
	for _, v := range all {
		if v.name == name && v.hash == hash {
			of = append(of, v)
		}
	}
	if len(of) == 0 {
		return nil, &note.UnknownVerifierError{Name: name, KeyHash: hash}
	}
	return of, nil
}

type either []*verifier

func (e either) Name() string    { return e[0].name }
func (e either) KeyHash() uint32 { return e[0].hash }
func (e either) Verify(msg, sig []byte) bool {
	for _, v := range e {
		if v.Verify(msg, sig) {
			return true
		}
	}
	return false
}

type signer struct {
	*verifier
	secret crypto.Signer
}

func (s *signer) Sign(msg []byte) ([]byte, error) {
	digest := sha256.Sum256(msg)
	return s.secret.Sign(rand.Reader, digest[:], crypto.SHA256)
}
