package keyfile

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

func keys(t testing.TB, seed byte) Keys {
	t.Helper()
	operational, err1 := issuer.GenerateKey(seeded(seed))
	sealing, err2 := seal.NewSealingKey(seal.FirstSuite.Envelopes(), seeded(seed))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return Keys{Node: cert.NodeID(seed), Operational: operational, Sealing: []seal.SealingKey{sealing}, Storage: FileStorage}
}

func revealed(k Keys) []byte { return k.Operational.(issuer.PrivateKey).Reveal() }

// created makes new keys in a new directory.
func created(t testing.TB, o Options) (dir string, k Keys) {
	t.Helper()
	k, err := New(1, o, seeded(1))
	dir = t.TempDir()
	if err == nil {
		err = Create(dir, k, seeded(2), nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, k
}

func TestCreateAndLoad(t *testing.T) {
	dir, want := created(t, Options{TPM: NoTPM})
	got, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Node != want.Node || !bytes.Equal(revealed(got), revealed(want)) ||
		!bytes.Equal(got.Sealing[0].Public(), want.Sealing[0].Public()) {
		t.Error("other keys were read than were written")
	}
	if err := Create(dir, keys(t, 3), seeded(4), nil); err == nil {
		t.Error("a gateway's keys were overwritten")
	}
	sealing, err := got.Sealing[0].Reveal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, keysFile))
	if err != nil || bytes.Contains(b, revealed(want)) || bytes.Contains(b, sealing.Reveal()) {
		t.Errorf("the keys are not sealed, %v", err)
	}
}

func TestRefused(t *testing.T) {
	if _, err := Load(t.TempDir(), Options{}); !errors.Is(err, ErrNone) {
		t.Errorf("no keys: %v", err)
	}
	for name, c := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"keys readable by the group": {func(dir string) error { return os.Chmod(filepath.Join(dir, keysFile), 0o640) }, "may be read by others"},
		"key readable by all":        {func(dir string) error { return os.Chmod(filepath.Join(dir, fileKeyFile), 0o604) }, "may be read by others"},
		"key missing":                {func(dir string) error { return os.Remove(filepath.Join(dir, fileKeyFile)) }, wayOut},
		"key empty":                  {func(dir string) error { return os.Truncate(filepath.Join(dir, fileKeyFile), 0) }, wayOut},
		"keys cut off":               {func(dir string) error { return os.Truncate(filepath.Join(dir, keysFile), 100) }, wayOut},
		"keys empty":                 {func(dir string) error { return os.Truncate(filepath.Join(dir, keysFile), 0) }, wayOut},
		"keys endless":               {func(dir string) error { return os.Truncate(filepath.Join(dir, keysFile), maxFile+1) }, "too long"},
		"another's key": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, fileKeyFile), make([]byte, seal.KeySize), 0o600)
		}, wayOut},
	} {
		dir, _ := created(t, Options{TPM: NoTPM})
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBrokenDisk ends the process at every write. The keys are there, whole,
// or a second Create makes others.
func TestBrokenDisk(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		for _, persisted := range []bool{false, true} {
			for at := 0; creationInterrupted(t, o, at, persisted); at++ {
			}
		}
	})
	dir, _ := created(t, Options{TPM: NoTPM})
	info, err := os.Stat(filepath.Join(dir, fileKeyFile))
	if err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// creationInterrupted reports whether there is an operation at.
func creationInterrupted(t *testing.T, o Options, at int, persisted bool) bool {
	t.Helper()
	k, err := New(1, o, seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	step, died := dying(at, persisted)
	err = Create(dir, k, seeded(2), step)
	if !died() {
		return false
	}
	if err == nil {
		t.Errorf("step %d, done: %v: no error", at, persisted)
	}
	if _, err := Load(dir, o); errors.Is(err, ErrNone) {
		// What the process that died had in memory is gone.
		if k, err = New(1, o, seeded(3)); err == nil {
			err = Create(dir, k, seeded(4), nil)
		}
		if err != nil {
			t.Fatalf("step %d, done: %v: %v", at, persisted, err)
		}
	}
	wants(t, "created", dir, o, k, k.Sealing[0].Public())
	return true
}

// TestFormat1 reads what the first release with these files wrote, and renews
// its sealing key.
func TestFormat1(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{keysFile, fileKeyFile} {
		b, err := os.ReadFile(filepath.Join("testdata", "format-1", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	k, want := reloaded(t, dir, Options{}), keys(t, 1)
	if k.Node != want.Node || !bytes.Equal(revealed(k), revealed(want)) || k.Storage != FileStorage {
		t.Error("other keys were read than were written")
	}
	wants(t, "as it was", dir, Options{}, k, want.Sealing[0].Public())
	k, err := Renew(dir, k, seal.HybridHPKE1024, seeded(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "renewed", dir, Options{}, k, k.Sealing[0].Public(), want.Sealing[0].Public())
}
