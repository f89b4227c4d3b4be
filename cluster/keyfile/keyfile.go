// Package keyfile keeps a gateway's own keys on its disk: who it is and what
// opens the home's secrets for it. They never leave the gateway.
//
// It promises that the keys are sealed, that their file is whole or not there,
// and that a file others could read is refused. For now they are sealed to a
// key in a file beside them, which keeps them out of careless copies and from
// nobody with the whole disk; a TPM is to take that file's place.
package keyfile

import (
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

// Keys are a gateway's own.
type Keys struct {
	Node        cert.NodeID
	Operational issuer.PrivateKey
	Sealing     seal.SealingKey
}

// contents is what is sealed.
type contents struct {
	Node        cert.NodeID `json:"node"`
	Operational []byte      `json:"operational"`
	Sealing     []byte      `json:"sealing"`
}

// Create writes new keys into dir, which must have none.
func Create(dir string, k Keys, random io.Reader, step durable.Step) error {
	if _, err := os.Lstat(filepath.Join(dir, keysFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has a gateway's keys already", dir)
	}
	sealing, err := k.Sealing.Reveal()
	if err != nil {
		return err
	}
	defer sealing.Erase()
	plain, err := json.Marshal(contents{k.Node, k.Operational.Reveal(), sealing.Reveal()})
	if err != nil {
		return err
	}
	defer clear(plain)
	key, err := seal.RandomSecret(random)
	if err != nil {
		return err
	}
	defer key.Erase()
	blob, err := seal.Seal(random, key, purpose, plain)
	if err != nil {
		return err
	}
	// The key first: without the other file, it opens nothing.
	if err := durable.WriteFile(step, filepath.Join(dir, fileKeyFile), key.Reveal()); err != nil {
		return err
	}
	return durable.WriteFile(step, filepath.Join(dir, keysFile), blob)
}

// Load reads the keys in dir. The error is ErrNone if there are none.
func Load(dir string) (Keys, error) {
	blob, err := read(filepath.Join(dir, keysFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, ErrNone
	} else if err != nil {
		return Keys{}, err
	}
	raw, err := read(filepath.Join(dir, fileKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, fmt.Errorf("%w; %s", err, wayOut)
	} else if err != nil {
		return Keys{}, err
	}
	key := seal.NewSecret(raw)
	clear(raw)
	defer key.Erase()
	plain, err := seal.Open(key, purpose, blob)
	if err != nil {
		return Keys{}, fmt.Errorf("%s is damaged, or not of the key beside it: %w; %s", filepath.Join(dir, keysFile), err, wayOut)
	}
	defer plain.Erase()
	revealed := plain.Reveal()
	defer clear(revealed)
	var c contents
	if err := json.Unmarshal(revealed, &c); err != nil {
		return Keys{}, fmt.Errorf("%s is not of this release", filepath.Join(dir, keysFile))
	}
	defer clear(c.Operational)
	defer clear(c.Sealing)
	k := Keys{Node: c.Node}
	if k.Operational, err = issuer.ParsePrivateKey(c.Operational); err != nil {
		return Keys{}, err
	}
	k.Sealing, err = seal.ParseSealingKey(seal.NewSecret(c.Sealing))
	return k, err
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
