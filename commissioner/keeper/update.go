package keeper

import (
	"context"
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
// ota.Provider asks.
type Updates struct {
	Keeper *Keeper
	Images Images

	mu       sync.Mutex
	fetching map[ota.Digest]bool
	progress map[cert.NodeID]ota.Progress
}

// wanted is the image that a device is to have; nil: none.
func (u *Updates) wanted(n cert.NodeID) (vendor uint16, i *fabric.FirmwareImage) {
	d := u.Keeper.c.Ledger.State().Devices[n]
	if d == nil || d.Standing == nil {
		return 0, nil
	}
	return d.Facts.VendorID, d.Standing.Update
}

// Offer implements ota.Updates. An image that is not here is fetched first.
func (u *Updates) Offer(_ context.Context, n cert.NodeID, q *datamodel.QueryImage) (o ota.Offer, wait time.Duration, ok bool) {
	vendor, i := u.wanted(n)
	if i == nil || q != nil && (q.VendorID != vendor || q.SoftwareVersion >= i.Version) {
		return o, 0, false
	}
	if q != nil && !u.Images.Has(i) {
		u.fetch(vendor, i)
		wait = fetchWait
	}
	return ota.Offer{Version: i.Version, VersionString: i.Name, Image: ota.Digest(i.SHA256)}, wait, true
}

// fetch begins to fetch an image, unless that is under way.
func (u *Updates) fetch(vendor uint16, i *fabric.FirmwareImage) {
	u.mu.Lock()
	defer u.mu.Unlock()
	d := ota.Digest(i.SHA256)
	if u.fetching[d] {
		return
	}
	if u.fetching == nil {
		u.fetching = make(map[ota.Digest]bool)
	}
	u.fetching[d] = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), fetchLimit)
		defer cancel()
		if image, err := u.Images.Image(ctx, vendor, i); err != nil {
			u.Keeper.c.Log.Warn("an image cannot be fetched", "vendor", vendor, "version", i.Version, "err", err)
		} else {
			image.Close()
		}
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.fetching, d)
	}()
}

// Image implements ota.Updates.
func (u *Updates) Image(ctx context.Context, d ota.Digest) (bdx.File, error) {
	for _, device := range u.Keeper.c.Ledger.State().Devices {
		if s := device.Standing; s != nil && s.Update != nil && ota.Digest(s.Update.SHA256) == d {
			return u.Images.Image(ctx, device.Facts.VendorID, s.Update)
		}
	}
	return nil, shelf.ErrAbsent // it is not wanted any more
}

// Apply implements ota.Updates: what is still wanted may be installed at once.
func (u *Updates) Apply(_ context.Context, n cert.NodeID, o ota.Offer) (datamodel.ApplyAction, time.Duration) {
	if _, i := u.wanted(n); i == nil || ota.Digest(i.SHA256) != o.Image {
		return datamodel.ApplyDiscontinue, 0
	}
	return datamodel.ApplyProceed, 0
}

// Report implements ota.Updates.
func (u *Updates) Report(n cert.NodeID, p ota.Progress) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.progress == nil {
		u.progress = make(map[cert.NodeID]ota.Progress)
	}
	if had := u.progress[n]; had.State != p.State || had.Image != p.Image {
		u.Keeper.c.Log.Info("a device's update", "device", n, "version", p.Version, "state", p.State, "octets", p.Done, "err", p.Err)
	}
	u.progress[n] = p
}

// Progress is how far a device's update was last.
func (u *Updates) Progress(n cert.NodeID) (ota.Progress, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	p, ok := u.progress[n]
	return p, ok
}

// Update has a device ask for the image that it is to have, once that is here.
func (u *Updates) Update(ctx context.Context, n cert.NodeID) error {
	if _, err := u.Keeper.device(ctx, n); err != nil {
		return err
	}
	vendor, i := u.wanted(n)
	if i == nil {
		return commissioner.Fail(commissioner.CodeNoUpdate, nil)
	}
	image, err := u.Images.Image(ctx, vendor, i)
	if err != nil {
		return commissioner.Fail(commissioner.CodeNoImage, err)
	}
	image.Close()
	return u.Keeper.Announce(ctx, n)
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
