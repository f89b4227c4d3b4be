package backup

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
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
	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

const (
	passphrase = "rowboat ferns at dusk"
	password   = "wifi password of the home"
)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

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

func seeded(n byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{n}) }

func config(t testing.TB, at time.Time, log *logged) found.Config {
	dir := t.TempDir()
	return found.Config{Dir: filepath.Join(dir, "state"), Kit: filepath.Join(dir, "kit.age"), Passphrase: passphrase, Home: "home", Gateway: "hall",
		VendorID: 0xFFF1, Now: at, TPM: keyfile.NoTPM, Random: seeded(1), KitWork: 2,
		Cluster: cluster.Config{Now: func() time.Time { return at }, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Fatal: func(err error) { t.Errorf("fatal: %v", err) }}}
}

// reopened is what the next process has.
func reopened(t testing.TB, c found.Config) (*cluster.Cluster, keyfile.Keys) {
	t.Helper()
	keys, err := keyfile.Load(c.Dir, keyfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.Cluster
	cfg.Dir, cfg.Node = found.LogDir(c.Dir), keys.Node
	l, err := cluster.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, keys
}

func vaultOf(k keyfile.Keys) *vault.Vault {
	return &vault.Vault{Node: k.Node, Sealing: func() []seal.SealingKey { return k.Sealing }, Random: seeded(3)}
}

// home is one that was founded and lived in, its kit and a backup.
type home struct {
	config found.Config
	log    *logged
	ledger *cluster.Cluster
	keys   keyfile.Keys
	kit    *seal.Kit
	file   []byte
}

func newHome(t testing.TB) *home {
	t.Helper()
	h := &home{log: new(logged)}
	h.config = config(t, now, h.log)
	if _, err := found.Found(t.Context(), h.config); err != nil {
		t.Fatal(err)
	}
	h.ledger, h.keys = reopened(t, h.config)
	kit, err := os.ReadFile(h.config.Kit)
	if err != nil {
		t.Fatal(err)
	}
	if h.kit, err = seal.OpenKit(kit, passphrase); err != nil {
		t.Fatal(err)
	}
	n := fabric.Network{Name: "n", Kind: fabric.WiFi, ID: []byte("ssid")}
	if err := vaultOf(h.keys).SealNetwork(t.Context(), h.ledger.State(), &n, seal.NewSecret([]byte(password))); err != nil {
		t.Fatal(err)
	}
	h.propose(t, fabric.Command{SetNetwork: &fabric.SetNetwork{Name: n.Name, Kind: n.Kind, ID: n.ID, Sealed: n.Sealed, DataKey: n.DataKey}})
	for node := cert.NodeID(7); node < 10; node++ {
		h.propose(t, fabric.Command{Reserve: &fabric.Reserve{Node: node, Gateway: h.keys.Node, FailSafe: 60_000, Name: "lamp"}})
	}
	h.propose(t, fabric.Command{Issue: &fabric.Issue{Node: 7, NOCHash: make([]byte, 32), PublicKey: make([]byte, 65)}})
	h.propose(t, fabric.Command{Admit: &fabric.Admit{Node: 7, Access: 1}})
	h.propose(t, fabric.Command{Abandon: &fabric.Abandon{Node: 8}})
	h.file = taken(t, h.ledger.State(), now.Add(time.Minute))
	return h
}

func (h *home) propose(t testing.TB, c fabric.Command) {
	t.Helper()
	if _, err := h.ledger.Propose(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func taken(t testing.TB, s *fabric.State, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, s, at, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (h *home) open(t testing.TB) *Backup {
	t.Helper()
	b, err := Open(bytes.NewReader(h.file), h.kit)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// elsewhere is an empty directory a day later.
func elsewhere(t testing.TB, log *logged) found.Config {
	c := config(t, now.Add(24*time.Hour), log)
	c.Gateway, c.Random, c.Kit, c.Passphrase, c.Home = "attic", seeded(2), "", "", ""
	return c
}

func TestRestore(t *testing.T) {
	h := newHome(t)
	b, c := h.open(t), elsewhere(t, h.log)
	if !b.Taken.Equal(now.Add(time.Minute)) || len(b.State.Gateways) != 0 {
		t.Errorf("%+v", b)
	}
	plan, err := NewPlan(t.Context(), c, b, h.kit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a dry run has written something")
	}
	if len(plan.Devices) != 1 || len(plan.Abandoned) != 1 || plan.Former != 2 || plan.Lost[0] != "hall" || plan.Restores != 1 || plan.Trusting != 1 ||
		plan.Networks[0] != "n" || plan.Tag != (Change{1, tagBase + 4}) || plan.NodeIDs != "0001000000000000" || plan.Gateway != "" {
		t.Errorf("%+v", plan)
	}
	if _, err := Restore(t.Context(), c, b, h.kit); err != nil {
		t.Fatal(err)
	}
	l, keys := reopened(t, c)
	s := l.State()
	if done := b.Compare(s); done.Gateway != keys.Node.String() || done.Trusting != 1 || done.Former != plan.Former {
		t.Errorf("%+v", done)
	}
	if _, err := Restore(t.Context(), c, b, h.kit); err == nil {
		t.Error("restored over a home that runs")
	}
	lives(t, h, l, keys)
	trails(t, b, l)
	if err := l.Snapshot(); err != nil {
		t.Fatal(err)
	}
	c.Dir = copied(t, c.Dir) // its own is locked
	l, _ = reopened(t, c)
	trails(t, b, l)
}

// trails checks that the trail of a restored home goes on where the backup's
// ends. What was before is only known by its hashes.
func trails(t *testing.T, b *Backup, l *cluster.Cluster) {
	t.Helper()
	leaves, err := l.Trail().Leaves()
	if err != nil || b.State.TrailSize() == 0 || !leaves.Before.Same(b.State.TrailTree()) || !leaves.Tree().Same(l.State().TrailTree()) {
		t.Fatalf("the trail begins with record %d, the backup ends with %d: %v", leaves.Before.Size, b.State.TrailSize(), err)
	}
	said, root := "", b.State.TrailTree().Root()
	if _, err := l.Trail().Read(b.State.TrailSize(), func(_ uint64, line []byte) bool {
		said = string(line)
		return false
	}); err != nil || !strings.Contains(said, `"what":"home-restored"`) || !strings.Contains(said, fmt.Sprintf(`"trail":%d,"trail_root":"%x"`, b.State.TrailSize(), root[:])) {
		t.Errorf("%s, %v", said, err)
	}
}

// lives checks that a restored home is the one it was, and works.
func lives(t *testing.T, h *home, l *cluster.Cluster, keys keyfile.Keys) {
	t.Helper()
	s := l.State()
	root, err := found.Root(s.Home.Root)
	if err != nil {
		t.Fatal(err)
	}
	self := s.Gateways[keys.Node]
	n, err := root.Verify(self.NOC, s.Generation().ICAC, cert.At(now))
	if err != nil || n.NodeID != keys.Node || n.FabricID != s.Home.FabricID || n.PublicKey != keys.Operational.PublicKey() ||
		!n.CATs[0].Satisfies(s.Home.GatewayCAT) || !n.CATs[0].Satisfies(cert.NewCAT(found.GatewayTag, 1)) || keys.Node>>48 != 1 {
		t.Errorf("the gateway: %+v, %v", n, err)
	}
	was, err1 := vaultOf(h.keys).IPK(t.Context(), h.ledger.State())
	is, err2 := vaultOf(keys).IPK(t.Context(), s)
	network, err3 := vaultOf(keys).OpenNetwork(t.Context(), s, s.Networks["n"])
	key, err4 := vaultOf(keys).IssuerKey(t.Context(), s)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	if was.Reveal() != is.Reveal() || string(network.Reveal()) != password {
		t.Error("other secrets came back")
	}
	node, err := s.DrawNode(seeded(9))
	if err != nil {
		t.Fatal(err)
	}
	if s, err = l.Propose(t.Context(), fabric.Command{Reserve: &fabric.Reserve{Node: node, Gateway: keys.Node, FailSafe: 60_000}}); err != nil {
		t.Fatal(err)
	}
	noc, err := issuer.Issue(s.Generation().ICAC, key, issuer.Reservation{Node: node, Fabric: s.Home.FabricID, Serial: s.Devices[node].Serial,
		PublicKey: h.keys.Operational.PublicKey(), NotBefore: time.UnixMilli(s.Home.Birth)})
	if err == nil {
		_, err = root.Verify(noc, s.Generation().ICAC, cert.At(now))
	}
	if err != nil {
		t.Errorf("a device: %v", err)
	}
	// The kit opens the next backup, too.
	if _, err := Open(bytes.NewReader(taken(t, s, now)), h.kit); err != nil {
		t.Error(err)
	}
}

func TestRefused(t *testing.T) {
	h := newHome(t)
	b := h.open(t)
	other := newHomeKit(t)
	if _, err := Open(bytes.NewReader(h.file), other); !errors.Is(err, ErrKit) || !strings.Contains(err.Error(), "fabric") {
		t.Errorf("another home's kit: %v", err)
	}
	later := *h.kit
	var err error
	if later.Sealing, err = seal.NewSealingKey(seal.FirstSuite.Envelopes(), seeded(8)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(bytes.NewReader(h.file), &later); !errors.Is(err, ErrKit) {
		t.Errorf("a later kit of the home: %v", err)
	}
	later.Sealing = seal.SealingKey{}
	if _, err := Open(bytes.NewReader(h.file), &later); !errors.Is(err, ErrKit) || !strings.Contains(err.Error(), "early") {
		t.Errorf("an early kit: %v", err)
	}
	early := *h.ledger.State()
	early.Home.Recovery = nil
	if err := Write(new(bytes.Buffer), &early, now, nil); !errors.Is(err, fabric.ErrNoRecovery) {
		t.Errorf("an early home: %v", err)
	}
	for _, i := range []int{0, 10, 60, 200, 1000, len(h.file) / 2, len(h.file) - 1} {
		bad := bytes.Clone(h.file)
		bad[i] ^= 1
		for _, f := range [][]byte{bad, h.file[:i]} {
			if _, err := Open(bytes.NewReader(f), h.kit); !errors.Is(err, ErrNoBackup) && !errors.Is(err, ErrKit) {
				t.Errorf("damaged at %d: %v", i, err)
			}
		}
	}
	earlier := bytes.Replace(h.file, []byte("17"), []byte("16"), 1) // the time in its header
	if _, err := Open(bytes.NewReader(earlier), h.kit); err == nil {
		t.Error("opens as taken at another time")
	}
	c := elsewhere(t, h.log)
	c.Now = now.Add(-time.Hour)
	if _, err := Restore(t.Context(), c, b, h.kit); !errors.Is(err, ErrClock) {
		t.Errorf("a clock of before: %v", err)
	}
	c = elsewhere(t, h.log)
	c.Dir = copied(t, h.config.Dir) // the home's own is locked
	if _, err := Restore(t.Context(), c, b, h.kit); !errors.Is(err, found.ErrFounded) {
		t.Errorf("over a home: %v", err)
	}
	c = elsewhere(t, h.log)
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "membership.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), c, b, h.kit); !errors.Is(err, found.ErrFounded) {
		t.Errorf("over a gateway that has joined: %v", err)
	}
}

func newHomeKit(t testing.TB) *seal.Kit {
	t.Helper()
	f, err := issuer.NewFabric(seeded(7), issuer.Params{Birth: now})
	if err != nil {
		t.Fatal(err)
	}
	k := &seal.Kit{Home: "other", FabricID: f.FabricID, Root: f.RCAC, Key: f.RootKey, Made: now}
	if k.Sealing, err = seal.NewSealingKey(seal.FirstSuite.Envelopes(), seeded(7)); err != nil {
		t.Fatal(err)
	}
	return k
}

// TestInterrupted ends the process at every write of a restore, before it is
// done and after. The next restore completes it, or finds the home.
func TestInterrupted(t *testing.T) {
	h := newHome(t)
	crash := errors.New("power cut")
	for _, persisted := range []bool{false, true} {
		for at := int32(0); ; at++ {
			c := elsewhere(t, h.log)
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
				_, err := Restore(t.Context(), c, h.open(t), h.kit)
				done <- err
			}()
			if err := <-done; err == nil {
				t.Logf("%d writes", at)
				break
			}
			c.Cluster.Step, c.Cluster.Fatal = nil, func(err error) { t.Errorf("fatal: %v", err) }
			c.Dir = copied(t, c.Dir) // the dead process's goroutines still hold the lock
			c.Random = seeded(4)
			if _, err := Restore(t.Context(), c, h.open(t), h.kit); err != nil && !errors.Is(err, found.ErrFounded) {
				t.Fatalf("crash at write %d (done: %v): %v", at, persisted, err)
			}
			l, keys := reopened(t, c)
			lives(t, h, l, keys)
		}
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

// TestCanaries looks for every secret in the backup, as a file and opened, and
// in all that a restore wrote and logged.
func TestCanaries(t *testing.T) {
	h := newHome(t)
	b, c := h.open(t), elsewhere(t, h.log)
	if _, err := Restore(t.Context(), c, b, h.kit); err != nil {
		t.Fatal(err)
	}
	l, keys := reopened(t, c)
	if err := l.Snapshot(); err != nil {
		t.Fatal(err)
	}
	plain, err := cluster.EncodeState(b.State)
	if err != nil {
		t.Fatal(err)
	}
	places := map[string][]byte{"backup": h.file, "opened backup": plain, "log": h.log.Bytes()}
	err = filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			places[path], err = os.ReadFile(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(places) < 6 {
		t.Errorf("only %d places were looked at", len(places))
	}
	secrets := map[string][]byte{"root key": h.kit.Key.Reveal(), "passphrase": []byte(passphrase), "password": []byte(password)}
	for name, of := range map[string]struct {
		keys keyfile.Keys
		s    *fabric.State
	}{"old": {h.keys, h.ledger.State()}, "new": {keys, l.State()}} {
		key, err1 := vaultOf(of.keys).IssuerKey(t.Context(), of.s)
		ipk, err2 := vaultOf(of.keys).IPK(t.Context(), of.s)
		sealing, err3 := of.keys.Sealing[0].Reveal()
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		epoch := ipk.Reveal()
		secrets[name+" issuing key"], secrets[name+" IPK"], secrets[name+" sealing key"] = key.Reveal(), epoch[:], sealing.Reveal()
		secrets[name+" operational key"] = of.keys.Operational.(issuer.PrivateKey).Reveal()
	}
	kitSealing, err := h.kit.Sealing.Reveal()
	if err != nil {
		t.Fatal(err)
	}
	secrets["kit's sealing key"] = kitSealing.Reveal()
	for name, secret := range secrets {
		for where, contents := range places {
			for _, form := range forms(secret) {
				if bytes.Contains(contents, form) {
					t.Errorf("%s is in %s", name, where)
				}
			}
		}
	}
	// Who the gateways were is not in it either, but for their node ids.
	self := h.ledger.State().Gateways[h.keys.Node]
	public := h.keys.Operational.PublicKey()
	for name, what := range map[string][]byte{"certificate": self.NOC, "public sealing key": self.SealKey, "public key": public[:],
		"issuing key, sealed": h.ledger.State().Generation().Key} {
		if bytes.Contains(plain, what) {
			t.Errorf("the gateway's %s is in the backup", name)
		}
	}
	if bytes.Contains(h.file, []byte("lamp")) {
		t.Error("the backup is not encrypted")
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

func FuzzOpen(f *testing.F) {
	h := newHome(f)
	f.Add(h.file)
	f.Add([]byte("age-encryption.org/v1\n-> gatehouse-recovery-kit " + h.kit.FabricID.String() + " 1\n\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		opened, err := Open(bytes.NewReader(b), h.kit)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20+1000*uint64(len(b)) {
			t.Errorf("%d octets allocated for %d", used, len(b))
		}
		if (err == nil) != (opened != nil) {
			t.Error("neither a backup nor an error")
		}
	})
}
