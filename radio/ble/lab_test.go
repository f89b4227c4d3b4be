package ble_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/ble/goble"
	"gatehouse/radio/radiotest/air"
	"gatehouse/radio/radiotest/hci"
	"gatehouse/radio/radiotest/peripheral"
)

// What the test binary is besides itself.
const (
	radioArg  = "radio-process"
	deviceArg = "device-process"
	daemonArg = "daemon-process"
	fakeArg   = "fake-process"
)

// patience bounds every wait of a test. Two cores under the race detector and
// other tests beside are slow.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	hci.Child()
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case radioArg:
			conn, err := net.FileConn(os.Stdin)
			if err == nil {
				err = goble.Run(conn, 0)
			}
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		case daemonArg:
			daemon()
			return
		case fakeArg:
			fake()
			return
		case deviceArg:
			if err := device(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			return
		}
	}
	os.Exit(m.Run())
}

// lamp is what devices advertise unless they are told otherwise.
var lamp = radio.Advertisement{Kind: radio.Commissionable, Discriminator: 0xabc, HasDiscriminator: true, Vendor: 0xfff1, Product: 0x8001}

// device is a peripheral that does with each connection what the modes say,
// until its standard input ends.
func device(modes []string) error {
	cfg := peripheral.Config{Advertise: lamp}
	serve := echo
	for _, mode := range modes {
		switch mode {
		case "random":
			cfg.Random = [6]byte{0xc2, 1, 2, 3, 4, 5}
		case "other-first": // another service's data before Matter's
			cfg.Data = append([]byte{2, 1, 6, 5, 0x16, 0x0f, 0x18, 99, 99}, ble.Advertising(lamp)[3:]...)
		case "storm":
			serve = storm(&cfg)
		}
	}
	p, err := peripheral.Open(cfg)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		for {
			c, err := p.Accept(context.Background())
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	bufio.NewScanner(os.Stdin).Scan()
	return p.Close()
}

// echo indicates what is written.
func echo(c *peripheral.Conn) {
	for {
		b, err := c.Read()
		if err != nil {
			return
		}
		if string(b) == "go away" {
			c.Close()
			return
		}
		if c.Write(b) != nil {
			return
		}
	}
}

// storm sends as many indications as go-ble can put aside while the second
// write waits for its confirmation.
func storm(cfg *peripheral.Config) func(*peripheral.Conn) {
	begin, over := make(chan struct{}), make(chan struct{})
	writes := 0
	cfg.Write = func([]byte) {
		if writes++; writes == 2 {
			close(begin)
			<-over
		}
	}
	return func(c *peripheral.Conn) {
		c.Read()
		<-begin
		for i := range 16 {
			if err := c.Write([]byte{byte(i)}); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}
		close(over)
	}
}

// lab is a Radio and devices on one air.
type lab struct {
	t       testing.TB
	air     *air.Air
	central *air.Controller
	radio   *ble.Radio
	log     *notes

	mu    sync.Mutex
	stops []func() // of emulations; commands are also made while the test ends
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := newAir(t)
	l.central = l.air.Controller()
	l.start(func() (*exec.Cmd, error) { return l.emulate(l.central.Open, radioArg), nil })
	return l
}

func newAir(t *testing.T) *lab {
	t.Helper()
	if err := hci.Available(); err != nil {
		t.Skipf("Bluetooth adapters cannot be emulated here: %v", err)
	}
	l := &lab{t: t, air: newBareAir(), log: &notes{}}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, stop := range l.stops {
			stop()
		}
		for _, f := range l.air.Faults() {
			t.Error("a host did what no host may:", f)
		}
		if t.Failed() {
			t.Log(l.log.String())
		}
	})
	return l
}

func newBareAir() *air.Air { return air.New(1, time.Now) }

// start starts the Radio with a command.
func (l *lab) start(command func() (*exec.Cmd, error)) {
	l.t.Helper()
	var err error
	l.radio, err = ble.Start(ble.Config{Command: command, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { l.radio.Close() })
}

// program is the test binary as something else.
func (l *lab) program(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		l.t.Error(err)
	}
	cmd := exec.Command(self, args...)
	// go-ble has data races of its own, which are not to fail our tests.
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0 report_bugs=0")
	return cmd
}

// emulate is a program with one adapter.
func (l *lab) emulate(open func() (*air.Port, error), args ...string) *exec.Cmd {
	return l.emulateWith(map[int]hci.Device{0: func() (hci.Controller, error) { return open() }}, args...)
}

func (l *lab) emulateWith(devices map[int]hci.Device, args ...string) *exec.Cmd {
	cmd := l.program(args...)
	stop, err := hci.Emulate(cmd, devices, slog.New(slog.DiscardHandler))
	if err != nil {
		l.t.Error(err)
		return cmd
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stops = append(l.stops, stop)
	return cmd
}

// device starts a device and waits until it advertises.
func (l *lab) device(modes ...string) *air.Controller {
	l.t.Helper()
	c := l.air.Controller()
	cmd := l.emulate(c.Open, append([]string{deviceArg}, modes...)...)
	cmd.Stderr = l.log
	in, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	l.t.Cleanup(func() {
		in.Close()
		time.AfterFunc(time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		kill.Stop()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "ready" {
			go func() {
				for lines.Scan() {
				}
			}()
			return c
		}
	}
	l.t.Fatal("the device does not start")
	return nil
}

func (l *lab) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	l.t.Cleanup(cancel)
	return ctx
}

// find scans until a device is heard.
func (l *lab) find() radio.Advertisement {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var found radio.Advertisement
	err := l.radio.Scan(ctx, func(ad radio.Advertisement) {
		found = ad
		cancel()
	})
	if found.Kind == 0 {
		l.t.Fatalf("no device is found: %v", err)
	}
	return found
}

func (l *lab) connect(to radio.Addr) *ble.Conn {
	l.t.Helper()
	c, err := l.radio.Connect(l.context(), to)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	return c
}

// exchange writes something and wants it back.
func (l *lab) exchange(c *ble.Conn, text string) {
	l.t.Helper()
	if err := c.Write([]byte(text)); err != nil {
		l.t.Fatal(err)
	}
	if got := l.read(c); got != text {
		l.t.Fatalf("got %q for %q", got, text)
	}
}

func (l *lab) read(c *ble.Conn) string {
	l.t.Helper()
	alarm := time.AfterFunc(patience, func() { c.Close() })
	defer alarm.Stop()
	b, err := c.Read()
	if err != nil {
		l.t.Fatalf("nothing comes: %v", err)
	}
	return string(b)
}

// until waits for something.
func (l *lab) until(what string, ready func() bool) {
	l.t.Helper()
	for end := time.Now().Add(patience); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("%s: waited in vain", what)
		}
	}
}

// notes is a log that is shown when a test fails.
type notes struct {
	mu sync.Mutex
	strings.Builder
}

func (n *notes) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.Builder.Write(b)
}
