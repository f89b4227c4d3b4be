package found

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"time"

	"gatehouse/cluster"
	"gatehouse/cluster/durable"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/issuer"
	"gatehouse/fabric/seal"
)

// RootConfig says of which home another root is made, and where its recovery
// kit goes.
type RootConfig struct {
	Home       string
	FabricID   cert.FabricID
	Birth      time.Time // of the home: devices refuse what is not valid yet
	Generation uint32    // that it begins with
	Kit        string    // file of the recovery kit; must not exist
	Passphrase string    // of the kit
	Now        time.Time
	Random     io.Reader    // nil: the system's
	KitWork    int          // 0: seal.KitWork; less in tests
	Step       durable.Step // nil but in tests
}

// NewRoot is what a home's other root brings, but for the root's own key,
// which is in the recovery kit alone. Erase it.
type NewRoot struct {
	Root      []byte `cbor:"0,keyasint" json:"root"` // RCAC, TLV
	ICAC      []byte `cbor:"1,keyasint" json:"icac"`
	IssuerKey []byte `cbor:"2,keyasint" json:"issuer_key"`
	IPK       []byte `cbor:"3,keyasint" json:"ipk"`      // epoch key
	Recovery  []byte `cbor:"4,keyasint" json:"recovery"` // the kit's public sealing key
}

// Erase overwrites what is secret.
func (r *NewRoot) Erase() {
	clear(r.IssuerKey)
	clear(r.IPK)
}

// Format and LogValue keep it out of errors and logs, whatever the verb.
func (NewRoot) Format(f fmt.State, _ rune) { io.WriteString(f, "[new root]") }
func (NewRoot) LogValue() slog.Value       { return slog.StringValue("[new root]") }

// Remint makes another root for a home that there is. The recovery kit is on
// the disk, whole and tried, before it returns: nothing may rest on a root
// that nobody could bring back.
func Remint(c RootConfig) (*NewRoot, error) {
	if err := seal.CheckPassphrase(c.Passphrase); err != nil {
		return nil, err
	}
	if c.Random == nil {
		c.Random = rand.Reader
	}
	f, err := issuer.NewFabric(c.Random, issuer.Params{FabricID: c.FabricID, Birth: c.Birth, Generation: c.Generation})
	if err != nil {
		return nil, err
	}
	defer f.IssuerKey.Erase()
	defer f.IPK.Erase()
	kit := seal.Kit{Home: c.Home, FabricID: f.FabricID, Root: f.RCAC, Key: f.RootKey, Made: c.Now.UTC().Truncate(time.Second)}
	if kit.Sealing, err = seal.NewSealingKey(seal.FirstSuite.Envelopes(), c.Random); err != nil {
		return nil, err
	}
	if err := writeKit(Config{Kit: c.Kit, Passphrase: c.Passphrase, KitWork: cmp.Or(c.KitWork, seal.KitWork), Cluster: cluster.Config{Step: c.Step}}, kit); err != nil {
		return nil, fmt.Errorf("the new recovery kit: %w", err)
	}
	epoch := f.IPK.Reveal()
	defer clear(epoch[:])
	ipk := append([]byte(nil), epoch[:]...)
	return &NewRoot{Root: f.RCAC, ICAC: f.ICAC, IssuerKey: f.IssuerKey.Reveal(), IPK: ipk, Recovery: kit.Sealing.Public()}, nil
}
