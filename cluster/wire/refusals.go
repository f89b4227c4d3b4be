package wire

import (
	"log/slog"
	"net"
	"sync"
	"time"
)

// Limits of ours: a box that knocks all day must not fill the SD card.
const (
	refusalLines  = 6 // in refusalWindow
	refusalWindow = time.Minute
	maxReason     = 200 // octets: some errors quote what the peer sent
)

// refusals logs whom we turn away, a few lines at a time.
type refusals struct {
	log *slog.Logger

	mu     sync.Mutex
	said   int
	unsaid int
	window *time.Timer // nil: none is running
	closed bool
}

func (r *refusals) say(what string, peer net.Addr, reason error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.window == nil {
		r.window = time.AfterFunc(refusalWindow, r.renew)
	}
	if r.said == refusalLines {
		r.unsaid++
		return
	}
	r.said++
	text := reason.Error()
	r.log.Info(what, "address", peer.String(), "reason", text[:min(len(text), maxReason)])
}

// renew begins with no lines said.
func (r *refusals) renew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unsaid > 0 && !r.closed {
		r.log.Info("refused more peers", "times", r.unsaid)
	}
	r.said, r.unsaid, r.window = 0, 0, nil
}

func (r *refusals) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.window != nil {
		r.window.Stop()
	}
}
