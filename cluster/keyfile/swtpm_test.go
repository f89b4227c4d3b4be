package keyfile

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// emulator is swtpm, a TPM in a process.
type emulator struct {
	t    testing.TB
	dir  string
	proc *exec.Cmd
}

// newEmulator makes a new TPM and starts it.
func newEmulator(t testing.TB) *emulator {
	t.Helper()
	if _, err := exec.LookPath("swtpm"); err != nil {
		t.Skip("swtpm, the TPM emulator, is not installed (apt-get install swtpm)")
	}
	// A unix socket's path must be short, and a test's is not.
	dir, err := os.MkdirTemp("", "gh-tpm")
	if err != nil {
		t.Fatal(err)
	}
	e := &emulator{t: t, dir: dir}
	t.Cleanup(func() {
		e.stop()
		os.RemoveAll(dir)
	})
	e.start()
	return e
}

func (e *emulator) socket() string { return filepath.Join(e.dir, "tpm") }

func (e *emulator) options() Options { return Options{TPM: e.socket()} }

// start powers the TPM on and waits until it answers.
func (e *emulator) start() {
	e.t.Helper()
	e.proc = exec.Command("swtpm", "socket", "--tpm2", "--server", "type=unixio,path="+e.socket(),
		"--ctrl", "type=unixio,path="+filepath.Join(e.dir, "ctrl"), "--tpmstate", "dir="+e.dir, "--flags", "not-need-init,startup-clear")
	if err := e.proc.Start(); err != nil {
		e.t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c, err := net.Dial("unix", e.socket())
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(end) {
			e.t.Fatalf("swtpm does not answer: %v", err)
		}
	}
}

// stop cuts the power.
func (e *emulator) stop() {
	if e.proc != nil {
		e.proc.Process.Kill()
		e.proc.Wait()
		e.proc = nil
		os.Remove(e.socket())
	}
}

// do has f done with the TPM.
func (e *emulator) do(f func(t transport.TPM) error) {
	e.t.Helper()
	if err := (&tpm{path: e.socket()}).do(f); err != nil {
		e.t.Fatal(err)
	}
}

// clear makes the TPM forget its owner's keys, as firmware's set-up does.
func (e *emulator) clear() {
	e.t.Helper()
	e.do(func(t transport.TPM) error {
		_, err := tpm2.Clear{AuthHandle: tpm2.TPMRHLockout}.Execute(t)
		return err
	})
}

// loaded counts what is loaded: objects and sessions.
func (e *emulator) loaded() (n int) {
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

// bus passes all that is said to and by a TPM on, and keeps it.
type bus struct {
	socket string
	mu     sync.Mutex
	heard  []byte
	change func(command, response []byte) // nil: nothing
}

func newBus(t testing.TB, e *emulator) *bus {
	t.Helper()
	b := &bus{socket: filepath.Join(e.dir, "bus")}
	l, err := net.Listen("unix", b.socket)
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
			b.pass(c, e.socket())
		}
	}()
	return b
}

// pass passes one command on, and its response.
func (b *bus) pass(c net.Conn, socket string) {
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
	if b.change != nil {
		b.change(command, octets[:n])
	}
	c.Write(octets[:n])
}
