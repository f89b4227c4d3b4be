package signkey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/cluster/durable"
	"gatehouse/cluster/tpm"
	"gatehouse/cluster/tpm/tpmtest"
	"gatehouse/fabric/seal"
)

const (
	passphrase = "rowboat ferns at dusk"
	testWork   = 2
)

func seeded(n byte) *mathrand.ChaCha8 { return mathrand.NewChaCha8([32]byte{n}) }

// created is a new key in a file, and its seed.
func created(t testing.TB, n byte) (path string, k *File, seed []byte) {
	t.Helper()
	path, seed = filepath.Join(t.TempDir(), "a.key"), make([]byte, ed25519.SeedSize)
	_, err1 := io.ReadFull(seeded(n), seed)
	k, err2 := Create(path, passphrase, testWork, seeded(n), nil)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return path, k, seed
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCreateAndUnlock(t *testing.T) {
	path, made, seed := created(t, 1)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	k, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.Unlock(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	want := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	message := []byte("a statement")
	signature, err := s.Sign(rand.Reader, message, crypto.Hash(0))
	if err != nil || !ed25519.Verify(want, message, signature) || !want.Equal(k.Public()) || !want.Equal(made.Public()) || !want.Equal(s.Public()) || k.InTPM() {
		t.Errorf("it does not sign as its public half says, %v", err)
	}
	s.Erase()
	if _, err := s.Sign(rand.Reader, message, crypto.Hash(0)); err == nil {
		t.Error("an erased key signs")
	}
	if _, err := k.OpenTPM("none"); err == nil {
		t.Error("it is in a TPM")
	}
	before := read(t, path)
	if _, err := Create(path, passphrase, testWork, seeded(2), nil); !errors.Is(err, fs.ErrExist) || !bytes.Equal(read(t, path), before) {
		t.Errorf("it was overwritten: %v", err)
	}
}

func TestRefused(t *testing.T) {
	path, k, _ := created(t, 1)
	for _, wrong := range []string{"", passphrase + " ", strings.ToUpper(passphrase)} {
		if _, err := k.Unlock(wrong); !errors.Is(err, seal.ErrPassphrase) {
			t.Errorf("with %q: %v", wrong, err)
		}
	}
	if _, err := Create(filepath.Join(t.TempDir(), "weak"), "short", testWork, seeded(2), nil); err == nil {
		t.Error("locked with a weak passphrase")
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o644, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || !strings.Contains(err.Error(), "may be read by others") {
			t.Errorf("%v: %v", mode, err)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestDamage changes each octet of a key file, and cuts it off at each: it is
// refused, or is the same key.
func TestDamage(t *testing.T) {
	path, want, _ := created(t, 1)
	whole := read(t, path)
	try := func(what string, data []byte) {
		t.Helper()
		k, err := Parse(data)
		if err != nil {
			return
		}
		if s, err := k.Unlock(passphrase); err == nil && !want.Public().(ed25519.PublicKey).Equal(s.Public()) {
			t.Fatalf("%s: opens as another key", what)
		}
	}
	for i := range whole[:len(whole)-2] {
		if _, err := Parse(whole[:i]); err == nil {
			t.Fatalf("cut off at %d: it is read", i)
		}
		bad := bytes.Clone(whole)
		bad[i] ^= 1
		try(fmt.Sprintf("octet %d changed", i), bad)
	}
	_, other, _ := created(t, 2)
	mixed, err := (&File{public: other.public, locked: want.locked}).encode()
	if err != nil {
		t.Fatal(err)
	}
	k, err := Parse(mixed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Unlock(passphrase); !errors.Is(err, errHalves) {
		t.Errorf("another's public half: %v", err)
	}
	for name, data := range map[string]string{
		"nothing":        "",
		"another format": strings.Replace(string(whole), `_key": 1`, `_key": 0`, 1),
		"unknown field":  strings.Replace(string(whole), "{", `{"x": 1,`, 1),
		"two":            string(whole) + string(whole),
		"endless":        string(whole) + strings.Repeat(" ", MaxFile),
		"no key":         `{"gatehouse_signing_key": 1, "public": ""}`,
	} {
		if _, err := Parse([]byte(data)); !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	later := strings.Replace(string(whole), `_key": 1`, `_key": 2`, 1)
	if _, err := Parse([]byte(later)); err == nil || !strings.Contains(err.Error(), "later release") {
		t.Errorf("of a later release: %v", err)
	}
}

var errDisk = errors.New("the disk is gone")

// TestBrokenDisk fails each operation, done and not done. Then there is no
// file, and the next attempt makes one.
func TestBrokenDisk(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		for at, broke := 0, true; broke; at++ {
			path, n := filepath.Join(t.TempDir(), "a.key"), 0
			broke = false
			var step durable.Step = func(op string, do func() error) error {
				if n++; n-1 != at {
					return do()
				}
				broke = true
				if persisted {
					return errors.Join(do(), errDisk)
				}
				return errDisk
			}
			_, err := Create(path, passphrase, testWork, seeded(1), step)
			if broke != errors.Is(err, errDisk) {
				t.Errorf("step %d, done: %v: %v", at, persisted, err)
			}
			if !broke {
				continue
			}
			if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("step %d, done: %v: a file is left, %v", at, persisted, err)
			}
			if _, err := Create(path, passphrase, testWork, seeded(1), nil); err != nil {
				t.Errorf("step %d, done: %v: not made again: %v", at, persisted, err)
			}
		}
	}
}

// forms are how a secret might look in a log or a file.
func forms(secret []byte) []string {
	return []string{string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)), base64.StdEncoding.EncodeToString(secret[:30]),
		base64.RawURLEncoding.EncodeToString(secret[:30]), strings.Trim(fmt.Sprint(secret), "[]")}
}

// TestCanary looks for a private key in all that can be seen.
func TestCanary(t *testing.T) {
	path, k, seed := created(t, 1)
	s, err := k.Unlock(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	seen := [][]byte{read(t, path)}
	for _, v := range []any{s, &s, k, []any{s}, struct{ S Signer }{s}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
			seen = append(seen, fmt.Appendf(nil, verb, v))
		}
	}
	whole := read(t, path)
	for i := 0; i < len(whole); i += 7 {
		bad := bytes.Clone(whole)
		bad[i] ^= 4
		k, err := Parse(bad)
		if err == nil {
			_, err = k.Unlock(passphrase)
		}
		seen = append(seen, []byte(fmt.Sprint(err)))
	}
	for _, form := range append(forms(seed), forms(ed25519.NewKeyFromSeed(seed))...) {
		for _, octets := range seen {
			if bytes.Contains(octets, []byte(form)) {
				t.Errorf("the key is in %q", octets)
			}
		}
	}
	// The canary sings.
	if !bytes.Contains(fmt.Appendf(nil, "%v", seed), []byte(forms(seed)[5])) {
		t.Error("it would not be found")
	}
}

func TestTPM(t *testing.T) {
	e, other := tpmtest.New(t), tpmtest.New(t)
	path := filepath.Join(t.TempDir(), "a.key")
	if _, err := CreateInTPM(path, tpm.At(e.Socket(), nil), nil); err != nil {
		t.Fatal(err)
	}
	k, err := Read(path)
	if err != nil || !k.InTPM() {
		t.Fatal(err)
	}
	s, err := k.OpenTPM(e.Socket())
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("a statement"))
	signature, err := s.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(k.Public().(*ecdsa.PublicKey), digest[:], signature) {
		t.Errorf("it does not sign as its public half says, %v", err)
	}
	if _, err := k.OpenTPM(other.Socket()); !errors.Is(err, tpm.ErrOther) {
		t.Errorf("another TPM: %v", err)
	}
	if _, err := k.Unlock(passphrase); err == nil {
		t.Error("it opens with a passphrase")
	}
	if _, err := CreateInTPM(path, tpm.At(e.Socket(), nil), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("it was overwritten: %v", err)
	}
	// The public half of another key of the same TPM.
	second, err := CreateInTPM(filepath.Join(t.TempDir(), "b.key"), tpm.At(e.Socket(), nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	second.public = k.public
	if _, err := second.OpenTPM(e.Socket()); !errors.Is(err, errHalves) {
		t.Errorf("another's public half: %v", err)
	}
	if n := e.Loaded() + other.Loaded(); n != 0 {
		t.Errorf("%d objects and sessions were left in the TPMs", n)
	}
}

func TestPublic(t *testing.T) {
	_, k, _ := created(t, 1)
	text, err := FormatPublic(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParsePublic(" " + text + "\n"); err != nil || !k.Public().(ed25519.PublicKey).Equal(got) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "x", text[1:], text + "AAAA", "MCowBQYDK2VwAyEA"} {
		if _, err := ParsePublic(bad); err == nil {
			t.Errorf("%q is a key", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	path, _, _ := created(f, 1)
	f.Add(read(f, path))
	f.Add([]byte(`{"gatehouse_signing_key":1,"public":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==",` +
		`"tpm2_primary":"AAs=","ecdsa_p256_tpm2":{"public":"AA==","private":"AA=="}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := Parse(data)
		if err != nil {
			return
		}
		again, err := k.encode()
		if err != nil {
			t.Fatal(err)
		}
		same, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		once, err := same.encode()
		if err != nil || !bytes.Equal(again, once) {
			t.Errorf("%q becomes %q, %v", again, once, err)
		}
	})
}
