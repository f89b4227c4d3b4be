package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// manyInARow pairs many devices one by one.
func (b *run) manyInARow(ctx context.Context) error {
	return b.many(ctx, fmt.Sprintf("%d devices, one by one", b.devices), 1)
}

// manyAtOnce pairs many devices, some at once.
func (b *run) manyAtOnce(ctx context.Context) error {
	return b.many(ctx, fmt.Sprintf("%d devices, %d at once", b.devices, b.atOnce), b.atOnce)
}

// crowd is what pairing many devices took.
type crowd struct {
	wall, own, lights time.Duration
	memory            int64
}

func (b *run) many(ctx context.Context, what string, atOnce int) error {
	var results [2]crowd
	for i := range results {
		err := func() error {
			s, err := newSite(ctx, b.bin, b.devices)
			if err != nil {
				return err
			}
			defer s.net.Close()
			controller, pair := s.gateway.Proc, s.gatehousePairs
			if i == 1 {
				controller, pair = s.controller, s.matterjsPairs
			}
			results[i], err = s.crowd(ctx, controller, pair, atOnce)
			return err
		}()
		if err != nil {
			return err
		}
	}
	ours, theirs := results[0], results[1]
	head(what)
	row("until the last is paired", seconds(ours.wall), seconds(theirs.wall),
		verdict(float64(ours.wall), manyShare*float64(ours.lights), fmt.Sprintf("1.3 × the lights' CPU, %s", seconds(time.Duration(manyShare*float64(ours.lights))))))
	row("CPU of the lights meanwhile", seconds(ours.lights), seconds(theirs.lights), "")
	row("CPU of the controller", seconds(ours.own), seconds(theirs.own), "")
	row("resident memory with all of them", mebibytes(ours.memory), mebibytes(theirs.memory), verdict(float64(ours.memory), memoryTarget, "40 MiB"))
	return nil
}

// crowd lets one of the controllers pair all lights.
func (s *site) crowd(ctx context.Context, controller *lab.Proc, pair func(context.Context, *lab.Light) (paired, error), atOnce int) (c crowd, err error) {
	before, err := controller.Usage()
	if err != nil {
		return c, err
	}
	next := make(chan *lab.Light, len(s.lights))
	for i := range lightsPerProcess { // spread over the processes
		for j := i; j < len(s.lights); j += lightsPerProcess {
			next <- s.lights[j]
		}
	}
	c.lights, err = s.costs(func() (err error) {
		c.wall, err = inflight(len(s.lights), atOnce, func() error {
			_, err := pair(ctx, <-next)
			return err
		})
		return err
	})
	if err != nil {
		return c, err
	}
	after, err := controller.Usage()
	if err != nil {
		return c, err
	}
	time.Sleep(settleTime)
	rest, err := controller.Usage()
	c.own, c.memory = after.CPU-before.CPU, rest.RSS
	return c, err
}

// inflight does something many times, some of them at once.
func inflight(times, atOnce int, f func() error) (time.Duration, error) {
	began := time.Now()
	work := make(chan struct{})
	errs := make(chan error, atOnce)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			var failed error
			for range work {
				if failed == nil {
					failed = f()
				}
			}
			errs <- failed
		})
	}
	for range times {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	took := time.Since(began)
	for range atOnce {
		if err := <-errs; err != nil {
			return took, err
		}
	}
	return took, nil
}
