package ota

import (
	"context"
	"fmt"
	"time"

	"gatehouse/commissioner/matter/bdx"
	"gatehouse/commissioner/matter/exchange"
	"gatehouse/fabric/cert"
)

// Transfer sends a device the image it was offered: the manager's handler of
// message.BDX.
func (p *Provider) Transfer(ctx context.Context, x *exchange.Exchange, first exchange.Message) {
	if x.Session().Kind() != exchange.CASE {
		return
	}
	n := cert.NodeID(x.Session().PeerNode())
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	leave, room := p.enter(n, cancel)
	defer leave()
	o, _ := p.offered(n)
	t := &transfer{p: p, node: n, offer: o, room: room}
	s := bdx.Server{Open: t.open, Options: bdx.Options{Idle: stallTime, Progress: t.progress}}
	if err := s.Serve(ctx, x, first); err != nil {
		p.Log.Info("a transfer to a device ended early", "device", n, "err", err)
		if t.begun {
			p.Updates.Report(n, Progress{Offer: o, State: Broken, Done: t.done, Size: t.size, Err: err})
		}
		return
	}
	p.Updates.Report(n, Progress{Offer: o, State: Downloaded, Done: t.size, Size: t.size})
}

// transfer is one.
type transfer struct {
	p          *Provider
	node       cert.NodeID
	offer      Offer
	room       bool // there is
	begun      bool
	done, size int64
	told       time.Time
}

// open finds the one image that this device may have.
func (t *transfer) open(ctx context.Context, _ *exchange.Session, designator []byte) (bdx.File, error) {
	if t.offer.Image == (Digest{}) || string(designator) != t.offer.designator() {
		return nil, fmt.Errorf("it was not offered this: %w", bdx.FileDesignatorUnknown)
	}
	if !t.room {
		return nil, fmt.Errorf("%d transfers are under way: %w", maxTransfers, bdx.ResponderBusy)
	}
	f, err := t.p.Updates.Image(ctx, t.offer.Image)
	if err != nil {
		return nil, err
	}
	t.begun, t.size = true, f.Size()
	return f, nil
}

// progress tells of a block, but not of each.
func (t *transfer) progress(done, _ uint64) {
	t.done = int64(done)
	if now := t.p.Now(); now.Sub(t.told) >= tellEvery {
		t.told = now
		t.p.Updates.Report(t.node, Progress{Offer: t.offer, State: Downloading, Done: t.done, Size: t.size})
	}
}

// running is a transfer under way.
type running struct{ cancel context.CancelFunc }

// enter makes room for a device's transfer. One before ends: the device has
// begun anew.
func (p *Provider) enter(n cert.NodeID, cancel context.CancelFunc) (leave func(), room bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if before := p.transfers[n]; before != nil {
		before.cancel()
	} else if len(p.transfers) >= maxTransfers {
		return func() {}, false
	}
	if p.transfers == nil {
		p.transfers = make(map[cert.NodeID]*running)
	}
	mine := &running{cancel}
	p.transfers[n] = mine
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.transfers[n] == mine {
			delete(p.transfers, n)
		}
	}, true
}

// full reports whether there is no room for a device's transfer.
func (p *Provider) full(n cert.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.transfers[n] == nil && len(p.transfers) >= maxTransfers
}
