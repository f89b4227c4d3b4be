package keyfile

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"gatehouse/cluster/tpm"
	"gatehouse/cluster/tpm/tpmtest"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

func options(e *tpmtest.Emulator) Options { return Options{TPM: e.Socket()} }

// each runs a test with keys in a file and with keys in a TPM.
func each(t *testing.T, test func(t *testing.T, o Options)) {
	t.Run("file", func(t *testing.T) { test(t, Options{TPM: NoTPM}) })
	t.Run("tpm2", func(t *testing.T) {
		e := tpmtest.New(t)
		test(t, options(e))
		if n := e.Loaded(); n != 0 {
			t.Errorf("%d objects and sessions were left in the TPM", n)
		}
	})
}

// signs fails unless k signs as its public key says.
func signs(t *testing.T, k Keys) {
	t.Helper()
	public, err := k.Operational.PublicKey().Key()
	if err != nil {
		t.Fatal(err)
	}
	if !public.Equal(k.Operational.Public()) {
		t.Error("there are two public keys")
	}
	message := []byte("Sigma3")
	signature, err := cert.SignMessage(nil, k.Operational, message)
	if err != nil {
		t.Fatal(err)
	}
	if !signature.Verify(public, message) {
		t.Error("a signature does not verify")
	}
	digest := sha256.Sum256(message)
	der, err := k.Operational.Sign(nil, digest[:], crypto.SHA256)
	if err != nil || !ecdsa.VerifyASN1(public, digest[:], der) {
		t.Errorf("a signature in DER does not verify, %v", err)
	}
	request, err := cert.NewRequest(nil, k.Operational)
	if err != nil {
		t.Fatal(err)
	}
	if asked, err := cert.ParseRequest(request); err != nil || asked != k.Operational.PublicKey() {
		t.Errorf("its certificate request is for another key, %v", err)
	}
}

func TestSigns(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		dir, made := created(t, o)
		signs(t, made)
		k := reloaded(t, dir, o)
		signs(t, k)
		if k.Node != made.Node || k.Operational.PublicKey() != made.Operational.PublicKey() || k.Storage != made.Storage ||
			!bytes.Equal(k.Sealing[0].Public(), made.Sealing[0].Public()) {
			t.Error("other keys were read than were written")
		}
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { signs(t, k) })
		}
		wg.Wait()
	})
}

// TestPowerCycle resets the TPM under a gateway that runs, and under one that
// is off.
func TestPowerCycle(t *testing.T) {
	e := tpmtest.New(t)
	dir, k := created(t, options(e))
	for range 2 {
		signs(t, k)
		e.Stop()
		if _, err := k.Operational.Sign(nil, make([]byte, 32), crypto.SHA256); err == nil {
			t.Error("a TPM without power signs")
		}
		e.Start()
		signs(t, k)
		signs(t, reloaded(t, dir, options(e)))
	}
	if n := e.Loaded(); n != 0 {
		t.Errorf("%d objects and sessions were left in the TPM", n)
	}
}

func TestTPMRefused(t *testing.T) {
	missing := Options{TPM: filepath.Join(t.TempDir(), "none")}
	if _, err := New(1, missing, seeded(1)); err == nil || !strings.Contains(err.Error(), NoTPM) {
		t.Errorf("new keys in a TPM that is not there: %v", err)
	}
	for name, c := range map[string]struct {
		spoil func(e *tpmtest.Emulator, dir string, o *Options) error
		want  string
	}{
		"another TPM": {func(e *tpmtest.Emulator, _ string, o *Options) error {
			*o = options(tpmtest.New(t))
			return nil
		}, tpm.ErrOther.Error()},
		"cleared TPM":       {func(e *tpmtest.Emulator, _ string, _ *Options) error { e.Clear(); return nil }, tpm.ErrOther.Error()},
		"no power":          {func(e *tpmtest.Emulator, _ string, _ *Options) error { e.Stop(); return nil }, wayOut},
		"no such TPM":       {func(_ *tpmtest.Emulator, _ string, o *Options) error { *o = missing; return nil }, wayOut},
		"no TPM, they said": {func(_ *tpmtest.Emulator, _ string, o *Options) error { o.TPM = NoTPM; return nil }, `"none"`},
		"cut off": {func(_ *tpmtest.Emulator, dir string, _ *Options) error {
			return os.Truncate(filepath.Join(dir, keysFile), 100)
		}, wayOut},
		"empty": {func(_ *tpmtest.Emulator, dir string, _ *Options) error {
			return os.Truncate(filepath.Join(dir, keysFile), 0)
		}, wayOut},
		"readable by others": {func(_ *tpmtest.Emulator, dir string, _ *Options) error {
			return os.Chmod(filepath.Join(dir, keysFile), 0o640)
		}, "may be read by others"},
		"key spoilt":      {spoilt(func(f *inTPM) { f.Key.Private[9] ^= 1 }), wayOut},
		"key missing":     {spoilt(func(f *inTPM) { f.Key = tpm.Object{} }), wayOut},
		"contents spoilt": {spoilt(func(f *inTPM) { f.Contents[30] ^= 1 }), wayOut},
		"no contents":     {spoilt(func(f *inTPM) { f.Contents = nil }), wayOut},
		"no primary":      {spoilt(func(f *inTPM) { f.Primary = nil }), wayOut},
	} {
		e := tpmtest.New(t)
		dir, _ := created(t, options(e))
		o := options(e)
		if err := c.spoil(e, dir, &o); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, o); err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
		if e.On() && e.Loaded() != 0 {
			t.Errorf("%s: something was left in the TPM", name)
		}
	}
}

