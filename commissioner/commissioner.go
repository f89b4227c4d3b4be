// Package commissioner admits devices: Pair takes a setup code to an admitted
// device, Settle ends what a crash left in between, Connect opens a session
// with a device that belongs (Matter Core, chapter 5).
//
// It promises the invariants of the design: no device gets a certificate that
// the trust state does not know, nobody is told "admitted" before a quorum has
// it on disk, the gateways' own access is written first and read back, and
// every failure has a code, a meaning and a remedy. It never logs or keeps a
// passcode. It imports no simulated device.
package commissioner

import (
	"context"
	"io"
	"iter"
	"log/slog"
	"sync"
	"time"

	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric"
	"gatehouse/fabric/attest"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/seal"
	"gatehouse/firmware"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/thread"
)

// Ledger is the replicated trust state.
type Ledger interface {
	// Propose returns once the command is applied and on a quorum's disks,
	// with the State after it. A *fabric.Refusal changed nothing.
	Propose(ctx context.Context, c fabric.Command) (*fabric.State, error)
	// State is what this gateway has applied. It may be behind.
	State() *fabric.State
	// Current is the State no older than the call.
	Current(ctx context.Context) (*fabric.State, error)
}

// Discovery finds devices on the network.
type Discovery interface {
	Browse(ctx context.Context, q dnssd.Query) iter.Seq[dnssd.Event]
	Resolve(ctx context.Context, instance string) (radio.Advertisement, error)
	Doubt(instance string)
}

// Authority signs for the fabric. Its secrets are open only while it does.
type Authority interface {
	// Issue makes the NOC of a reserved device, and gives its ICAC, in TLV.
	Issue(ctx context.Context, node cert.NodeID, key cert.PublicKey) (noc, icac []byte, err error)
	// IPK is the epoch key that devices are given.
	IPK(ctx context.Context) (cert.EpochKey, error)
	// OpenNetwork opens the credentials of a network. Erase them.
	OpenNetwork(ctx context.Context, n *fabric.Network) (seal.Secret, error)
	// SealNetwork seals credentials, and fills in what is sealed.
	SealNetwork(ctx context.Context, n *fabric.Network, credentials seal.Secret) error
	// CheckInKeys are those that devices check in with. Erase them.
	CheckInKeys(ctx context.Context, names []fabric.CheckInKey) ([]seal.Secret, error)
}

// Firmware is what is known of software.
type Firmware interface {
	// Known answers at once.
	Known(vendor, product uint16) firmware.Known
	// Learn asks whoever may be asked about a product that a device of a version
	// is of.
	Learn(ctx context.Context, vendor, product uint16, version uint32) error
}

// Config is what a Commissioner is made of.
type Config struct {
	Firmware  Firmware // nil: nothing is known
	Ledger    Ledger
	Discovery Discovery
	Bluetooth Bluetooth // nil: NoBluetooth
	Authority Authority
	Identity  func() *securechannel.Identity // this gateway's own; its certificate gets renewed
	Former    func() *securechannel.Identity // on the fabric of before a change of the root; nil, or nil from it: none
	Manager   *exchange.Manager
	Engine    *interaction.Engine
	Link      radio.Link // to devices on the network
	Addresses *AddressBook
	Routes    func() ([]thread.Route, error) // of this machine; nil: HostRoutes
	Mode      *Mode                          // nil: one that asks for nothing
	Now       func() time.Time
	Random    io.Reader
	Log       *slog.Logger
}

// Commissioner pairs devices for one gateway. Its methods may be called from
// several goroutines.
type Commissioner struct {
	Config
	resumptions securechannel.Resumptions
	standIns    standIns

	mu     sync.Mutex
	active map[cert.NodeID]bool // being paired here: not to be settled
	trust  trust
}

// New is a Commissioner.
func New(cfg Config) *Commissioner {
	if cfg.Bluetooth == nil {
		cfg.Bluetooth = NoBluetooth{}
	}
	if cfg.Mode == nil {
		cfg.Mode = &Mode{Now: cfg.Now}
	}
	if cfg.Routes == nil {
		cfg.Routes = HostRoutes
	}
	return &Commissioner{Config: cfg, active: make(map[cert.NodeID]bool)}
}

// Resumptions are the secrets of the sessions opened so far.
func (c *Commissioner) Resumptions() *securechannel.Resumptions { return &c.resumptions }

// propose stamps and proposes a command.
func (c *Commissioner) propose(ctx context.Context, cmd fabric.Command) (*fabric.State, error) {
	return c.Ledger.Propose(ctx, cmd)
}

// trust is the trust store of one version of the anchors, made once.
type trust struct {
	anchors     map[string]*fabric.Anchor
	revocations []byte
	store       *attest.TrustStore
	revoked     *attest.RevocationSet
}

// rules are what attestation is held against now.
func (c *Commissioner) rules(s *fabric.State) attest.Rules {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := &c.trust; t.store == nil || !sameMap(t.anchors, s.Anchors) || string(t.revocations) != string(s.Revocations) {
		*t = trust{anchors: s.Anchors, revocations: s.Revocations}
		var paas, signers []attest.Trusted
		for _, a := range s.Anchors {
			trusted := attest.Trusted{Data: a.DER, Test: a.Test}
			if a.Kind == fabric.PAA {
				paas = append(paas, trusted)
			} else {
				signers = append(signers, trusted)
			}
		}
		var err error
		if t.store, err = attest.NewTrustStore(paas, signers); err != nil {
			c.Log.Warn("a certificate of the trust store is of no use", "err", err)
		}
		if len(s.Revocations) > 0 {
			if t.revoked, err = attest.ParseRevocationSet(s.Revocations); err != nil {
				c.Log.Warn("the revocation set is of no use", "err", err)
			}
		}
	}
	rules := attest.Rules{Trust: c.trust.store, Revoked: c.trust.revoked, Now: c.Now()}
	for _, x := range s.Exceptions {
		rules.Exceptions = append(rules.Exceptions, attest.Exception{Name: x.Name, VendorID: x.VendorID, ProductID: x.ProductID, Expires: time.UnixMilli(x.Expires)})
	}
	return rules
}

// sameMap compares by content; an anchor never changes once it is there.
func sameMap(a, b map[string]*fabric.Anchor) bool {
	if len(a) != len(b) {
		return false
	}
	for id := range a {
		if b[id] == nil {
			return false
		}
	}
	return true
}
