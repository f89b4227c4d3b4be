package keyfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"

	"gatehouse/cluster/durable"
	"gatehouse/cluster/tpm"
	"gatehouse/fabric/seal"
)

// errUnknownCurrent is no reason to drop anything: the trust state may not
// have caught up.
var errUnknownCurrent = errors.New("the trust state wraps to a sealing key that this gateway does not have")

// Renew draws a new sealing key for an algorithm and writes it in front of the one that the
// trust state wraps to. The caller then has the trust state wrap to the new
// one's public key, and calls Settle.
//
// While a renewal is not settled it draws none, and makes sure of the one that
// is there: it may have been proposed, and may be committed yet. With an error
// k comes back as it was, and is good whatever was written.
func Renew(dir string, k Keys, a seal.Algorithm, random io.Reader, step durable.Step) (Keys, error) {
	kept, err := k.kept(dir)
	if err != nil {
		return k, err
	}
	if len(kept) == 1 {
		fresh, err := seal.NewSealingKey(a, random)
		if err != nil {
			return k, err
		}
		kept = append([]seal.SealingKey{fresh}, kept...)
	}
	return k.with(kept, dir, random, step)
}

// Settle drops the sealing keys that are older than the one the trust state
// wraps to, whose public key is current: then whoever gets the disk later
// opens no old envelope. Call it at each start, once the trust state has
// caught up, and after each change of it. With an error k comes back as it
// was; call it again.
//
// It never drops a key newer than current, whose proposal may be committed
// yet, and none at all if it does not know current. It cannot erase a dropped
// key from memory, which is up to the garbage collector once k is forgotten.
func Settle(dir string, k Keys, current []byte, random io.Reader, step durable.Step) (Keys, error) {
	if last := k.Sealing[len(k.Sealing)-1]; bytes.Equal(last.Public(), current) {
		return k, nil
	}
	kept, err := k.kept(dir)
	if err != nil {
		return k, err
	}
	i := slices.IndexFunc(kept, func(s seal.SealingKey) bool { return bytes.Equal(s.Public(), current) })
	if i < 0 {
		return k, errUnknownCurrent
	}
	return k.with(kept[:i+1:i+1], dir, random, step)
}

// kept are the sealing keys on the disk, which are the ones to go on from:
// what failed to be written may be there all the same.
func (k Keys) kept(dir string) ([]seal.SealingKey, error) {
	o := Options{TPM: NoTPM}
	if signer, ok := k.Operational.(*tpm.Signer); ok {
		o.TPM = signer.TPM().Path()
	}
	loaded, err := Load(dir, o)
	return loaded.Sealing, err
}

// with is k with other sealing keys, once the disk has them.
func (k Keys) with(sealing []seal.SealingKey, dir string, random io.Reader, step durable.Step) (Keys, error) {
	key, err := k.fileKey(dir, random)
	if err != nil {
		return k, err
	}
	defer key.Erase()
	changed := k
	changed.Sealing = sealing
	file, err := changed.encode(key, random)
	if err != nil {
		return k, err
	}
	if err := replace(filepath.Join(dir, keysFile), file, step); err != nil {
		return k, err
	}
	return changed, nil
}

// fileKey is the key to seal a new keys file with. In a TPM's it is a new one.
func (k Keys) fileKey(dir string, random io.Reader) (seal.Secret, error) {
	if k.Storage == TPMStorage {
		return seal.RandomSecret(random)
	}
	return readKey(dir)
}

// replace replaces a file and overwrites the old one where it lies: the disk
// keeps what is only deleted, and the key that opens it is still there.
func replace(path string, data []byte, step durable.Step) error {
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := durable.WriteFile(step, path, data); err != nil {
		return err
	}
	return step.Do("overwrite", func() error {
		info, err := old.Stat()
		if err != nil {
			return err
		}
		if _, err := old.WriteAt(make([]byte, info.Size()), 0); err != nil {
			return err
		}
		return old.Sync()
	})
}
