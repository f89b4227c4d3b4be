// Package found founds a home: it mints the fabric, the first gateway's
// identity and the recovery kit, and commits the first entry of the trust
// state.
//
// It promises an order that survives a crash at any point: first the recovery
// kit, then the gateway's keys, then an empty log, then the founding entry. A
// founding that was interrupted is taken up again with the same gateway keys
// and a new fabric; the kit of the one before is of no use to anybody.
package found

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/durable"
	"gatehouse/cluster/keyfile"
	"gatehouse/cluster/store"
	"gatehouse/cluster/vault"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// GatewayTag identifies the gateways' CAT; zones' begin above it.
const GatewayTag = 0x0001

// Config says what to found and where.
type Config struct {
	Dir        string       // the state directory; made if need be
	Kit        string       // file of the recovery kit; must not exist
	Passphrase string       // of the kit
	Home       string       // name of the home
	Gateway    string       // name of the first gateway
	VendorID   uint16       // administrator's vendor, told to devices
	Inherit    *Inheritance // nil: the fabric is a new one
	Now        time.Time
	Random     io.Reader      // nil: the system's
	TPM        string         // what keeps the gateway's keys; see keyfile.Options
	KitWork    int            // 0: seal.KitWork; less in tests
	Cluster    cluster.Config // but for Dir and Node; its Step is every write's
}

// ErrFounded says that the directory has a home already.
var ErrFounded = errors.New("this gateway has a home already")

// LogDir is where below a state directory the log lives.
func LogDir(dir string) string { return filepath.Join(dir, "log") }

