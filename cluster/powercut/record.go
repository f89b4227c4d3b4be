//go:build linux && (amd64 || arm64)

package powercut

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Record runs a program and records what it does to a directory. Its output
// goes to out, its notes are what it writes to the file Notes. Of other
// processes that it starts nothing is recorded. What is in the directory
// already is recorded as made, and made to last, before the rest. The error is
// ErrNotPermitted where processes must not be traced.
func Record(dir string, out *os.File, argv ...string) ([]Op, error) {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	t := &tracer{dir: dir, files: map[string]int{}, under: map[int]*call{}}
	if err := t.begin(); err != nil {
		return nil, err
	}
	if err := t.run(out, argv); err != nil {
		return t.ops, fmt.Errorf("record what %s does: %w", argv[0], err)
	}
	return t.ops, t.compare()
}

// tracer follows all threads of a process.
type tracer struct {
	dir   string
	pid   int
	mem   *os.File // of the process
	ops   []Op
	files map[string]int // by path
	last  int            // file
	under map[int]*call  // calls under way, by thread
}

// begin records what is there.
func (t *tracer) begin() error {
	have, err := ReadTree(t.dir)
	if err != nil {
		return err
	}
	for _, name := range have.names() {
		if have[name] == nil {
			t.add(Op{Kind: Mkdir, Path: name})
		} else {
			t.create(name, 0)
			t.add(Op{Kind: Write, Path: name, File: t.files[name], Data: have[name]})
			t.add(Op{Kind: Sync, Path: name, File: t.files[name], Before: len(t.ops)})
		}
		t.add(Op{Kind: SyncDir, Path: filepath.Dir(name), Before: len(t.ops)})
	}
	for i := range t.ops {
		t.ops[i].There = true
	}
	return nil
}

func (t *tracer) add(o Op) { t.ops = append(t.ops, o) }

func (t *tracer) create(name string, before int) {
	t.last++
	t.files[name] = t.last
	t.add(Op{Kind: Create, Path: name, File: t.last, Before: before})
}

// compare holds the recording against what is there.
func (t *tracer) compare() error {
	have, err := ReadTree(t.dir)
	if err != nil {
		return err
	}
	d := NewDisk()
	for _, o := range t.ops {
		d.Do(o)
	}
	if name := d.Now().differs(have); name != "" {
		return fmt.Errorf("the recording does not make %s what it is: some system call was not understood", name)
	}
	return nil
}

// run traces the process to its end. It is this thread's child alone.
func (t *tracer) run(out *os.File, argv []string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Files: []*os.File{null, out, out, null}, Sys: &syscall.SysProcAttr{Ptrace: true}})
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("%w: %w", ErrNotPermitted, err)
	} else if err != nil {
		return err
	}
	t.pid = p.Pid
	defer p.Release()
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	if !status.Stopped() {
		return fmt.Errorf("%w: it did not stop at its start", ErrNotPermitted)
	}
	if err = t.memory(); err == nil {
		err = unix.PtraceSetOptions(t.pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEEXEC|unix.PTRACE_O_EXITKILL)
	}
	defer func() { t.mem.Close() }()
	if err == nil {
		err = unix.PtraceSyscall(t.pid, 0)
	}
	for err == nil && status.Stopped() {
		status, err = t.step()
	}
	switch {
	case err != nil:
		_ = unix.Kill(t.pid, unix.SIGKILL)
		_, _ = unix.Wait4(t.pid, nil, unix.WALL, nil)
		return err
	case status.ExitStatus() != 0:
		return fmt.Errorf("it ended with status %d, signal %d", status.ExitStatus(), status.Signal())
	}
	return nil
}

// memory opens the memory of the program that the process is now.
func (t *tracer) memory() (err error) {
	t.mem.Close()
	t.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", t.pid))
	return err
}

const (
	stopOfCall  = unix.SIGTRAP | 0x80 // with PTRACE_O_TRACESYSGOOD
	alive       = unix.WaitStatus(0x7f)
	callInfo    = 0x420e // PTRACE_GET_SYSCALL_INFO
	callEntered = 1
	callLeft    = 2
)

// step takes one stop of any thread, and lets it go on. The status is that of
// the process when it has ended.
func (t *tracer) step() (unix.WaitStatus, error) {
	var status unix.WaitStatus
	thread, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
	switch {
	case err == unix.EINTR:
		return alive, nil
	case err != nil:
		return alive, err
	case !status.Stopped():
		delete(t.under, thread)
		if thread == t.pid {
			return status, nil
		}
		return alive, nil
	}
	signal := 0
	switch _, known := t.under[thread]; {
	case status.StopSignal() == stopOfCall:
		if err := t.stopped(thread); err != nil {
			return alive, err
		}
	case status.TrapCause() == unix.PTRACE_EVENT_EXEC:
		if err := t.memory(); err != nil {
			return alive, err
		}
	case status.TrapCause() > 0: // a thread was made
	case status.StopSignal() == unix.SIGSTOP && !known: // this is the thread
	default:
		signal = int(status.StopSignal())
	}
	if _, known := t.under[thread]; !known {
		t.under[thread] = nil
	}
	if err := unix.PtraceSyscall(thread, signal); err != nil && err != unix.ESRCH { // it may have been killed meanwhile
		return alive, err
	}
	return alive, nil
}

// stopped is a thread that begins or ends a system call.
func (t *tracer) stopped(thread int) error {
	var info [88]byte // struct ptrace_syscall_info
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, callInfo, uintptr(thread), uintptr(len(info)), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == unix.ESRCH {
		return nil
	} else if errno != 0 {
		return fmt.Errorf("%w: %w", ErrNotPermitted, errno)
	}
	word := func(i int) uint64 { return binary.NativeEndian.Uint64(info[24+8*i:]) }
	switch info[0] {
	case callEntered:
		c := &call{number: word(0), before: len(t.ops)}
		for i := range c.args {
			c.args[i] = word(1 + i)
		}
		if err := t.enter(c); err != nil {
			return err
		}
		t.under[thread] = c
	case callLeft:
		c := t.under[thread]
		t.under[thread] = nil
		if result := int64(word(0)); c != nil && c.done != nil && result >= 0 {
			return c.done(result)
		}
	}
	return nil
}

// text is a string in the process's memory.
func (t *tracer) text(at uint64) (string, error) {
	var b [unix.PathMax]byte
	n, err := t.mem.ReadAt(b[:], int64(at))
	text, _, found := strings.Cut(string(b[:n]), "\x00")
	if !found {
		return "", fmt.Errorf("a path of more than %d octets: %w", n, err)
	}
	return text, nil
}

func (t *tracer) octets(at, length uint64) ([]byte, error) {
	b := make([]byte, length)
	_, err := t.mem.ReadAt(b, int64(at))
	return b, err
}
