package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/interop/lab"
)

const lightsPerProcess = 10

// site is a network with a gateway, a matter.js controller, and lights for
// both of them.
type site struct {
	net        *lab.Net
	gateHost   *lab.Host
	gateway    *lab.Gateway
	controller *lab.Proc
	lights     []*lab.Light // of all processes
	processes  []*lab.Proc
	api        *api // the gateway's
}

// newSite starts everything, lights in processes of ten.
func newSite(ctx context.Context, bin string, lights int) (s *site, err error) {
	s = new(site)
	if s.net, err = lab.NewNet(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.net.Close()
		}
	}()
	if s.gateHost, err = s.net.Host("gate"); err != nil {
		return nil, err
	}
	if s.gateway, err = s.gateHost.Gateway(ctx, bin); err != nil {
		return nil, err
	}
	s.api = newAPI(s.gateway.Socket())
	other, err := s.net.Host("other")
	if err != nil {
		return nil, err
	}
	if s.controller, err = other.Controller(ctx); err != nil {
		return nil, err
	}
	return s, s.startLights(ctx, lights)
}

// startLights starts the processes two at a time, as there are few processors.
func (s *site) startLights(ctx context.Context, count int) error {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var failed error
	turns := make(chan struct{}, 2)
	for first := 0; first < count; first += lightsPerProcess {
		host, err := s.net.Host(fmt.Sprintf("light%d", first))
		if err != nil {
			return err
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			lights, err := host.Lights(ctx, lab.LightConfig{Name: fmt.Sprintf("light%d", first), Count: min(lightsPerProcess, count-first), Discriminator: first})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			s.lights = append(s.lights, lights...)
			s.processes = append(s.processes, lights[0].Proc)
		})
	}
	wg.Wait()
	return failed
}

// lightsUsage is the CPU time of all lights so far.
func (s *site) lightsUsage() (total time.Duration, err error) {
	for _, p := range s.processes {
		u, err := p.Usage()
		if err != nil {
			return 0, err
		}
		total += u.CPU
	}
	return total, nil
}

// costs is the CPU time of all lights while f runs.
func (s *site) costs(f func() error) (time.Duration, error) {
	before, err := s.lightsUsage()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := s.lightsUsage()
	return after - before, err
}

// paired is how long a pairing took.
type paired struct {
	complete time.Duration            // until CommissioningComplete was answered
	returned time.Duration            // until whoever asked was told
	steps    map[string]time.Duration // by phase
}

// phase is a part of a pairing: our steps, and those of matter.js.
type phase struct {
	name         string
	ours, theirs []string
}

var phases = []phase{
	{"discovery", []string{"find"}, []string{"discovery"}},
	{"PASE", []string{"pase"}, []string{"pase"}},
	{"first reads", []string{"read-information"}, []string{"GetInitialData"}},
	{"fail-safe, regulatory, time", []string{"arm-failsafe", "regulatory", "time"},
		[]string{"GeneralCommissioning.ArmFailsafe", "GeneralCommissioning.ConfigureRegulatoryInformation", "TimeSynchronization.SynchronizeTime"}},
	{"attestation", []string{"certificates", "attestation"}, []string{"OperationalCredentials.DeviceAttestation"}},
	{"reserve (commit)", []string{"reserve"}, nil},
	{"CSR", []string{"csr"}, nil},
	{"issue (commit)", []string{"issue"}, nil},
	{"root and NOC", []string{"add-root", "add-noc"}, nil},
	{"CSR, root and NOC of matter.js", nil, []string{"OperationalCredentials.Certificates"}},
	{"CASE, with discovery", []string{"case"}, []string{"Reconnect"}},
	{"access control list", []string{"write-access", "verify-access"}, []string{"AccessControl"}},
	{"CommissioningComplete", []string{"complete"}, []string{"GeneralCommissioning.Complete"}},
	{"admit (commit)", []string{"commit"}, nil},
}

// gatehousePairs lets the gateway pair a light.
func (s *site) gatehousePairs(ctx context.Context, light *lab.Light) (paired, error) {
	return s.api.pair(ctx, light)
}

// pair lets a gateway pair a light.
func (a *api) pair(ctx context.Context, light *lab.Light) (p paired, err error) {
	p.steps = make(map[string]time.Duration)
	began := time.Now()
	var started time.Time
	admitted := false
	err = a.call(ctx, "POST", "pair", map[string]string{"code": light.QR, "name": light.Name}, func(line json.RawMessage) error {
		var l struct {
			commissioner.Progress
			Admitted *lab.Device
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return err
		}
		switch {
		case l.Admitted != nil:
			admitted = true
		case l.State == commissioner.StepStarted:
			started = time.Now()
		default:
			p.steps[l.Name] = time.Since(started)
			if l.Name == "complete" {
				p.complete = time.Since(began)
			}
		}
		return nil
	})
	p.returned = time.Since(began)
	if err == nil && !admitted {
		err = fmt.Errorf("pairing of %s ended without a word", light.Name)
	}
	return p, err
}

// matterjsPairs lets the matter.js controller pair a light.
func (s *site) matterjsPairs(ctx context.Context, light *lab.Light) (p paired, err error) {
	var answer struct {
		MS, Returned float64
		Steps        map[string]float64
	}
	err = s.controller.Ask(ctx, "commission", map[string]any{"name": light.Name, "code": light.QR, "bare": true}, &answer)
	p = paired{complete: fromMS(answer.MS), returned: fromMS(answer.Returned), steps: make(map[string]time.Duration)}
	for name, v := range answer.Steps {
		p.steps[name] = fromMS(v)
	}
	return p, err
}
