package main

import (
	"context"
	"fmt"
	"time"

	"gatehouse/commissioner/interop/lab"
)

// References of the design: what Gatehouse has to reach.
const (
	pairingShare   = 0.5 // of matter.js's time, for one pairing
	manyShare      = 1.3 // of the devices' own CPU time, for many
	memoryTarget   = 40 << 20
	fullCASETarget = 500 * time.Microsecond // of our CPU
)

// settleTime lets a process come to rest before its memory is looked at.
const settleTime = 2 * time.Second

// run is one run of the benchmark.
type run struct {
	size
	bin, airBin, virtualBin string
}

// start measures how long the processes take to be ready, and their memory
// then.
func (b *run) start(ctx context.Context) error {
	var ours, theirs sample
	var memory, memoryTheirs int64
	for range b.starts {
		err := func() error {
			n, err := lab.NewNet()
			if err != nil {
				return err
			}
			defer n.Close()
			gate, err := n.Host("gate")
			if err != nil {
				return err
			}
			g, err := gate.Gateway(ctx, b.bin)
			if err != nil {
				return err
			}
			if err := g.Proc.Stop(); err != nil {
				return err
			}
			began := time.Now()
			if err := g.Serve(ctx); err != nil {
				return err
			}
			ours = append(ours, time.Since(began))
			other, err := n.Host("other")
			if err != nil {
				return err
			}
			began = time.Now()
			c, err := other.Controller(ctx)
			if err != nil {
				return err
			}
			theirs = append(theirs, time.Since(began))
			time.Sleep(settleTime)
			if memory, memoryTheirs, err = memories(g.Proc, c); err != nil {
				return err
			}
			return nil
		}()
		if err != nil {
			return err
		}
	}
	head("start: median (least) of " + fmt.Sprint(b.starts))
	row("process start to ready", ours.String(), theirs.String(), "")
	row("resident memory", mebibytes(memory), mebibytes(memoryTheirs), "")
	return nil
}

func memories(ours, theirs *lab.Proc) (a, b int64, err error) {
	u, err := ours.Usage()
	if err != nil {
		return 0, 0, err
	}
	v, err := theirs.Usage()
	return u.RSS, v.RSS, err
}