// Found founds the home and returns its trust state.
func Found(ctx context.Context, c Config) (*fabric.State, error) {
	if err := seal.CheckPassphrase(c.Passphrase); err != nil {
		return nil, err
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	was := &fabric.State{}
	if c.Inherit != nil {
		was = fabric.Inheriting(&c.Inherit.Import, c.Inherit.Devices)
	}
	return Begin(ctx, c, was, func(keys keyfile.Keys) (*fabric.Command, error) {
		cmd, kit, err := mint(c, keys)
		if err == nil {
			err = writeKit(c, kit)
		}
		return cmd, err
	})
}

// Begin makes a gateway in an empty directory, with a node id that is new to
// the home as it was, if there was one, and commits the first entry of its
// log, which first makes of the gateway's keys. Of c.Kit and what is minted it
// knows nothing; first is called before anything is written but the directory.
func Begin(ctx context.Context, c Config, was *fabric.State, first func(keyfile.Keys) (*fabric.Command, error)) (*fabric.State, error) {
	if c.Random == nil {
		c.Random = rand.Reader
	}
	if err := durable.MakeDir(c.Cluster.Step, c.Dir); err != nil {
		return nil, err
	}
	// One that has joined and knows nothing of its home yet looks new, too.
	if m, err := ReadMembership(c.Dir); err != nil || m != nil {
		return nil, cmp.Or(err, ErrFounded)
	}
	keys, fresh, err := c.gatewayKeys(was)
	if err != nil {
		return nil, err
	}
	// With fresh keys, too: a log that is there belongs to keys that are lost.
	if err := refuseFounded(c, keys.Node); err != nil {
		return nil, err
	}
	cmd, err := first(keys)
	if err != nil {
		return nil, err
	}
	if fresh {
		if err := keyfile.Create(c.Dir, keys, c.Random, c.Cluster.Step); err != nil {
			return nil, err
		}
	}
	return commit(ctx, c, keys.Node, cmd)
}

// gatewayKeys are those of a beginning that was interrupted, or new ones.
func (c Config) gatewayKeys(was *fabric.State) (k keyfile.Keys, fresh bool, err error) {
	options := keyfile.Options{TPM: c.TPM}
	if k, err = keyfile.Load(c.Dir, options); err == nil || !errors.Is(err, keyfile.ErrNone) {
		return k, false, err
	}
	node, err := was.DrawNode(c.Random)
	if err == nil {
		k, err = keyfile.New(node, options, c.Random)
	}
	return k, true, err
}

func (c Config) cluster(node cert.NodeID) cluster.Config {
	cfg := c.Cluster
	cfg.Dir, cfg.Node = LogDir(c.Dir), node
	return cfg
}

// refuseFounded refuses to found a second home where the log has one.
func refuseFounded(c Config, node cert.NodeID) error {
	l, err := cluster.Open(c.cluster(node))
	if errors.Is(err, store.ErrNone) {
		return nil
	} else if err != nil {
		return err
	}
	defer l.Close()
	if l.State().Founded() {
		return ErrFounded
	}
	return nil
}

// mint makes all that a home rests on.
func mint(c Config, keys keyfile.Keys) (*fabric.Command, seal.Kit, error) {
	now := c.Now.UTC().Truncate(time.Second)
	f, birth, err := c.fabric(now)
	if err != nil {
		return nil, seal.Kit{}, err
	}
	defer f.IssuerKey.Erase()
	defer f.IPK.Erase()
	serial := make([]byte, 12)
	if _, err := io.ReadFull(c.Random, serial); err != nil {
		return nil, seal.Kit{}, err
	}
	serial[0] = 'F' // the founder's; devices' come from the log
	cat := cert.NewCAT(GatewayTag, 1)
	noc, err := issuer.Issue(f.ICAC, f.IssuerKey, issuer.Reservation{Node: keys.Node, Fabric: f.FabricID, Serial: serial,
		CATs: []cert.CAT{cat}, PublicKey: keys.Operational.PublicKey(), NotBefore: birth})
	if err != nil {
		return nil, seal.Kit{}, err
	}
	kit := seal.Kit{Home: c.Home, FabricID: f.FabricID, Root: f.RCAC, Key: f.RootKey, Made: now}
	if kit.Sealing, err = seal.NewSealingKey(seal.FirstSuite.Envelopes(), c.Random); err != nil {
		return nil, kit, err
	}
	begin := &fabric.Found{
		Home: fabric.Home{Name: c.Home, FabricID: f.FabricID, Root: f.RCAC, Birth: birth.UnixMilli(), VendorID: c.VendorID, GatewayCAT: cat,
			Recovery: kit.Sealing.Public()},
		Generation: fabric.Generation{Number: 1, ICAC: f.ICAC},
		Gateway: fabric.Gateway{Node: keys.Node, Name: c.Gateway, NOC: noc, SealKey: keys.Sealing[0].Public(), Version: fabric.Version,
			Storage: string(keys.Storage)},
	}
	if i := c.Inherit; i != nil {
		begin.Import, begin.Devices = &i.Import, i.Devices
	}
	if err := sealFirst(c, begin, vault.Founding(f.IssuerKey, f.IPK)); err != nil {
		return nil, kit, err
	}
	return &fabric.Command{Found: begin}, kit, nil
}

// sealFirst seals a new home's secrets for its first gateway.
func sealFirst(c Config, begin *fabric.Found, secrets *vault.Secrets) error {
	defer secrets.Erase()
	s := &fabric.State{Home: begin.Home, Gateways: map[cert.NodeID]*fabric.Gateway{begin.Gateway.Node: &begin.Gateway}}
	sealed, err := (&vault.Vault{Random: c.Random}).Seal(s, 1, secrets)
	if err != nil {
		return err
	}
	begin.Keyring, begin.Generation.Key, begin.Home.IPK = &sealed.Keyring, sealed.IssuerKey, sealed.IPK
	return nil
}

// writeKit writes the kit, opens it again as a person would, and then forgets
// the root key.
func writeKit(c Config, kit seal.Kit) error {
	defer kit.Key.Erase()
	if _, err := os.Lstat(c.Kit); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there already: a recovery kit is never overwritten; if a set-up that was interrupted left it, it opens nothing: remove it, or name another file", c.Kit)
	}
	sealed, err := seal.SealKit(kit, c.Passphrase, cmp.Or(c.KitWork, seal.KitWork))
	if err != nil {
		return err
	}
	if err := durable.WriteFile(c.Cluster.Step, c.Kit, sealed); err != nil {
		return err
	}
	debug.FreeOSMemory() // scrypt takes a quarter of a GiB, and is about to again
	written, err := os.ReadFile(c.Kit)
	if err != nil {
		return err
	}
	again, err := seal.OpenKit(written, c.Passphrase)
	if err != nil {
		return fmt.Errorf("%s was written but does not open: %w", c.Kit, err)
	}
	again.Key.Erase()
	return nil
}

// commit makes the log, if there is none, and its first entry.
func commit(ctx context.Context, c Config, node cert.NodeID, cmd *fabric.Command) (*fabric.State, error) {
	cfg := c.cluster(node)
	l, err := cluster.Open(cfg)
	if errors.Is(err, store.ErrNone) {
		if err := cluster.Bootstrap(cfg); err != nil {
			return nil, err
		}
		l, err = cluster.Open(cfg)
	}
	if err != nil {
		return nil, err
	}
	s, err := l.Propose(ctx, *cmd)
	return s, errors.Join(err, l.Close())
}
