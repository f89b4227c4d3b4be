// Package virtual is a whole simulated Matter device: a root node and an
// on/off light that can be found, paired, controlled, shared and removed over
// IP by any controller, with a test attestation of its own making, and with
// hostile modes that misbehave on purpose.
//
// It promises to be a proper device as far as it goes, so that what is tested
// against it holds for others. It is for demonstrations and tests: production
// code never imports it, and it keeps nothing over a restart.
package virtual

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/matter/securechannel/spake2p"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric/attest/attesttest"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
)

const (
	maxWrongPasscodes = 20 // close the window for good, as devices must
	defaultFabrics    = 5  // the least that a device must have room for
	maxFabrics        = 254
)

// Config says what device it is.
type Config struct {
	Name         string
	Code         setup.Payload // passcode, discriminator, vendor and product
	SerialNumber string        // tells devices of one maker apart
	Software     uint32        // that it runs at first
	SoftwareText string
	Firmware     func(version uint32) []byte // firmware information in its attestation; nil: it gives none
	MaxFabrics   int                         // 0: defaultFabrics
	FailSafe     uint16                      // s, that it proposes; 0: failSafeSeconds
	Maker        *attesttest.Maker           // who attests it
	Hostile      Mode
	Link         radio.Link
	Port         uint16      // where the link listens
	Discovery    *dnssd.Conn // nil: the device is announced nowhere
	Now          func() time.Time
	Random       io.Reader
	Log          *slog.Logger
	OnSwitch     func(on bool)                     // told of every switching; may be nil
	OnUpdate     func(version uint32, text string) // told of every other software it runs; may be nil
	OnNOC        func(noc []byte)                  // told of every certificate that AddNOC brings; may be nil
	Network      *Network                          // that it must be put on first; nil: it is on Ethernet
	Camera       bool                              // that it has one, too
	Sleep        *Sleep                            // nil: it never does
}

// Device is a running device.
type Device struct {
	cfg         Config
	manager     *exchange.Manager
	engine      *interaction.Engine
	node        *datamodel.Node
	attestation *attesttest.Device
	resumptions securechannel.Resumptions
	ctx         context.Context
	cancel      context.CancelFunc
	journal     journal

	mu         sync.Mutex
	window     window
	failSafe   failSafe
	breadcrumb uint64
	fabrics    map[uint8]*fabric
	lastIndex  uint8 // that was given to a fabric
	on         bool
	label      string
	services   map[string]dnssd.Service       // by what they stand for
	ads        map[string]*dnssd.Registration // of these, while the device is on a network
	station    station
	software   software
	streams    []*stream
	lastStream uint16 // id that was given to a stream
	sleeper    sleeper
	wrong      int      // passcodes in a row
	received   [][]byte // certificates, in TLV
}

