package commissioner

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/fabric"
	"gatehouse/fabric/seal"
	"gatehouse/firmware"
)

// Question is what a pairing asks a person: whether a device shall come in for
// all its software, or which network it shall join, and that network's
// credentials if the home does not have them.
type Question struct {
	Software *Software `json:"software,omitempty"` // the question is about this, and not about networks

	Kinds   []string `json:"kinds"`             // of network that the device has a radio for: wifi, thread
	Seen    []Seen   `json:"seen"`              // by the device, the strongest first
	Tried   string   `json:"tried,omitempty"`   // the network it could not join
	Failure *Failure `json:"failure,omitempty"` // why not
}

// Software is what a device runs that the home's rules put into quarantine.
type Software struct {
	Product string   `json:"product"` // by the device's own word, as is the version
	Version string   `json:"version"`
	Reasons []Reason `json:"reasons"`
	Update  string   `json:"update,omitempty"` // the version that ends the quarantine; empty: none is known
}

// Answer to a question about software: that it was given says yes. To another it
// names one of the home's networks, or gives another.
type Answer struct {
	Network string             // of the home's, by name; empty: the rest counts
	Kind    fabric.NetworkKind // of the other one
	ID      []byte             // its SSID, or its extended PAN id
	Secret  seal.Secret        // its password, or its operational dataset
	SaveAs  string             // what the home shall call it; empty: it is not kept
}

// ErrNoAnswer is what Ask returns when the person gives up: the pairing fails
// for the reason it asked.
var ErrNoAnswer = errors.New("no answer was given")

// askSoftware asks whether a device shall come in that will be quarantined. With
// nobody to ask, the home's rules have said so.
func (p *pairing) askSoftware(ctx context.Context, d firmware.Decision) error {
	if p.req.Ask == nil {
		return nil
	}
	software := &Software{Product: p.about.facts.ProductName, Version: p.about.facts.SoftwareString, Reasons: reasonsFor(d, "")}
	if d.Update != nil {
		software.Update = d.Update.Release.Name
	}
	_, err := p.ask(ctx, Question{Kinds: []string{}, Seen: []Seen{}, Software: software})
	if errors.Is(err, ErrNoAnswer) {
		return failFor(CodeDeclined, d)
	}
	return err
}

// askNetwork asks until the answer makes sense. Meanwhile the device hears
// from us, so that neither its fail-safe nor the link runs out.
func (p *pairing) askNetwork(ctx context.Context, radios []netInterface, seen []Seen, why *Failure) error {
	q := Question{Seen: seen, Failure: why}
	if seen == nil {
		q.Seen = []Seen{}
	}
	for _, r := range radios {
		q.Kinds = append(q.Kinds, r.kind().String())
	}
	if why != nil {
		q.Tried = p.joining.network.Name
	}
	for {
		a, err := p.ask(ctx, q)
		switch {
		case errors.Is(err, ErrNoAnswer) && q.Failure != nil:
			return q.Failure
		case errors.Is(err, ErrNoAnswer):
			return Fail(CodeNoNetwork, err)
		case err != nil:
			return err
		}
		if q.Failure = p.take(ctx, radios, a); q.Failure == nil {
			return nil
		}
		q.Tried = a.Network
	}
}

// ask waits for a person.
func (p *pairing) ask(ctx context.Context, q Question) (a Answer, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		a, err = p.req.Ask(ctx, q)
	}()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		select {
		case <-answered:
			return a, err
		case <-p.pase.Done(): // it went away meanwhile
			cancel()
			<-answered
			return Answer{}, errBluetooth{errors.New("the device hung up")}
		case <-alive.C:
			p.extend(ctx, 0)
		}
	}
}

// take makes the answer the network that is joined.
func (p *pairing) take(ctx context.Context, radios []netInterface, a Answer) *Failure {
	if a.Network != "" {
		if err := p.chooseNamed(ctx, radios, a.Network); err != nil {
			return Explain(err, CodeIssue)
		}
		return nil
	}
	for _, r := range radios {
		if r.kind() == a.Kind {
			p.joining.erase()
			name := a.SaveAs
			if name == "" {
				name = string(a.ID)
			}
			p.joining = &joining{radio: r, network: fabric.Network{Name: name, Kind: a.Kind, ID: a.ID}, secret: a.Secret, save: a.SaveAs != ""}
			return nil
		}
	}
	return Fail(CodeNetworkKind, fmt.Errorf("the answer is for %v", a.Kind))
}
