package backup

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"gatehouse/cluster/found"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// The number of the new generation is drawn from this many, beyond those that
// fabric.RestoreGenerations leaves out. One backup may be restored several
// times, and each of these lives gives serial numbers: they differ in their
// generation only. So many fit into 32 bits fabric.MaxRestores times.
const generations = 1 << 27

// The version of the gateways' CAT is told by time since the home's birth, so
// that it beats whatever any life of the home had before, and every eviction
// in it, also if a younger life came from a younger backup. Its 16 bits last
// for 42 years. Where the clock or more than four evictions a day make that
// too little, it is the backup's and something more.
const (
	tagBase  = 1024 // beyond the evictions of any home
	tagStep  = 6 * time.Hour
	tagBeats = fabric.RestoreTags
	tagJump  = 32
	tagMost  = 0xF000 // leaves room for evictions, whatever the clock says
)

func tag(s *fabric.State, now time.Time) (uint16, error) {
	had := int64(s.Home.GatewayCAT.Version())
	version := min(tagBase+int64(now.Sub(time.UnixMilli(s.Home.Birth))/tagStep), tagMost)
	if version < had+tagBeats {
		version = had + tagJump
	}
	if version > 0xFFFF {
		return 0, errors.New("the versions of the gateways' tag are used up")
	}
	return uint16(version), nil
}

// ErrClock says that this machine's clock is behind the one that took the
// backup.
var ErrClock = errors.New("this machine's clock is behind the backup")

// clockSlack is how much two clocks that are right may differ.
const clockSlack = 5 * time.Minute

// restorer makes the command that begins the home's next life.
type restorer struct {
	*Backup
	kit    *seal.Kit
	name   string // of the gateway
	now    time.Time
	random io.Reader
}

func newRestorer(c found.Config, b *Backup, kit *seal.Kit) (*restorer, error) {
	r := &restorer{b, kit, c.Gateway, c.Now, c.Random}
	if r.random == nil {
		r.random = rand.Reader
	}
	switch {
	case r.now.Before(r.Taken.Add(-clockSlack)):
		return nil, fmt.Errorf("%w: here it is %s, the backup was taken at %s", ErrClock, r.now.UTC().Format(time.RFC3339), r.Taken.Format(time.RFC3339))
	case r.State.Generation() == nil:
		return nil, ErrNoBackup
	}
	return r, nil
}

// first is the command, for a gateway with these keys.
func (r *restorer) first(ctx context.Context, keys keyfile.Keys) (*fabric.Command, error) {
	s := r.State
	generation, icac, key, err := r.intermediate()
	if err != nil {
		return nil, err
	}
	defer key.Erase()
	version, err := tag(s, r.now)
	if err != nil {
		return nil, err
	}
	after := *s
	after.Home.GatewayCAT = cert.NewCAT(s.Home.GatewayCAT.Group(), version)
	serial := fabric.FirstSerial(generation)
	noc, err := issuer.Issue(icac, key, issuer.Reservation{Node: keys.Node, Fabric: s.Home.FabricID, Serial: serial,
		CATs: []cert.CAT{after.Home.GatewayCAT}, PublicKey: keys.Operational.PublicKey(), NotBefore: time.UnixMilli(s.Home.Birth)})
	if err != nil {
		return nil, err
	}
	public := keys.Operational.PublicKey()
	gateway := fabric.Gateway{Node: keys.Node, Name: r.name, NOC: noc, SealKey: keys.Sealing[0].Public(), Serial: serial, PublicKey: public[:],
		CAT: version, Version: fabric.Version, Storage: string(keys.Storage)}
	after.Gateways = map[cert.NodeID]*fabric.Gateway{keys.Node: &gateway}

	secrets, err := r.Secrets(ctx, r.kit)
	if err != nil {
		return nil, err
	}
	defer secrets.Erase()
	raw := key.Reveal()
	defer clear(raw)
	secrets.IssuerKey = seal.NewSecret(raw)
	sealed, err := (&vault.Vault{Random: r.random}).Seal(&after, s.DataKey()+1, secrets)
	if err != nil {
		return nil, err
	}
	return &fabric.Command{Restore: &fabric.Restore{State: s, Gateway: gateway, Generation: fabric.Generation{Number: generation, ICAC: icac},
		CAT: version, Reseal: *sealed}}, nil
}

// intermediate mints the new generation's authority with the kit's root.
func (r *restorer) intermediate() (number uint32, icac []byte, key issuer.PrivateKey, err error) {
	var b [4]byte
	if _, err := io.ReadFull(r.random, b[:]); err != nil {
		return 0, nil, key, fmt.Errorf("draw a generation: %w", err)
	}
	wide := uint64(r.State.Generation().Number) + fabric.RestoreGenerations + uint64(binary.LittleEndian.Uint32(b[:])%generations)
	if number = uint32(wide); uint64(number) != wide {
		return 0, nil, key, errors.New("the numbers of generations are used up")
	}
	icac, key, err = issuer.NewIntermediate(r.random, r.kit.Root, r.kit.Key, number, time.Time{})
	return number, icac, key, err
}

// next is the State that the next life's node ids are drawn from.
func (r *restorer) next() *fabric.State {
	s := *r.State
	s.Restores++
	return &s
}

// apply is the State that a command makes of nothing.
func apply(cmd *fabric.Command, now time.Time) (*fabric.State, error) {
	cmd.Version, cmd.Time = cmd.Needs(), now.UnixMilli()
	return fabric.Apply(&fabric.State{}, 1, cmd)
}

// Restore brings a home back in an empty directory, or in one where a restore
// was interrupted: c says where; its Kit, Passphrase and Home are of no use.
// The order is that of package found: the gateway's keys, an empty log, then
// one entry with everything. A crash leaves what can be restored again, or the
// home; the error is then found.ErrFounded. What was decided before comes after
// that, and is nothing that a home needs to live: an error that it cannot be
// kept comes with the State.
func Restore(ctx context.Context, c found.Config, b *Backup, kit *seal.Kit) (*fabric.State, error) {
	r, err := newRestorer(c, b, kit)
	if err != nil {
		return nil, err
	}
	s, err := found.Begin(ctx, c, r.next(), func(keys keyfile.Keys) (*fabric.Command, error) {
		cmd, err := r.first(ctx, keys)
		if err == nil {
			_, err = apply(cmd, c.Now) // before anything is written
		}
		return cmd, err
	})
	if err != nil {
		return nil, err
	}
	if err := b.keep(c, s); err != nil {
		return s, fmt.Errorf("the home is back, but not the record of what it decided: %w", err)
	}
	return s, nil
}
