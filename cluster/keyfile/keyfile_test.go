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

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

func keys(t testing.TB, seed byte) Keys {
	t.Helper()
	operational, err1 := issuer.GenerateKey(seeded(seed))
	sealing, err2 := seal.NewSealingKey(seeded(seed))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return Keys{Node: cert.NodeID(seed), Operational: operational, Sealing: sealing}
}

func created(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := Create(dir, keys(t, 1), seeded(2), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestCreateAndLoad(t *testing.T) {
	dir, want := created(t), keys(t, 1)
	got, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Node != want.Node || !bytes.Equal(got.Operational.Reveal(), want.Operational.Reveal()) ||
		!bytes.Equal(got.Sealing.Public(), want.Sealing.Public()) {
		t.Error("other keys were read than were written")
	}
	if err := Create(dir, keys(t, 3), seeded(4), nil); err == nil {
		t.Error("a gateway's keys were overwritten")
	}
	sealing, err := want.Sealing.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, keysFile))
	if err != nil || bytes.Contains(b, want.Operational.Reveal()) || bytes.Contains(b, sealing.Reveal()) {
		t.Errorf("the keys are not sealed, %v", err)
	}
}

func TestRefused(t *testing.T) {
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrNone) {
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
		dir := created(t)
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBrokenDisk breaks every step twice. The keys are there, whole, or a
// second Create makes others.
func TestBrokenDisk(t *testing.T) {
	broken := errors.New("input/output error")
	for _, persisted := range []bool{false, true} {
		for at := range 8 {
			dir, n := t.TempDir(), -1
			err := Create(dir, keys(t, 1), seeded(2), func(_ string, do func() error) error {
				if n++; n != at {
					return do()
				}
				if persisted {
					return errors.Join(do(), broken)
				}
				return broken
			})
			if !errors.Is(err, broken) {
				t.Errorf("step %d: %v", at, err)
			}
			k, err := Load(dir)
			if errors.Is(err, ErrNone) {
				err = Create(dir, keys(t, 1), seeded(3), nil)
				if err == nil {
					k, err = Load(dir)
				}
			}
			if err != nil || k.Node != 1 {
				t.Errorf("step %d, persisted: %v: %v", at, persisted, err)
			}
		}
	}
	info, err := os.Stat(filepath.Join(created(t), fileKeyFile))
	if err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// TestVault opens what was sealed, and nothing that was put elsewhere.
func TestVault(t *testing.T) {
	k := keys(t, 1)
	key, err := issuer.GenerateKey(seeded(7))
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := cert.RandomEpochKey(seeded(8))
	if err != nil {
		t.Fatal(err)
	}
	generation := fabric.Generation{Number: 1}
	ipk, err := SealGeneration(seeded(9), 5, &generation, key, epoch, k.Node, k.Sealing.Public())
	if err != nil {
		t.Fatal(err)
	}
	state := func() *fabric.State {
		return &fabric.State{Home: fabric.Home{FabricID: 5, IPK: ipk}, Generations: []fabric.Generation{generation}}
	}
	v := Vault{Keys: k}
	gotKey, err1 := v.IssuerKey(state())
	gotIPK, err2 := v.IPK(state())
	if err := errors.Join(err1, err2); err != nil || !bytes.Equal(gotKey.Reveal(), key.Reveal()) || gotIPK.Reveal() != epoch.Reveal() {
		t.Errorf("other secrets came out: %v", err)
	}
	for what, spoil := range map[string]func(*fabric.State, *Vault){
		"another fabric":      func(s *fabric.State, _ *Vault) { s.Home.FabricID++ },
		"another generation":  func(s *fabric.State, _ *Vault) { s.Generations[0].Number++ },
		"no generation":       func(s *fabric.State, _ *Vault) { s.Generations = nil },
		"one for another":     func(s *fabric.State, _ *Vault) { s.Home.IPK, s.Generations[0].Key = s.Generations[0].Key, s.Home.IPK },
		"another gateway":     func(_ *fabric.State, v *Vault) { v.Keys = keys(t, 2) },
		"another sealing key": func(_ *fabric.State, v *Vault) { v.Keys.Sealing = keys(t, 2).Sealing },
		"nothing sealed":      func(s *fabric.State, _ *Vault) { s.Home.IPK, s.Generations[0].Key = nil, nil },
	} {
		s, v := state(), Vault{Keys: k}
		s.Generations = append([]fabric.Generation(nil), s.Generations...)
		spoil(s, &v)
		if _, err := v.IssuerKey(s); err == nil {
			t.Errorf("%s: the issuing key opens", what)
		}
		if _, err := v.IPK(s); err == nil {
			t.Errorf("%s: the IPK opens", what)
		}
	}
}

// TestNetwork opens a network's credentials as that network's only.
func TestNetwork(t *testing.T) {
	k := keys(t, 1)
	key, err := issuer.GenerateKey(seeded(7))
	if err != nil {
		t.Fatal(err)
	}
	generation := fabric.Generation{Number: 1}
	if _, err := SealGeneration(seeded(9), 5, &generation, key, cert.EpochKey{}, k.Node, k.Sealing.Public()); err != nil {
		t.Fatal(err)
	}
	s := &fabric.State{Home: fabric.Home{FabricID: 5}, Generations: []fabric.Generation{generation}}
	v := Vault{Keys: k}
	n := fabric.Network{Name: "attic", Kind: fabric.WiFi, ID: []byte("ssid")}
	if err := v.SealNetwork(seeded(3), s, &n, seal.NewSecret([]byte("password"))); err != nil {
		t.Fatal(err)
	}
	if got, err := v.OpenNetwork(s, &n); err != nil || string(got.Reveal()) != "password" {
		t.Errorf("opened as something else, %v", err)
	}
	if bytes.Contains(n.Sealed, []byte("password")) {
		t.Error("it is not sealed")
	}
	for what, spoil := range map[string]func(*fabric.Network){
		"another name":       func(n *fabric.Network) { n.Name = "cellar" },
		"another SSID":       func(n *fabric.Network) { n.ID = []byte("evil twin") },
		"another kind":       func(n *fabric.Network) { n.Kind = fabric.Thread },
		"another generation": func(n *fabric.Network) { n.Generation = 2 },
		"nothing sealed":     func(n *fabric.Network) { n.Sealed = nil },
	} {
		spoilt := n
		spoil(&spoilt)
		if _, err := v.OpenNetwork(s, &spoilt); err == nil {
			t.Errorf("%s: it opens", what)
		}
	}
	stranger := Vault{Keys: keys(t, 2)}
	if _, err := stranger.OpenNetwork(s, &n); err == nil {
		t.Error("another gateway's keys open it")
	}
}
