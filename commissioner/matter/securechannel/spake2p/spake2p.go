// Package spake2p is SPAKE2+ over P-256 with SHA-256 and HKDF, in the draft
// revision that Matter fixed (draft-bar-cfrg-spake2plus-02; Matter Core
// 3.10): two sides that share a passcode, one of them only its verifier, come
// to a key that nobody else has.
//
// It promises that secrets are handled in constant time and that a peer's
// share is a point of the curve. It draws no randomness but from the reader
// it is given, and keeps no passcode.
package spake2p

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"filippo.io/bigmod"
	"filippo.io/nistec"
)

// Sizes of the specification, in octets.
const (
	ShareSize        = 65 // an uncompressed point
	ConfirmationSize = sha256.Size
	KeySize          = 16
	scalarSize       = 32
	wideSize         = 40 // a scalar before its reduction

	MinIterations, MaxIterations = 1000, 100000
	MinSalt, MaxSalt             = 16, 32
)

// ErrConfirmation says that the peer does not know the passcode.
var ErrConfirmation = errors.New("spake2p: the other side has another passcode")

var (
	order = mustModulus("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
	wide  = mustModulus("01" + hex.EncodeToString(make([]byte, wideSize-1)) + "01") // odd, beyond wideSize octets

	// The two points of which nobody knows the logarithm (RFC 9383, 4).
	pointM = mustPoint("02886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f")
	pointN = mustPoint("03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49")
)

func mustModulus(s string) *bigmod.Modulus {
	b, _ := hex.DecodeString(s)
	m, err := bigmod.NewModulus(b)
	if err != nil {
		panic(err)
	}
	return m
}

func mustPoint(s string) *nistec.P256Point {
	b, _ := hex.DecodeString(s)
	p, err := nistec.NewP256Point().SetBytes(b)
	if err != nil {
		panic(err)
	}
	return p
}

// Secret is what the prover derives from the passcode. It does not print.
type Secret struct{ w0, w1 []byte }

// Verifier is what the other side keeps instead of the passcode: w0 and the
// point L. It does not print.
type Verifier struct {
	w0 []byte
	l  *nistec.P256Point
}

func (Secret) String() string     { return "[secret]" }
func (Secret) GoString() string   { return "[secret]" }
func (Verifier) String() string   { return "[verifier]" }
func (Verifier) GoString() string { return "[verifier]" }

// Derive is the Secret of a passcode, hashed with PBKDF2. It refuses
// parameters outside the specification's bounds, which a device might choose
// to keep us busy or to make the passcode easy to guess.
func Derive(passcode uint32, salt []byte, iterations int) (Secret, error) {
	if iterations < MinIterations || iterations > MaxIterations {
		return Secret{}, fmt.Errorf("spake2p: %d PBKDF2 iterations, not %d to %d", iterations, MinIterations, MaxIterations)
	}
	if len(salt) < MinSalt || len(salt) > MaxSalt {
		return Secret{}, fmt.Errorf("spake2p: salt of %d octets, not %d to %d", len(salt), MinSalt, MaxSalt)
	}
	password := binary.LittleEndian.AppendUint32(nil, passcode)
	ws, err := pbkdf2.Key(sha256.New, string(password), salt, iterations, 2*wideSize)
	if err != nil {
		return Secret{}, err
	}
	defer clear(ws)
	return Secret{reduce(ws[:wideSize]), reduce(ws[wideSize:])}, nil
}

func reduce(b []byte) []byte {
	n, err := bigmod.NewNat().SetBytes(b, wide)
	if err != nil {
		panic(err) // wide is larger than any wideSize octets
	}
	return bigmod.NewNat().Mod(n, order).Bytes(order)
}

// Verifier is the verifier of a secret.
func (s Secret) Verifier() (Verifier, error) {
	l, err := nistec.NewP256Point().ScalarBaseMult(s.w1)
	return Verifier{s.w0, l}, err
}

// Bytes is the verifier as it is stored and sent: w0 and L, 97 octets.
func (v Verifier) Bytes() []byte { return append(append([]byte(nil), v.w0...), v.l.Bytes()...) }

// ParseVerifier is the inverse of Bytes.
func ParseVerifier(b []byte) (Verifier, error) {
	if len(b) != scalarSize+ShareSize {
		return Verifier{}, fmt.Errorf("spake2p: verifier of %d octets, not %d", len(b), scalarSize+ShareSize)
	}
	if _, err := bigmod.NewNat().SetBytes(b[:scalarSize], order); err != nil {
		return Verifier{}, errors.New("spake2p: verifier is no scalar of the curve")
	}
	l, err := point(b[scalarSize:])
	return Verifier{append([]byte(nil), b[:scalarSize]...), l}, err
}

// Keys is what both sides come to.
type Keys struct {
	shared       []byte // Ke
	confirm      []byte // what we send
	confirmOther []byte // what we must receive
}

func (Keys) String() string   { return "[keys]" }
func (Keys) GoString() string { return "[keys]" }

// Confirmation is what the other side checks us by.
func (k Keys) Confirmation() []byte { return k.confirm }

// Verify checks the other side's confirmation; only then is there a key.
func (k Keys) Verify(confirmation []byte) (shared []byte, err error) {
	if subtle.ConstantTimeCompare(confirmation, k.confirmOther) != 1 {
		return nil, ErrConfirmation
	}
	return k.shared, nil
}

// Prover is the side that knows the passcode: the commissioner.
type Prover struct {
	context []byte
	secret  Secret
	x       []byte
	share   []byte
}

// NewProver begins an exchange bound to context.
func NewProver(random io.Reader, context []byte, s Secret) (*Prover, error) {
	x, err := randomScalar(random)
	if err != nil {
		return nil, err
	}
	return newProver(context, s, x)
}

func newProver(context []byte, s Secret, x []byte) (*Prover, error) {
	share, err := blind(x, s.w0, pointM)
	if err != nil {
		return nil, err
	}
	return &Prover{context, s, x, share.Bytes()}, nil
}

// Share is pA, for the verifier.
func (p *Prover) Share() []byte { return p.share }

// Finish takes the verifier's share pB.
func (p *Prover) Finish(share []byte) (Keys, error) {
	y, err := point(share)
	if err != nil {
		return Keys{}, err
	}
	base, err := unblind(y, p.secret.w0, pointN)
	if err != nil {
		return Keys{}, err
	}
	z, err := nistec.NewP256Point().ScalarMult(base, p.x)
	if err != nil {
		return Keys{}, err
	}
	v, err := nistec.NewP256Point().ScalarMult(base, p.secret.w1)
	if err != nil {
		return Keys{}, err
	}
	a, b, shared, err := schedule(p.context, nil, nil, p.share, share, z, v, p.secret.w0)
	return Keys{shared, a, b}, err
}

// Respond is the verifier's whole part: given the prover's share it makes its
// own and the keys.
func (v Verifier) Respond(random io.Reader, context, share []byte) (own []byte, k Keys, err error) {
	y, err := randomScalar(random)
	if err != nil {
		return nil, Keys{}, err
	}
	return v.respond(context, nil, nil, share, y)
}

func (v Verifier) respond(context, idA, idB, share, y []byte) (own []byte, k Keys, err error) {
	x, err := point(share)
	if err != nil {
		return nil, Keys{}, err
	}
	ownPoint, err := blind(y, v.w0, pointN)
	if err != nil {
		return nil, Keys{}, err
	}
	base, err := unblind(x, v.w0, pointM)
	if err != nil {
		return nil, Keys{}, err
	}
	z, err := nistec.NewP256Point().ScalarMult(base, y)
	if err != nil {
		return nil, Keys{}, err
	}
	w, err := nistec.NewP256Point().ScalarMult(v.l, y)
	if err != nil {
		return nil, Keys{}, err
	}
	own = ownPoint.Bytes()
	a, b, shared, err := schedule(context, idA, idB, share, own, z, w, v.w0)
	return own, Keys{shared, b, a}, err
}

// point parses a share. The point at infinity is refused: it would make the
// key the same for every passcode.
func point(b []byte) (*nistec.P256Point, error) {
	if len(b) != ShareSize {
		return nil, fmt.Errorf("spake2p: share of %d octets, not %d", len(b), ShareSize)
	}
	p, err := nistec.NewP256Point().SetBytes(b)
	if err != nil {
		return nil, errors.New("spake2p: share is no point of the curve")
	}
	return p, nil
}

// blind is k*G + w0*base.
func blind(k, w0 []byte, base *nistec.P256Point) (*nistec.P256Point, error) {
	p, err := nistec.NewP256Point().ScalarBaseMult(k)
	if err != nil {
		return nil, err
	}
	q, err := nistec.NewP256Point().ScalarMult(base, w0)
	if err != nil {
		return nil, err
	}
	return p.Add(p, q), nil
}

// unblind is share - w0*base.
func unblind(share *nistec.P256Point, w0 []byte, base *nistec.P256Point) (*nistec.P256Point, error) {
	q, err := nistec.NewP256Point().ScalarMult(base, w0)
	if err != nil {
		return nil, err
	}
	q.Negate(q)
	q.Add(share, q)
	if q.IsInfinity() == 1 {
		return nil, errors.New("spake2p: share is the blinding alone")
	}
	return q, nil
}

// randomScalar draws a scalar without bias, from 64 bits more than needed.
func randomScalar(random io.Reader) ([]byte, error) {
	var b [wideSize]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("spake2p: draw a scalar: %w", err)
	}
	return reduce(b[:]), nil
}

// schedule derives the confirmations of both sides and the shared key from
// the transcript.
func schedule(context, idA, idB, shareA, shareB []byte, z, v *nistec.P256Point, w0 []byte) (a, b, shared []byte, err error) {
	h := sha256.New()
	for _, part := range [][]byte{context, idA, idB, pointM.Bytes(), pointN.Bytes(), shareA, shareB, z.Bytes(), v.Bytes(), w0} {
		var length [8]byte
		binary.LittleEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write(part)
	}
	k := h.Sum(nil)
	confirm, err := hkdf.Key(sha256.New, k[:KeySize], nil, "ConfirmationKeys", 2*KeySize)
	if err != nil {
		return nil, nil, nil, err
	}
	return mac(confirm[:KeySize], shareB), mac(confirm[KeySize:], shareA), k[KeySize:], nil
}

func mac(key, message []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(message)
	return m.Sum(nil)
}
