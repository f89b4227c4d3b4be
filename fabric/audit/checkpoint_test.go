package audit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"gatehouse/fabric/cert"
)

func newKey(t testing.TB) (*ecdsa.PrivateKey, cert.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := cert.PublicKeyOf(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

var home = Checkpoint{Origin: Origin(0xFAB0), Size: 5, Root: sha256.Sum256([]byte("root"))}

func signed(t testing.TB, c Checkpoint, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	b, err := c.Sign(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestCheckpoint takes a signed note apart by hand, as c2sp.org/signed-note and
// c2sp.org/tlog-checkpoint have it.
func TestCheckpoint(t *testing.T) {
	key, public := newKey(t)
	_, other := newKey(t)
	b := signed(t, home, key)
	text, rest, ok := strings.Cut(string(b), "\n\n")
	line, found := strings.CutPrefix(strings.TrimSuffix(rest, "\n"), "— gatehouse/000000000000FAB0 ")
	if want := "gatehouse/000000000000FAB0\n5\n" + base64.StdEncoding.EncodeToString(home.Root[:]); !ok || !found || text != want {
		t.Fatalf("%s", b)
	}
	raw, err := base64.StdEncoding.DecodeString(line)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id, digest := sha256.Sum256(spki), sha256.Sum256([]byte(text+"\n"))
	if string(raw[:4]) != string(id[:4]) || !ecdsa.VerifyASN1(&key.PublicKey, digest[:], raw[4:]) {
		t.Error("the signature line is another")
	}
	c, by, err := Open(b, home.Origin, []cert.PublicKey{other, public})
	if err != nil || c != home || len(by) != 1 || by[0] != 1 {
		t.Errorf("%+v, by %v, %v", c, by, err)
	}
}

func TestBadCheckpoints(t *testing.T) {
	key, public := newKey(t)
	_, stranger := newKey(t)
	good := signed(t, home, key)
	if _, _, err := Open(good, home.Origin, []cert.PublicKey{stranger}); !errors.Is(err, ErrSignature) {
		t.Errorf("of a stranger: %v", err)
	}
	if _, _, err := Open(good, home.Origin, nil); !errors.Is(err, ErrSignature) {
		t.Errorf("nobody is known: %v", err)
	}
	if _, _, err := Open(good, Origin(0xFAB1), []cert.PublicKey{public}); err == nil {
		t.Error("of another home")
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1
		for _, b := range [][]byte{bad, good[:i]} {
			if c, _, err := Open(b, home.Origin, []cert.PublicKey{public}); err == nil {
				t.Errorf("octet %d: %+v", i, c)
			}
		}
	}
	if _, _, err := Open(append(good, make([]byte, MaxNote)...), home.Origin, []cert.PublicKey{public}); err == nil || errors.Is(err, ErrSignature) {
		t.Errorf("too long: %v", err)
	}
	v, err := newVerifier(home.Origin, &key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	root := base64.StdEncoding.EncodeToString(home.Root[:])
	for _, text := range []string{"", "\n", Origin(0xFAB1) + "\n5\n" + root + "\n", home.Origin + "\n", home.Origin + "\n5\n" + root + "\nmore\n", home.Origin + "\n05\n" + root + "\n", home.Origin + "\n+5\n" + root + "\n",
		home.Origin + "\n5\n" + root[:40] + "\n", home.Origin + "\n9999999999999999\n" + root + "\n", "\n5\n" + root + "\n"} {
		b, err := note.Sign(&note.Note{Text: text}, &signer{v, key})
		if err != nil {
			continue
		}
		if c, _, err := Open(b, home.Origin, []cert.PublicKey{public}); err == nil {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(home.text())
	f.Add("gatehouse\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
	f.Fuzz(func(t *testing.T, text string) {
		var c Checkpoint
		var err error
		bounded(t, []byte(text), func() { c, err = parseCheckpoint(text) })
		if err == nil && c.text() != text {
			t.Errorf("%q is written %q", text, c.text())
		}
	})
}

func FuzzOpen(f *testing.F) {
	key, public := newKey(f)
	f.Add(signed(f, home, key))
	f.Fuzz(func(t *testing.T, b []byte) {
		var c Checkpoint
		var err error
		bounded(t, b, func() { c, _, err = Open(b, home.Origin, []cert.PublicKey{public}) })
		if err == nil && c != home {
			t.Errorf("%+v was never signed", c)
		}
	})
}
