package keyfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/cluster/durable"
	"gatehouse/fabric/seal"
)

// publics are the sealing keys of k by their public keys, the newest first.
func publics(k Keys) (list [][]byte) {
	for _, s := range k.Sealing {
		list = append(list, s.Public())
	}
	return list
}

// wants fails unless k's sealing keys are those, in memory and in dir.
func wants(t *testing.T, what, dir string, o Options, k Keys, sealing ...[]byte) {
	t.Helper()
	loaded, err := Load(dir, o)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for where, got := range map[string][][]byte{"memory": publics(k), "the file": publics(loaded)} {
		if len(got) != len(sealing) {
			t.Errorf("%s: %d sealing keys in %s, want %d", what, len(got), where, len(sealing))
			continue
		}
		for i := range got {
			if !bytes.Equal(got[i], sealing[i]) {
				t.Errorf("%s: sealing key %d in %s is another", what, i, where)
			}
		}
	}
	if loaded.Node != k.Node || loaded.Operational.PublicKey() != k.Operational.PublicKey() || loaded.Storage != k.Storage {
		t.Errorf("%s: more than the sealing keys changed", what)
	}
}

func TestRenew(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		dir, k := created(t, o)
		old := k.Sealing[0]
		blob, err := seal.Wrap(old.Public(), "test", seal.NewSecret([]byte("secret")))
		if err != nil {
			t.Fatal(err)
		}
		k, err = Settle(dir, k, old.Public(), seeded(5), nil)
		if err != nil {
			t.Fatal(err)
		}
		wants(t, "nothing to settle", dir, o, k, old.Public())

		if k, err = Renew(dir, k, seal.HybridHPKE, seeded(6), nil); err != nil || len(k.Sealing) != 2 {
			t.Fatal(len(k.Sealing), err)
		}
		fresh := k.Sealing[0]
		wants(t, "renewed", dir, o, k, fresh.Public(), old.Public())
		if s, err := k.Sealing[1].Unwrap("test", blob); err != nil || string(s.Reveal()) != "secret" {
			t.Errorf("what was wrapped before does not open: %v", err)
		}
		if k, err = Renew(dir, k, seal.HybridHPKE, seeded(7), nil); err != nil {
			t.Fatal(err)
		}
		wants(t, "renewed again before it was settled", dir, o, k, fresh.Public(), old.Public())
		if k, err = Settle(dir, k, old.Public(), seeded(8), nil); err != nil {
			t.Fatal(err)
		}
		wants(t, "settled before the proposal is committed", dir, o, k, fresh.Public(), old.Public())
		stranger := keys(t, 9).Sealing[0].Public()
		if k, err = Settle(dir, k, stranger, seeded(8), nil); !errors.Is(err, errUnknownCurrent) {
			t.Errorf("a key that is not the gateway's: %v", err)
		}
		wants(t, "settled to a stranger's key", dir, o, k, fresh.Public(), old.Public())

		before, renewed := k, k
		if k, err = Settle(dir, k, fresh.Public(), seeded(8), nil); err != nil {
			t.Fatal(err)
		}
		wants(t, "settled", dir, o, k, fresh.Public())
		wants(t, "settled by somebody who had not heard", dir, o, settled(t, dir, renewed, fresh.Public()), fresh.Public())
		if len(before.Sealing) != 2 {
			t.Error("keys in use were changed")
		}
		if k, err = Settle(dir, k, old.Public(), seeded(8), nil); err == nil {
			t.Error("the last key can be settled away")
		}
		if k, err = Renew(dir, k, seal.HybridHPKE, seeded(10), nil); err != nil || len(k.Sealing) != 2 || bytes.Equal(k.Sealing[0].Public(), fresh.Public()) {
			t.Errorf("there is no second renewal: %v", err)
		}
	})
}

