package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner/portal/hass"
	"gatehouse/radio/thread/otbr"
)

// router is a border router in memory.
type router struct {
	network uint64
	nodes   int
	takes   time.Duration
	err     error
}

func (r router) collect(ctx context.Context) (*otbr.Report, error) {
	select {
	case <-time.After(r.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if r.network == 0 {
		return nil, r.err
	}
	report := &otbr.Report{ExtendedPANID: r.network, Name: "Lab"}
	for range r.nodes {
		report.Nodes = append(report.Nodes, otbr.Node{})
	}
	return report, r.err
}

// plugged is a border router that another takes the place of.
type plugged struct {
	mu    sync.Mutex
	now   router
	asked int
}

func (p *plugged) plug(r router) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = r
}

func (p *plugged) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *plugged) Collect(ctx context.Context) (*otbr.Report, error) {
	p.mu.Lock()
	r := p.now
	p.asked++
	p.mu.Unlock()
	return r.collect(ctx)
}

// meshed is a mesh, and what it told.
func meshed(t *testing.T, routers ...*plugged) (*Mesh, func() []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all []Collector
	for _, r := range routers {
		all = append(all, r)
	}
	m := NewMesh(ctx, time.Now, slog.New(slog.DiscardHandler), all...)
	var told []string
	m.watch(func(d *hass.Diagnostics) { told = append(told, brief(d)) })
	t.Cleanup(func() {
		cancel()
		m.Close()
		before := routers[0].count()
		time.Sleep(meshLife)
		m.Known(true)
		if synctest.Wait(); routers[0].count() != before {
			t.Error("somebody is asked after the end")
		}
	})
	return m, func() []string {
		m.mu.Lock()
		defer m.mu.Unlock()
		defer func() { told = nil }()
		return told
	}
}

func brief(d *hass.Diagnostics) string {
	if d.Nodes == nil {
		return "null in the place of nodes"
	}
	return fmt.Sprintf("%s %s %d %s", d.ExtendedPANID, d.Source, len(d.Nodes), d.Partial)
}

// TestMesh asks a border router when somebody wants to know, and not sooner.
func TestMesh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &plugged{now: router{network: 0xA1, nodes: 2, takes: time.Second}}
		m, told := meshed(t, r)
		expect := func(what, got, want string, asked int) {
			t.Helper()
			synctest.Wait()
			if got != want || r.count() != asked {
				t.Errorf("%s: %q after asking %d times, want %q after %d", what, got, r.count(), want, asked)
			}
		}
		time.Sleep(24 * time.Hour)
		expect("nobody wants to know", "", "", 0)
		const whole = "00000000000000A1 otbr-rest 2 "
		expect("at first", brief(m.Of(t.Context(), 0xA1, false)), whole, 1)
		expect("and everybody is told", told()[0], whole, 1)
		expect("soon after", brief(m.Of(t.Context(), 0xA1, false)), whole, 1)
		expect("forced at once", brief(m.Of(t.Context(), 0xA1, true)), whole, 1)
		time.Sleep(meshRest)
		r.plug(router{network: 0xA1, nodes: 3, takes: time.Minute})
		expect("forced", brief(m.Of(t.Context(), 0xA1, true)), whole+meshInProgress, 2)
		expect("forced by another", brief(m.Of(t.Context(), 0xA1, true)), whole+meshInProgress, 2)
		time.Sleep(time.Minute)
		expect("told later", fmt.Sprint(told()), "[00000000000000A1 otbr-rest 3 ]", 2)
		time.Sleep(meshLife)
		expect("the known ones", brief(m.Known(false)[0]), "00000000000000A1 otbr-rest 3 ", 3)
		time.Sleep(2 * time.Minute)
		expect("are asked for again meanwhile", fmt.Sprint(told()), "[00000000000000A1 otbr-rest 3 ]", 3)
		const other = "00000000000000B2 "
		expect("another network", brief(m.Of(t.Context(), 0xB2, true)), other+"none 0 no_source", 3)
		time.Sleep(meshLife)
		r.plug(router{network: 0xB2, nodes: 1, takes: time.Second})
		began := time.Now()
		expect("a router that moved there", brief(m.Of(t.Context(), 0xB2, false)), other+"none 0 no_source", 4)
		if took := time.Since(began); took > 0 {
			t.Errorf("it waited %v for another network's router", took)
		}
		time.Sleep(2 * time.Second)
		expect("a little later", fmt.Sprint(told()), "["+other+"otbr-rest 1 ]", 4)
		expect("as one sees", brief(m.Of(t.Context(), 0xB2, false)), other+"otbr-rest 1 ", 4)
	})
}

