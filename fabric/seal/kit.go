package seal

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// Limits of ours.
const (
	maxKit = 64 << 10 // octets of a kit's file
	// KitWork is the logarithm of scrypt's work factor: a quarter of a GiB of
	// memory and about a second, three on a small board.
	KitWork = 18
)

// Kit is what brings a home's root back. It is never in the trust state.
type Kit struct {
	Home     string
	FabricID cert.FabricID
	Root     []byte // RCAC, TLV
	Key      issuer.PrivateKey
	// Sealing opens the recovery kit's envelope in the trust state. A kit of
	// an early release has none.
	Sealing SealingKey
	Made    time.Time
}

// kitFile is what the age file holds.
type kitFile struct {
	Format int       `json:"gatehouse_recovery_kit"`
	Home   string    `json:"home"`
	Fabric string    `json:"fabric_id"`
	Root   []byte    `json:"root_certificate"`
	Key    []byte    `json:"root_key"`
	Made   time.Time `json:"made"`
	// Sealing is the private key of a SealingKey.
	Sealing []byte `json:"sealing_key,omitempty"`
}

// SealKit encrypts a kit to a passphrase, as an armored age file. work is
// KitWork, but in tests.
func SealKit(k Kit, passphrase string, work int) ([]byte, error) {
	plain, err := k.encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return Lock(plain, passphrase, work)
}

// encode is what the kit's file holds, in plain. Clear it.
func (k *Kit) encode() ([]byte, error) {
	raw := k.Key.Reveal()
	defer clear(raw)
	sealing, err := k.Sealing.Reveal()
	if err != nil {
		return nil, err
	}
	defer sealing.Erase()
	opener := sealing.Reveal()
	defer clear(opener)
	return json.Marshal(kitFile{1, k.Home, k.FabricID.String(), k.Root, raw, k.Made, opener})
}

// OpenKit opens a kit and checks that its key is that of its root certificate:
// a drill, or the real thing. The error is ErrPassphrase where it does not open
// with a passphrase.
func OpenKit(file []byte, passphrase string) (*Kit, error) {
	plain, err := Unlock(file, passphrase, maxKit)
	switch {
	case errors.Is(err, ErrPassphrase):
		return nil, fmt.Errorf("the recovery kit %w", err)
	case err != nil:
		return nil, fmt.Errorf("this is no recovery kit, or it is damaged: %w", err)
	}
	defer clear(plain)
	return decodeKit(plain)
}

// decodeKit is the inverse of encode. It checks that the key is that of the
// root certificate.
func decodeKit(plain []byte) (k *Kit, err error) {
	var f kitFile
	if err := json.Unmarshal(plain, &f); err != nil || f.Format != 1 {
		return nil, errors.New("the file is no recovery kit of this release")
	}
	defer clear(f.Key)
	defer clear(f.Sealing)
	k = &Kit{Home: f.Home, Root: f.Root, Made: f.Made}
	if _, err := fmt.Sscanf(f.Fabric, "%X", &k.FabricID); err != nil {
		return nil, errors.New("the recovery kit names no fabric")
	}
	if k.Key, err = issuer.ParsePrivateKey(f.Key); err != nil {
		return nil, fmt.Errorf("the recovery kit's key: %w", err)
	}
	if f.Sealing != nil {
		secret := NewSecret(f.Sealing)
		defer secret.Erase()
		if k.Sealing, err = ParseSealingKey(secret); err != nil {
			return nil, fmt.Errorf("the recovery kit's sealing key: %w", err)
		}
	}
	c, err := cert.Parse(f.Root)
	if err != nil {
		return nil, fmt.Errorf("the recovery kit's certificate: %w", err)
	}
	if c.PublicKey != k.Key.PublicKey() {
		return nil, errors.New("the recovery kit's key is not that of its certificate")
	}
	return k, nil
}
