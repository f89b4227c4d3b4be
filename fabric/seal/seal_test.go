package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"filippo.io/age/armor"

	"gatehouse/fabric/issuer"
)

var update = flag.Bool("update", false, "write the golden files; never those of a release")

func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

func dataKey(t testing.TB, seed byte) Secret {
	t.Helper()
	s, err := RandomSecret(seeded(seed))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealingKey(t testing.TB, seed byte) SealingKey {
	t.Helper()
	return sealingKeyFor(t, HybridHPKE, seed)
}

func sealingKeyFor(t testing.TB, a Algorithm, seed byte) SealingKey {
	t.Helper()
	k, err := NewSealingKey(a, seeded(seed))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

const (
	plain   = "a key that nobody must see......"
	purpose = "test key, generation 1"
)

// blobs are a sealed and a wrapped secret, and what opens them.
func blobs(t testing.TB) map[string]struct {
	blob []byte
	open func(seed byte, purpose string, blob []byte) (Secret, error)
} {
	t.Helper()
	all := map[string]struct {
		blob []byte
		open func(byte, string, []byte) (Secret, error)
	}{}
	for suite, suffix := range map[Suite]string{FirstSuite: "", NewestSuite: "-2"} {
		sealed, err := suite.Secrets().Seal(seeded(9), dataKey(t, 1), purpose, []byte(plain))
		if err != nil {
			t.Fatal(err)
		}
		wrapped, err := Wrap(sealingKeyFor(t, suite.Envelopes(), 1).Public(), purpose, NewSecret([]byte(plain)))
		if err != nil {
			t.Fatal(err)
		}
		entry := all["sealed"+suffix]
		entry.blob, entry.open = sealed, func(seed byte, purpose string, blob []byte) (Secret, error) {
			return Open(dataKey(t, seed), purpose, blob)
		}
		all["sealed"+suffix] = entry
		entry.blob, entry.open = wrapped, func(seed byte, purpose string, blob []byte) (Secret, error) {
			return sealingKeyFor(t, suite.Envelopes(), seed).Unwrap(purpose, blob)
		}
		all["wrapped"+suffix] = entry
	}
	return all
}

func TestOpens(t *testing.T) {
	for name, b := range blobs(t) {
		s, err := b.open(1, purpose, b.blob)
		if err != nil || string(s.Reveal()) != plain {
			t.Errorf("%s: %q, %v", name, s.Reveal(), err)
		}
		if _, err := b.open(2, purpose, b.blob); !errors.Is(err, ErrOpen) {
			t.Errorf("%s, with another key: %v", name, err)
		}
		for _, other := range []string{"", "test key, generation 2", purpose + " "} {
			if _, err := b.open(1, other, b.blob); !errors.Is(err, ErrOpen) {
				t.Errorf("%s, as %q: %v", name, other, err)
			}
		}
		if bytes.Contains(b.blob, []byte(plain)) {
			t.Errorf("%s: it shows", name)
		}
	}
}

func TestChangedDoesNotOpen(t *testing.T) {
	for name, b := range blobs(t) {
		for i := range b.blob {
			bad := bytes.Clone(b.blob)
			bad[i] ^= 0x10
			if _, err := b.open(1, purpose, bad); err == nil {
				t.Fatalf("%s: octet %d changed: opens", name, i)
			}
			if i%7 == 0 {
				if _, err := b.open(1, purpose, b.blob[:i]); err == nil {
					t.Fatalf("%s: cut off at %d: opens", name, i)
				}
			}
		}
		bad := bytes.Clone(b.blob)
		bad[0] = 0x7F
		if _, err := b.open(1, purpose, bad); err == nil || !strings.Contains(err.Error(), "0x7f") {
			t.Errorf("%s, of an unknown algorithm: %v", name, err)
		}
		if _, err := b.open(1, purpose, append(bytes.Clone(b.blob), 0)); err == nil {
			t.Errorf("%s, with an octet more: opens", name)
		}
	}
}

// TestGolden holds every later release to what this one sealed.
func TestGolden(t *testing.T) {
	for name, b := range blobs(t) {
		path := "testdata/" + name + ".hex"
		if *update {
			if err := os.WriteFile(path, []byte(hex.EncodeToString(b.blob)+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := b.open(1, purpose, blob); err != nil || string(s.Reveal()) != plain {
			t.Errorf("%s: %q, %v", name, s.Reveal(), err)
		}
	}
}

func TestKeysComeFromTheReader(t *testing.T) {
	if !bytes.Equal(sealingKey(t, 1).Public(), sealingKey(t, 1).Public()) || bytes.Equal(sealingKey(t, 1).Public(), sealingKey(t, 2).Public()) {
		t.Error("a sealing key is not what was drawn")
	}
	for n := range seedSize {
		if _, err := NewSealingKey(HybridHPKE, bytes.NewReader(make([]byte, n))); err == nil {
			t.Errorf("a sealing key from %d octets", n)
		}
	}
	if _, err := RandomSecret(bytes.NewReader(make([]byte, KeySize-1))); err == nil {
		t.Error("a data key from too little")
	}
	a, err1 := Wrap(sealingKey(t, 1).Public(), purpose, dataKey(t, 1))
	b, err2 := Wrap(sealingKey(t, 1).Public(), purpose, dataKey(t, 1))
	if err := errors.Join(err1, err2); err != nil || bytes.Equal(a, b) {
		t.Errorf("two wraps are the same; %v", err)
	}
	if _, err := Wrap([]byte("short"), purpose, dataKey(t, 1)); err == nil {
		t.Error("wrapped to no key")
	}
}

func TestSealingKeyIsKept(t *testing.T) {
	for s := FirstSuite; s <= NewestSuite; s++ {
		t.Run(s.Envelopes().String(), func(t *testing.T) { testSealingKeyIsKept(t, sealingKeyFor(t, s.Envelopes(), 1)) })
	}
}

func testSealingKeyIsKept(t *testing.T, k SealingKey) {
	if AlgorithmOf(k.Public()) != k.Algorithm() {
		t.Errorf("the public key is for %v", AlgorithmOf(k.Public()))
	}
	raw, err := k.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseSealingKey(raw)
	if err != nil || !bytes.Equal(again.Public(), k.Public()) || again.Algorithm() != k.Algorithm() {
		t.Errorf("another key: %v", err)
	}
	if twice, err := k.Reveal(); err != nil || !bytes.Equal(twice.Reveal(), raw.Reveal()) {
		t.Errorf("revealed twice, it is another: %v", err)
	}
	if _, err := ParseSealingKey(NewSecret(raw.Reveal()[2:])); err == nil {
		t.Error("a key too short")
	}
}

func TestErase(t *testing.T) {
	s := dataKey(t, 1)
	copied := s
	s.Erase()
	if !bytes.Equal(copied.Reveal(), make([]byte, KeySize)) {
		t.Error("a copy is left")
	}
	b := []byte("mine")
	kept := NewSecret(b)
	b[0] = 'x'
	kept.Reveal()[1] = 'x'
	if string(kept.Reveal()) != "mine" {
		t.Error("the secret shares its octets")
	}
	var none Secret
	none.Erase()
	if none.Reveal() != nil {
		t.Error("the zero secret has octets")
	}
}

func TestNothingIsPrinted(t *testing.T) {
	kit := Kit{Home: "home", Key: privateKey(t)}
	key := sealingKeyFor(t, HybridHPKE1024, 1)
	raw, err := key.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	secrets := [][]byte{[]byte(plain), raw.Reveal(), kit.Key.Reveal()}
	value := struct {
		Secret  Secret
		hidden  Secret
		Sealing SealingKey
		kit     *Kit
	}{NewSecret([]byte(plain)), NewSecret([]byte(plain)), key, &kit}
	var out bytes.Buffer
	for _, v := range []any{value, &value, value.Secret, &value.Secret, key, &key, kit, &kit} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb, v)
		}
		b, _ := json.Marshal(v)
		out.Write(b)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	for _, s := range secrets {
		for _, form := range [][]byte{s, []byte(hex.EncodeToString(s)), []byte(strings.ToUpper(hex.EncodeToString(s))), []byte(strings.Trim(fmt.Sprint(s[:8]), "[]"))} {
			if bytes.Contains(out.Bytes(), form) {
				t.Errorf("%q was printed", form)
			}
		}
	}
}

func privateKey(t testing.TB) issuer.PrivateKey {
	t.Helper()
	k, err := issuer.GenerateKey(seeded(5))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func FuzzOpen(f *testing.F) {
	for _, b := range blobs(f) {
		f.Add(b.blob)
	}
	key, sealing := dataKey(f, 2), sealingKey(f, 2) // not what the seeds are for
	f.Fuzz(func(t *testing.T, blob []byte) {
		if _, err := Open(key, purpose, blob); err == nil {
			t.Error("opened")
		}
		if _, err := sealing.Unwrap(purpose, blob); err == nil {
			t.Error("unwrapped")
		}
	})
}

const (
	testWork   = 2
	passphrase = "rowboat ferns at dusk"
)

func kit(t testing.TB) (Kit, []byte) {
	t.Helper()
	f, err := issuer.NewFabric(seeded(3), issuer.Params{Birth: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	k := Kit{Home: "home", FabricID: f.FabricID, Root: f.RCAC, Key: f.RootKey, Made: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	file, err := SealKit(k, passphrase, testWork)
	if err != nil {
		t.Fatal(err)
	}
	return k, file
}

func TestKit(t *testing.T) {
	k, file := kit(t)
	got, err := OpenKit(file, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	if got.Home != k.Home || got.FabricID != k.FabricID || !bytes.Equal(got.Root, k.Root) || !got.Made.Equal(k.Made) ||
		!bytes.Equal(got.Key.Reveal(), k.Key.Reveal()) {
		t.Errorf("%+v", got)
	}
	for _, wrong := range []string{"", passphrase + " ", strings.ToUpper(passphrase)} {
		if _, err := OpenKit(file, wrong); !errors.Is(err, ErrPassphrase) {
			t.Errorf("with %q: %v", wrong, err)
		}
	}
	if !bytes.HasPrefix(file, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) {
		t.Error("the kit is not armored")
	}
	for i := 0; i < len(file)-1; i += 3 {
		if _, err := OpenKit(file[:i], passphrase); err == nil {
			t.Fatalf("cut off at %d: opens", i)
		}
		bad := bytes.Clone(file)
		bad[i] ^= 1
		if got, err := OpenKit(bad, passphrase); err == nil && !bytes.Equal(got.Key.Reveal(), k.Key.Reveal()) {
			t.Fatalf("octet %d changed: opens as another", i)
		}
	}
}

func TestKitRefusals(t *testing.T) {
	k, _ := kit(t)
	if _, err := SealKit(k, "short", testWork); err == nil {
		t.Error("sealed with a weak passphrase")
	}
	k.Key = privateKey(t)
	file, err := SealKit(k, passphrase, testWork)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKit(file, passphrase); err == nil || !strings.Contains(err.Error(), "not that of its certificate") {
		t.Errorf("another root's key: %v", err)
	}
	if maxWork < KitWork {
		t.Error("a kit of ours would not open")
	}
}

func TestPassphrases(t *testing.T) {
	for _, good := range []string{passphrase, "correct horse battery staple", "Zwölf Boxkämpfer jagen", "x7#kQ9v!Lm2p", "犬が庭で静かに眠っている夜"} {
		if err := CheckPassphrase(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "short", "elevenchars", "aaaaaaaaaaaaaaaa", "abababababab", "abcdefghijklmno", "zyxwvutsrqpo", "123456789012",
		"0987654321098", "passwordpassword", "password123456", "Password!2026", "qwertyuiop1234", "gatehouse-home-1", "lampe7lampe7lampe7", "12345678901!", "\xff\xfe invalid octets"} {
		if CheckPassphrase(bad) == nil {
			t.Errorf("%q is good enough", bad)
		}
	}
}

func TestLock(t *testing.T) {
	file, err := Lock([]byte("octets"), passphrase, testWork)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Unlock(file, passphrase, 6); err != nil || string(got) != "octets" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Unlock(file, passphrase, 5); err == nil || len(got) > 0 {
		t.Errorf("more than the limit: %q, %v", got, err)
	}
	if _, err := Unlock(file, passphrase+"x", 6); !errors.Is(err, ErrPassphrase) {
		t.Errorf("another passphrase: %v", err)
	}
	// What would take all memory is refused before any of it is taken.
	text, err := io.ReadAll(armor.NewReader(bytes.NewReader(file)))
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, fmt.Appendf(nil, " %d\n", testWork), fmt.Appendf(nil, " %d\n", maxWork+1), 1)
	var armored bytes.Buffer
	w := armor.NewWriter(&armored)
	if _, err := w.Write(text); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	if _, err := Unlock(armored.Bytes(), passphrase, 6); err == nil || !strings.Contains(err.Error(), "work factor") {
		t.Errorf("too much work: %v", err)
	}
}