// TestMeshFails has a border router fail, before and after it told anything.
func TestMeshFails(t *testing.T) {
	for _, c := range []struct {
		err    error
		reason string
	}{
		{fmt.Errorf("x: %w", otbr.ErrUnreachable), "rest_unreachable"},
		{fmt.Errorf("x: %w", otbr.ErrProtocol), "rest_protocol"},
		{context.DeadlineExceeded, "timeout"},
		{errors.New("else"), "rest_unreachable"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &plugged{now: router{err: c.err}}
				m, told := meshed(t, r)
				if got := brief(m.Of(t.Context(), 0xA1, false)); got != "00000000000000A1 otbr-rest 0 "+c.reason {
					t.Error(got)
				}
				if got := m.Known(false); len(got) > 0 || len(told()) > 0 {
					t.Error("told of a network that nobody knows")
				}
				time.Sleep(meshRest)
				r.plug(router{network: 0xA1, nodes: 2})
				if got := brief(m.Of(t.Context(), 0xA1, false)); got != "00000000000000A1 otbr-rest 2 " {
					t.Error(got)
				}
				was := m.Known(false)[0].Collected
				time.Sleep(meshLife)
				r.plug(router{network: 0xA1, err: c.err})
				got := m.Of(t.Context(), 0xA1, false)
				if brief(got) != "00000000000000A1 otbr-rest 2 "+c.reason || got.Collected != was {
					t.Errorf("what was known is lost: %s", brief(got))
				}
				time.Sleep(meshRest)
				r.plug(router{network: 0xA1, nodes: 1, err: c.err})
				if got := brief(m.Of(t.Context(), 0xA1, false)); got != "00000000000000A1 otbr-rest 1 "+c.reason {
					t.Errorf("what came before it failed: %s", got)
				}
				if all := told(); !slices.Contains(all, "00000000000000A1 otbr-rest 2 "+c.reason) {
					t.Errorf("told %q", all)
				}
			})
		})
	}
}

// TestMeshes asks several border routers: two of one network, one of which
// fails, one without nodes, and one that never answers.
func TestMeshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := meshed(t, &plugged{now: router{takes: time.Hour}}, &plugged{now: router{network: 0xA1, nodes: 1, err: otbr.ErrUnreachable}},
			&plugged{now: router{network: 0xA1, nodes: 2, takes: time.Second}}, &plugged{now: router{network: 0xB2, nodes: 4}}, &plugged{now: router{network: 0xD4}})
		began := time.Now()
		if got := brief(m.Of(t.Context(), 0xA1, false)); got != "00000000000000A1 otbr-rest 2 " || time.Since(began) > meshPatience {
			t.Errorf("%s, after %v", got, time.Since(began))
		}
		if got := brief(m.Of(t.Context(), 0xC3, false)); got != "00000000000000C3 otbr-rest 0 rest_no_responses_yet" {
			t.Error(got)
		}
		time.Sleep(time.Until(began.Add(meshLimit + time.Second)))
		if got := brief(m.Of(t.Context(), 0xC3, false)); got != "00000000000000C3 otbr-rest 0 timeout" {
			t.Error(got)
		}
		if got := brief(m.Of(t.Context(), 0xB2, false)); got != "00000000000000B2 otbr-rest 4 " {
			t.Error(got)
		}
		if got := m.Known(false); len(got) != 4 || brief(got[3]) != "00000000000000D4 otbr-rest 0 " {
			t.Errorf("%d are known", len(got))
		}
		text, err := json.Marshal(m.Known(false)[2])
		if want := `{"extPanIdHex":"00000000000000B2","networkName":"Lab","collectedAt":`; err != nil || string(text[:len(want)]) != want {
			t.Errorf("%s, %v", text, err)
		}
	})
}
