package login

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"gatehouse/commissioner"
)

// A thousand checks a second, each of which takes 400 ms: two compute, sixteen
// wait, the others are refused at once.
func TestHasherIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(StandardCost, rand.Reader)
		var running, most, done, refused atomic.Int32
		h.derive = func(_, _ []byte, c Cost) []byte {
			if c != StandardCost {
				t.Errorf("at the cost %v", c)
			}
			most.Store(max(most.Load(), running.Add(1)))
			time.Sleep(400 * time.Millisecond)
			running.Add(-1)
			return make([]byte, hashSize) // what nobody's hash is, too
		}
		var all sync.WaitGroup
		for i := range 10_000 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				from := time.Now()
				_, err := h.Check(context.Background(), nil, "wrong password")
				var f *commissioner.Failure
				switch {
				case !errors.As(err, &f):
					t.Errorf("not a failure: %v", err)
				case f.Code == CodeBusy && time.Since(from) == 0:
					refused.Add(1)
				case f.Code == CodeWrong && time.Since(from) <= 400*time.Millisecond*(1+waiting/computing):
					done.Add(1)
				default:
					t.Errorf("%v after %v", err, time.Since(from))
				}
			})
		}
		all.Wait()
		if most.Load() != computing {
			t.Errorf("%d at a time", most.Load())
		}
		if d := done.Load(); d < 10_000/400*computing || d > 10_000/400*computing+computing+waiting || d+refused.Load() != 10_000 {
			t.Errorf("%d done, %d refused", d, refused.Load())
		}
	})
}

// TestNobodyCostsAsMuch: a name that nobody has, and one without a password,
// take a hash of the same cost as one that somebody has.
func TestNobodyCostsAsMuch(t *testing.T) {
	h, c := NewHasher(StandardCost, rand.Reader), New()
	if err := h.Set(t.Context(), c, "correct horse battery"); err != nil {
		t.Fatal(err)
	}
	for what, who := range map[string]*Credentials{"somebody": c, "nobody": nil, "without a password": New()} {
		var took []Cost
		h.derive = func(_, _ []byte, cost Cost) []byte {
			took = append(took, cost)
			return make([]byte, hashSize)
		}
		_, err := h.Check(t.Context(), who, "wrong horse battery")
		var f *commissioner.Failure
		if !errors.As(err, &f) || f.Code != CodeWrong || len(took) != 1 || took[0] != StandardCost {
			t.Errorf("%s: %v, hashes %v", what, err, took)
		}
	}
}

func TestHasherIsNotWaitedForForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHasher(StandardCost, rand.Reader)
		h.derive = func(_, _ []byte, _ Cost) []byte { time.Sleep(time.Minute); return make([]byte, hashSize) }
		for range computing {
			go h.Check(context.Background(), nil, "wrong password")
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := h.Check(ctx, nil, "wrong password"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		if len(h.places) != computing {
			t.Errorf("%d places are taken", len(h.places))
		}
		time.Sleep(time.Hour)
	})
}

// A hash of nobody's that comes out as the dummy's lets nobody in.
func TestDummyHashIsNobodys(t *testing.T) {
	h := NewHasher(StandardCost, rand.Reader)
	h.derive = func(_, _ []byte, _ Cost) []byte { return make([]byte, hashSize) }
	for _, c := range []*Credentials{nil, New()} {
		if _, err := h.Check(context.Background(), c, "wrong password"); err == nil {
			t.Error("let in")
		}
	}
}
