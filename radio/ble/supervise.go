package ble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Limits.
const (
	maxNoise = 8 << 10 // bytes of one process's output that are logged
	maxLine  = 256     // bytes of a line of it
)

// supervise keeps a radio process running until ctx ends.
func (r *Radio) supervise(ctx context.Context) {
	defer close(r.ended)
	wait := r.timing.firstWait
	for {
		began := r.cfg.Now()
		err := r.live(ctx)
		if ctx.Err() != nil {
			return
		}
		absent := errors.Is(err, ErrNoAdapter) || errors.Is(err, ErrNotPermitted) || errors.Is(err, ErrBusy)
		if r.down(err, absent) {
			r.cfg.Log.Warn("the Bluetooth radio is down", "err", err)
		}
		pause := wait
		switch {
		case absent:
			pause, wait = r.timing.absent, r.timing.firstWait
		case r.cfg.Now().Sub(began) >= r.timing.steady:
			pause, wait = r.timing.firstWait, 2*r.timing.firstWait
		default:
			wait = min(2*wait, r.timing.maxWait)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// live starts one process, serves it, and says why it ended.
func (r *Radio) live(ctx context.Context) error {
	p, err := r.launch(ctx)
	if err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, func() { p.conn.Close() })
	defer stopped()
	l, err := greet(r, p.conn)
	if err == nil {
		r.serve(ctx, l)
		err = l.err
	}
	return p.finish(err, r.timing.grace)
}

// serve is a life from hello to end, ctx's or its own.
func (r *Radio) serve(ctx context.Context, l *life) {
	r.mu.Lock()
	r.life, r.fault = l, nil
	r.stats.Up, r.stats.Started, r.stats.Own = true, r.cfg.Now(), l.own.String()
	r.change()
	r.mu.Unlock()
	r.cfg.Log.Info("the Bluetooth radio is up", "adapter", l.own)
	stopped := context.AfterFunc(ctx, func() { l.end(net.ErrClosed) })
	defer stopped()
	l.run()
}

// down notes that no process is up, and why. It says whether that is new.
func (r *Radio) down(err error, absent bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	news := r.life != nil || r.stats.Reason != err.Error()
	if r.life != nil || !absent {
		r.stats.Restarts++
	}
	r.life, r.fault = nil, nil
	if absent {
		r.fault = err
	}
	r.stats.Up, r.stats.Reason = false, err.Error()
	r.change()
	return news
}

// process is a radio process, ours or one behind a socket.
type process struct {
	conn  net.Conn
	cmd   *exec.Cmd // nil behind a socket
	noise *noise
}

func (r *Radio) launch(ctx context.Context) (*process, error) {
	if r.cfg.Socket != "" {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", r.cfg.Socket)
		if err != nil {
			return nil, fmt.Errorf("reach the radio process: %w", err)
		}
		return &process{conn: conn}, nil
	}
	cmd, err := r.cfg.Command()
	if err != nil {
		return nil, fmt.Errorf("start the radio process: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("start the radio process: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "radio"), os.NewFile(uintptr(pair[1]), "radio process")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("start the radio process: %w", err)
	}
	p := &process{conn: conn, cmd: cmd, noise: &noise{log: r.cfg.Log}}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, p.noise, p.noise
	cmd.WaitDelay = r.timing.grace
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start the radio process: %w", err)
	}
	return p, nil
}

// finish ends a process for the reason it is no longer wanted and waits for
// it. A process ends by itself when its socket is closed; one that hangs is
// not asked. It returns the reason with what the process said of it.
func (p *process) finish(reason error, grace time.Duration) error {
	p.conn.Close()
	if p.cmd == nil {
		return reason
	}
	if errors.Is(reason, errHung) {
		p.cmd.Process.Kill()
	}
	kill := time.AfterFunc(grace, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	err := p.cmd.Wait()
	if reason != errGone {
		return reason
	}
	if said := p.noise.said(); said != "" {
		return fmt.Errorf("%w: %s", errGone, said)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	return errGone
}

// noise takes what a process writes and logs the beginning of it. It keeps
// the line a panic or a fatal error begins with.
type noise struct {
	log *slog.Logger

	mu    sync.Mutex
	taken int
	line  []byte
	cause string
}

func (n *noise) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for rest := b; len(rest) > 0 && n.taken < maxNoise; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		n.taken += len(rest) - len(after)
		n.line = append(n.line, line[:min(len(line), maxLine-min(maxLine, len(n.line)))]...)
		if rest = after; whole {
			n.tell()
		}
	}
	return len(b), nil
}

func (n *noise) tell() {
	s := strings.ToValidUTF8(string(n.line), "?")
	n.line = n.line[:0]
	if s == "" {
		return
	}
	if n.cause == "" && (strings.HasPrefix(s, "panic: ") || strings.HasPrefix(s, "fatal error: ")) {
		n.cause = s
	}
	n.log.Debug("the radio process says", "line", s)
}

func (n *noise) said() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cause
}
