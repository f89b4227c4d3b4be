package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/raft"

	"gatehouse/fabric"
	"gatehouse/fabric/cert"
)

var errBroken = errors.New("input/output error")

// TestBrokenDisk breaks every write of a proposal and of a snapshot twice: it
// failed and did not persist, and it failed but did. Nothing is acknowledged
// after it, and the process ends; the next one finds what was acknowledged.
func TestBrokenDisk(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		for pass := range int32(12) {
			t.Run(fmt.Sprintf("%d persisted %v", pass, persisted), func(t *testing.T) {
				t.Parallel()
				breakDisk(t, pass, persisted)
			})
		}
	}
}

func breakDisk(t *testing.T, pass int32, persisted bool) {
	dir := bootstrap(t)
	fatal := make(chan error, 16)
	var left atomic.Int32
	left.Store(1 << 30)
	cfg := config(t, dir)
	// What a process does that ends: the goroutine never comes back.
	cfg.Fatal = func(err error) { fatal <- err; runtime.Goexit() }
	cfg.Step = func(_ string, do func() error) error {
		if left.Add(-1) >= 0 {
			return do()
		}
		if persisted {
			return errors.Join(do(), errBroken)
		}
		return errBroken
	}
	c, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	must(t, c, found())
	left.Store(pass)
	acknowledged := c.State()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		if err := <-fatal; !errors.Is(err, errBroken) {
			t.Errorf("fatal: %v", err)
		}
		time.Sleep(20 * time.Millisecond) // for what might be acknowledged wrongly
		cancel()
	}()
	go func() {
		for ctx.Err() == nil {
			c.raft.Snapshot()
			time.Sleep(time.Millisecond)
		}
	}()
	for n := range 1000 {
		s, err := c.Propose(ctx, reserve(gateway+1+cert.NodeID(n)))
		if err != nil {
			break
		}
		if left.Load() < 0 && s.Index > acknowledged.Index+uint64(pass)+1 {
			t.Fatal("acknowledged after the disk broke")
		}
		acknowledged = s
	}
	again := open(t, copied(t, dir))
	defer closed(t, again)
	for n, d := range acknowledged.Devices {
		if diff := cmp.Diff(d, again.State().Devices[n]); diff != "" {
			t.Errorf("device %v was acknowledged: %s", n, diff)
		}
	}
	if more := len(again.State().Devices) - len(acknowledged.Devices); more > 1 {
		t.Errorf("%d devices more than were acknowledged", more)
	}
}

// TestUnreadableEntry has this gateway stop rather than hold a State of its
// own.
func TestUnreadableEntry(t *testing.T) {
	newer, err := encoding.Marshal(fabric.Command{Version: fabric.Version + 1})
	if err != nil {
		t.Fatal(err)
	}
	for what, data := range map[string][]byte{"newer release": newer, "garbage": []byte("garbage"), "nothing": nil} {
		m := machine{changed: func() { t.Error(what) }, committed: func(uint64) { t.Error(what) }}
		m.state.Store(&fabric.State{})
		var fatal error
		m.fatal = func(err error) { fatal = err }
		if o := m.Apply(&raft.Log{Index: 9, Data: data}).(outcome); o.err == nil || fatal == nil || m.state.Load().Index != 0 {
			t.Errorf("%s: %v, %v", what, o, fatal)
		}
	}
}
