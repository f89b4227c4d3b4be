package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxLine     = 16 << 20 // of a process's output
	maxEvents   = 4096     // that nobody has asked for
	stopTimeout = 10 * time.Second
	logTail     = 2048 // octets of the log that an error shows
)

// Proc is a process on a host that speaks and may be spoken to in lines of
// JSON: commands with an id are answered with the same id, everything else it
// says is an event.
type Proc struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   string // file with its standard error
	done  chan struct{}

	mu      sync.Mutex
	nextID  int
	waiting map[int]chan json.RawMessage
	events  chan json.RawMessage
}

// Start runs a command on the host. Its standard error goes to a file.
func (h *Host) Start(env []string, name string, args ...string) (*Proc, error) {
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.name, name}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.CreateTemp(h.Dir, "log-"+filepath.Base(name)+"-")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	p := &Proc{cmd: cmd, log: log.Name(), done: make(chan struct{}), waiting: make(map[int]chan json.RawMessage), events: make(chan json.RawMessage, maxEvents)}
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go p.listen(out)
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.net.procs = append(h.net.procs, p)
	return p, nil
}

// listen sorts what the process says, until it ends.
func (p *Proc) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := bytes.Clone(lines.Bytes())
		var answer struct{ ID *int }
		if json.Unmarshal(line, &answer) != nil {
			continue
		}
		if answer.ID == nil {
			select {
			case p.events <- line:
			default: // nobody cares
			}
			continue
		}
		p.mu.Lock()
		c := p.waiting[*answer.ID]
		delete(p.waiting, *answer.ID)
		p.mu.Unlock()
		if c != nil {
			c <- line
		}
	}
	p.cmd.Wait()
	close(p.done)
}

// Event waits for an event that match takes; those before it are dropped.
func (p *Proc) Event(ctx context.Context, match func(json.RawMessage) bool) error {
	for {
		select {
		case e := <-p.events:
			if match(e) {
				return nil
			}
		case <-ctx.Done():
			return fmt.Errorf("%s: no such event: %w%s", p, context.Cause(ctx), p.tail())
		case <-p.done:
			for len(p.events) > 0 { // what it said last
				if match(<-p.events) {
					return nil
				}
			}
			return fmt.Errorf("%s has ended%s", p, p.tail())
		}
	}
}

// Forget drops the events so far.
func (p *Proc) Forget() {
	for {
		select {
		case <-p.events:
		default:
			return
		}
	}
}

// Ask lets the process do something and puts its answer into v, if that is not
// nil.
func (p *Proc) Ask(ctx context.Context, what string, args map[string]any, v any) error {
	answer := make(chan json.RawMessage, 1)
	command := map[string]any{"do": what}
	for k, a := range args {
		command[k] = a
	}
	p.mu.Lock()
	p.nextID++
	command["id"] = p.nextID
	p.waiting[p.nextID] = answer
	line, err := json.Marshal(command)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s: %s: %w%s", p, what, err, p.tail())
	}
	select {
	case line := <-answer:
		var failed struct{ Error string }
		if err := json.Unmarshal(line, &failed); err != nil {
			return err
		}
		if failed.Error != "" {
			return fmt.Errorf("%s: %s: %s%s", p, what, failed.Error, p.tail())
		}
		if v == nil {
			return nil
		}
		return json.Unmarshal(line, v)
	case <-ctx.Done():
		return fmt.Errorf("%s: %s: %w%s", p, what, context.Cause(ctx), p.tail())
	case <-p.done:
		return fmt.Errorf("%s: %s: it has ended%s", p, what, p.tail())
	}
}

// Say writes a line to the process.
func (p *Proc) Say(line string) error {
	_, err := io.WriteString(p.stdin, line+"\n")
	return err
}

// Kill ends the process as a power cut does, and waits for it.
func (p *Proc) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Freeze has the process do nothing, as a device that sleeps, until it is thawed.
func (p *Proc) Freeze() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw has it go on.
func (p *Proc) Thaw() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Stop asks the process to end.
func (p *Proc) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		p.Kill()
		return fmt.Errorf("%s did not end when asked to%s", p, p.tail())
	}
}

func (p *Proc) String() string { return strings.Join(p.cmd.Args[4:], " ") }

// tail is the end of the process's log, for an error.
func (p *Proc) tail() string {
	b, err := os.ReadFile(p.log)
	if err != nil || len(b) == 0 {
		return ""
	}
	return "; its log ends with:\n" + string(b[max(0, len(b)-logTail):])
}

// Log is what the process wrote to its standard error.
func (p *Proc) Log() string {
	b, _ := os.ReadFile(p.log)
	return string(b)
}

// Usage is what a process costs.
type Usage struct {
	CPU time.Duration // user and system, since its start
	RSS int64         // resident memory, octets
}

// clockTick is the unit of times in /proc/PID/stat.
const clockTick = 10 * time.Millisecond

// Usage reads what the process costs by now.
func (p *Proc) Usage() (Usage, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return Usage{}, err
	}
	_, rest, ok := bytes.Cut(b, []byte(") ")) // the name may hold anything
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 22 {
		return Usage{}, errors.New("/proc/PID/stat has another form than expected")
	}
	var u Usage
	for _, f := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, err
		}
		u.CPU += time.Duration(ticks) * clockTick
	}
	pages, err := strconv.ParseInt(fields[21], 10, 64)
	u.RSS = pages * int64(os.Getpagesize())
	return u, err
}
