package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/radio/radiotest/hci"
)

// What the test binary is besides itself.
const (
	airArg     = "gatehouse-air"
	programArg = "bluetooth-program"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == airArg {
		os.Args = os.Args[1:]
		main()
	}
	hci.Child()
	if len(os.Args) > 1 && os.Args[1] == programArg {
		program()
		return
	}
	os.Exit(m.Run())
}

// program prints the address of each adapter it finds.
func program() {
	for n := range 4 {
		fd, err := unix.Socket(unix.AF_BLUETOOTH, unix.SOCK_RAW, unix.BTPROTO_HCI)
		if err == nil {
			err = unix.Bind(fd, &unix.SockaddrHCI{Dev: uint16(n), Channel: unix.HCI_CHANNEL_USER})
		}
		if err != nil {
			continue
		}
		unix.Write(fd, []byte{1, 0x09, 0x10, 0})
		b := make([]byte, 64)
		got, _ := unix.Read(fd, b)
		fmt.Printf("hci%d % x\n", n, b[7:got])
	}
}

// runAir runs the program itself.
func runAir(t *testing.T, args ...string) (string, int) {
	t.Helper()
	if err := hci.Available(); err != nil {
		t.Skipf("Bluetooth adapters cannot be emulated here: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, append([]string{airArg}, args...)...)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	out, _ := cmd.CombinedOutput()
	return string(out), cmd.ProcessState.ExitCode()
}

func TestExec(t *testing.T) {
	self, _ := os.Executable()
	tests := []struct {
		name string
		args []string
		want string
		code int
	}{
		{"two adapters", []string{"--hci", "0=air", "--hci", "2=air", "--", self, programArg}, "hci0 01 00 00 fe ca 02\nhci2 02 00 00 fe ca 02\n", 0},
		{"the program's exit code", []string{"--hci", "0=air", "sh", "-c", "exit 7"}, "", 7},
		{"an adapter without a number", []string{"--hci", "air", "true"}, "gatehouse-air: adapter \"air\": its number is missing\n", exitFailed},
		{"an adapter from nowhere", []string{"--hci", "0=tcp:x", "true"}, "gatehouse-air: adapter \"0=tcp:x\": neither air nor unix:PATH\n", exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, code := runAir(t, append([]string{"exec"}, tt.args...)...)
			if out != tt.want || code != tt.code {
				t.Errorf("%q, exit code %d, want %q and %d", out, code, tt.want, tt.code)
			}
		})
	}
	if _, code := runAir(t, "exec"); code != exitUsage {
		t.Errorf("exit code %d for wrong usage", code)
	}
}

// served is an air that another process could use, and its control socket.
func served(t *testing.T) (air, control string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "air") // a unix socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	air, control = filepath.Join(dir, "a"), filepath.Join(dir, "c")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	c := serveCmd{To: "unix:" + air, airFlags: airFlags{Control: "unix:" + control, Seed: 1, ACLDelay: time.Millisecond}}
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return air, control
}

