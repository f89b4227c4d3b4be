package commissioner_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
	"gatehouse/commissioner/matter/datamodel"
	"gatehouse/commissioner/ota"
	"gatehouse/commissioner/virtual"
	"gatehouse/fabric"
	"gatehouse/fabric/cert"
	"gatehouse/firmware"
	"gatehouse/firmware/manifest"
	"gatehouse/radio"
	"gatehouse/radio/radiotest"
)

// own has the gateway look after the lamp, in the background; tell the returned
// function to end it.
func (r *recall) owning() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended := make(chan bool)
	go func() { r.k.Own(ctx, func() bool { return true }); close(ended) }()
	return func() { cancel(); <-ended }
}

func (r *recall) rollout() *fabric.Rollout { return r.ledger.State().Rollout(r.images.offer.Image[:]) }

func (r *recall) attempt() fabric.Attempt {
	if a := r.ledger.State().Devices[r.lamp].Attempt; a != nil {
		return *a
	}
	return fabric.Attempt{}
}

// silentBDX drops what the lamp is sent that looks like a block of its image.
func silentBDX(_, to radio.Addr, b []byte) bool { return to == deviceAddr && len(b) > 900 }

// TestRolloutStalls has the lamp get no further: its tries fail, and the
// roll-out stops with the reason. A person has it begin anew.
func TestRolloutStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, "", nil)
		defer r.owning()()
		r.burns()
		r.net.SetDrop(silentBDX)
		time.Sleep(time.Minute)
		if a := r.attempt(); a.Tries != 1 || a.Failure != "" || r.rollout().First != r.lamp {
			t.Fatalf("%+v", a)
		}
		time.Sleep(32 * time.Minute)
		first := r.attempt()
		if first.Failure == "" || first.Tries != 1 {
			t.Fatalf("%+v", first)
		}
		for r.attempt().Tries == 1 {
			time.Sleep(10 * time.Second)
		}
		if again := time.Duration(r.attempt().Since-first.Since) * time.Millisecond; again < 35*time.Minute || again > 40*time.Minute {
			t.Errorf("it tried again after %v", again)
		}
		time.Sleep(6 * time.Hour)
		stopped := r.rollout().Stopped
		if a := r.attempt(); a.Tries != fabric.MaxTries || !strings.Contains(a.Failure, "octet") || !strings.Contains(stopped, a.Failure) {
			t.Fatalf("%+v, %q", a, stopped)
		}
		r.net.SetDrop(nil)
		time.Sleep(24 * time.Hour)
		r.is(fabric.QuarantineDevice, 1)
		r.propose(fabric.Command{BeginRollout: &fabric.BeginRollout{SHA256: r.images.offer.Image[:]}})
		time.Sleep(3 * time.Hour)
		r.is(fabric.AdmitDevice, 2)
		if r.rollout() != nil || r.attempt().Tries != 0 {
			t.Errorf("%+v, %+v", r.rollout(), r.attempt())
		}
	})
}

// TestRolloutBricks has the lamp not come back from installing its image: the
// roll-out stops at once.
func TestRolloutBricks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, virtual.Brick, nil)
		defer r.owning()()
		r.burns()
		time.Sleep(2 * time.Hour)
		if a := r.attempt(); a.Tries != 1 || !strings.Contains(a.Failure, "away") || !strings.Contains(r.rollout().Stopped, a.Failure) {
			t.Errorf("%+v, %+v", a, r.rollout())
		}
	})
}

// TestRolloutLie has the lamp say that it installed its image, which it did not.
func TestRolloutLie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, virtual.Boast, nil)
		defer r.owning()()
		r.burns()
		time.Sleep(12 * time.Hour)
		if a := r.attempt(); a.Tries != fabric.MaxTries || !strings.Contains(a.Failure, "version 2, and runs 1") || r.rollout().Stopped == "" {
			t.Errorf("%+v, %+v", a, r.rollout())
		}
		r.is(fabric.QuarantineDevice, 1)
	})
}

// TestRolloutGoesOn has the gateway forget all it knows in the middle of the
// transfer, as one does that takes the lamp over: it is the same try.
func TestRolloutGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, "", nil)
		stop := r.owning()
		r.burns()
		r.net.SetDrop(radiotest.DropAfter(120))
		time.Sleep(30 * time.Second)
		if p, ok := r.u.Progress(r.lamp); !ok || p.Done == 0 {
			t.Fatalf("%+v", p)
		}
		stop()
		r.net.SetDrop(nil)
		r.restart()
		defer r.owning()()
		tries := uint8(0)
		for range 120 {
			time.Sleep(30 * time.Second)
			tries = max(tries, r.attempt().Tries)
		}
		r.is(fabric.AdmitDevice, 2)
		if tries > 1 {
			t.Errorf("it took %d tries", tries)
		}
	})
}

// forgetful has nothing for anybody, for a while.
type forgetful struct {
	ota.Updates
	over atomic.Bool
}

func (f *forgetful) Offer(ctx context.Context, n cert.NodeID, q *datamodel.QueryImage) (o ota.Offer, wait time.Duration, ok bool) {
	if f.over.Load() {
		return f.Updates.Offer(ctx, n, q)
	}
	return o, 0, false
}

// TestRolloutToldAgain has the lamp ask somebody who has nothing for it: it is
// told again.
func TestRolloutToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, "", nil)
		f := &forgetful{Updates: r.u}
		r.provider.Updates = f
		defer r.owning()()
		r.burns()
		time.Sleep(4 * time.Minute)
		f.over.Store(true)
		time.Sleep(4 * time.Minute)
		r.is(fabric.AdmitDevice, 2)
	})
}

