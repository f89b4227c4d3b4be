package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
)

func TestPrivateKeyNeverShows(t *testing.T) {
	f := newFabric(t, 1)
	type inside struct{ k, any any }
	var log bytes.Buffer
	for _, v := range []any{f.RootKey, &f.RootKey, f, *f, inside{f.RootKey, f}, struct{ k PrivateKey }{f.RootKey}, []PrivateKey{f.RootKey}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s", "%q", "%d"} {
			fmt.Fprintf(&log, verb, v)
		}
		slog.New(slog.NewTextHandler(&log, nil)).Info("key", "k", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("key", "k", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		log.Write(b)
	}
	out := strings.ToLower(log.String())
	ipk := f.IPK.Reveal()
	for name, secret := range map[string][]byte{"root": f.RootKey.Reveal(), "issuer": f.IssuerKey.Reveal(), "ipk": ipk[:]} {
		for _, s := range []string{string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret),
			strings.Trim(fmt.Sprint(secret), "[]"), new(big.Int).SetBytes(secret).String()} {
			if strings.Contains(out, strings.ToLower(s)) {
				t.Errorf("%s shows as %q", name, s)
			}
		}
	}
	if !strings.Contains(out, redacted) {
		t.Error("nothing was printed")
	}
}

func TestPrivateKey(t *testing.T) {
	k, err := GenerateKey(seeded(3))
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParsePrivateKey(k.Reveal())
	if err != nil || back.PublicKey() != k.PublicKey() {
		t.Fatal("a revealed key comes back as another")
	}
	var signer crypto.Signer = back
	digest := sha256.Sum256([]byte("message"))
	sig, err := signer.Sign(nil, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(signer.Public().(*ecdsa.PublicKey), digest[:], sig) {
		t.Errorf("the signature does not verify: %v", err)
	}
	revealed := k.Reveal()
	clear(revealed)
	if k.Reveal() == nil {
		t.Error("what was revealed is not a copy")
	}
	copied := k
	k.Erase()
	if copied.Reveal() != nil {
		t.Error("a copy survives its erasure")
	}
	if _, err := copied.Sign(nil, digest[:], crypto.SHA256); err == nil {
		t.Error("an erased key signs")
	}
	for _, bad := range [][]byte{nil, make([]byte, 32), bytes.Repeat([]byte{0xFF}, 32), make([]byte, 31), make([]byte, 33)} {
		if _, err := ParsePrivateKey(bad); err == nil {
			t.Errorf("%x is taken for a key", bad)
		}
	}
	if (PrivateKey{}).Reveal() != nil || (PrivateKey{}).Public() != nil {
		t.Error("no key is a key")
	}
}
