package ble_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	upstream "github.com/go-ble/ble"
	"github.com/go-ble/ble/linux/hci"
	"github.com/go-ble/ble/linux/hci/cmd"

	"gatehouse/radio"
	"gatehouse/radio/ble"
	"gatehouse/radio/btp"
	"gatehouse/radio/radiotest"
	emulator "gatehouse/radio/radiotest/hci"
	"gatehouse/radio/radiotest/peripheral"
)

// insideVar is set in a test binary that runs under emulation itself, with
// two adapters: a radio process it starts has the first, a device in its own
// process the second. That way both ends of a link are in one test.
const insideVar = "GATEHOUSE_BLE_INSIDE"

// inside says whether the test runs under emulation. If not it has run it
// there, and output is what that wrote.
func inside(t testing.TB) (yes bool, output string) {
	if os.Getenv(insideVar) != "" {
		return true, ""
	}
	if err := emulator.Available(); err != nil {
		t.Skipf("Bluetooth adapters cannot be emulated here: %v", err)
	}
	l := &lab{t: t, air: newBareAir()}
	first, second := l.air.Controller(), l.air.Controller()
	cmd := l.program("-test.run=^"+t.Name()+"$", "-test.bench=^"+t.Name()+"$", "-test.benchtime=1x", "-test.v", "-test.timeout=3m")
	cmd.Env = append(cmd.Env, insideVar+"=1")
	stop, err := emulator.Emulate(cmd, map[int]emulator.Device{
		0: func() (emulator.Controller, error) { return first.Open() },
		1: func() (emulator.Controller, error) { return second.Open() },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "no tests to run") && strings.HasPrefix(t.Name(), "Test") {
		t.Fatalf("the test did not run:\n%s", out)
	}
	for _, f := range l.air.Faults() {
		t.Error("a host did what no host may:", f)
	}
	return false, string(out)
}

// pairOfEnds is a Radio and a device in this process.
func pairOfEnds(t testing.TB) (*ble.Radio, *peripheral.Peripheral) {
	t.Helper()
	p, err := peripheral.Open(peripheral.Config{HCI: 1, Advertise: lamp})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	l := &lab{t: t}
	r, err := ble.New(ble.Config{Command: func() (*exec.Cmd, error) { return l.program(radioArg), nil }, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, p
}

// link connects the two by BTP.
func link(t testing.TB, r *ble.Radio, p *peripheral.Peripheral) (client, server *btp.Link) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	accepted := make(chan error, 1)
	go func() {
		c, err := p.Accept(ctx)
		if err == nil {
			server, err = btp.Accept(ctx, c, btp.Config{Peer: central, Now: time.Now})
		}
		accepted <- err
	}()
	c, err := r.Connect(ctx, device2)
	if err != nil {
		t.Fatal(err)
	}
	client, err = btp.Dial(ctx, c, btp.Config{Peer: device2, Now: time.Now})
	if err := errors.Join(err, <-accepted); err != nil {
		t.Fatal(err)
	}
	return client, server
}

var (
	central = radio.Addr{Transport: radio.BLE, Peer: "02:ca:fe:00:00:01"}
	device2 = radio.Addr{Transport: radio.BLE, Peer: "02:ca:fe:00:00:02"}
)

// A Link over go-ble on both sides keeps the contract of every Link.
func TestConformance(t *testing.T) {
	if yes, _ := inside(t); !yes {
		return
	}
	r, p := pairOfEnds(t)
	radiotest.TestLink(t, func(t *testing.T) (a, b radio.Link, aAddr, bAddr radio.Addr) {
		client, server := link(t, r, p)
		return client, server, central, device2
	})
}

// BenchmarkThroughput compares what go-ble's writes with response carry, what
// they carry by way of the radio process, and what BTP makes of that.
func BenchmarkThroughput(b *testing.B) {
	yes, out := inside(b)
	if !yes {
		var raw, bearer, whole float64
		i := max(0, strings.Index(out, measured))
		if _, err := fmt.Sscanf(out[i:], measured+" %f %f %f", &raw, &bearer, &whole); err != nil {
			b.Fatalf("%v\n%s", err, out)
		}
		b.ReportMetric(raw/1000, "raw-kB/s")
		b.ReportMetric(bearer/1000, "bearer-kB/s")
		b.ReportMetric(whole/1000, "btp-kB/s")
		b.ReportMetric(whole/raw, "btp/raw")
		b.ReportMetric(0, "ns/op")
		return
	}
	raw := rawThroughput(b)
	r, p := pairOfEnds(b)
	bearer := bearerThroughput(b, r, p)
	client, server := link(b, r, p)
	defer client.Close()
	defer server.Close()
	m, buf := bytes.Repeat([]byte{0xa5}, 1200), make([]byte, btp.MTU) // five segments, nearly full
	go func() {
		for client.Send(device2, m) == nil {
		}
	}()
	whole := throughput(func() int {
		n, _, err := server.Receive(buf)
		if err != nil {
			b.Fatal(err)
		}
		return n
	})
	fmt.Println(measured, raw, bearer, whole)
}

const (
	measured    = "measured:"
	measureTime = 2 * time.Second
)

// throughput is how many bytes a second f carries.
func throughput(f func() int) float64 {
	start, bytes := time.Now(), 0
	for time.Since(start) < measureTime {
		bytes += f()
	}
	return float64(bytes) / time.Since(start).Seconds()
}

// rawThroughput is that of go-ble in one process, with nothing of ours.
func rawThroughput(b *testing.B) float64 {
	p, err := peripheral.Open(peripheral.Config{HCI: 1, Advertise: lamp})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	go drain(p)
	dev, err := hci.NewHCI(upstream.OptDeviceID(0), upstream.OptConnParams(cmd.LECreateConnection{LEScanInterval: 4, LEScanWindow: 4,
		ConnIntervalMin: 6, ConnIntervalMax: 12, SupervisionTimeout: 600}))
	if err == nil {
		err = dev.Init()
	}
	if err != nil {
		b.Fatal(err)
	}
	defer dev.Close()
	c, err := dev.Dial(context.Background(), upstream.NewAddr(device2.Peer))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.ExchangeMTU(ble.MTU); err != nil {
		b.Fatal(err)
	}
	profile, err := c.DiscoverProfile(true)
	if err != nil {
		b.Fatal(err)
	}
	c1 := profile.FindCharacteristic(upstream.NewCharacteristic(upstream.MustParse(ble.C1UUID)))
	value := make([]byte, ble.MTU-3)
	return throughput(func() int {
		if err := c.WriteCharacteristic(c1, value, false); err != nil {
			b.Fatal(err)
		}
		return len(value)
	})
}

func drain(p *peripheral.Peripheral) {
	for {
		c, err := p.Accept(context.Background())
		if err != nil {
			return
		}
		for err == nil {
			_, err = c.Read()
		}
	}
}

func bearerThroughput(b *testing.B, r *ble.Radio, p *peripheral.Peripheral) float64 {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	accepted := make(chan struct{})
	go func() {
		if c, err := p.Accept(ctx); err == nil {
			defer c.Close()
			for err == nil {
				_, err = c.Read()
			}
			if err != io.EOF && !errors.Is(err, net.ErrClosed) {
				b.Error(err)
			}
		}
		close(accepted)
	}()
	c, err := r.Connect(ctx, device2)
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, c.MTU()-3)
	rate := throughput(func() int {
		if err := c.Write(value); err != nil {
			b.Fatal(err)
		}
		return len(value)
	})
	c.Close()
	<-accepted
	return rate
}
