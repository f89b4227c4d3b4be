package found

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

const passphrase = "rowboat ferns at dusk"

var now = time.Date(2026, 11, 22, 12, 0, 0, 123e6, time.UTC)

// logged is all that was logged.
type logged struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func config(t testing.TB, log *logged) Config {
	dir := t.TempDir()
	return Config{Dir: filepath.Join(dir, "state"), Kit: filepath.Join(dir, "kit.age"), Passphrase: passphrase, Home: "home", Gateway: "hall",
		VendorID: 0xFFF1, Now: now, TPM: keyfile.NoTPM, Random: rand.NewChaCha8([32]byte{1}), KitWork: 2,
		Cluster: cluster.Config{Now: func() time.Time { return now },
			Log:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Fatal: func(err error) { t.Errorf("fatal: %v", err) }}}
}

// reopened is what the next process has.
func reopened(t testing.TB, c Config) (*cluster.Cluster, keyfile.Keys) {
	t.Helper()
	keys, err := keyfile.Load(c.Dir, keyfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := cluster.Open(c.cluster(keys.Node))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, keys
}

func opened(t testing.TB, path string) *seal.Kit {
	t.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	k, err := seal.OpenKit(file, passphrase)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestFound(t *testing.T) {
	c := config(t, new(logged))
	s, err := Found(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	l, keys := reopened(t, c)
	if l.State().Index != s.Index || !l.State().Founded() {
		t.Error("another state was kept")
	}
	s = l.State()
	rcac, err := cert.Parse(s.Home.Root)
	if err != nil {
		t.Fatal(err)
	}
	root, err := cert.NewRoot(rcac)
	if err != nil {
		t.Fatal(err)
	}
	self := s.Gateways[keys.Node]
	n, err := root.Verify(self.NOC, s.Generation().ICAC, cert.At(now))
	if err != nil || n.NodeID != keys.Node || n.FabricID != s.Home.FabricID || n.PublicKey != keys.Operational.PublicKey() ||
		len(n.CATs) != 1 || !n.CATs[0].Satisfies(s.Home.GatewayCAT) || keys.Node >= 1<<48 {
		t.Errorf("the gateway: %+v, %v", n, err)
	}
	admitsADevice(t, l, keys, root)

	kit := opened(t, c.Kit)
	if kit.FabricID != s.Home.FabricID || !bytes.Equal(kit.Root, s.Home.Root) {
		t.Error("the kit is another home's")
	}
	if _, _, err := issuer.NewIntermediate(rand.NewChaCha8([32]byte{2}), kit.Root, kit.Key, 2, time.Time{}); err != nil {
		t.Errorf("the kit is of no use: %v", err)
	}
	if info, err := os.Stat(c.Kit); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func vaultOf(k keyfile.Keys) *vault.Vault {
	return &vault.Vault{Node: k.Node, Sealing: func() []seal.SealingKey { return k.Sealing }, Random: rand.NewChaCha8([32]byte{3})}
}

// admitsADevice reserves and issues as the pairing flow does.
func admitsADevice(t *testing.T, l *cluster.Cluster, keys keyfile.Keys, root *cert.Authority) {
	t.Helper()
	s, err := l.Propose(t.Context(), fabric.Command{
		Reserve: &fabric.Reserve{Node: 7, Gateway: keys.Node, Deadline: now.UnixMilli() + 60_000}})
	if err != nil {
		t.Fatal(err)
	}
	v := vaultOf(keys)
	key, err := v.IssuerKey(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.IPK(t.Context(), s); err != nil {
		t.Error(err)
	}
	device, err := issuer.GenerateKey(rand.NewChaCha8([32]byte{3}))
	if err != nil {
		t.Fatal(err)
	}
	noc, err := issuer.Issue(s.Generation().ICAC, key, issuer.Reservation{Node: 7, Fabric: s.Home.FabricID, Serial: s.Devices[7].Serial,
		PublicKey: device.PublicKey(), NotBefore: time.UnixMilli(s.Home.Birth)})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := root.Verify(noc, s.Generation().ICAC, cert.At(now)); err != nil || n.NodeID != 7 {
		t.Errorf("the device: %+v, %v", n, err)
	}
}

func TestRefused(t *testing.T) {
	c := config(t, new(logged))
	weak := c
	weak.Passphrase = "short"
	if _, err := Found(t.Context(), weak); err == nil {
		t.Error("a weak passphrase")
	}
	if err := os.WriteFile(c.Kit, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Found(t.Context(), c); err == nil || !strings.Contains(err.Error(), "never overwritten") {
		t.Errorf("a kit that is there: %v", err)
	}
	if b, err := os.ReadFile(c.Kit); err != nil || string(b) != "mine" {
		t.Error("it was overwritten")
	}
	if _, err := keyfile.Load(c.Dir, keyfile.Options{}); !errors.Is(err, keyfile.ErrNone) {
		t.Errorf("keys were made before the kit: %v", err)
	}
	c.Kit += "2"
	if _, err := Found(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	c.Kit += "3"
	if _, err := Found(t.Context(), c); !errors.Is(err, ErrFounded) {
		t.Errorf("a second home: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(c.Dir, "gateway.*"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Found(t.Context(), c); err == nil || !strings.Contains(err.Error(), "belongs to gateway") {
		t.Errorf("a log whose gateway's keys are lost: %v", err)
	}
	if _, err := keyfile.Load(c.Dir, keyfile.Options{}); !errors.Is(err, keyfile.ErrNone) {
		t.Errorf("keys were made for another's log: %v", err)
	}
	if _, err := os.Stat(c.Kit); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a kit was made for nothing")
	}
}

// TestInterrupted ends the process at every write, before it is done and
// after. The next set-up completes it, or finds the home founded, and its kit
// good, though nobody was told.
func TestInterrupted(t *testing.T) {
	crash := errors.New("power cut")
	for _, persisted := range []bool{false, true} {
		for at := int32(0); ; at++ {
			c := config(t, new(logged))
			done := make(chan error, 16)
			var writes atomic.Int32
			// A dead process neither writes nor says anything more.
			c.Cluster.Fatal = func(err error) { done <- err; runtime.Goexit() }
			c.Cluster.Step = func(_ string, do func() error) error {
				n := writes.Add(1) - 1
				if n < at {
					return do()
				}
				if n == at && persisted {
					return errors.Join(do(), crash)
				}
				return crash
			}
			go func() {
				_, err := Found(t.Context(), c)
				done <- err
			}()
			if err := <-done; err == nil {
				t.Logf("%d writes", at)
				break
			}
			finishes(t, c, at, persisted)
		}
	}
}

func finishes(t *testing.T, c Config, at int32, persisted bool) {
	t.Helper()
	first := c.Kit
	c.Cluster.Step, c.Cluster.Fatal = nil, func(err error) { t.Errorf("fatal: %v", err) }
	c.Dir = copied(t, c.Dir) // the dead process's goroutines still hold the lock
	c.Kit = filepath.Join(t.TempDir(), "kit.age")
	_, err := Found(t.Context(), c)
	if errors.Is(err, ErrFounded) {
		c.Kit, err = first, nil
	}
	if err != nil {
		t.Fatalf("crash at write %d (done: %v): %v", at, persisted, err)
	}
	l, keys := reopened(t, c)
	if kit := opened(t, c.Kit); !bytes.Equal(kit.Root, l.State().Home.Root) {
		t.Errorf("crash at write %d (done: %v): the kit is of another root", at, persisted)
	}
	if _, err := vaultOf(keys).IssuerKey(t.Context(), l.State()); err != nil {
		t.Errorf("crash at write %d (done: %v): %v", at, persisted, err)
	}
}

func copied(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "state")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(to, "gateway.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files { // CopyFS lets others read
		if err := os.Chmod(f, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestCanaries looks for every key in all that was written and logged.
func TestCanaries(t *testing.T) {
	log := new(logged)
	c := config(t, log)
	if _, err := Found(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	l, keys := reopened(t, c)
	if err := l.Snapshot(); err != nil {
		t.Fatal(err)
	}
	key, err1 := vaultOf(keys).IssuerKey(t.Context(), l.State())
	ipk, err2 := vaultOf(keys).IPK(t.Context(), l.State())
	sealing, err3 := keys.Sealing[0].Reveal()
	kitSealing, err4 := opened(t, c.Kit).Sealing.Reveal()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	epoch := ipk.Reveal()
	found := map[string][]byte{"log": log.Bytes()}
	for _, dir := range []string{c.Dir, filepath.Dir(c.Kit)} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				found[path], err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) < 6 || len(found["log"]) == 0 {
		t.Errorf("only %d files were looked at", len(found))
	}
	for name, secret := range map[string][]byte{"root key": opened(t, c.Kit).Key.Reveal(), "issuing key": key.Reveal(), "IPK": epoch[:],
		"operational key": keys.Operational.(issuer.PrivateKey).Reveal(), "sealing key": sealing.Reveal(), "kit's sealing key": kitSealing.Reveal(), "passphrase": []byte(passphrase)} {
		for where, contents := range found {
			for _, form := range forms(secret) {
				if bytes.Contains(contents, form) {
					t.Errorf("%s is in %s", name, where)
				}
			}
		}
	}
}

// forms are what octets may be written as. Base64 depends on where in a text
// they are: three tails have all three forms.
func forms(secret []byte) [][]byte {
	all := [][]byte{secret, []byte(hex.EncodeToString(secret)), []byte(strings.ToUpper(hex.EncodeToString(secret)))}
	for skip := range 3 {
		whole := secret[skip : skip+(len(secret)-skip)/3*3]
		all = append(all, []byte(base64.StdEncoding.EncodeToString(whole)), []byte(base64.URLEncoding.EncodeToString(whole)))
	}
	return all
}
