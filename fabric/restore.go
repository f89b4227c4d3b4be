package fabric

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"gatehouse/fabric/cert"
)

// What a restore leaves out at least, so that nothing which the lost gateways
// did after the backup was taken is done again. Nobody knows what they did:
// package cluster/backup leaves out far more.
const (
	RestoreGenerations = 16 // numbers of generations
	RestoreTags        = 8  // versions of the gateways' CAT
	// MaxRestores is how often a home can be restored, each time from a backup
	// of its life before.
	MaxRestores = 31
)

// Node ids have their life in bits 48 to 52 and are drawn at random below:
// what was given after a backup was taken is not given again in the next life.
// They stay below 2⁵³, for clients whose numbers are floats.
const lifeShift = 48

// NodeIDs is the lowest node id that may be given in this life of the home.
func (s *State) NodeIDs() cert.NodeID { return max(1, cert.NodeID(s.Restores)<<lifeShift) }

// DrawNode draws a node id that was never given.
func (s *State) DrawNode(random io.Reader) (cert.NodeID, error) {
	for {
		var b [8]byte
		if _, err := io.ReadFull(random, b[:lifeShift/8]); err != nil {
			return 0, fmt.Errorf("draw a node id: %w", err)
		}
		n := cert.NodeID(binary.LittleEndian.Uint64(b[:]))
		if n == 0 {
			continue
		}
		if n |= cert.NodeID(s.Restores) << lifeShift; !s.Used(n) {
			return n, nil
		}
	}
}

// FirstSerial is the serial number of the first gateway's certificate under a
// generation that a restore began. No log entry has index 0.
func FirstSerial(generation uint32) []byte { return serial(generation, 0) }

// ErrNoRecovery says that nothing could open a backup of this home.
var ErrNoRecovery = errors.New("the home was founded by an early release, whose recovery kit opens no backups")

// Backup is what of a State outlives its gateways: no gateway's identity, no
// key but in the recovery kit's envelope, nothing that only its log needs. The
// gateways are among the tombstones already.
func (s *State) Backup() (*State, error) {
	if !s.Founded() {
		return nil, errors.New("there is no home to back up")
	}
	kept := *s
	if s.Keyring == nil || s.Home.Recovery == nil {
		return nil, ErrNoRecovery
	}
	kit := Addressee{recoveryKit, 0, s.Home.Recovery, nil}
	kept.Keyring = &Keyring{Number: s.Keyring.Number, Shared: slices.DeleteFunc(slices.Clone(s.Keyring.Shared),
		func(e Envelope) bool { return e.Gateway != recoveryKit || !bytes.Equal(e.To, kit.To()) })}
	if len(kept.Keyring.Shared) != 1 {
		return nil, errors.New("the home's secrets are about to be sealed for the recovery kit: try again in a minute")
	}
	kept.Generations = nil
	for _, g := range s.Generations {
		kept.Generations = append(kept.Generations, Generation{Number: g.Number, ICAC: g.ICAC})
	}
	kept.Gateways, kept.Recent = nil, nil
	kept.People = s.People.withoutSessions()
	if s.Former != nil {
		former := *s.Former
		former.NOCs, kept.Former = nil, &former
	}
	kept.Tombstones = maps.Clone(s.Tombstones)
	for n, g := range s.Gateways {
		hash := sha256.Sum256(g.NOC)
		kept.Tombstones[n] = &Tombstone{Serial: g.Serial, NOCHash: hash[:], At: s.Time, Reason: Cut(lostGateway + g.Name)}
	}
	return &kept, nil
}

// lostGateway begins the reason of a gateway's tombstone that Backup made; its
// name follows.
const lostGateway = "gateway of before a restore: "

