//go:build interop

package chaos

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"gatehouse/commissioner/interop/ether"
	"gatehouse/fabric/cert"
)

// Limits of a box.
const (
	diskSize = 4 << 20 // octets
	logTail  = 2000    // octets of a process's log that a violation shows
	stopTime = 15 * time.Second
)

// box is a gateway's hardware.
type box struct {
	home  *home
	name  string // of the gateway too, and of its port at the switch
	host  *ether.Host
	dir   string // of its logs and its clock
	state string // in dir, and on a disk of its own
	clock *os.File
	http  *http.Client
	logs  int

	mu      sync.Mutex
	node    cert.NodeID
	running *process // nil: it is off
	full    bool     // its disk is
	evicted bool     // or about to be
	ended   bool     // it is not to run any more
}

// process is a `gatehouse serve`.
type process struct {
	cmd    *exec.Cmd
	log    string
	done   chan struct{}
	err    error // how it ended, once done
	killed bool  // by us
	full   bool  // its disk was, at some time
	begun  time.Time
}

// box is a new one, with an empty disk.
func (h *home) box() (*box, error) {
	h.mu.Lock()
	number := len(h.boxes) + 1
	b := &box{home: h, name: fmt.Sprintf("g%d", number)}
	h.boxes = append(h.boxes, b)
	h.mu.Unlock()
	b.dir = filepath.Join(h.dir, b.name)
	b.state = filepath.Join(b.dir, "s")
	if err := os.MkdirAll(b.state, 0o700); err != nil {
		return nil, err
	}
	var err error
	if b.clock, err = os.Create(filepath.Join(b.dir, "clock")); err == nil {
		err = b.setClock(0)
	}
	if err == nil {
		b.host, err = h.host(b.name, number)
	}
	if err == nil {
		err = b.host.Disk(b.state, diskSize)
	}
	if err != nil {
		return nil, err
	}
	b.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Second, DialContext: func(context.Context, string, string) (conn net.Conn, err error) {
		b.host.Do(func() { conn, err = net.DialTimeout("unix", filepath.Join(b.state, "gatehouse.sock"), time.Second) })
		return conn, err
	}}}
	return b, nil
}

// setClock sets the box's clock, off by some seconds.
func (b *box) setClock(off int64) error {
	_, err := b.clock.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(off)), 0)
	return err
}

// command is a gatehouse on the box, logging to a file of its own.
func (b *box) command(args ...string) (*exec.Cmd, string, error) {
	b.logs++
	name := filepath.Join(b.dir, fmt.Sprintf("%s-%d.log", args[0], b.logs))
	log, err := os.Create(name)
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(b.home.bins.gatehouse, append([]string{"--state", b.state}, args...)...)
	cmd.Env = append(os.Environ(), "GATEHOUSE_TPM=none", "GATEHOUSE_DRIFT="+b.clock.Name())
	cmd.Stderr = log
	return cmd, name, nil
}

// do runs a command to its end.
func (b *box) do(args ...string) error {
	cmd, log, err := b.command(args...)
	if err == nil {
		err = b.host.Start(cmd)
	}
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s: gatehouse %v: %w%s", b.name, args, err, tail(log))
	}
	return nil
}

// on switches the gateway on, if it is off.
func (b *box) on() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running != nil || b.ended || b.node == 0 {
		return nil
	}
	cmd, log, err := b.command("serve", "--bluetooth", "none")
	if err == nil {
		err = b.host.Start(cmd)
	}
	if err != nil {
		return err
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{}), full: b.full, begun: time.Now()}
	b.running = p
	b.home.wg.Go(func() { b.watch(p) })
	return nil
}

// watch says how a process ended, if that was not to be.
func (b *box) watch(p *process) {
	err := p.cmd.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	p.err, b.running = err, nil
	close(p.done)
	switch {
	case p.killed:
	case b.evicted:
		b.home.note("%s, which is evicted, has ended: %v", b.name, err)
	case p.full:
		b.home.note("%s has stopped, its disk being full: %v", b.name, err)
		b.home.report.count(&b.home.report.FailStops)
		if !b.full { // there is room again, and who made it saw the gateway run still
			b.home.wg.Go(func() { b.home.again(b) })
		}
	default:
		b.home.broken("%s ended by itself, %v after its start: %v%s", b.name, time.Since(p.begun).Round(time.Millisecond), err, tail(p.log))
	}
}

// off kills the gateway, as a power cut does, and reports whether it ran.
func (b *box) off() bool {
	b.mu.Lock()
	p := b.running // until it has ended: no other may begin before
	if p != nil {
		p.killed = true
		p.cmd.Process.Kill()
	}
	b.mu.Unlock()
	if p == nil {
		return false
	}
	<-p.done
	return true
}

// stop has the gateway end in good order.
func (b *box) stop() error {
	b.mu.Lock()
	p := b.running
	b.ended = true
	if p != nil {
		p.killed = true
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	b.mu.Unlock()
	if p == nil {
		return errors.New("it does not run")
	}
	if p.ends(stopTime) {
		return p.err
	}
	said := tail(p.log)
	p.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines go to its log
	if !p.ends(stopTime) {
		b.off()
	}
	return fmt.Errorf("it did not end within %v%s", stopTime, said)
}

// ends waits for the process to end, for a time in which this machine runs: one
// that stands still meanwhile lets nothing end.
func (p *process) ends(limit time.Duration) bool {
	const piece = 100 * time.Millisecond
	for range limit / piece {
		select {
		case <-p.done:
			return true
		case <-time.After(piece):
		}
	}
	return false
}

// signal sends a signal to the gateway, if it runs.
func (b *box) signal(s os.Signal) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running != nil && b.running.cmd.Process.Signal(s) == nil
}

// mark changes what the box is to the home.
func (b *box) mark(f func()) {
	b.home.mu.Lock()
	defer b.home.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *box) runs() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running != nil
}

func (b *box) fillFile() string { return filepath.Join(b.state, "fill") }

// fill takes all the room that is left on the disk.
func (b *box) fill() {
	b.mu.Lock()
	b.full = true
	if b.running != nil {
		b.running.full = true
	}
	b.mu.Unlock()
	b.host.Do(func() {
		f, err := os.Create(b.fillFile())
		if err != nil {
			return // it is full already
		}
		defer f.Close()
		for piece := make([]byte, 4096); err == nil; {
			_, err = f.Write(piece)
		}
	})
}

// empty gives the room back.
func (b *box) empty() {
	b.host.Do(func() { os.Remove(b.fillFile()) })
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = false
}

// copy copies what is on the disk. The gateway has ended.
func (b *box) copy(to string) (err error) {
	b.host.Do(func() {
		os.Remove(filepath.Join(b.state, "gatehouse.sock")) // which cannot be copied
		err = os.CopyFS(to, os.DirFS(b.state))
	})
	return err
}

// tail is the end of a log.
func tail(name string) string {
	log, err := os.ReadFile(name)
	if err != nil || len(log) == 0 {
		return ""
	}
	return "; its log ends with:\n" + string(bytes.TrimSpace(log[max(0, len(log)-logTail):]))
}
