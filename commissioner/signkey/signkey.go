// Package signkey keeps the keys that sign statements about firmware: Ed25519
// in a file under a passphrase, or ECDSA P-256 in a TPM 2.0, of which the file
// then tells which key it is. The public half stands in the file in plain.
//
// It promises that a private key is in plain on no disk, in no log and in no
// error, that a key file never takes the place of another file, that one which
// others may read is refused, and that a private key which does not belong to
// the public half beside it signs nothing.
//
// It never asks for a passphrase and never says who trusts a key. A cut while a
// file is made leaves one that is refused, of a key that nobody has seen yet.
package signkey

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"gatehouse/cluster/durable"
	"gatehouse/cluster/tpm"
	"gatehouse/fabric/seal"
)

// Work is the logarithm of scrypt's work factor: a quarter of a GiB of memory
// and about a second, three on a small board.
const Work = seal.KitWork

// Signer is a private key.
type Signer interface {
	crypto.Signer
	Erase() // afterwards it signs no more, where that can be
}

// Create makes a key in a new file that opens with a passphrase. The error is
// fs.ErrExist where there is such a file. work is Work, but in tests.
func Create(path, passphrase string, work int, random io.Reader, step durable.Step) (*File, error) {
	seed, err := seal.RandomSecret(random)
	if err != nil {
		return nil, err
	}
	defer seed.Erase()
	raw := seed.Reveal()
	defer clear(raw)
	locked, err := seal.Lock(raw, passphrase, work)
	if err != nil {
		return nil, err
	}
	return write(path, &File{public: newPair(seed).public, locked: string(locked)}, step)
}

// CreateInTPM has a TPM make a key, and writes into a new file which it is. The
// key opens for whoever has the file and the TPM: no passphrase is needed.
func CreateInTPM(path string, d *tpm.TPM, step durable.Step) (*File, error) {
	k, err := d.NewSigner()
	if err != nil {
		return nil, fmt.Errorf("make a key in the TPM %s: %w", d.Path(), err)
	}
	o := k.Object()
	return write(path, &File{public: k.Public(), primary: d.Primary(), object: &o}, step)
}

// write writes a new key file and reads it again. Where that fails, there is
// none.
func write(path string, k *File, step durable.Step) (*File, error) {
	data, err := k.encode()
	if err != nil {
		return nil, err
	}
	var f *os.File
	err = step.Do("create", func() (err error) {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if f == nil {
		return nil, err
	}
	if err == nil {
		err = step.Do("write", func() error {
			_, err := f.Write(data)
			return errors.Join(err, f.Sync())
		})
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = durable.SyncDir(step, filepath.Dir(path))
	}
	if err == nil {
		k, err = Read(path) // a file system may keep no permissions
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(path))
	}
	return k, nil
}

// Read reads a key file, which nobody but its owner may read.
func Read(path string) (*File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others: look for what they took, then chmod 600", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, err
	}
	k, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// Unlock opens a key that is in its file. The error is seal.ErrPassphrase where
// the passphrase is another one.
func (k *File) Unlock(passphrase string) (Signer, error) {
	if k.InTPM() {
		return nil, errors.New("the key is in a TPM")
	}
	raw, err := seal.Unlock([]byte(k.locked), passphrase, ed25519.SeedSize)
	if errors.Is(err, seal.ErrPassphrase) {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	defer clear(raw)
	if len(raw) != ed25519.SeedSize {
		return nil, errDamaged
	}
	p := newPair(seal.NewSecret(raw))
	if !p.public.Equal(k.public) {
		p.Erase()
		return nil, errHalves
	}
	return p, nil
}

// OpenTPM opens a key that the TPM at path has.
func (k *File) OpenTPM(path string) (Signer, error) {
	if !k.InTPM() {
		return nil, errors.New("the key is in no TPM")
	}
	s, err := tpm.At(path, k.primary).OpenSigner(*k.object)
	if err != nil {
		return nil, fmt.Errorf("the key is in a TPM, and %s does not open it: %w", path, err)
	}
	if p, ok := k.public.(interface{ Equal(crypto.PublicKey) bool }); !ok || !p.Equal(s.Public()) {
		return nil, errHalves
	}
	return inTPM{s}, nil
}

// inTPM is a key that is never here to be erased.
type inTPM struct{ *tpm.Signer }

func (inTPM) Erase() {}

// pair is a key from a file.
type pair struct {
	seed   seal.Secret
	public ed25519.PublicKey
}

func newPair(seed seal.Secret) pair {
	raw := seed.Reveal()
	defer clear(raw)
	return pair{seed, ed25519.NewKeyFromSeed(raw).Public().(ed25519.PublicKey)}
}

func (p pair) Public() crypto.PublicKey { return p.public }

func (p pair) Erase() { p.seed.Erase() }

func (p pair) Sign(random io.Reader, message []byte, o crypto.SignerOpts) ([]byte, error) {
	raw := p.seed.Reveal()
	defer clear(raw)
	key := ed25519.NewKeyFromSeed(raw)
	defer clear(key)
	if !p.public.Equal(key.Public()) {
		return nil, errors.New("the key was erased")
	}
	return key.Sign(random, message, o)
}
