package main

import (
	"context"
	"fmt"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// side is what one of the controllers did, pairing by pairing.
type side struct {
	controller                      *lab.Proc
	pair                            func(context.Context, *lab.Light) (paired, error)
	complete, returned, cpu, device sample
	steps                           map[string]sample // by phase
	names                           func(phase) []string
	memory                          int64
}

// pairsPerProcess are those measured: the first of each controller warms the
// process up.
const pairsPerProcess = lightsPerProcess/2 - 1

// one measures single pairings, taken in turns by both controllers.
func (b *run) one(ctx context.Context) error {
	processes := (b.pairings + pairsPerProcess - 1) / pairsPerProcess
	s, err := newSite(ctx, b.bin, processes*lightsPerProcess)
	if err != nil {
		return err
	}
	defer s.net.Close()
	ours := &side{controller: s.gateway.Proc, pair: s.gatehousePairs, steps: make(map[string]sample), names: func(p phase) []string { return p.ours }}
	theirs := &side{controller: s.controller, pair: s.matterjsPairs, steps: make(map[string]sample), names: func(p phase) []string { return p.theirs }}
	for i := 0; i+1 < len(s.lights); i += 2 {
		turn := []*side{ours, theirs}
		if i/2%2 == 1 {
			turn = []*side{theirs, ours}
		}
		for j, side := range turn {
			if err := side.take(ctx, s, s.lights[i+j], i%lightsPerProcess > 0); err != nil {
				return err
			}
		}
		if i == 0 {
			time.Sleep(settleTime)
			if ours.memory, theirs.memory, err = memories(s.gateway.Proc, s.controller); err != nil {
				return err
			}
		}
	}
	head(fmt.Sprintf("one pairing: median (least) of %d", len(ours.complete)))
	target := time.Duration(pairingShare * float64(theirs.complete.median()))
	row("scan to CommissioningComplete", ours.complete.String(), theirs.complete.String(), verdict(float64(ours.complete.median()), float64(target), "half of matter.js's"))
	for _, p := range phases {
		row("  "+p.name, ours.phase(p), theirs.phase(p), "")
	}
	row("until the caller is told", ours.returned.String(), theirs.returned.String(), "")
	row("CPU of the controller, mean", ms(ours.cpu.mean()), ms(theirs.cpu.mean()), "")
	row("CPU of the light, mean", ms(ours.device.mean()), ms(theirs.device.mean()), "")
	row("resident memory, one device", mebibytes(ours.memory), mebibytes(theirs.memory), "")
	return nil
}

// take lets the side pair a light, and counts it or not.
func (d *side) take(ctx context.Context, s *site, light *lab.Light, count bool) error {
	p, own, device, err := s.measured(ctx, d.controller, d.pair, light)
	if err != nil || !count {
		return err
	}
	d.complete, d.returned = append(d.complete, p.complete), append(d.returned, p.returned)
	d.cpu, d.device = append(d.cpu, own), append(d.device, device)
	for _, phase := range phases {
		var sum time.Duration
		for _, name := range d.names(phase) {
			sum += p.steps[name]
		}
		d.steps[phase.name] = append(d.steps[phase.name], sum)
	}
	return nil
}

func (d *side) phase(p phase) string {
	if d.names(p) == nil {
		return "-"
	}
	return ms(d.steps[p.name].median())
}

// measured is a pairing with the CPU time that it took on both sides.
func (s *site) measured(ctx context.Context, controller *lab.Proc, pair func(context.Context, *lab.Light) (paired, error), light *lab.Light) (p paired, own, device time.Duration, err error) {
	before, err := controller.Usage()
	if err != nil {
		return p, 0, 0, err
	}
	device, err = s.costs(func() (err error) {
		p, err = pair(ctx, light)
		return err
	})
	if err != nil {
		return p, 0, 0, err
	}
	after, err := controller.Usage()
	if err != nil {
		return p, 0, 0, err
	}
	time.Sleep(200 * time.Millisecond) // the lights' own aftermath is nobody's
	return p, after.CPU - before.CPU, device, nil
}
