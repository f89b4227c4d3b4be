package portal

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"gatehouse/commissioner"
	"gatehouse/commissioner/portal/hooks"
	"gatehouse/fabric"
	"gatehouse/fabric/audit"
)

// Hook is a program that is told what happens. Its address is shown without
// what might be a secret: by its host alone.
type Hook struct {
	Name   string    `json:"name"`
	Host   string    `json:"host,omitempty"`
	Signed bool      `json:"signed"`
	Since  time.Time `json:"since"`
}

// Hooks are the home's, by name.
type Hooks struct {
	Hooks []Hook `json:"hooks"`
}

func (p *Portal) hooks(w http.ResponseWriter, r *http.Request) error {
	list := Hooks{[]Hook{}}
	for _, h := range p.hooksOf(p.C.Ledger.State()) {
		v := Hook{Name: h.Name, Since: time.UnixMilli(h.Since).UTC()}
		if t, err := p.target(r.Context(), h); err == nil {
			if u, err := url.Parse(t.URL); err == nil {
				v.Host, v.Signed = u.Host, t.Secret != ""
			}
		}
		list.Hooks = append(list.Hooks, v)
	}
	return reply(w, list)
}

func (p *Portal) hooksOf(s *fabric.State) (all []*fabric.Hook) {
	if s.People == nil {
		return nil
	}
	for _, h := range s.People.Hooks {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b *fabric.Hook) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

func (p *Portal) target(ctx context.Context, h *fabric.Hook) (t hooks.Target, err error) {
	secret, err := p.D.OpenHook(ctx, h)
	if err != nil {
		return t, err
	}
	defer secret.Erase()
	b := secret.Reveal()
	defer clear(b)
	return t, cbor.Unmarshal(b, &t)
}

// SetHook says where a program is told what happens, and by which secret it
// knows that it is the gateway who tells.
type SetHook struct {
	hooks.Target
}

func (p *Portal) setHook(w http.ResponseWriter, r *http.Request) error {
	var req SetHook
	if err := decode(r, &req); err != nil {
		return err
	}
	if err := req.Check(); err != nil {
		return invalid(err)
	}
	if err := p.D.Begin(r.Context()); err != nil {
		return err
	}
	plain, err := cbor.Marshal(req.Target)
	if err != nil {
		return err
	}
	defer clear(plain)
	name := r.PathValue("name")
	sealed, err := p.D.SealHook(r.Context(), name, plain)
	if err != nil {
		return commissioner.Explain(err, commissioner.CodeIssue)
	}
	if _, err := p.propose(r, fabric.Command{SetHook: &fabric.SetHook{Name: name, Sealed: sealed}}); err != nil {
		return err
	}
	return p.hooks(w, r)
}

func (p *Portal) removeHook(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := p.propose(r, fabric.Command{RemoveHook: &fabric.RemoveHook{Name: name}}); err != nil {
		return err
	}
	return reply(w, Removed{name})
}

// tell tells all programs what happened.
func (p *Portal) tell(ctx context.Context, n hooks.Notice) {
	s := p.C.Ledger.State()
	n.Home = s.Home.Name
	for _, h := range p.hooksOf(s) {
		t, err := p.target(ctx, h)
		if err != nil {
			p.Log.Warn("a program is not told of what happened", "hook", h.Name, "err", err)
			continue
		}
		p.Sender.Send(h.Name, t, n)
	}
}

// pairing notes that a pairing begins. ended notes how it went.
func (p *Portal) pairing(ctx context.Context, name, person string) (ended func(error)) {
	n := hooks.Notice{Time: p.now().UTC(), Event: "pairing-begun", Name: name, For: person, Gateway: p.C.Identity().Node.String()}
	p.tell(ctx, n)
	return func(err error) {
		if err == nil {
			p.counts.pairings.WithLabelValues("admitted").Inc()
			return // of the admission the trail tells
		}
		f := commissioner.Explain(err, commissioner.CodeInternal)
		p.counts.pairings.WithLabelValues(string(f.Code)).Inc()
		n.Time, n.Event, n.Code, n.Message, n.Remedy = p.now().UTC(), "pairing-failed", string(f.Code), f.Message, f.Remedy
		p.tell(context.WithoutCancel(ctx), n)
	}
}

// alerts are the records of the audit trail that programs are told of.
var alerts = []string{"device-admitted", "device-removed", "device-turned-away", "device-judged", "device-update-failed", "rollout-stopped", "gateway-admitted", "gateway-evicted",
	"root-changed", "home-restored", "exception-added", "anchors-added", "person-added", "person-removed", "command-refused", "devices-taken-over"}

// Alert tells programs of what is decided, for as long as this gateway leads:
// each record once, unless the leader is lost meanwhile. It returns when ctx
// ends.
func (p *Portal) Alert(ctx context.Context) {
	changed, next := p.M.Watch(ctx), p.M.Trail().Tree().Size
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
		size := p.M.Trail().Tree().Size
		if !p.M.Leads() || next > size {
			next = size
			continue
		}
		after, err := p.M.Trail().Read(next, func(_ uint64, line []byte) bool {
			if r, err := audit.Parse(line); err == nil && slices.Contains(alerts, r.What) {
				p.tell(ctx, notice(r))
			}
			return true
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			p.Log.Warn("programs are not told what was decided", "err", err)
			after = size
		}
		next = after
	}
}

func notice(r *audit.Record) hooks.Notice {
	n := hooks.Notice{Time: time.UnixMilli(r.Time).UTC(), Event: r.What, Name: r.Name, For: r.For, Code: r.Refused}
	if r.Device != 0 {
		n.Device = r.Device.String()
	}
	if r.Gateway != 0 {
		n.Gateway = r.Gateway.String()
	}
	return n
}
