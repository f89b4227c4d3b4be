package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/interop/lab"
	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/message"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/setup"
	"gatehouse/fabric/cert"
	"gatehouse/firmware/shelf"
	"gatehouse/radio"
	"gatehouse/radio/dnssd"
	"gatehouse/radio/udp"
)

// updateRigCommand makes the binary the rig of updates: it pairs lights
// in-process, and gives each an image of their product.
//
//	bench update-rig TRUST-DIR PRODUCT OCTETS CODE...
const updateRigCommand = "update-rig"

// giveLimit bounds the pairing and update of one light.
const giveLimit = 2 * time.Minute

// giver is what the provider gives: one image, to whoever asks.
type giver struct {
	shelf *shelf.Shelf
	offer ota.Offer
	began time.Time
	cpu   time.Duration
	took  transfers
	done  chan struct{} // closed once a light has it all
}

func (g *giver) Offer(context.Context, cert.NodeID, *datamodel.QueryImage) (ota.Offer, time.Duration, bool) {
	return g.offer, 0, true
}

func (g *giver) Image(_ context.Context, d ota.Digest) (bdx.File, error) {
	if g.began.IsZero() {
		g.began, g.cpu = time.Now(), cpuTime()
	}
	i, err := g.shelf.Open(shelf.Digest(d))
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (*giver) Apply(context.Context, cert.NodeID, ota.Offer) (datamodel.ApplyAction, time.Duration) {
	return datamodel.ApplyProceed, 0
}

// Report waits for the end of a transfer: one that breaks off, the device begins
// anew.
func (g *giver) Report(_ cert.NodeID, p ota.Progress) {
	if p.State == ota.Downloaded {
		g.took.Times, g.took.CPU = append(g.took.Times, time.Since(g.began)), cpuTime()-g.cpu
		close(g.done)
	}
}

func updateRig(ctx context.Context, options size, args []string) error {
	if len(args) < 5 {
		return errors.New("usage: bench update-rig TRUST-DIR PRODUCT OCTETS CODE CODE ..., the first to warm up")
	}
	product, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	g := new(giver)
	if err := g.fill(args[0]+"-shelf", uint16(product), size); err != nil {
		return err
	}
	c, err := rigCommissioner(ctx, args[0])
	if err != nil {
		return err
	}
	if err := g.serve(ctx, c); err != nil {
		return err
	}
	stop, err := profile(options.profile)
	if err != nil {
		return err
	}
	defer stop()
	var all transfers
	for i, code := range args[3:] {
		if err := g.give(ctx, c, code); err != nil {
			return err
		}
		if i > 0 {
			all.Times = append(all.Times, g.took.Times...)
			all.CPU += g.took.CPU / time.Duration(len(args)-4)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(all)
}

// fill puts the image on a shelf.
func (g *giver) fill(dir string, product uint16, size int) error {
	image, err := lab.Image(product, size)
	if err != nil {
		return err
	}
	if g.shelf, err = shelf.Open(dir, int64(len(image))); err != nil {
		return err
	}
	g.offer = ota.Offer{Version: lab.NewVersion, VersionString: "2.0", Image: sha256.Sum256(image)}
	return g.shelf.Put(bytes.NewReader(image), g.offer.Image, int64(len(image)))
}

// serve has the rig be a provider that devices find.
func (g *giver) serve(ctx context.Context, c *commissioner.Commissioner) error {
	log := slog.New(slog.DiscardHandler)
	p := &ota.Provider{Updates: g, Now: time.Now, Log: log}
	node, err := p.Node(1, "1", rand.Reader)
	if err != nil {
		return err
	}
	c.Engine.Serve(node)
	c.Manager.Handle(message.BDX, p.Transfer)
	r := &securechannel.Responder{Manager: c.Manager, Log: log, Resumptions: c.Resumptions(), Identities: func() []*securechannel.Identity { return []*securechannel.Identity{c.Identity()} }}
	r.Register()
	self := radio.Advertisement{CompressedFabric: c.CompressedFabric(), Node: uint64(c.Identity().Node)}
	_, err = c.Discovery.(*dnssd.Conn).Advertise(ctx, dnssd.OperationalService(self, c.Link.(*udp.Link).LocalAddr().Port()))
	return err
}

// give pairs a light and updates it.
func (g *giver) give(ctx context.Context, c *commissioner.Commissioner, code string) error {
	ctx, cancel := context.WithTimeout(ctx, giveLimit)
	defer cancel()
	g.took, g.began, g.done = transfers{}, time.Time{}, make(chan struct{})
	codes, err := setup.Parse(code)
	if err != nil {
		return err
	}
	_, session, err := c.Pair(ctx, commissioner.PairRequest{Code: codes[0]}, func(commissioner.Progress) {})
	if err != nil {
		return err
	}
	defer securechannel.Close(c.Manager, session)
	if err := ota.Announce(ctx, c.Engine, session, lab.VendorID, datamodel.AnnounceUpdate); err != nil {
		return err
	}
	select {
	case <-g.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
