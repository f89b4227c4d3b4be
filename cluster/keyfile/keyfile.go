// Package keyfile keeps a gateway's own keys on its disk: who it is and what
// opens the home's secrets for it. They never leave the gateway.
//
// It promises that the keys are sealed, that their file is whole or not there,
// and that a file others could read is refused. For now they are sealed to a
// key in a file beside them, which keeps them out of careless copies and from
// nobody with the whole disk; a TPM is to take that file's place.
package keyfile

import (
	"crypto"
	"encoding/json"
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

// FileStorage seals the keys to a key in a file beside them.
const FileStorage Storage = "file"

// Options say how keys are kept.
type Options struct {
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

// contents is what is sealed.
type contents struct {
	Node        cert.NodeID `json:"node"`
	Operational []byte      `json:"operational"`
	Sealing     []byte      `json:"sealing"`
	Before      []byte      `json:"sealing_before,omitempty"`
}

// New draws a gateway's keys. They are nowhere until Create.
func New(node cert.NodeID, _ Options, random io.Reader) (Keys, error) {
	operational, err := issuer.GenerateKey(random)
	if err != nil {
		return Keys{}, err
	}
	sealing, err := seal.NewSealingKey(random)
	return Keys{Node: node, Operational: operational, Sealing: []seal.SealingKey{sealing}, Storage: FileStorage}, err
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
	// The key first: without the other file, it opens nothing.
	raw := key.Reveal()
	defer clear(raw)
	if err := durable.WriteFile(step, filepath.Join(dir, fileKeyFile), raw); err != nil {
		return err
	}
	return durable.WriteFile(step, filepath.Join(dir, keysFile), file)
}

// Load reads the keys in dir. The error is ErrNone if there are none.
func Load(dir string, _ Options) (Keys, error) {
	path := filepath.Join(dir, keysFile)
	file, err := read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, ErrNone
	} else if err != nil {
		return Keys{}, err
	}
	key, err := readKey(dir)
	if err != nil {
		return Keys{}, err
	}
	defer key.Erase()
	plain, err := seal.Open(key, purpose, file)
	if err != nil {
		return Keys{}, fmt.Errorf("%s is damaged, or not of the key beside it: %w; %s", path, err, wayOut)
	}
	defer plain.Erase()
	k, err := decode(plain)
	if err != nil {
		return Keys{}, fmt.Errorf("%s is not of this release: %w", path, err)
	}
	return k, nil
}

// readKey reads the key that seals the keys file.
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

// encode is the keys file, sealed with key.
func (k Keys) encode(key seal.Secret, random io.Reader) ([]byte, error) {
	c := contents{Node: k.Node}
	defer c.clear()
	private, ok := k.Operational.(issuer.PrivateKey)
	if !ok || len(k.Sealing) == 0 || len(k.Sealing) > 2 {
		return nil, errors.New("these are not a gateway's keys")
	}
	c.Operational = private.Reveal()
	for i, to := range []*[]byte{&c.Sealing, &c.Before}[:len(k.Sealing)] {
		sealing, err := k.Sealing[i].Reveal()
		if err != nil {
			return nil, err
		}
		*to = sealing.Reveal()
		sealing.Erase()
	}
	plain, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return seal.Seal(random, key, purpose, plain)
}

// decode reads what encode sealed.
func decode(plain seal.Secret) (k Keys, err error) {
	revealed := plain.Reveal()
	defer clear(revealed)
	var c contents
	defer c.clear()
	if json.Unmarshal(revealed, &c) != nil {
		return Keys{}, errors.New("unknown contents") // the error might quote them
	}
	k = Keys{Node: c.Node, Storage: FileStorage}
	if k.Operational, err = issuer.ParsePrivateKey(c.Operational); err != nil {
		return Keys{}, err
	}
	for _, raw := range [][]byte{c.Sealing, c.Before} {
		if raw == nil {
			continue
		}
		secret := seal.NewSecret(raw)
		sealing, err := seal.ParseSealingKey(secret)
		secret.Erase()
		if err != nil {
			return Keys{}, err
		}
		k.Sealing = append(k.Sealing, sealing)
	}
	if len(k.Sealing) == 0 {
		return Keys{}, errors.New("there is no sealing key")
	}
	return k, nil
}

// clear overwrites what must not stay in memory.
func (c *contents) clear() {
	clear(c.Operational)
	clear(c.Sealing)
	clear(c.Before)
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
