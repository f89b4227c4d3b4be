// Package ota gives devices their software: a Matter OTA Provider on the
// gateway's own node (Matter Core 11.20), which sends images over BDX.
//
// It promises that a device of the home gets the image that was decided for it,
// octet by octet as it was decided, and nobody gets any other; and that one that
// stalls costs the others nothing. It decides nothing: Updates does.
package ota

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
)

// Endpoint is where the provider is on the gateway's node.
const Endpoint interaction.EndpointID = 1

// Limits of ours.
const (
	maxTransfers = 8               // at once; the next is told to come back
	stallTime    = 5 * time.Minute // a device may take over its next message: Matter grants so much
	tellEvery    = time.Second     // of a transfer's progress
	transferTime = 6 * time.Hour   // in all: a MiB a minute is slow, and images are of a few
	busyDelay    = 2 * time.Minute // until a device that came too early asks again; less it need not heed
)

// Digest is the SHA-256 of an image's whole file.
type Digest = [sha256.Size]byte

// Offer is the image that a device is to have.
type Offer struct {
	Version       uint32
	VersionString string
	Image         Digest
}

// Updates decides who gets what, and is told how it goes.
type Updates interface {
	// Offer is what a device is to run that asks for an image. ok is false if
	// there is nothing for it, wait says that it should ask again after that. q is
	// nil for a device that another gateway offered it to, and that has it now.
	Offer(ctx context.Context, n cert.NodeID, q *datamodel.QueryImage) (o Offer, wait time.Duration, ok bool)
	// Image opens an image that was offered.
	Image(ctx context.Context, d Digest) (bdx.File, error)
	// Apply says whether a device that has its image may install it now.
	Apply(ctx context.Context, n cert.NodeID, o Offer) (datamodel.ApplyAction, time.Duration)
	// Report is told of each step of a device.
	Report(n cert.NodeID, p Progress)
}

// State is how far a device is with an offer.
type State string

const (
	Announced   State = "announced" // it was told to ask
	Offered     State = "offered"
	Downloading State = "downloading"
	Downloaded  State = "downloaded"
	Broken      State = "broken" // the transfer ended early; the device may go on with it
	Applying    State = "applying"
	Applied     State = "applied"
)

// Progress is one step of a device.
type Progress struct {
	Offer
	State      State
	Done, Size int64 // octets, while it downloads
	Err        error // why it broke
}

// Provider is the OTA Provider of one gateway.
type Provider struct {
	Updates Updates
	Now     func() time.Time
	Log     *slog.Logger

	mu        sync.Mutex
	offers    map[cert.NodeID]Offer // as they were made last
	transfers map[cert.NodeID]*running
}

// token names an offer to a device. Every gateway makes the same one, so that a
// device whose gateway was lost goes on with another. It is no secret: the
// device is known by its certificate.
func (o Offer) token(n cert.NodeID) []byte {
	b := binary.BigEndian.AppendUint64([]byte("gatehouse update "), uint64(n))
	sum := sha256.Sum256(append(b, o.Image[:]...))
	return sum[:16]
}

// designator names an image in a transfer.
func (o Offer) designator() string { return hex.EncodeToString(o.Image[:]) }

// uri is where a device finds an image: at this gateway's node.
func (o Offer) uri(self uint64) string { return fmt.Sprintf("bdx://%016X/%s", self, o.designator()) }

// offered is what a device was offered last.
func (p *Provider) offered(n cert.NodeID) (Offer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	o, ok := p.offers[n]
	return o, ok
}

func (p *Provider) remember(n cert.NodeID, o Offer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.offers == nil {
		p.offers = make(map[cert.NodeID]Offer)
	}
	p.offers[n] = o
}

// Forget ends what a device was offered, and its transfer.
func (p *Provider) Forget(n cert.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.offers, n)
	if t := p.transfers[n]; t != nil {
		t.cancel()
	}
}