// spoilt changes the keys file.
func spoilt(change func(*inTPM)) func(*tpmtest.Emulator, string, *Options) error {
	return func(_ *tpmtest.Emulator, dir string, _ *Options) error {
		path := filepath.Join(dir, keysFile)
		var f inTPM
		b, err := os.ReadFile(path)
		if err == nil {
			err = json.Unmarshal(b, &f)
		}
		if err == nil {
			change(&f)
			b, err = json.Marshal(f)
		}
		return errors.Join(err, os.WriteFile(path, b, 0o600))
	}
}

// TestTPMKeepsSecrets looks for secrets on the disk and on the TPM's bus.
func TestTPMKeepsSecrets(t *testing.T) {
	e := tpmtest.New(t)
	b := tpmtest.NewBus(t, e)
	o := Options{TPM: b.Socket}
	dir, k := created(t, o)
	signs(t, reloaded(t, dir, o))
	k, err := Renew(dir, k, seal.HybridHPKE1024, seeded(3), nil)
	if err != nil {
		t.Fatal(err)
	}
	secrets := map[string][]byte{}
	for name, seed := range map[string]byte{"the key that was drawn first": 2, "the key that was drawn second": 3} {
		random := seeded(seed)
		if seed == 3 { // after a sealing key
			if _, err := seal.NewSealingKey(seal.FirstSuite.Envelopes(), random); err != nil {
				t.Fatal(err)
			}
		}
		secret, err := seal.RandomSecret(random)
		if err != nil {
			t.Fatal(err)
		}
		secrets[name] = secret.Reveal()
	}
	for i, s := range reloaded(t, dir, o).Sealing {
		secret, err := s.Reveal()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := seal.ParseSealingKey(secret); err != nil || !bytes.Equal(again.Public(), k.Sealing[i].Public()) {
			t.Errorf("sealing key %d is not what it seems, %v", i, err)
		}
		secrets[[]string{"the new sealing key", "the old sealing key"}[i]] = secret.Reveal()
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	file, err := os.ReadFile(filepath.Join(dir, keysFile))
	if err != nil {
		t.Fatal(err)
	}
	var f inTPM
	if err := json.Unmarshal(file, &f); err != nil {
		t.Fatal(err)
	}
	for name, secret := range secrets {
		for where, octets := range map[string][]byte{"the bus": b.Heard(), "the file": file, "its contents": f.Contents, "its key": f.Key.Private} {
			for _, form := range [][]byte{secret, []byte(base64.StdEncoding.EncodeToString(secret[:30]))} {
				if bytes.Contains(octets, form) {
					t.Errorf("%s is in %s", name, where)
				}
			}
		}
	}
	// The canary sings: this is the second key, and what would have been seen.
	key, err := tpm.At(o.TPM, nil).Unseal(f.Key)
	if err != nil || !bytes.Equal(key.Reveal(), secrets["the key that was drawn second"]) {
		t.Errorf("the canary is not what was sealed, %v", err)
	}
	// What the TPM itself says of the operational key.
	blob := tpm2.BytesAs2B[tpm2.TPMTPublic](k.Operational.(*tpm.Signer).Object().Public)
	public, err := blob.Contents()
	if err != nil {
		t.Fatal(err)
	}
	want := tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, NoDA: true, SignEncrypt: true}
	if public.ObjectAttributes != want {
		t.Errorf("the operational key is %+v", public.ObjectAttributes)
	}
}

// TestBusChanged lies to the gateway: neither another storage key nor another
// secret passes.
func TestBusChanged(t *testing.T) {
	for name, code := range map[string]tpm2.TPMCC{"storage key": tpm2.TPMCCCreatePrimary, "secret": tpm2.TPMCCUnseal} {
		e := tpmtest.New(t)
		b := tpmtest.NewBus(t, e)
		dir, _ := created(t, Options{TPM: b.Socket})
		lies := 0
		b.Change = func(command, response []byte) {
			if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == code && len(response) > 70 {
				response[70-32] ^= 1
				lies++
			}
		}
		if _, err := Load(dir, Options{TPM: b.Socket}); err == nil || !strings.Contains(err.Error(), wayOut) {
			t.Errorf("%s: %v", name, err)
		}
		if lies == 0 {
			t.Errorf("%s: nothing was changed", name)
		}
	}
}

// TestAuto finds no TPM, on machines without.
func TestAuto(t *testing.T) {
	if _, err := os.Stat(tpm.Default); err == nil {
		t.Skip("this machine has a TPM, which tests leave alone")
	}
	for _, o := range []Options{{}, {TPM: AutoTPM}, {TPM: NoTPM}} {
		if k, err := New(1, o, seeded(1)); err != nil || k.Storage != FileStorage {
			t.Errorf("%q: %s, %v", o.TPM, k.Storage, err)
		}
	}
}
