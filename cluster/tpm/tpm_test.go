package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"errors"
	"testing"

	"gatehouse/cluster/tpm/tpmtest"
	"gatehouse/fabric/seal"
)

func made(t testing.TB, d *TPM) *Signer {
	t.Helper()
	k, err := d.NewSigner()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// What was made is opened by a process that knows its objects, and by no other
// TPM.
func TestOpenAgain(t *testing.T) {
	e, other := tpmtest.New(t), tpmtest.New(t)
	d := At(e.Socket(), nil)
	k := made(t, d)
	sealed, err := d.Seal(seal.NewSecret([]byte("a secret")))
	if err != nil {
		t.Fatal(err)
	}
	again := At(e.Socket(), d.Primary())
	same, err := again.OpenSigner(k.Object())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	signature, err := same.Sign(nil, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], signature) {
		t.Errorf("a signature does not verify, %v", err)
	}
	if secret, err := again.Unseal(sealed); err != nil || string(secret.Reveal()) != "a secret" {
		t.Errorf("what was sealed is not what is unsealed, %v", err)
	}
	stranger := At(other.Socket(), d.Primary())
	_, err1 := stranger.OpenSigner(k.Object())
	_, err2 := stranger.Unseal(sealed)
	if !errors.Is(err1, ErrOther) || !errors.Is(err2, ErrOther) {
		t.Errorf("another TPM: %v, %v", err1, err2)
	}
	if n := e.Loaded() + other.Loaded(); n != 0 {
		t.Errorf("%d objects and sessions were left in the TPMs", n)
	}
}

func TestOpens(t *testing.T) {
	e := tpmtest.New(t)
	d := At(e.Socket(), nil)
	if !d.Opens() {
		t.Error("it does not open")
	}
	if e.Stop(); d.Opens() {
		t.Error("it opens without power")
	}
}

func TestSignsDigestsOnly(t *testing.T) {
	k := made(t, At(tpmtest.New(t).Socket(), nil))
	for _, n := range []int{0, 20, 31, 33, 64} {
		if _, err := k.Sign(nil, make([]byte, n), crypto.SHA256); err == nil {
			t.Errorf("%d octets were signed", n)
		}
	}
	if _, err := k.Sign(nil, make([]byte, 32), crypto.SHA512_256); err == nil {
		t.Error("a digest of another hash was signed")
	}
}

func TestJoined(t *testing.T) {
	full := bytes.Repeat([]byte{7}, 32)
	for _, c := range []struct{ r, s []byte }{{full, full}, {full[:31], full}, {full, full[:30]}, {full[:1], nil}} {
		got, err := joined(c.r, c.s)
		if err != nil || !bytes.Equal(bytes.TrimLeft(got[:32], "\x00"), c.r) || !bytes.Equal(bytes.TrimLeft(got[32:], "\x00"), c.s) {
			t.Errorf("%d and %d octets: %x, %v", len(c.r), len(c.s), got, err)
		}
	}
	long := make([]byte, 33)
	for _, c := range []struct{ r, s []byte }{{long, full}, {full, long}} {
		if _, err := joined(c.r, c.s); err == nil {
			t.Error("too long a number")
		}
	}
}

func BenchmarkSign(b *testing.B) {
	k, digest := made(b, At(tpmtest.New(b).Socket(), nil)), make([]byte, sha256.Size)
	for b.Loop() {
		if _, err := k.Sign(nil, digest, crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignAfterReset is what the first signature after a reset takes.
func BenchmarkSignAfterReset(b *testing.B) {
	k, digest := made(b, At(tpmtest.New(b).Socket(), nil)), make([]byte, sha256.Size)
	for b.Loop() {
		k.saved = nil
		if _, err := k.Sign(nil, digest, crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}
