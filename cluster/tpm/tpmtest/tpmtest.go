// Package tpmtest has a TPM 2.0 for tests: swtpm, a TPM in a process, and a bus
// between it and the processor that is listened to.
package tpmtest

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"github.com/google/go-tpm/tpm2/transport/linuxudstpm"
)

// Emulator is a TPM.
type Emulator struct {
	t    testing.TB
	dir  string
	proc *exec.Cmd // nil: without power
}

// New makes a new TPM and starts it. Without swtpm the test is skipped.
func New(t testing.TB) *Emulator {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Skip("swtpm, the TPM emulator, is not installed (apt-get install swtpm)")
	}
	// A unix socket's path must be short, and a test's is not.
	dir, err := os.MkdirTemp("", "gh-tpm")
	if err != nil {
		t.Fatal(err)
	}
	e := &Emulator{t: t, dir: dir}
	t.Cleanup(func() {
		e.Stop()
		os.RemoveAll(dir)
	})
	e.Start()
	return e
}

// Socket is where the TPM is, a path.
func (e *Emulator) Socket() string { return filepath.Join(e.dir, "tpm") }

// Start powers the TPM on and waits until it answers.
func (e *Emulator) Start() {
	e.t.Helper()
	e.proc = exec.Command("swtpm", "socket", "--tpm2", "--server", "type=unixio,path="+e.Socket(),
		"--ctrl", "type=unixio,path="+filepath.Join(e.dir, "ctrl"), "--tpmstate", "dir="+e.dir, "--flags", "not-need-init,startup-clear")
	if err := e.proc.Start(); err != nil {
		e.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", e.Socket())
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("swtpm does not answer: %v", err)
		}
	}
}

// Stop cuts the power.
func (e *Emulator) Stop() {
	if e.proc != nil {
		e.proc.Process.Kill()
		e.proc.Wait()
		e.proc = nil
		os.Remove(e.Socket())
	}
}

// do has f done with the TPM.
func (e *Emulator) do(f func(t transport.TPM) error) {
	e.t.Helper()
	t, err := linuxudstpm.Open(e.Socket())
	if err == nil {
		err = errors.Join(f(t), t.Close())
	}
	if err != nil {
		e.t.Fatal(err)
	}
}

// Clear makes the TPM forget its owner's keys, as firmware's set-up does.
func (e *Emulator) Clear() {
	e.t.Helper()
	e.do(func(t transport.TPM) error {
		_, err := tpm2.Clear{AuthHandle: tpm2.TPMRHLockout}.Execute(t)
		return err
	})
}

// On reports whether the TPM has power.
func (e *Emulator) On() bool { return e.proc != nil }

// Loaded counts what is loaded: objects and sessions.
func (e *Emulator) Loaded() (n int) {
	e.t.Helper()
	e.do(func(t transport.TPM) error {
		for _, first := range []tpm2.TPMHandle{0x80000000, 0x02000000, 0x03000000} {
			rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: uint32(first), PropertyCount: 100}.Execute(t)
			if err != nil {
				return err
			}
			handles, err := rsp.CapabilityData.Data.Handles()
			if err != nil {
				return err
			}
			n += len(handles.Handle)
		}
		return nil
	})
	return n
}

// Bus passes all that is said to and by a TPM on, and keeps it.
type Bus struct {
	Socket string // where the TPM seems to be
	// Change changes what the TPM answers; nil: nothing. Set it before use.
	Change func(command, response []byte)

	mu    sync.Mutex
	heard []byte
}

// NewBus is a bus between a TPM and who uses its socket.
func NewBus(t testing.TB, e *Emulator) *Bus {
	t.Helper()
	b := &Bus{Socket: filepath.Join(e.dir, "bus")}
	l, err := net.Listen("unix", b.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.pass(c, e.Socket())
		}
	}()
	return b
}

// Heard is all that was said so far.
func (b *Bus) Heard() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.heard)
}

// pass passes one command on, and its response.
func (b *Bus) pass(c net.Conn, socket string) {
	defer c.Close()
	to, err := net.Dial("unix", socket)
	if err != nil {
		return
	}
	defer to.Close()
	var octets [4096]byte
	n, _ := c.Read(octets[:])
	command := append([]byte(nil), octets[:n]...)
	to.Write(command)
	n, _ = to.Read(octets[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard = append(append(b.heard, command...), octets[:n]...)
	if b.Change != nil {
		b.Change(command, octets[:n])
	}
	c.Write(octets[:n])
}
