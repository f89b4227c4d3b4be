//go:build linux && (amd64 || arm64)

package hci_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"gatehouse/radio/radiotest/air"
	"gatehouse/radio/radiotest/hci"
)

// programArg makes the test binary a program that uses Bluetooth.
const programArg = "bluetooth-program"

func TestMain(m *testing.M) {
	hci.Child()
	if len(os.Args) > 1 && os.Args[1] == programArg {
		program(os.Args[2:])
		return
	}
	os.Exit(m.Run())
}

// program does one thing with an adapter for each argument and prints what
// came of it.
func program(steps []string) {
	fd := -1
	for _, step := range steps {
		var err error
		switch step {
		case "socket":
			fd, err = unix.Socket(unix.AF_BLUETOOTH, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.BTPROTO_HCI)
		case "l2cap":
			_, err = unix.Socket(unix.AF_BLUETOOTH, unix.SOCK_SEQPACKET, unix.BTPROTO_L2CAP)
		case "up":
			err = unix.IoctlSetInt(fd, 201|'H'<<8|4<<16|1<<30, 3)
		case "list":
			var b struct {
				count uint16
				items [4]struct {
					number uint16
					flags  uint32
				}
			}
			b.count = 4
			if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), 210|'H'<<8|4<<16|2<<30, uintptr(unsafe.Pointer(&b))); e != 0 {
				err = e
			}
			fmt.Print(b.items[:b.count], " ")
		case "info":
			b := [92]byte{0: 3}
			if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), 211|'H'<<8|4<<16|2<<30, uintptr(unsafe.Pointer(&b))); e != 0 {
				err = e
			}
			fmt.Printf("%s ", bytes.TrimRight(b[2:10], "\x00"))
		case "bind0", "bind3":
			err = unix.Bind(fd, &unix.SockaddrHCI{Dev: uint16(step[4] - '0'), Channel: unix.HCI_CHANNEL_USER})
		case "control":
			err = unix.Bind(fd, &unix.SockaddrHCI{Dev: 0xffff, Channel: unix.HCI_CHANNEL_CONTROL})
		case "filter":
			err = unix.SetsockoptString(fd, 0, 2, strings.Repeat("\xff", 14))
		case "dup":
			fd, err = unix.Dup(fd)
		case "address":
			_, err = unix.Write(fd, []byte{1, 0x09, 0x10, 0})
			b := make([]byte, 64)
			if err == nil {
				var n int
				n, err = unix.Read(fd, b)
				fmt.Printf("% x ", b[:n])
			}
		case "tcp": // what is not Bluetooth is left alone
			var c net.Listener
			if c, err = net.Listen("tcp6", "[::1]:0"); err == nil {
				err = c.Close()
			}
		case "hang":
			select {}
		}
		if err != nil {
			fmt.Printf("%s: %v", step, err)
			return
		}
	}
	fmt.Print("done")
}

// emulated is the command that runs the program, under emulation.
func emulated(t *testing.T, devices map[int]hci.Device, steps ...string) *exec.Cmd {
	t.Helper()
	if err := hci.Available(); err != nil {
		t.Skipf("adapters cannot be emulated here: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, append([]string{programArg}, steps...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	stop, err := hci.Emulate(cmd, devices, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return cmd
}

func TestProgram(t *testing.T) {
	tests := []struct {
		name  string
		steps string
		want  string
	}{
		{"user channel", "socket up bind3 address", "04 0e 0a 01 09 10 00 01 00 00 fe ca 02 done"},
		{"as a library that looks around does it", "socket list info filter control", "[{3 1}] hci3 done"},
		{"a descriptor duplicated", "socket dup bind3 address", "04 0e 0a 01 09 10 00 01 00 00 fe ca 02 done"},
		{"no such adapter", "socket bind0", "bind0: no such device"},
		{"taken twice", "socket bind3 socket bind3", "bind3: device or resource busy"},
		{"L2CAP", "l2cap", "l2cap: protocol not supported"},
		{"no Bluetooth at all", "tcp", "done"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := air.New(1, time.Now).Controller()
			devices := map[int]hci.Device{3: func() (hci.Controller, error) { return c.Open() }}
			out, err := emulated(t, devices, strings.Fields(tt.steps)...).CombinedOutput()
			if err != nil || string(out) != tt.want {
				t.Errorf("%s: %v, want %s", out, err, tt.want)
			}
		})
	}
}

// When a program dies, its adapter falls silent and can be opened again.
func TestProgramDies(t *testing.T) {
	c := air.New(1, time.Now).Controller()
	devices := map[int]hci.Device{3: func() (hci.Controller, error) { return c.Open() }}
	cmd := emulated(t, devices, "socket", "bind3", "address", "hang")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Open(); err == nil {
		t.Error("the adapter can be opened by another")
	}
	cmd.Process.Kill()
	cmd.Wait()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if port, err := c.Open(); err == nil {
			port.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatal("the adapter is not let go")
		}
	}
}

func TestNeverStarted(t *testing.T) {
	emulated(t, nil) // its clean-up must not hang
}

func TestProgramMissing(t *testing.T) {
	if err := hci.Available(); err != nil {
		t.Skipf("adapters cannot be emulated here: %v", err)
	}
	cmd := exec.Command("/nonexistent/program")
	stop, err := hci.Emulate(cmd, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.Contains(out, []byte("no such file")) {
		t.Errorf("%s: %v", out, err)
	}
}

// What a stream carries comes out as it went in, and nothing else does.
func FuzzStream(f *testing.F) {
	f.Add([]byte{1, 3, 12, 0, 4, 0x0e, 4, 1, 3, 12, 0})
	f.Add([]byte{2, 0x40, 0x20, 3, 0, 1, 2, 3})
	f.Add([]byte{5, 0, 0, 0xff, 0xff})
	f.Add([]byte{3, 0, 0, 1, 9})
	f.Add([]byte{9})
	f.Fuzz(func(t *testing.T, in []byte) {
		c := hci.Stream(readOnly{bytes.NewReader(in)})
		var out []byte
		for {
			p, err := c.ReadPacket()
			if err != nil {
				break
			}
			if len(p) > 5+1<<16 {
				t.Fatalf("a packet of %d bytes", len(p))
			}
			out = append(out, p...)
		}
		if !bytes.HasPrefix(in, out) {
			t.Fatalf("% x came out of % x", out, in)
		}
	})
}

type readOnly struct{ *bytes.Reader }

func (readOnly) Write(b []byte) (int, error) { return len(b), nil }
func (readOnly) Close() error                { return nil }