func dial(t *testing.T, path string) net.Conn {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err == nil {
			t.Cleanup(func() { conn.Close() })
			conn.SetDeadline(end)
			return conn
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func TestExecOnAServedAir(t *testing.T) {
	air, _ := served(t)
	dial(t, air).Close()
	self, _ := os.Executable()
	for range 2 { // who comes back has the same address
		if out, code := runAir(t, "exec", "--hci", "0=unix:"+air, self, programArg); !strings.HasPrefix(out, "hci0 01 00 00") || code != 0 {
			t.Errorf("%q, exit code %d", out, code)
		}
	}
}

// host speaks HCI to a served air.
type host struct {
	t *testing.T
	c hci.Controller
}

func (h host) do(packet ...byte) {
	h.t.Helper()
	if err := h.c.WritePacket(packet); err != nil {
		h.t.Fatal(err)
	}
}

// until reads until a packet begins with something.
func (h host) until(prefix ...byte) []byte {
	h.t.Helper()
	for {
		b, err := h.c.ReadPacket()
		if err != nil {
			h.t.Fatalf("% x does not come: %v", prefix, err)
		}
		if bytes.HasPrefix(b, prefix) {
			return b
		}
	}
}

func TestControl(t *testing.T) {
	air, path := served(t)
	// Each says something before the next comes, so that the first is controller 0.
	a := host{t, hci.Stream(dial(t, air))}
	a.do(1, 0x03, 0x0c, 0)
	a.until(4, 0x0e)
	b := host{t, hci.Stream(dial(t, air))}
	b.do(1, 0x03, 0x0c, 0)
	b.until(4, 0x0e)

	conn := dial(t, path)
	answers := bufio.NewScanner(conn)
	order := func(line, want string) {
		t.Helper()
		fmt.Fprintln(conn, line)
		if !answers.Scan() {
			t.Fatalf("%s: no answer: %v", line, answers.Err())
		}
		if got := answers.Text(); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	order(`{"do":"dance"}`, `{"error":"there is no order \"dance\""}`)
	order(`not JSON`, `{"error":"invalid character 'o' in literal null (expecting 'u')"}`)
	order(`{"do":"conditions","connect":"1ms","latency":"2ms","loss":0}`, `{}`)
	order(`{"do":"conditions","connect":"soon"}`, `{"error":"time: invalid duration \"soon\""}`)
	order(`{"do":"cut","to":"nowhere"}`, `{"error":"to \"nowhere\": neither central nor peripheral"}`)
	order(`{"do":"inject","controller":9}`, `{"error":"there is no controller 9"}`)
	order(`{"do":"inject","controller":0,"acl":"00"}`, `{"error":"controller 0 has no link"}`)
	order(`{"do":"inject","controller":0,"packet":"04ff01aa"}`, `{}`)
	a.until(4, 0xff, 1, 0xaa)

	// b advertises, a hears the wind and connects.
	a.do(1, 0x0c, 0x20, 2, 1, 0)
	a.until(4, 0x0e, 4, 1, 0x0c, 0x20) // it listens before the wind blows
	order(`{"do":"broadcast","from":"010203040506","random":true,"kind":3,"data":"020106","rssi":-50}`, `{}`)
	a.until(4, 0x3e, 15, 2, 1, 3, 1, 6, 5, 4, 3, 2, 1, 3, 2, 1, 6, 0xce)
	order(`{"do":"broadcast","from":"01"}`, `{"error":"from: an address has six bytes"}`)
	a.do(1, 0x0c, 0x20, 2, 0, 0)
	b.do(append([]byte{1, 0x06, 0x20, 15, 0x20, 0, 0x20, 0}, make([]byte, 11)...)...)
	b.do(1, 0x0a, 0x20, 1, 1)
	a.do(append([]byte{1, 0x0d, 0x20, 25, 4, 0, 4, 0, 0, 0, 2, 0, 0, 0xfe, 0xca, 2, 0}, 6, 0, 6, 0, 0, 0, 0x48, 0, 0, 0, 0, 0)...)
	a.until(4, 0x3e, 19, 1, 0)
	b.until(4, 0x3e, 19, 1, 0)
	order(`{"do":"links"}`, `{"links":[{"controller":0,"handle":64,"central":true,"peer":"02:ca:fe:00:00:02 public","interval":"7.5ms","latency":0,"timeout":"720ms"},`+
		`{"controller":1,"handle":65,"central":false,"peer":"02:ca:fe:00:00:01 public","interval":"7.5ms","latency":0,"timeout":"720ms"}]}`)
	order(`{"do":"inject","controller":1,"acl":"0100040099"}`, `{}`)
	b.until(2, 65, 0x20, 5, 0, 1, 0, 4, 0, 0x99)
	order(`{"do":"cut","to":"peripheral","at":1}`, `{}`)
	a.do(2, 64, 0, 1, 0, 0x77)
	b.until(4, 0x05)
	order(`{"do":"cut"}`, `{}`)
	order(`{"do":"links"}`, `{}`)
}

// An order can be written as well as read.
func TestOrderRoundTrip(t *testing.T) {
	d := Duration(1500 * time.Microsecond)
	in := Order{Do: "inject", Latency: &d, Packet: Bytes{1, 2, 0xff}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Order
	if err := json.Unmarshal(b, &out); err != nil || *out.Latency != d || !bytes.Equal(out.Packet, in.Packet) {
		t.Errorf("%s: %+v, %v", b, out, err)
	}
}
