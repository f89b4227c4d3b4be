package seal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"filippo.io/age"
	"filippo.io/age/armor"

	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
)

// MinPassphrase is the shortest passphrase of a recovery kit, in characters.
const MinPassphrase = 12

// maxKit bounds a kit's file, in octets.
const maxKit = 64 << 10

// Kit is what brings a home's root back. It is never in the trust state.
type Kit struct {
	Home     string
	FabricID cert.FabricID
	Root     []byte // RCAC, TLV
	Key      issuer.PrivateKey
	Made     time.Time
}

// kitFile is what the age file holds.
type kitFile struct {
	Format int       `json:"gatehouse_recovery_kit"`
	Home   string    `json:"home"`
	Fabric string    `json:"fabric_id"`
	Root   []byte    `json:"root_certificate"`
	Key    []byte    `json:"root_key"`
	Made   time.Time `json:"made"`
}

// CheckPassphrase refuses what would be guessed.
func CheckPassphrase(p string) error {
	distinct := map[rune]bool{}
	for _, r := range p {
		distinct[r] = true
	}
	switch {
	case !utf8.ValidString(p):
		return errors.New("the passphrase is not UTF-8")
	case utf8.RuneCountInString(p) < MinPassphrase:
		return fmt.Errorf("the passphrase has fewer than %d characters: several words are best", MinPassphrase)
	case len(distinct) < 5 || strings.Contains("abcdefghijklmnopqrstuvwxyz01234567890123456789", strings.ToLower(p)):
		return errors.New("the passphrase is too easy to guess: several words are best")
	}
	return nil
}

// SealKit encrypts a kit to a passphrase, as an armored age file (scrypt).
func SealKit(k Kit, passphrase string) ([]byte, error) {
	if err := CheckPassphrase(passphrase); err != nil {
		return nil, err
	}
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	raw := k.Key.Reveal()
	defer clear(raw)
	plain, err := json.Marshal(kitFile{1, k.Home, k.FabricID.String(), k.Root, raw, k.Made})
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, recipient)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), a.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// ErrPassphrase says that a kit does not open with a passphrase.
var ErrPassphrase = errors.New("the recovery kit does not open with this passphrase")

// OpenKit opens a kit and checks that its key is that of its root certificate:
// a drill, or the real thing.
func OpenKit(file []byte, passphrase string) (*Kit, error) {
	identity, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, ErrPassphrase
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(file)), identity)
	var wrong *age.NoIdentityMatchError
	switch {
	case errors.As(err, &wrong):
		return nil, ErrPassphrase
	case err != nil:
		return nil, fmt.Errorf("this is no recovery kit, or it is damaged: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxKit))
	if err != nil {
		return nil, fmt.Errorf("the recovery kit is damaged: %w", err)
	}
	defer clear(plain)
	var f kitFile
	if err := json.Unmarshal(plain, &f); err != nil || f.Format != 1 {
		return nil, errors.New("the file is no recovery kit of this release")
	}
	defer clear(f.Key)
	k := &Kit{Home: f.Home, Root: f.Root, Made: f.Made}
	if _, err := fmt.Sscanf(f.Fabric, "%X", &k.FabricID); err != nil {
		return nil, errors.New("the recovery kit names no fabric")
	}
	if k.Key, err = issuer.ParsePrivateKey(f.Key); err != nil {
		return nil, fmt.Errorf("the recovery kit's key: %w", err)
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