// TestRolloutSlow has the lamp get a little further now and then: that is no
// failure, however long it takes.
func TestRolloutSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, "", nil)
		defer r.owning()()
		r.burns()
		began := time.Now()
		tries := uint8(0)
		for r.ledger.State().Devices[r.lamp].Facts.SoftwareVersion == 1 && time.Since(began) < 6*time.Hour {
			blocks := 8
			r.net.SetDrop(func(from, to radio.Addr, b []byte) bool {
				if !silentBDX(from, to, b) {
					return false
				}
				blocks--
				return blocks < 0
			})
			time.Sleep(10 * time.Minute)
			tries = max(tries, r.attempt().Tries)
		}
		if r.net.SetDrop(nil); time.Since(began) < 40*time.Minute || tries != 1 {
			t.Errorf("%d tries in %v", tries, time.Since(began))
		}
		time.Sleep(10 * time.Minute)
		r.is(fabric.AdmitDevice, 2)
	})
}

// TestRolloutWaits has the image not be had: nothing is begun. Then it is.
func TestRolloutWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, "", nil)
		r.images.missing.Store(true)
		defer r.owning()()
		r.burns()
		time.Sleep(time.Hour)
		if n := r.images.asked.Load(); r.rollout() != nil || n < 3 || n > 10 {
			t.Errorf("asked for %d times; %+v", n, r.rollout())
		}
		r.images.missing.Store(false)
		time.Sleep(time.Hour)
		r.is(fabric.AdmitDevice, 2)
	})
}

// TestRolloutProposals lets each commit fail, without and with having taken
// effect.
func TestRolloutProposals(t *testing.T) {
	lost := errors.New("the disk is on fire")
	for _, persisted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r := newRecall(t, "", nil)
			failures := 0
			r.ledger.fail = func(c fabric.Command) (error, error) {
				if c.BeginUpdate == nil || failures == 2 {
					return nil, nil
				}
				failures++
				if persisted {
					return nil, lost
				}
				return lost, nil
			}
			defer r.owning()()
			r.burns()
			time.Sleep(3 * time.Hour)
			r.is(fabric.AdmitDevice, 2)
			if failures == 0 {
				t.Error("nothing failed")
			}
		})
	}
}

// TestUpdateAskedTwice: to ask again while it is under way does no harm.
func TestUpdateAskedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, "", nil)
		r.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Policy: &fabric.FirmwarePolicy{Updates: fabric.UpdateNone}}})
		defer r.owning()()
		r.burns()
		time.Sleep(10 * time.Second)
		r.check(r.u.Ask(t.Context(), r.lamp))
		r.check(r.u.Ask(t.Context(), r.lamp))
		time.Sleep(10 * time.Minute)
		r.is(fabric.AdmitDevice, 2)
		if r.rollout() != nil {
			t.Errorf("%+v", r.rollout())
		}
		r.images.missing.Store(true)
		if err := r.u.Ask(t.Context(), 99); code(err) != commissioner.CodeUnknownDevice {
			t.Errorf("a stranger: %v", err)
		}
	})
}

// TestDeadline says of the lamp's software that it is too old, which the home
// bears for an hour: then the lamp is in quarantine, unless it was updated.
func TestDeadline(t *testing.T) {
	for _, updates := range []fabric.Updates{fabric.UpdateNone, fabric.UpdateRequired} {
		synctest.Test(t, func(t *testing.T) {
			r := newRecall(t, "", nil)
			r.propose(fabric.Command{SetFirmwarePolicy: &fabric.SetFirmwarePolicy{Policy: &fabric.FirmwarePolicy{Grace: time.Hour.Milliseconds(), Updates: updates}}})
			defer r.owning()()
			time.Sleep(time.Minute)
			old := known{Statements: []firmware.Statement{{From: "house", Product: manifest.Product{Minimum: 2,
				Releases: []manifest.Release{{Version: 2, Name: "2.0", SHA256: manifest.Digest(r.images.offer.Image), Size: 1}}}}}}
			r.knows.Store(&old)
			time.Sleep(50 * time.Minute)
			if updates == fabric.UpdateRequired {
				r.is(fabric.AdmitDevice, 2)
				return
			}
			r.is(fabric.AdmitDevice, 1)
			if s := r.ledger.State().Devices[r.lamp].Standing; s.Deadline == 0 || len(s.Reasons) != 1 {
				t.Errorf("%+v", s)
			}
			time.Sleep(15 * time.Minute)
			r.is(fabric.QuarantineDevice, 1)
			r.check(r.u.Ask(t.Context(), r.lamp))
			time.Sleep(10 * time.Minute)
			r.is(fabric.AdmitDevice, 2)
		})
	}
}

// TestRolloutUnable has the lamp know nothing of updates.
func TestRolloutUnable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecall(t, virtual.NoUpdates, nil)
		defer r.owning()()
		r.burns()
		time.Sleep(3 * time.Hour)
		if a := r.attempt(); a.Tries != fabric.MaxTries || !strings.HasPrefix(a.Failure, "does not take updates") || !strings.Contains(r.rollout().Stopped, a.Failure) {
			t.Errorf("%+v, %+v", a, r.rollout())
		}
		if err := r.u.Ask(t.Context(), r.lamp); err != nil {
			t.Error(err)
		}
		if a := r.attempt(); a.Failure == "" || !a.Asked {
			t.Errorf("%+v", a)
		}
		r.is(fabric.QuarantineDevice, 1)
	})
}
