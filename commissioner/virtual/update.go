package virtual

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/commissioner/matter/securechannel"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
	"gatehouse/firmware/otaimage"
	"gatehouse/radio"
)

const (
	updateTries = 3 // of a transfer that breaks off; it goes on where it was
	updateLimit = time.Hour
	updateRest  = 120 * time.Second // before asking or trying again, as requestors must
)

// software is what the device runs, and how it gets other. It is guarded by
// Device.mu.
type software struct {
	version   uint32
	text      string
	state     datamodel.UpdateState
	progress  tlv.Null[uint8] // percent
	providers map[uint8]datamodel.ProviderLocation
	update    *update      // under way; nil: none
	next      *update      // that comes after it
	image     bytes.Buffer // what is there of it
	uri       string       // of that
}

// Software is what the device runs now.
func (d *Device) Software() (version uint32, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.software.version, d.software.text
}

// otaRequestor asks those who announce themselves for another image.
func (d *Device) otaRequestor() *datamodel.Cluster {
	read := func(v func() any) datamodel.AttributeServer {
		return datamodel.AttributeServer{Read: func(*interaction.Request) any { d.mu.Lock(); defer d.mu.Unlock(); return v() }}
	}
	return &datamodel.Cluster{ID: datamodel.OTARequestor, Revision: 1,
		Attributes: map[interaction.AttributeID]datamodel.AttributeServer{
			datamodel.OTARequestorProviders: {Read: d.readProviders, Write: d.writeProviders, WriteAccess: datamodel.Administer},
			datamodel.OTARequestorPossible:  datamodel.Value(true),
			datamodel.OTARequestorState:     read(func() any { return d.software.state }),
			datamodel.OTARequestorProgress:  read(func() any { return d.software.progress }),
		},
		Commands: map[interaction.CommandID]datamodel.CommandServer{
			datamodel.OTARequestorAnnounce: {Access: datamodel.Administer, Invoke: d.announced},
		}}
}

func (d *Device) readProviders(r *interaction.Request) any {
	list := []datamodel.ProviderLocation{}
	for _, f := range d.visible(r) {
		d.mu.Lock()
		if p, ok := d.software.providers[f.index]; ok {
			list = append(list, p)
		}
		d.mu.Unlock()
	}
	return list
}

