package ota

import (
	"bytes"
	"context"
	"slices"
	"time"

	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/matter/interaction"
	"gatehouse/fabric/cert"
	"gatehouse/fabric/tlv"
)

// Cluster is the provider's cluster.
func (p *Provider) Cluster() *datamodel.Cluster {
	return &datamodel.Cluster{ID: datamodel.OTAProvider, Revision: 1, Commands: map[interaction.CommandID]datamodel.CommandServer{
		datamodel.OTAProviderQueryImage:    {Response: datamodel.OTAProviderQueryResponse, Invoke: p.queryImage},
		datamodel.OTAProviderApplyRequest:  {Response: datamodel.OTAProviderApplyResponse, Invoke: p.applyUpdate},
		datamodel.OTAProviderNotifyApplied: {Invoke: p.notifyApplied},
	}}
}

var invalid = interaction.StatusIB{Status: interaction.InvalidCommand}

func (p *Provider) queryImage(ctx context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	q, n := new(datamodel.QueryImage), cert.NodeID(r.Session.PeerNode())
	if tlv.Unmarshal(fields, q) != nil {
		return nil, invalid
	}
	if !slices.Contains(q.Protocols, datamodel.BDXSynchronous) {
		return &datamodel.QueryImageResponse{Status: datamodel.DownloadProtocolNotSupported}, interaction.StatusIB{}
	}
	o, wait, ok := p.Updates.Offer(ctx, n, q)
	switch {
	case wait > 0:
		return busy(wait), interaction.StatusIB{}
	case !ok || o.Version <= q.SoftwareVersion:
		return &datamodel.QueryImageResponse{Status: datamodel.UpdateNotAvailable}, interaction.StatusIB{}
	case p.full(n):
		return busy(busyDelay), interaction.StatusIB{}
	}
	p.remember(n, o)
	p.Updates.Report(n, Progress{Offer: o, State: Offered})
	uri := o.uri(r.Session.LocalNode())
	return &datamodel.QueryImageResponse{Status: datamodel.UpdateAvailable, ImageURI: &uri,
		SoftwareVersion: &o.Version, SoftwareVersionString: &o.VersionString, UpdateToken: o.token(n)}, interaction.StatusIB{}
}

func busy(wait time.Duration) *datamodel.QueryImageResponse {
	s := seconds(wait)
	return &datamodel.QueryImageResponse{Status: datamodel.OTABusy, DelayedActionTime: &s}
}

func seconds(d time.Duration) uint32 { return uint32(d.Round(time.Second) / time.Second) }

// current is what a device was offered: by this gateway, or by another that
// looked after it then.
func (p *Provider) current(ctx context.Context, n cert.NodeID) (Offer, bool) {
	if o, ok := p.offered(n); ok {
		return o, true
	}
	o, _, ok := p.Updates.Offer(ctx, n, nil)
	return o, ok
}

// applyUpdate lets a device install what it was offered.
func (p *Provider) applyUpdate(ctx context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	q, n := new(datamodel.ApplyUpdateRequest), cert.NodeID(r.Session.PeerNode())
	if tlv.Unmarshal(fields, q) != nil || len(q.UpdateToken) < datamodel.MinUpdateToken || len(q.UpdateToken) > datamodel.MaxUpdateToken {
		return nil, invalid
	}
	o, ok := p.current(ctx, n)
	if !ok || o.Version != q.NewVersion || !bytes.Equal(q.UpdateToken, o.token(n)) {
		p.Log.Warn("a device wants to install what it was not offered", "device", n, "version", q.NewVersion)
		return &datamodel.ApplyUpdateResponse{Action: datamodel.ApplyDiscontinue}, interaction.StatusIB{}
	}
	action, wait := p.Updates.Apply(ctx, n, o)
	if action == datamodel.ApplyProceed {
		p.Updates.Report(n, Progress{Offer: o, State: Applying})
	}
	return &datamodel.ApplyUpdateResponse{Action: action, DelayedActionTime: seconds(wait)}, interaction.StatusIB{}
}

// notifyApplied takes a device's word for what it runs now: whoever decides
// reads its version again.
func (p *Provider) notifyApplied(ctx context.Context, r *interaction.Request, fields tlv.Raw) (any, interaction.StatusIB) {
	q, n := new(datamodel.NotifyUpdateApplied), cert.NodeID(r.Session.PeerNode())
	if tlv.Unmarshal(fields, q) != nil {
		return nil, invalid
	}
	o, ok := p.current(ctx, n)
	if !ok || !bytes.Equal(q.UpdateToken, o.token(n)) {
		return nil, interaction.StatusIB{Status: interaction.InvalidCommand}
	}
	p.Forget(n)
	o.Version = q.SoftwareVersion
	p.Updates.Report(n, Progress{Offer: o, State: Applied})
	return nil, interaction.StatusIB{}
}
