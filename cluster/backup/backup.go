// Package backup takes the trust state out of the house and brings it back.
//
//	err := backup.Write(file, state, now)        // on any gateway
//	b, err := backup.Open(file, kit)             // with the recovery kit
//	state, err := backup.Restore(ctx, config, b, kit)
//
// A backup is an age file that the recovery kit alone opens; nobody needs a
// passphrase to make one. It promises that no gateway's identity is in it, no
// counter, and no key but in the kit's envelope; and of a restore, that it
// makes a new gateway under a new generation, which every device admits and
// which no evicted or lost gateway stands beside, and gives no node id and no
// serial number that was ever given.
//
// What is sealed to a public key is not signed: whoever has been a gateway of
// the home can make a file that opens. Keep backups where nobody else writes.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"filippo.io/age"

	"gatehouse/cluster"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
)

// MaxFile bounds a backup, in octets.
const MaxFile = 65<<20 + maxRecords

// A backup's header has one recipient: its type, the fabric's id, when the
// backup was taken (Unix ms), and the file's key, wrapped to the kit.
const (
	stanzaType = "gatehouse-recovery-kit"
	purpose    = "gatehouse backup of fabric %v, taken %d"
	fileKey    = 16 // octets; age's
)

// recipient wraps a file's key to the kit's public sealing key.
type recipient struct {
	public []byte
	fabric cert.FabricID
	taken  int64
}

func (r recipient) Wrap(key []byte) ([]*age.Stanza, error) {
	secret := seal.NewSecret(key)
	defer secret.Erase()
	body, err := seal.Wrap(r.public, fmt.Sprintf(purpose, r.fabric, r.taken), secret)
	if err != nil {
		return nil, err
	}
	return []*age.Stanza{{Type: stanzaType, Args: []string{r.fabric.String(), strconv.FormatInt(r.taken, 10)}, Body: body}}, nil
}

// identity opens a file's key with the kit, and learns when it was taken.
type identity struct {
	kit   *seal.Kit
	taken int64
}

func (i *identity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if len(stanzas) != 1 || stanzas[0].Type != stanzaType || len(stanzas[0].Args) != 2 {
		return nil, ErrNoBackup
	}
	args := stanzas[0].Args
	id, err1 := strconv.ParseUint(args[0], 16, 64)
	taken, err2 := strconv.ParseInt(args[1], 10, 64)
	of := cert.FabricID(id)
	switch {
	case err1 != nil || err2 != nil:
		return nil, ErrNoBackup
	case of != i.kit.FabricID:
		return nil, fmt.Errorf("%w: the backup is of fabric %v, the kit of %v, home %q", ErrKit, of, i.kit.FabricID, i.kit.Home)
	case i.kit.Sealing.Public() == nil:
		return nil, fmt.Errorf("%w: it is of an early release", ErrKit)
	}
	secret, err := i.kit.Sealing.Unwrap(fmt.Sprintf(purpose, of, taken), stanzas[0].Body)
	if err != nil {
		return nil, fmt.Errorf("%w: the home had another kit when it was taken, or it was changed", ErrKit)
	}
	defer secret.Erase()
	key := secret.Reveal()
	if len(key) != fileKey {
		return nil, ErrNoBackup
	}
	i.taken = taken
	return key, nil
}

// Errors that callers branch on.
var (
	ErrNoBackup = errors.New("the file is no backup of a home, or it is damaged")
	ErrKit      = errors.New("the recovery kit does not open this backup")
)

// Write writes a backup of a State, taken at a time, with what is there of the
// records of what the home decided; records may be nil. The error is
// fabric.ErrNoRecovery if no kit could open it.
func Write(w io.Writer, s *fabric.State, taken time.Time, records Records) error {
	kept, err := s.Backup()
	if err != nil {
		return err
	}
	plain, err := cluster.EncodeState(kept)
	if err == nil && records != nil && s.TrailSize() > 0 {
		plain, err = withRecords(plain, s, records)
	}
	if err != nil {
		return err
	}
	file, err := age.Encrypt(w, recipient{s.Home.Recovery, s.Home.FabricID, taken.UnixMilli()})
	if err != nil {
		return err
	}
	if _, err := file.Write(plain); err != nil {
		return err
	}
	return file.Close()
}

// Backup is an opened backup.
type Backup struct {
	State *fabric.State // as fabric.State.Backup made it
	Taken time.Time     // by the clock of the gateway that took it
	runs  []run
}

// Open opens a backup with the kit of its home. The error is ErrNoBackup or
// ErrKit.
func Open(r io.Reader, kit *seal.Kit) (*Backup, error) {
	id := &identity{kit: kit}
	file, err := age.Decrypt(io.LimitReader(r, MaxFile), id)
	if err != nil {
		if errors.Is(err, ErrKit) {
			return nil, err
		}
		return nil, ErrNoBackup // whatever age says of it
	}
	plain, err := io.ReadAll(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoBackup, err)
	}
	s, runs, err := parse(plain)
	if err != nil {
		return nil, err
	}
	if string(s.Home.Root) != string(kit.Root) {
		return nil, fmt.Errorf("%w: its root is another", ErrKit)
	}
	return &Backup{s, time.UnixMilli(id.taken).UTC(), runs}, nil
}

// Secrets opens, with the kit, what the backup holds sealed: the identity
// protection key, the networks' credentials and the people's secret. Erase them. There is no
// issuing key, which a restore makes anew.
func (b *Backup) Secrets(ctx context.Context, kit *seal.Kit) (*vault.Secrets, error) {
	// Among the envelopes' gateways the kit is 0.
	v := &vault.Vault{Sealing: func() []seal.SealingKey { return []seal.SealingKey{kit.Sealing} }}
	ipk, err := v.IPK(ctx, b.State)
	if err != nil {
		return nil, err
	}
	defer ipk.Erase()
	epoch := ipk.Reveal()
	defer clear(epoch[:])
	x := &vault.Secrets{IPK: seal.NewSecret(epoch[:]), Networks: make(map[string]seal.Secret)}
	if b.State.Former != nil {
		former, err := v.FormerIPK(ctx, b.State)
		if err != nil {
			x.Erase()
			return nil, err
		}
		defer former.Erase()
		epoch := former.Reveal()
		defer clear(epoch[:])
		secret := seal.NewSecret(epoch[:])
		x.Former = &secret
	}
	if b.State.People != nil {
		people, err := v.OpenPeople(ctx, b.State)
		if err != nil {
			x.Erase()
			return nil, err
		}
		x.People = &people
	}
	for name, n := range b.State.Networks {
		if n == nil {
			err = ErrNoBackup
		} else if x.Networks[name], err = v.OpenNetwork(ctx, b.State, n); err == nil {
			continue
		}
		x.Erase()
		return nil, err
	}
	return x, nil
}
