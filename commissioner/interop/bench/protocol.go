package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// flights are how many reads or invokes are on the way at once.
var flights = []int{1, 4, 16}

// warmRounds of CASE are not counted.
const warmRounds = 10

// protocol measures sessions, reads and invokes.
func (b *run) protocol(ctx context.Context) error {
	s, err := newSite(ctx, b.bin, 3)
	if err != nil {
		return err
	}
	defer s.net.Close()
	socket, err := b.daemon(ctx, s, s.lights[2]) // first: it warms the lights up, which are one process
	if err != nil {
		return err
	}
	ours, err := b.runRig(ctx, s, s.lights[0])
	if err != nil {
		return err
	}
	theirs, err := b.runController(ctx, s, s.lights[1])
	if err != nil {
		return err
	}
	head(fmt.Sprintf("sessions, median (least) of %d, as a library", b.rounds))
	row("CASE in full", ours.Full.String(), theirs.Full.String(), "")
	row("  CPU of the controller, kernel included, mean", ms(ours.FullCPU), ms(theirs.FullCPU), verdict(float64(ours.FullCPU), float64(fullCASETarget), "0.5 ms"))
	alone, err := benchmarkCASE(ctx)
	if err != nil {
		return err
	}
	row("  CPU of our code alone, caches warm", ms(alone), "-", verdict(float64(alone), float64(fullCASETarget), "0.5 ms"))
	row("CASE resumed", ours.Resumed.String(), theirs.Resumed.String(), "")
	row("  CPU of the controller, kernel included, mean", ms(ours.ResumedCPU), ms(theirs.ResumedCPU), "")
	head(fmt.Sprintf("reads and invokes, %d each, as a library", b.ops))
	for _, kind := range []string{"reads", "invokes"} {
		for _, n := range flights {
			key := fmt.Sprintf("%s %d", kind, n)
			row(fmt.Sprintf("%s, %d in flight", kind, n), rate(b.ops, ours.Storms[key].Time), rate(b.ops, theirs.Storms[key].Time), "")
		}
		each, key := time.Duration(b.ops), kind+" 1"
		row("  CPU of the controller, one at a time", ms(ours.Storms[key].CPU/each), ms(theirs.Storms[key].CPU/each), "")
	}
	head(fmt.Sprintf("the same over the daemon's socket, %d each", b.ops))
	for _, kind := range []string{"reads", "invokes"} {
		for _, n := range flights {
			key, each := fmt.Sprintf("%s %d", kind, n), time.Duration(b.ops)
			row(fmt.Sprintf("%s, %d in flight", kind, n), rate(b.ops, socket[key].Time), rate(b.ops, theirs.Storms[key].Time), "")
			row("  CPU of the light, which has one thread", ms(socket[key].Light/each), ms(theirs.Storms[key].Light/each), "")
		}
	}
	return nil
}

// daemon reads and invokes over the daemon's socket.
func (b *run) daemon(ctx context.Context, s *site, light *lab.Light) (storms map[string]storm, err error) {
	if _, err := s.gatehousePairs(ctx, light); err != nil {
		return nil, err
	}
	storms = make(map[string]storm)
	for _, kind := range []struct{ name, path, body string }{{"reads", "read", `{"attributes":["1/6/0"]}`}, {"invokes", "invoke", `{"path":"1/6/2"}`}} {
		for _, n := range flights {
			var r storm
			r.Light, err = s.costs(func() error {
				r.Time, err = inflight(b.ops, n, func() error {
					return s.api.call(ctx, "POST", "devices/"+light.Name+"/"+kind.path, json.RawMessage(kind.body), nil)
				})
				return err
			})
			if err != nil {
				return nil, err
			}
			storms[fmt.Sprintf("%s %d", kind.name, n)] = r
		}
	}
	return storms, nil
}

// runRig measures our stack as a library, in a process of its own.
func (b *run) runRig(ctx context.Context, s *site, light *lab.Light) (r figures, err error) {
	trust := filepath.Join(s.gateHost.Dir, "rig-trust")
	if err := lab.MatterjsTrust(trust); err != nil {
		return r, err
	}
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	p, err := s.gateHost.Start(nil, self, "--rounds", fmt.Sprint(b.rounds), "--ops", fmt.Sprint(b.ops), "--profile", b.profile, rigCommand, trust, light.QR)
	if err != nil {
		return r, err
	}
	err = p.Event(ctx, func(line json.RawMessage) bool { return json.Unmarshal(line, &r) == nil && r.Full != nil })
	return r, err
}

// benchmarkCASE is the Go benchmark of the handshake, which does both sides.
func benchmarkCASE(ctx context.Context) (time.Duration, error) {
	dir, err := lab.Dir()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=CASE/full", "-cpu=1", "gatehouse/commissioner/matter/securechannel")
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) == 4 && fields[3] == "ns/op" {
			ns, err := strconv.ParseFloat(fields[2], 64)
			return time.Duration(ns / 2), err
		}
	}
	return 0, errors.New("the benchmark of CASE said nothing")
}

// runController measures matter.js in the same way.
func (b *run) runController(ctx context.Context, s *site, light *lab.Light) (r figures, err error) {
	if _, err := s.matterjsPairs(ctx, light); err != nil {
		return r, err
	}
	r.Storms = make(map[string]storm)
	var took struct{ MS, CPU float64 }
	for i := range warmRounds + b.rounds {
		for _, full := range []bool{true, false} {
			if err := s.controller.Ask(ctx, "connect", map[string]any{"name": light.Name, "full": full}, &took); err != nil {
				return r, err
			}
			switch {
			case i < warmRounds:
			case full:
				r.Full, r.FullCPU = append(r.Full, fromMS(took.MS)), r.FullCPU+fromMS(took.CPU)
			default:
				r.Resumed, r.ResumedCPU = append(r.Resumed, fromMS(took.MS)), r.ResumedCPU+fromMS(took.CPU)
			}
		}
	}
	r.FullCPU, r.ResumedCPU = r.FullCPU/time.Duration(b.rounds), r.ResumedCPU/time.Duration(b.rounds)
	for _, kind := range []string{"reads", "invokes"} {
		for _, n := range flights {
			cost, err := s.costs(func() error {
				return s.controller.Ask(ctx, kind, map[string]any{"name": light.Name, "times": b.ops, "inflight": n}, &took)
			})
			if err != nil {
				return r, err
			}
			r.Storms[fmt.Sprintf("%s %d", kind, n)] = storm{fromMS(took.MS), fromMS(took.CPU), cost}
		}
	}
	return r, nil
}
