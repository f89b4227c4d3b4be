// Package keyfile keeps a gateway's own keys on its disk: who it is and what
// opens the home's secrets for it. They never leave the gateway.
//
// It promises that the keys are sealed, that their file is whole or not there,
// and that a file others could read is refused. For now they are sealed to a
// key in a file beside them, which keeps them out of careless copies and from
// nobody with the whole disk; a TPM is to take that file's place.
package keyfile

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gatehouse/cluster/durable"
	"gatehouse/fabric"
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
func Create(dir string, k Keys) error {
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
	key, err := seal.RandomSecret(rand.Reader)
	if err != nil {
		return err
	}
	defer key.Erase()
	blob, err := seal.Seal(rand.Reader, key, purpose, plain)
	if err != nil {
		return err
	}
	// The key first: without the other file, it opens nothing.
	if err := durable.WriteFile(durable.Plain, filepath.Join(dir, fileKeyFile), key.Reveal()); err != nil {
		return err
	}
	return durable.WriteFile(durable.Plain, filepath.Join(dir, keysFile), blob)
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
	if err != nil {
		return Keys{}, err
	}
	key := seal.NewSecret(raw)
	clear(raw)
	defer key.Erase()
	plain, err := seal.Open(key, purpose, blob)
	if err != nil {
		return Keys{}, fmt.Errorf("%s: %w", filepath.Join(dir, keysFile), err)
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

// Vault opens the trust state's secrets with a gateway's keys.
type Vault struct{ Keys Keys }

// Purposes of what is sealed in the trust state. %d is the generation.
const (
	purposeDataKey   = "gatehouse data key, generation %d, fabric %v"
	purposeIssuerKey = "gatehouse issuing key, generation %d, fabric %v"
	purposeIPK       = "gatehouse identity protection key, generation %d, fabric %v"
)

func bind(format string, generation uint32, f cert.FabricID) string {
	return fmt.Sprintf(format, generation, f)
}

// dataKey unwraps the key that a generation's secrets are sealed with.
func (v *Vault) dataKey(f cert.FabricID, g *fabric.Generation) (seal.Secret, error) {
	wrapped := g.DataKeys[v.Keys.Node]
	if wrapped == nil {
		return seal.Secret{}, fmt.Errorf("generation %d is not wrapped to gateway %v", g.Number, v.Keys.Node)
	}
	return v.Keys.Sealing.Unwrap(bind(purposeDataKey, g.Number, f), wrapped)
}

func (v *Vault) open(s *fabric.State, format string, blob []byte) (seal.Secret, error) {
	g := s.Generation()
	if g == nil {
		return seal.Secret{}, errors.New("there is no fabric")
	}
	key, err := v.dataKey(s.Home.FabricID, g)
	if err != nil {
		return seal.Secret{}, err
	}
	defer key.Erase()
	return seal.Open(key, bind(format, g.Number, s.Home.FabricID), blob)
}

// IssuerKey opens the key of the generation that issues now. Erase it.
func (v *Vault) IssuerKey(s *fabric.State) (issuer.PrivateKey, error) {
	g := s.Generation()
	if g == nil {
		return issuer.PrivateKey{}, errors.New("there is no fabric")
	}
	secret, err := v.open(s, purposeIssuerKey, g.Key)
	if err != nil {
		return issuer.PrivateKey{}, fmt.Errorf("issuing key: %w", err)
	}
	defer secret.Erase()
	raw := secret.Reveal()
	defer clear(raw)
	return issuer.ParsePrivateKey(raw)
}

// IPK opens the identity protection key.
func (v *Vault) IPK(s *fabric.State) (cert.EpochKey, error) {
	secret, err := v.open(s, purposeIPK, s.Home.IPK)
	if err != nil {
		return cert.EpochKey{}, fmt.Errorf("identity protection key: %w", err)
	}
	defer secret.Erase()
	raw := secret.Reveal()
	defer clear(raw)
	if len(raw) != cert.GroupKeyLength {
		return cert.EpochKey{}, errors.New("identity protection key: wrong length")
	}
	return cert.NewEpochKey([cert.GroupKeyLength]byte(raw)), nil
}

// SealGeneration seals a generation's secrets with a new data key, wrapped to
// one gateway. It returns the sealed IPK and fills in the generation.
func SealGeneration(f cert.FabricID, g *fabric.Generation, key issuer.PrivateKey, ipk cert.EpochKey, gateway cert.NodeID, public []byte) ([]byte, error) {
	data, err := seal.RandomSecret(rand.Reader)
	if err != nil {
		return nil, err
	}
	defer data.Erase()
	raw := key.Reveal()
	defer clear(raw)
	if g.Key, err = seal.Seal(rand.Reader, data, bind(purposeIssuerKey, g.Number, f), raw); err != nil {
		return nil, err
	}
	wrapped, err := seal.Wrap(public, bind(purposeDataKey, g.Number, f), data)
	if err != nil {
		return nil, err
	}
	g.DataKeys = map[cert.NodeID][]byte{gateway: wrapped}
	epoch := ipk.Reveal()
	defer clear(epoch[:])
	return seal.Seal(rand.Reader, data, bind(purposeIPK, g.Number, f), epoch[:])
}