func settled(t *testing.T, dir string, k Keys, current []byte) Keys {
	t.Helper()
	k, err := Settle(dir, k, current, seeded(11), nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestOverwritten looks where a file lay that was replaced.
func TestOverwritten(t *testing.T) {
	dir, k := created(t, Options{TPM: NoTPM})
	path, remains := filepath.Join(dir, keysFile), filepath.Join(dir, "remains")
	for name, change := range map[string]func() (Keys, error){
		"renew":  func() (Keys, error) { return Renew(dir, k, seal.HybridHPKE, seeded(5), nil) },
		"settle": func() (Keys, error) { return Settle(dir, k, k.Sealing[0].Public(), seeded(6), nil) },
	} {
		if name == "settle" {
			k, _ = Renew(dir, k, seal.HybridHPKE, seeded(7), nil)
		}
		os.Remove(remains)
		if err := os.Link(path, remains); err != nil {
			t.Fatal(err)
		}
		if _, err := change(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(remains)
		if err != nil || len(b) < 100 || len(bytes.Trim(b, "\x00")) != 0 {
			t.Errorf("%s: %d octets, not all overwritten, %v", name, len(b), err)
		}
	}
}

// dying is a process that dies at an operation, which is done or is not.
func dying(at int, persisted bool) (step durable.Step, died func() bool) {
	power, n := errors.New("power cut"), -1
	return func(_ string, do func() error) error {
		switch n++; {
		case n < at:
			return do()
		case n == at && persisted:
			return errors.Join(do(), power)
		}
		return power
	}, func() bool { return n >= at }
}

// TestInterrupted ends the process at every write of a renewal, before it is
// done and after. The key that the trust state wraps to is never lost, and in
// the end no other is left.
func TestInterrupted(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		for _, persisted := range []bool{false, true} {
			for at := 0; renewalInterrupted(t, o, at, persisted); at++ {
			}
			for at := 0; settlingInterrupted(t, o, at, persisted); at++ {
			}
		}
	})
}

// renewalInterrupted reports whether there is an operation at.
func renewalInterrupted(t *testing.T, o Options, at int, persisted bool) bool {
	t.Helper()
	dir, k := created(t, o)
	old := k.Sealing[0].Public()
	step, died := dying(at, persisted)
	k, err := Renew(dir, k, seal.HybridHPKE, seeded(5), step)
	if !died() {
		return false
	}
	if err == nil || len(k.Sealing) != 1 || !bytes.Equal(k.Sealing[0].Public(), old) {
		t.Errorf("write %d, done: %v: %d keys, %v", at, persisted, len(k.Sealing), err)
	}
	// The trust state has not heard of any new key, now and after a restart.
	for name, k := range map[string]Keys{"the same process": k, "the next": reloaded(t, dir, o)} {
		if k = settled(t, dir, k, old); !bytes.Equal(k.Sealing[len(k.Sealing)-1].Public(), old) {
			t.Errorf("write %d, done: %v, %s: the key in use is lost", at, persisted, name)
		}
	}
	if k, err = Renew(dir, reloaded(t, dir, o), seal.HybridHPKE1024, seeded(6), nil); err != nil {
		t.Fatal(err)
	}
	wants(t, "renewed after a crash", dir, o, k, k.Sealing[0].Public(), old)
	k = settled(t, dir, k, k.Sealing[0].Public())
	wants(t, "settled after a crash", dir, o, k, k.Sealing[0].Public())
	return true
}

// settlingInterrupted reports whether there is an operation at.
func settlingInterrupted(t *testing.T, o Options, at int, persisted bool) bool {
	t.Helper()
	dir, k := created(t, o)
	k, err := Renew(dir, k, seal.HybridHPKE, seeded(5), nil)
	if err != nil {
		t.Fatal(err)
	}
	fresh := k.Sealing[0].Public()
	step, died := dying(at, persisted)
	k, err = Settle(dir, k, fresh, seeded(6), step)
	if !died() {
		return false
	}
	if err == nil || len(k.Sealing) != 2 || !bytes.Equal(k.Sealing[0].Public(), fresh) {
		t.Errorf("write %d, done: %v: %d keys, %v", at, persisted, len(k.Sealing), err)
	}
	next := settled(t, dir, reloaded(t, dir, o), fresh)
	wants(t, "settled by the next process", dir, o, next, fresh)
	wants(t, "settled again by the same", dir, o, settled(t, dir, k, fresh), fresh)
	return true
}

func reloaded(t *testing.T, dir string, o Options) Keys {
	t.Helper()
	k, err := Load(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