// Lost are the names of the gateways that a home had when Backup was called,
// in alphabetical order.
func (s *State) Lost() (names []string) {
	for _, t := range s.Tombstones {
		if name, ok := strings.CutPrefix(t.Reason, lostGateway); ok && t.At == s.Time {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Restore begins another life of a home that lost its gateways.
type Restore struct {
	State      *State     `cbor:"0,keyasint"` // as Backup made it
	Gateway    Gateway    `cbor:"1,keyasint"` // the first one, which is new
	Generation Generation `cbor:"2,keyasint"` // its number and certificate
	CAT        uint16     `cbor:"3,keyasint"` // version of the gateways' CAT
	Reseal     Reseal     `cbor:"4,keyasint"` // all secrets, for the gateway
}

// reasonRestored is why a pairing that a backup caught halfway is over.
const reasonRestored = "the home was restored meanwhile"

func (s *State) restore(r *Restore) error {
	switch {
	case s.Founded():
		return refuse(CodeFounded, "this gateway has a fabric already")
	case r.State == nil:
		return refuse(CodeInvalid, "there is nothing to restore")
	}
	if what := r.State.flaw(); what != "" {
		return refuse(CodeInvalid, "the backup is not one of this release's: "+what)
	}
	next := *r.State
	next.Index, next.Time = s.Index, max(s.Time, r.State.Time)
	next.Restores++
	gateway, generation, cat := r.Gateway, r.Generation, next.Home.GatewayCAT
	switch last := next.Generation().Number; {
	case next.Restores > MaxRestores:
		return refuse(CodeFull, fmt.Sprintf("the home was restored %d times; its node ids are used up", MaxRestores))
	case !gateway.Node.Operational() || len(gateway.NOC) == 0 || len(gateway.NOC) > cert.MaxTLV || len(gateway.SealKey) == 0 ||
		len(gateway.SealKey) > MaxBlob || len(gateway.Name) > MaxText || len(gateway.Storage) > MaxText || gateway.Reserved != nil ||
		gateway.CAT != r.CAT || gateway.Version < 2 || next.Trail != nil && gateway.Version < TrailVersion || (next.People != nil || next.Import != nil) && gateway.Version < PeopleVersion || gateway.Version > Version: // not only this release's: later ones replay the log
		return refuse(CodeInvalid, "the first gateway lacks something, or its certificate another version of the gateways' tag")
	case next.Used(gateway.Node):
		return refuse(CodeUsed, fmt.Sprintf("node id %v was given before", gateway.Node))
	case len(generation.ICAC) == 0 || len(generation.ICAC) > cert.MaxTLV || generation.Key != nil || generation.DataKeys != nil ||
		uint64(generation.Number) < uint64(last)+RestoreGenerations:
		return refuse(CodeInvalid, fmt.Sprintf("generation %d cannot follow %d in a restore", generation.Number, last))
	case !bytes.Equal(gateway.Serial, FirstSerial(generation.Number)):
		return refuse(CodeSerial, "the first gateway's serial number is not its generation's first")
	case uint32(r.CAT) < uint32(cat.Version())+RestoreTags:
		return refuse(CodeInvalid, fmt.Sprintf("version %d of the gateways' tag cannot follow %d in a restore", r.CAT, cat.Version()))
	case r.Reseal.ICAC != nil || r.Reseal.Recovery != nil:
		return refuse(CodeInvalid, "the secrets' seal is of another generation or kit")
	}
	next.Home.GatewayCAT = cert.NewCAT(cat.Group(), r.CAT)
	next.Generations = append(slices.Clone(next.Generations), generation)
	next.Gateways = map[cert.NodeID]*Gateway{gateway.Node: &gateway}
	next.Networks = maps.Clone(next.Networks)
	for name, n := range next.Networks {
		exposed := *n
		exposed.Exposed = true // the lost gateways knew its credentials
		next.Networks[name] = &exposed
	}
	next.exposePeople()
	if err := next.reseal(&r.Reseal); err != nil {
		return err
	}
	next.inherit(gateway.Node)
	*s = next
	return nil
}

// inherit gives the devices of the gateways that are gone to the one there is.
// What was only being paired is over: nobody knows how far it came.
func (s *State) inherit(heir cert.NodeID) {
	devices := s.Devices
	s.Devices = make(map[cert.NodeID]*Device, len(devices))
	s.Tombstones = maps.Clone(s.Tombstones)
	for n, d := range devices {
		if d.Phase != Admitted {
			s.Tombstones[n] = &Tombstone{Serial: d.Serial, NOCHash: d.NOCHash, At: s.Time, Reason: reasonRestored}
			continue
		}
		owned := *d
		owned.Gateway = heir
		if d.Next != nil && d.Next.Phase == Reserved { // no device has its certificate
			owned.Next = nil
		}
		s.Devices[n] = &owned
	}
}

// flaw is what keeps a State from being one that Backup made, else empty.
// Apply must not stumble over it later.
func (s *State) flaw() string {
	switch {
	case !s.Founded() || !s.Home.FabricID.Valid() || !s.Home.GatewayCAT.Valid() || len(s.Home.Name) > MaxText:
		return "the home lacks its root, fabric id or gateways' tag"
	case s.Version > Version:
		return "a newer one wrote it"
	case len(s.Generations) == 0 || s.Keyring == nil || s.Home.Recovery == nil:
		return "its generations, keyring or recovery key are missing"
	case len(s.Gateways) > 0 || len(s.Recent) > 0:
		return "there are gateways in it"
	case len(s.Devices) > MaxDevices || len(s.Zones) > MaxZones || len(s.Anchors) > MaxAnchors || len(s.Exceptions) > MaxExceptions ||
		len(s.Networks) > MaxNetworks || len(s.Tombstones) > MaxTombstones+MaxDevices+MaxRestores*MaxGateways:
		return "there is too much in it"
	case s.Devices == nil || s.Tombstones == nil || s.Anchors == nil || s.Exceptions == nil || s.Zones[defaultZone] == nil:
		return "something is missing in it"
	}
	for n, d := range s.Devices {
		if d == nil || d.Node != n || !n.Operational() || d.Phase < Reserved || d.Phase > Admitted || s.Zones[d.Zone] == nil || s.Tombstones[n] != nil ||
			d.Next != nil && (s.Former == nil && !d.Next.Renewal || d.Next.Phase != Reserved && d.Next.Phase != Issued) || d.Standing != nil && d.Standing.check() != nil {
			return "a device is not in order"
		}
	}
	if what := s.Former.flaw(s); what != "" {
		return what
	}
	if what := s.Trail.flaw(); what != "" {
		return what
	}
	if what := s.importFlaw(); what != "" {
		return what
	}
	if what := s.checkInFlaw(); what != "" {
		return what
	}
	if what := s.People.flaw(); what != "" {
		return what
	}
	if hasNil(s.Tombstones) || hasNil(s.Anchors) {
		return "a former device or an anchor is not in order"
	}
	for name, z := range s.Zones {
		if z == nil || z.Name != name {
			return "a zone is not in order"
		}
	}
	for name, e := range s.Exceptions {
		if e == nil || e.Name != name {
			return "an exception is not in order"
		}
	}
	for name, n := range s.Networks {
		if n == nil || n.Name != name {
			return "a network is not in order"
		}
	}
	if f := s.Firmware; f != nil {
		if len(f.Sources) > MaxSources {
			return "there are too many sources of firmware in it"
		}
		for name, source := range f.Sources {
			if source == nil || source.Name != name {
				return "a source of firmware is not in order"
			}
		}
		if len(f.Rollouts) > MaxRollouts {
			return "there are too many roll-outs in it"
		}
		for image, r := range f.Rollouts {
			if what := r.flaw(image); what != "" {
				return what
			}
		}
	}
	return ""
}

// rerooted reports whether something in it came with a change of the root.
func (s *State) rerooted() bool {
	return s != nil && (s.Former != nil || len(s.which(func(d *Device) bool { return d != nil && (d.Next != nil || d.Before != nil) })) > 0)
}

// renewed reports whether something in it came with the renewal of
// certificates.
func (s *State) renewed() bool {
	return s != nil && len(s.which(func(d *Device) bool {
		return d != nil && (d.Untagged || d.Next != nil && (d.Next.Renewal || d.Next.Untagged))
	})) > 0
}

func hasNil[K comparable, V any](m map[K]*V) bool {
	for _, v := range m {
		if v == nil {
			return true
		}
	}
	return false
}