// New is a device that is not yet reachable.
func New(cfg Config) (*Device, error) {
	if cfg.FailSafe == 0 {
		cfg.FailSafe = failSafeSeconds
	}
	if cfg.MaxFabrics == 0 {
		cfg.MaxFabrics = defaultFabrics
	}
	if cfg.MaxFabrics < 1 || cfg.MaxFabrics > maxFabrics {
		return nil, fmt.Errorf("virtual: a device has room for 1 to %d fabrics, not %d", maxFabrics, cfg.MaxFabrics)
	}
	if cfg.Network != nil && cfg.Network.Max == 0 {
		n := *cfg.Network
		n.Max, cfg.Network = 1, &n
	}
	if cfg.Link = cfg.Hostile.link(cfg.Link); cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m, err := exchange.New(exchange.Config{Now: cfg.Now, Random: cfg.Random, Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	d := &Device{cfg: cfg, manager: m, engine: interaction.New(m), node: new(datamodel.Node),
		fabrics: make(map[uint8]*fabric), services: make(map[string]dnssd.Service), ads: make(map[string]*dnssd.Registration)}
	d.station.begin(cfg.Network)
	d.software = software{version: cfg.Software, text: cfg.SoftwareText, state: datamodel.UpdateIdle, providers: make(map[uint8]datamodel.ProviderLocation)}
	d.cfg.Link = gated{cfg.Link, &d.station.up}
	if cfg.Sleep != nil {
		d.cfg.Link = drowsy{d.cfg.Link, d}
		d.sleeper.rouse, d.engine.Pace = make(chan struct{}, 1), d.pace
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	d.attestation = cfg.Hostile.maker(cfg.Maker).Device(attesttest.Product{VendorID: cfg.Code.VendorID, ProductID: cfg.Code.ProductID,
		DeviceType: datamodel.DeviceTypeOnOffLight, Number: binary.BigEndian.Uint64(d.fingerprint())})
	d.node.Grants, d.node.History = d.grants, d.journal.since
	parts := []interaction.EndpointID{1}
	if cfg.Camera {
		parts = append(parts, cameraEndpoint)
	}
	if err := errors.Join(
		d.add(0, d.descriptor(0, []datamodel.DeviceType{{Type: datamodel.DeviceTypeRootNode, Revision: 3}, {Type: datamodel.DeviceTypeOTARequestor, Revision: 1}},
			[]interaction.ClusterID{datamodel.OTAProvider}, parts),
			d.basicInformation(), d.generalCommissioning(), d.networkCommissioning(), d.generalDiagnostics(),
			d.administratorCommissioning(), d.operationalCredentials(), d.accessControl(), d.groupKeyManagement(), d.otaRequestor()),
		d.add(1, d.descriptor(1, []datamodel.DeviceType{{Type: datamodel.DeviceTypeOnOffLight, Revision: 3}}, []interaction.ClusterID{}, []interaction.EndpointID{}), d.identify(), d.onOff()),
		d.addCamera(),
	); err != nil {
		return nil, err
	}
	if cfg.Sleep != nil {
		if err := d.add(0, d.icdManagement()); err != nil {
			return nil, err
		}
	}
	d.engine.Serve(cfg.Hostile.provider(d.node))
	cfg.Hostile.register(d)
	responder := &securechannel.Responder{Manager: m, Log: cfg.Log, Resumptions: &d.resumptions,
		Identities: d.identities, Window: d.openedWindow, Paired: d.paired}
	responder.Register()
	return d, nil
}

func (d *Device) add(e interaction.EndpointID, clusters ...*datamodel.Cluster) error {
	for _, c := range clusters {
		var version [4]byte
		if _, err := io.ReadFull(d.cfg.Random, version[:]); err != nil {
			return err
		}
		d.node.Add(e, c, binary.LittleEndian.Uint32(version[:]))
	}
	return nil
}

// Start opens the commissioning window of the printed code and makes the
// device reachable.
func (d *Device) Start() error {
	salt := make([]byte, spake2p.MaxSalt)
	if _, err := io.ReadFull(d.cfg.Random, salt); err != nil {
		return err
	}
	secret, err := spake2p.Derive(d.cfg.Code.Passcode.Reveal(), salt, spake2p.MinIterations)
	if err != nil {
		return err
	}
	verifier, err := secret.Verifier()
	if err != nil {
		return err
	}
	discriminator, ok := d.cfg.Code.Discriminator.Full()
	if !ok {
		return fmt.Errorf("virtual: the code's discriminator is a short one")
	}
	printed := securechannel.Window{Verifier: verifier, Iterations: spake2p.MinIterations, Salt: salt}
	d.manager.Serve(d.cfg.Link)
	if d.cfg.Sleep != nil {
		go d.doze()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.window = window{printed: printed, discriminator: discriminator}
	return d.open(&printed, discriminator, datamodel.WindowBasic, nil, 0)
}

// Close makes the device vanish, with a goodbye.
func (d *Device) Close() {
	d.cancel()
	d.mu.Lock()
	d.failSafe.stop()
	d.window.stop()
	for _, ad := range d.ads {
		ad.Close()
	}
	d.mu.Unlock()
	d.manager.Close()
}

// On reports whether the light is on.
func (d *Device) On() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.on
}

// Fabrics is how many fabrics the device is on.
func (d *Device) Fabrics() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.fabrics)
}

// NOCs are the certificates the device has, one of each fabric.
func (d *Device) NOCs() (nocs [][]byte) {
	for _, id := range d.identities() {
		nocs = append(nocs, id.NOC)
	}
	return nocs
}

// changed tells subscribers of new values. Call it without the lock.
func (d *Device) changed(e interaction.EndpointID, c interaction.ClusterID, attributes ...interaction.AttributeID) {
	d.node.Touch(e, c)
	for _, a := range attributes {
		d.engine.Changed(interaction.Attribute(e, c, a))
	}
}

// advertise makes one of the device's services known, as soon as it is on a
// network, or takes it back (nil). Call it with the lock.
func (d *Device) advertise(what string, s *dnssd.Service) {
	delete(d.services, what)
	if s != nil {
		d.services[what] = *s
	}
	d.announce(what)
}

// announce brings what the network hears in line with the device's services.
func (d *Device) announce(what string) {
	if ad := d.ads[what]; ad != nil {
		ad.Close()
		delete(d.ads, what)
	}
	s, ok := d.services[what]
	if !ok || d.cfg.Discovery == nil || !d.station.up.Load() {
		return
	}
	ad, err := d.cfg.Discovery.Advertise(d.ctx, s)
	if err != nil {
		d.cfg.Log.Warn("advertising failed", "what", what, "err", err)
		return
	}
	d.ads[what] = ad
}

func (d *Device) advertiseWindow(mode radio.CommissioningMode, discriminator uint16) {
	var instance [8]byte
	if _, err := io.ReadFull(d.cfg.Random, instance[:]); err != nil {
		d.cfg.Log.Warn("advertising failed", "err", err)
		return
	}
	ad := radio.Advertisement{Kind: radio.Commissionable, Instance: fmt.Sprintf("%X", instance), HasDiscriminator: true,
		Discriminator: discriminator, Vendor: d.cfg.Code.VendorID, Product: d.cfg.Code.ProductID, Mode: mode,
		DeviceType: datamodel.DeviceTypeOnOffLight, DeviceName: d.cfg.Name}
	d.beacon(&ad)
	s := dnssd.CommissionableService(ad, d.cfg.Port)
	s.SkipProbe = true // 64 random bits
	d.advertise("window", &s)
}

// fingerprint is what of the serial number fits where that does not.
func (d *Device) fingerprint() []byte {
	sum := sha256.Sum256([]byte(d.cfg.SerialNumber))
	return sum[:16]
}

func (d *Device) uniqueID() string { return hex.EncodeToString(d.fingerprint()) }