// writeProviders takes one provider of the asker's fabric: there is room for
// one of each.
func (d *Device) writeProviders(r *interaction.Request, v tlv.Raw, appended bool) interaction.Status {
	var list []datamodel.ProviderLocation
	var one datamodel.ProviderLocation
	if appended {
		if tlv.Unmarshal(v, &one) != nil {
			return interaction.InvalidDataType
		}
		list = append(list, one)
	} else if tlv.Unmarshal(v, &list) != nil {
		return interaction.InvalidDataType
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, has := d.software.providers[r.Session.Fabric()]
	if len(list) > 1 || appended && has {
		return interaction.ConstraintError
	}
	delete(d.software.providers, r.Session.Fabric())
	for _, p := range list {
		p.FabricIndex = r.Session.Fabric()
		d.software.providers[p.FabricIndex] = p
	}
	return interaction.Success
}

func (d *Device) announced(_ context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	if d.cfg.Hostile == NoUpdates {
		return nil, interaction.StatusIB{Status: interaction.UnsupportedCommand}
	}
	var a datamodel.AnnounceOTAProvider
	if tlv.Unmarshal(fields, &a) != nil {
		return invalid()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.fabrics[r.Session.Fabric()]
	if f == nil {
		return nil, interaction.StatusIB{Status: interaction.UnsupportedAccess}
	}
	u := &update{d: d, id: f.identity, provider: cert.NodeID(a.Node), endpoint: a.Endpoint, at: r.Session.Addr()}
	switch now := d.software.update; {
	case now == nil:
		d.begin(u)
	case now.provider != u.provider && d.software.state != datamodel.UpdateApplying:
		// The one it is at may be gone: what is there of the image is kept.
		d.software.next = u
		now.cancel()
	}
	return nil, interaction.StatusIB{}
}

// begin begins an update. Call it with the lock.
func (d *Device) begin(u *update) {
	d.software.update, d.software.state = u, datamodel.UpdateQuerying
	u.ctx, u.cancel = context.WithTimeout(d.ctx, updateLimit)
	go u.run()
}

// update is one update on its way.
type update struct {
	d        *Device
	id       *securechannel.Identity
	provider cert.NodeID
	endpoint interaction.EndpointID
	at       radio.Addr
	target   uint32 // version, once it was offered
	ctx      context.Context
	cancel   context.CancelFunc
}

// run asks for an image, fetches it and installs it.
func (u *update) run() {
	defer u.cancel()
	u.moved(datamodel.UpdateIdle, datamodel.UpdateQuerying, datamodel.ChangeSuccess)
	reason := datamodel.ChangeSuccess
	if err := u.update(u.ctx); err != nil {
		u.d.cfg.Log.Info("no update", "err", err)
		if !errors.Is(err, errNoUpdate) {
			reason = datamodel.ChangeFailure
		}
	}
	u.enter(datamodel.UpdateIdle, -1, reason)
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	next := u.d.software.next
	if u.d.software.update, u.d.software.next = nil, nil; next != nil {
		u.d.begin(next)
	}
}

var errNoUpdate = errors.New("there is none")

func (u *update) update(ctx context.Context) error {
	s, err := u.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { securechannel.Close(u.d.manager, s) }()
	offer, err := u.query(ctx, s)
	if err != nil {
		return err
	}
	u.target = *offer.SoftwareVersion
	for try := 1; ; try++ {
		if err = u.download(ctx, s, *offer.ImageURI); err == nil {
			break
		}
		u.failed(u.octets())
		if errors.Is(err, bdx.FileDesignatorUnknown) || try == updateTries || !u.rest(ctx, updateRest) {
			return fmt.Errorf("the transfer: %w", err)
		}
		s.Close()
		again, err := u.connect(ctx)
		if err != nil {
			return err
		}
		s = again
	}
	octets := u.octets()
	h, err := u.whole(offer)
	if err != nil {
		u.failed(octets)
		return err
	}
	u.enter(datamodel.UpdateApplying, -1, datamodel.ChangeSuccess)
	if err := u.mayApply(ctx, s, offer); err != nil {
		return err
	}
	switch u.d.cfg.Hostile {
	case Brick:
		u.d.Close()
		return nil
	case Boast:
	default:
		u.d.restart(h)
	}
	return u.invoke(ctx, s, datamodel.OTAProviderNotifyApplied, &datamodel.NotifyUpdateApplied{UpdateToken: offer.UpdateToken, SoftwareVersion: h.Version}, nil)
}

func (u *update) connect(ctx context.Context) (*exchange.Session, error) {
	return securechannel.CASE(ctx, u.d.manager, securechannel.Peer{Link: u.d.cfg.Link, Addr: u.at}, u.id, u.provider, &u.d.resumptions)
}

func (u *update) invoke(ctx context.Context, s *exchange.Session, id interaction.CommandID, fields, response any) error {
	return u.d.engine.InvokeCommand(ctx, s, 0, interaction.Command(u.endpoint, datamodel.OTAProvider, id), fields, response)
}

// rest waits, and reports whether ctx outlasts it.
func (u *update) rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (u *update) query(ctx context.Context, s *exchange.Session) (*datamodel.QueryImageResponse, error) {
	version, _ := u.d.Software()
	hardware := hardwareVersion
	for {
		var r datamodel.QueryImageResponse
		if err := u.invoke(ctx, s, datamodel.OTAProviderQueryImage, &datamodel.QueryImage{VendorID: u.d.cfg.Code.VendorID, ProductID: u.d.cfg.Code.ProductID,
			SoftwareVersion: version, Protocols: []datamodel.DownloadProtocol{datamodel.BDXSynchronous}, HardwareVersion: &hardware}, &r); err != nil {
			return nil, err
		}
		switch {
		case r.Status == datamodel.OTABusy:
			u.enter(datamodel.UpdateDelayedOnQuery, -1, datamodel.ChangeDelayByProvider)
			wait := updateRest
			if r.DelayedActionTime != nil {
				wait = max(wait, time.Duration(*r.DelayedActionTime)*time.Second)
			}
			if !u.rest(ctx, wait) {
				return nil, ctx.Err()
			}
			u.enter(datamodel.UpdateQuerying, -1, datamodel.ChangeSuccess)
			continue
		case r.Status != datamodel.UpdateAvailable:
			return nil, errNoUpdate
		case r.ImageURI == nil || r.SoftwareVersion == nil || r.SoftwareVersionString == nil || *r.SoftwareVersion <= version:
			return nil, errors.New("the provider's answer makes no sense")
		}
		return &r, nil
	}
}

// download fetches what is not there yet of an image.
func (u *update) download(ctx context.Context, s *exchange.Session, uri string) error {
	name, ok := strings.CutPrefix(uri, fmt.Sprintf("bdx://%016X/", uint64(u.provider)))
	if !ok {
		return fmt.Errorf("%s is not at the provider", uri)
	}
	u.enter(datamodel.UpdateDownloading, 0, datamodel.ChangeSuccess)
	u.d.mu.Lock()
	have := &u.d.software.image
	if name != u.d.software.uri {
		u.d.software.uri = name
		have.Reset()
	}
	offset := uint64(have.Len())
	u.d.mu.Unlock()
	_, err := bdx.Fetch(ctx, u.d.manager, s, bdx.Request{Designator: []byte(name), Offset: offset, Options: bdx.Options{Progress: func(done, end uint64) {
		if end > 0 {
			u.enter(datamodel.UpdateDownloading, int(100*done/end), datamodel.ChangeSuccess)
		}
	}}}, have)
	return err
}

// whole checks what was fetched.
func (u *update) whole(offer *datamodel.QueryImageResponse) (*otaimage.Header, error) {
	image := u.d.software.image.Bytes()
	u.d.software.image, u.d.software.uri = bytes.Buffer{}, ""
	h, err := otaimage.Verify(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	version, _ := u.d.Software()
	if !h.For(u.d.cfg.Code.VendorID, u.d.cfg.Code.ProductID) || !h.Updates(version) || h.Version != *offer.SoftwareVersion {
		return nil, errors.New("the image is not for this device")
	}
	return h, nil
}

func (u *update) mayApply(ctx context.Context, s *exchange.Session, offer *datamodel.QueryImageResponse) error {
	for {
		var r datamodel.ApplyUpdateResponse
		if err := u.invoke(ctx, s, datamodel.OTAProviderApplyRequest, &datamodel.ApplyUpdateRequest{UpdateToken: offer.UpdateToken, NewVersion: *offer.SoftwareVersion}, &r); err != nil {
			return err
		}
		wait := time.Duration(r.DelayedActionTime) * time.Second
		switch r.Action {
		case datamodel.ApplyProceed:
			if wait > 0 {
				u.enter(datamodel.UpdateDelayedOnApply, -1, datamodel.ChangeDelayByProvider)
			}
			if !u.rest(ctx, wait) {
				return ctx.Err()
			}
			return nil
		case datamodel.ApplyAwait:
			u.enter(datamodel.UpdateDelayedOnApply, -1, datamodel.ChangeDelayByProvider)
			if !u.rest(ctx, max(wait, updateRest)) {
				return ctx.Err()
			}
		default:
			return fmt.Errorf("the provider took it back: %w", errNoUpdate)
		}
	}
}

// enter says what the device is at; percent -1: nothing to count.
func (u *update) enter(s datamodel.UpdateState, percent int, reason datamodel.ChangeReason) {
	u.d.mu.Lock()
	before := u.d.software.state
	u.d.software.state, u.d.software.progress = s, tlv.Null[uint8]{Valid: percent >= 0, Value: uint8(max(0, percent))}
	u.d.mu.Unlock()
	if before != s {
		u.moved(before, s, reason)
	}
}

// moved tells that the device is at something else.
func (u *update) moved(from, to datamodel.UpdateState, reason datamodel.ChangeReason) {
	e := datamodel.StateTransition{Previous: from, New: to, Reason: reason}
	if to == datamodel.UpdateDownloading || to == datamodel.UpdateApplying {
		e.Target = tlv.Some(u.target)
	}
	u.d.changed(0, datamodel.OTARequestor, datamodel.OTARequestorState)
	u.d.happened(datamodel.OTARequestor, datamodel.OTARequestorTransition, infoEvent, &e)
}

// octets is how much of the image is there.
func (u *update) octets() int {
	u.d.mu.Lock()
	defer u.d.mu.Unlock()
	return u.d.software.image.Len()
}

// failed tells that a download came to nothing.
func (u *update) failed(octets int) {
	u.d.mu.Lock()
	e := datamodel.DownloadError{SoftwareVersion: u.target, Octets: uint64(octets), Percent: u.d.software.progress}
	u.d.mu.Unlock()
	u.d.happened(datamodel.OTARequestor, datamodel.OTARequestorDownloadError, infoEvent, &e)
}

// restart has the device run an image, as if it had just been switched on.
func (d *Device) restart(h *otaimage.Header) {
	d.mu.Lock()
	d.software.version, d.software.text = h.Version, h.VersionString
	d.mu.Unlock()
	if d.cfg.OnUpdate != nil {
		d.cfg.OnUpdate(h.Version, h.VersionString)
	}
	d.changed(0, datamodel.BasicInformation, datamodel.BasicSoftwareVersion, datamodel.BasicSoftwareVersionString)
	d.happened(datamodel.OTARequestor, datamodel.OTARequestorApplied, criticalEvent, &datamodel.VersionApplied{SoftwareVersion: h.Version, ProductID: d.cfg.Code.ProductID})
}
