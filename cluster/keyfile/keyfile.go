// Package keyfile keeps a gateway's own keys on its disk: who it is and what
// opens the home's secrets for it. They never leave the gateway.
//
// It promises that the keys are sealed, that their file is whole or not there,
// and that a file others could read is refused.
//
// Where there is a TPM 2.0, it makes the operational key and never gives it
// out, and it seals the key that seals the rest. Then the disk alone is worth
// nothing, and neither is what was listened to between processor and TPM. This
// does not keep the keys from whoever has the whole box, running or able to
// boot another system: the TPM opens for whatever runs there. A policy that
// asks for the state of the firmware and the kernel (PCRs) would, and would
// lock the gateway out at every update of them.
//
// Elsewhere the keys are sealed to a key in a file beside them, which keeps
// them out of careless copies and from nobody with the whole disk.
//
// A sealing key that was renewed is dropped and overwritten. A disk of flash
// may keep its octets all the same, until it needs the room.
package keyfile

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"gatehouse/cluster/durable"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// Names in the state directory.
const (
	keysFile    = "gateway.keys"
	fileKeyFile = "gateway.key"
	purpose     = "gatehouse gateway keys"
	maxFile     = 16 << 10

	wayOut = "this gateway cannot say who it is any more: replace it (another member admits it as a new one) or, if it was the only one, restore a backup"
)

// ErrNone says that a directory has no gateway's keys.
var ErrNone = errors.New("there are no gateway's keys")

// Storage is what keeps a gateway's keys from whoever has its disk.
type Storage string

const (
	FileStorage Storage = "file" // a key in a file beside them
	TPMStorage  Storage = "tpm2" // a TPM 2.0
)

// Values of Options.TPM, but for paths.
const (
	AutoTPM = "auto" // the kernel's, /dev/tpmrm0; none if that does not open
	NoTPM   = "none"
)

// Options say which TPM to use.
type Options struct {
	// TPM is AutoTPM, NoTPM, or the path of a TPM 2.0: a character device, or
	// the unix socket of an emulator. Empty is AutoTPM. Keys that are in a TPM
	// stay there, keys in a file too: this only says where to find it.
	TPM string
}

// Keys are a gateway's own.
type Keys struct {
	Node        cert.NodeID
	Operational Signer
	// Sealing is the newest key first; at most two. The one before stays until
	// the trust state wraps to the newest, and until Settle.
	Sealing []seal.SealingKey
	Storage Storage
}

// Signer is a private key on P-256, wherever it is. It signs SHA-256 digests.
type Signer interface {
	crypto.Signer
	PublicKey() cert.PublicKey
}

// New makes a gateway's keys, in the TPM if there is one. They are in no file
// until Create.
func New(node cert.NodeID, o Options, random io.Reader) (Keys, error) {
	sealing, err := seal.NewSealingKey(seal.FirstSuite.Envelopes(), random)
	if err != nil {
		return Keys{}, err
	}
	k := Keys{Node: node, Sealing: []seal.SealingKey{sealing}, Storage: FileStorage}
	if d := o.find(); d != nil {
		k.Storage = TPMStorage
		if k.Operational, err = d.NewSigner(); err != nil {
			return Keys{}, fmt.Errorf("make the gateway's keys in the TPM %s: %w; choose another TPM, or %q", d.Path(), err, NoTPM)
		}
		return k, nil
	}
	k.Operational, err = issuer.GenerateKey(random)
	return k, err
}

// Create writes new keys into dir, which must have none.
func Create(dir string, k Keys, random io.Reader, step durable.Step) error {
	if _, err := os.Lstat(filepath.Join(dir, keysFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has a gateway's keys already", dir)
	}
	key, err := seal.RandomSecret(random)
	if err != nil {
		return err
	}
	defer key.Erase()
	file, err := k.encode(key, random)
	if err != nil {
		return err
	}
	if k.Storage != TPMStorage {
		// The key first: without the other file, it opens nothing.
		raw := key.Reveal()
		defer clear(raw)
		if err := durable.WriteFile(step, filepath.Join(dir, fileKeyFile), raw); err != nil {
			return err
		}
	}
	return durable.WriteFile(step, filepath.Join(dir, keysFile), file)
}

// Load reads the keys in dir. The error is ErrNone if there are none.
func Load(dir string, o Options) (Keys, error) {
	path := filepath.Join(dir, keysFile)
	file, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, ErrNone
	} else if err != nil {
		return Keys{}, err
	}
	if sealedByTPM(file) {
		return loadFromTPM(path, file, o)
	}
	key, err := readKey(dir)
	if err != nil {
		return Keys{}, err
	}
	defer key.Erase()
	c, err := open(key, path, file)
	if err != nil {
		return Keys{}, err
	}
	defer c.clear()
	k, err := c.keys(FileStorage)
	if err == nil {
		k.Operational, err = issuer.ParsePrivateKey(c.Operational)
	}
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// readKey reads the key in the file beside.
func readKey(dir string) (seal.Secret, error) {
	raw, err := read(filepath.Join(dir, fileKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return seal.Secret{}, fmt.Errorf("%w; %s", err, wayOut)
	} else if err != nil {
		return seal.Secret{}, err
	}
	defer clear(raw)
	return seal.NewSecret(raw), nil
}

// read reads a small file that nobody but its owner may read.
func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others: look for what they took, then chmod 600", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is too long to be a gateway's keys", path)
	}
	return os.ReadFile(path)
}
