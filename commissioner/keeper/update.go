package keeper

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/ota"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/firmware/shelf"
)

// Limits of ours.
const (
	fetchLimit = 30 * time.Minute // for an image from its source
	fetchRetry = 10 * time.Minute // after one that could not be fetched
	fetchWait  = 2 * time.Minute  // until a device asks again whose image is being fetched
)

// Images are the images that devices are to have.
type Images interface {
	// Has reports whether an image can be opened without a fetch.
	Has(i *fabric.FirmwareImage) bool
	// Image opens an image of a vendor's, fetched if need be. Close it.
	Image(ctx context.Context, vendor uint16, i *fabric.FirmwareImage) (*shelf.Image, error)
}

// Updates gives devices the images that their standings name: what an
// ota.Provider asks. Which device begins when, the trust state has.
type Updates struct {
	k      *Keeper
	images Images

	mu       sync.Mutex
	fetching map[ota.Digest]time.Time // since when, or until when not again
	ways     map[cert.NodeID]*way
}

// Update has this Keeper update its devices, from images.
func (k *Keeper) Update(images Images) *Updates {
	k.updates = &Updates{k: k, images: images, fetching: make(map[ota.Digest]time.Time), ways: make(map[cert.NodeID]*way)}
	return k.updates
}

// offered is the image that a device may have now; nil: none. Until all of the
// home's gateways know of roll-outs, it is what the device is to have.
func (u *Updates) offered(n cert.NodeID) (f fabric.Facts, i *fabric.FirmwareImage) {
	s := u.k.c.Ledger.State()
	d := s.Devices[n]
	if d == nil || d.Standing == nil || d.Standing.Update == nil || s.Version >= fabric.RolloutVersion && !d.Updating(d.Standing.Update.SHA256) {
		return f, nil
	}
	return d.Facts, d.Standing.Update
}

// Offer implements ota.Updates. An image that is not here is fetched first.
func (u *Updates) Offer(_ context.Context, n cert.NodeID, q *datamodel.QueryImage) (o ota.Offer, wait time.Duration, ok bool) {
	f, i := u.offered(n)
	if i == nil || q != nil && (q.VendorID != f.VendorID || q.SoftwareVersion >= i.Version) {
		return o, 0, false
	}
	if q != nil && !u.images.Has(i) {
		u.fetch(f.VendorID, i)
		wait = fetchWait
	}
	return ota.Offer{Version: i.Version, VersionString: i.Name, Image: ota.Digest(i.SHA256)}, wait, true
}

// fetch begins to fetch an image, unless that is under way or failed just now.
func (u *Updates) fetch(vendor uint16, i *fabric.FirmwareImage) {
	d, now := ota.Digest(i.SHA256), u.k.c.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if until, ok := u.fetching[d]; ok && now.Before(until) {
		return
	}
	u.fetching[d] = now.Add(fetchLimit + fetchRetry)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		defer cancel()
		image, err := u.images.Image(ctx, vendor, i)
		u.mu.Lock()
		defer u.mu.Unlock()
		if err != nil {
			u.fetching[d] = u.k.c.Now().Add(fetchRetry)
			u.k.c.Log.Warn("an image cannot be fetched", "vendor", vendor, "version", i.Version, "err", err)
			return
		}
		image.Close()
		delete(u.fetching, d)
	}()
}

// Image implements ota.Updates.
func (u *Updates) Image(ctx context.Context, d ota.Digest) (bdx.File, error) {
	for n := range u.k.c.Ledger.State().Devices {
		if f, i := u.offered(n); i != nil && ota.Digest(i.SHA256) == d {
			return u.open(ctx, f, i)
		}
	}
	return nil, shelf.ErrAbsent // it is not wanted any more
}

// open opens an image for a device. What statements say of it is believed, but
// not every device looks whether an image is for it: one that itself says that
// it is not, goes to none.
func (u *Updates) open(ctx context.Context, f fabric.Facts, i *fabric.FirmwareImage) (*shelf.Image, error) {
	image, err := u.images.Image(ctx, f.VendorID, i)
	if err != nil {
		return nil, err
	}
	if h := image.Header; !h.For(f.VendorID, f.ProductID) || h.Version != i.Version {
		image.Close()
		return nil, fmt.Errorf("the image says that it is version %d of product %04X of vendor %04X, and not for this device", h.Version, h.ProductID, h.VendorID)
	}
	return image, nil
}

// Apply implements ota.Updates: what is still wanted may be installed at once.
func (u *Updates) Apply(_ context.Context, n cert.NodeID, o ota.Offer) (datamodel.ApplyAction, time.Duration) {
	if _, i := u.offered(n); i == nil || ota.Digest(i.SHA256) != o.Image {
		return datamodel.ApplyDiscontinue, 0
	}
	return datamodel.ApplyProceed, 0
}

// Ask has a device get the image that it is to have, because a person says so:
// whatever its roll-out is at.
func (u *Updates) Ask(ctx context.Context, n cert.NodeID) error {
	d, err := u.k.device(ctx, n)
	if err != nil {
		return err
	}
	i := d.Update()
	if i == nil {
		return commissioner.Fail(commissioner.CodeNoUpdate, nil)
	}
	image, err := u.open(ctx, d.Facts, i)
	if err != nil {
		return commissioner.Fail(commissioner.CodeNoImage, err)
	}
	image.Close()
	if u.k.c.Ledger.State().Version < fabric.RolloutVersion {
		return u.k.Announce(ctx, n)
	}
	return u.begin(ctx, d, true)
}

// Announce has a device know this gateway as its OTA provider, and ask it soon.
func (k *Keeper) Announce(ctx context.Context, n cert.NodeID) error {
	state, reason := k.c.Ledger.State(), datamodel.AnnounceUpdate
	if d := state.Devices[n]; d != nil && d.Quarantined() {
		reason = datamodel.AnnounceUrgentUpdate
	}
	return k.do(ctx, n, true, func(s *exchange.Session) error {
		if err := ota.Announce(ctx, k.c.Engine, s, state.Home.VendorID, reason); err != nil {
			return commissioner.Explain(err, commissioner.CodeNotUpdatable)
		}
		return nil
	})
}
