package cluster

import (
	"context"
	"sync"
)

// watchers are told that something changed, not what: several changes may
// become one notice.
type watchers struct {
	mu  sync.Mutex
	all map[chan struct{}]bool
}

func (w *watchers) add() chan struct{} {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = make(map[chan struct{}]bool)
	}
	w.all[ch] = true
	return ch
}

func (w *watchers) remove(ch chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, ch)
}

func (w *watchers) notify() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.all {
		select {
		case ch <- struct{}{}:
		default: // a notice is waiting already
		}
	}
}

// Watch gives a notice when State or Leader may have changed since the last
// one was taken, until ctx is done. The first comes with the next change: call
// Watch, then State.
func (c *Cluster) Watch(ctx context.Context) <-chan struct{} {
	ch := c.watchers.add()
	context.AfterFunc(ctx, func() { c.watchers.remove(ch) })
	return ch
}
